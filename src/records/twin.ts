// What a de-identified twin is made from, and by whom (P-42). A twin is made while the record is added, because only then has the custodian
// the record's bytes: a copy of what streams by is kept, up to a limit, and wiped afterwards.
// Not here: the rules (deidentify/), the thread they run in (adapters/twin-maker.ts), registering the twin (record-desk.ts).

import { EmrmError } from '../model/errors.ts'
import type { Digest } from '../model/ids.ts'
import type { RecordKind } from '../model/operations.ts'

/** The longest record of which a twin is made. No longer JSON is recognised as FHIR (kind.ts); an image of this size has many frames. */
export const TWIN_BYTES_MAX: number = 32 * 1024 * 1024

/** Kinds of which there are twins. */
export type TwinKind = 'fhir' | 'dicom'

export type MadeTwin = {
  readonly bytes: Uint8Array
  /** Of the rule set; the twin carries it too. */
  readonly ruleDigest: Digest
}

/** Throws EmrmError `record-malformed`, `deidentify-unsupported`, `deidentify-rule-failed`, `deidentify-failed`. */
export type MakeTwin = (request: {
  readonly kind: TwinKind
  readonly bytes: Uint8Array
  /** Random, for this twin alone: no two twins can be joined. */
  readonly extractKey: Uint8Array
  readonly patientKey: Uint8Array
}) => Promise<MadeTwin>

/** A copy of the bytes that pass, given up as soon as there are too many. */
export class PlainCopy {
  private readonly bytesMax: number
  private chunks: Uint8Array[] = []
  private size = 0

  constructor(bytesMax: number = TWIN_BYTES_MAX) {
    this.bytesMax = bytesMax
  }

  async *watch(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.size += chunk.length
      if (this.size <= this.bytesMax) this.chunks.push(Uint8Array.from(chunk))
      else this.wipe()
      yield chunk
    }
  }

  /** The whole record; the copy is empty afterwards. Throws EmrmError `deidentify-unsupported`. */
  take(kind: RecordKind): { readonly kind: TwinKind; readonly bytes: Uint8Array } {
    try {
      if ((kind !== 'fhir' && kind !== 'dicom') || this.size > this.bytesMax)
        throw new EmrmError(
          'deidentify-unsupported',
          `there is no de-identified twin of this ${kind} record: only FHIR R4 as JSON and DICOM of up to ${this.bytesMax / 1_048_576} MiB have one; share it without the anonymous label only`,
          { kind, size: this.size, sizeMax: this.bytesMax },
        )
      const whole = new Uint8Array(this.size)
      let at = 0
      for (const chunk of this.chunks) {
        whole.set(chunk, at)
        at += chunk.length
      }
      this.size = 0
      return { kind, bytes: whole }
    } finally {
      this.wipe()
    }
  }

  wipe(): void {
    for (const chunk of this.chunks) chunk.fill(0)
    this.chunks = []
  }
}
