// What a de-identified twin is made from, and by whom (P-42). A twin is made while the record is added, because only then has the custodian
// the record's bytes: a copy of what streams by is kept, up to a limit, and wiped afterwards.
// Not here: the rules (deidentify/), the thread they run in (adapters/twin-maker.ts), registering the twin (record-desk.ts).

import { EmrmError } from '../model/errors.ts'
import type { Digest } from '../model/ids.ts'
import type { RecordKind } from '../model/operations.ts'

/** No longer FHIR record is recognised as FHIR (kind.ts), so this refuses nothing that could have a twin. */
export const TWIN_BYTES_MAX: number = 32 * 1024 * 1024

export type MadeTwin = {
  readonly bytes: Uint8Array
  /** Of the rule set; the twin carries it in meta.tag as well. */
  readonly ruleDigest: Digest
}

/** Throws EmrmError `record-malformed`, `deidentify-unsupported`, `deidentify-rule-failed`, `deidentify-failed`. */
export type MakeTwin = (request: {
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
  take(kind: RecordKind): Uint8Array {
    try {
      if (kind !== 'fhir' || this.size > this.bytesMax)
        throw new EmrmError(
          'deidentify-unsupported',
          `there is no de-identified twin of this ${kind} record: only FHIR R4 as JSON of up to ${this.bytesMax / 1_048_576} MiB has one; share it without the anonymous label only`,
          { kind, size: this.size, sizeMax: this.bytesMax },
        )
      const whole = new Uint8Array(this.size)
      let at = 0
      for (const chunk of this.chunks) {
        whole.set(chunk, at)
        at += chunk.length
      }
      return whole
    } finally {
      this.wipe()
    }
  }

  wipe(): void {
    for (const chunk of this.chunks) chunk.fill(0)
    this.chunks = []
  }
}
