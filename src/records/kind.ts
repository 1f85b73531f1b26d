// What a record is, by its bytes: fhir, dicom, pdf, text or other. A patient's policy may be about one kind only, so a claim that the
// bytes contradict is refused. Not here: reading what the record says (interop), de-identification.

import { EmrmError } from '../model/errors.ts'
import type { RecordKind } from '../model/operations.ts'

const KINDS = ['fhir', 'dicom', 'pdf', 'text', 'other'] as const
export type KnownKind = (typeof KINDS)[number]

/** JSON up to this size is read whole to see whether it is FHIR; longer JSON is text. */
const FHIR_BYTES_MAX = 32 * 1024 * 1024
const HEAD_BYTES = 64 * 1024
const DICOM_MAGIC_AT = 128

export type Peeked = {
  readonly kind: RecordKind
  /** The record as FHIR, whatever its kind is claimed to be; null when it is none, or JSON too long to be read (`tooLarge`). */
  readonly resource: FhirResource | null
  readonly tooLarge: boolean
  /** All bytes of the record, the peeked ones first. */
  readonly source: AsyncIterable<Uint8Array>
}

export type FhirResource = Readonly<Record<string, unknown>> & { readonly resourceType: string }

/** `claimed`: null to have it detected. Throws EmrmError `record-malformed`, `kind-unknown`, `record-empty`. */
export async function peekKind(source: AsyncIterable<Uint8Array>, claimed: string | null): Promise<Peeked> {
  if (claimed !== null && !(KINDS as readonly string[]).includes(claimed))
    throw new EmrmError('kind-unknown', `${claimed} is no kind of record; use one of ${KINDS.join(', ')}`)
  const iterator = source[Symbol.asyncIterator]()
  const held: Uint8Array[] = []
  let size = 0
  let ended = false
  const readTo = async (limit: number): Promise<void> => {
    while (!ended && size < limit) {
      const { value, done } = await iterator.next()
      if (done) ended = true
      else {
        held.push(value)
        size += value.length
      }
    }
  }
  try {
    await readTo(HEAD_BYTES)
    if (looksLikeJson(Buffer.concat(held).subarray(0, HEAD_BYTES))) await readTo(FHIR_BYTES_MAX)
    if (ended && size === 0)
      throw new EmrmError('record-empty', 'the record has no bytes; check the file that was named')
    const { kind: found, resource } = recognise(Buffer.concat(held), ended)
    if (claimed !== null && !agrees(claimed as KnownKind, found)) throw malformed(claimed)
    // Only JSON was read this far.
    const tooLarge = resource === null && !ended && size >= FHIR_BYTES_MAX && found === 'text'
    return { kind: claimed ?? found, resource, tooLarge, source: again(held, iterator) }
  } catch (error) {
    await iterator.return?.()
    throw error
  }
}

/** `isWhole`: the bytes are the whole record. */
export const kindOf = (bytes: Uint8Array, isWhole: boolean): KnownKind => recognise(bytes, isWhole).kind

function recognise(
  bytes: Uint8Array,
  isWhole: boolean,
): { readonly kind: KnownKind; readonly resource: FhirResource | null } {
  const plain = (kind: KnownKind): ReturnType<typeof recognise> => ({ kind, resource: null })
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, HEAD_BYTES))
  if (head.toString('latin1', DICOM_MAGIC_AT, DICOM_MAGIC_AT + 4) === 'DICM') return plain('dicom')
  if (head.toString('latin1', 0, 5) === '%PDF-') return plain('pdf')
  const resource = isWhole && bytes.length <= FHIR_BYTES_MAX && looksLikeJson(head) ? readFhir(bytes) : null
  if (resource !== null) return { kind: 'fhir', resource }
  return plain(isText(head) ? 'text' : 'other')
}

/** `text` may be claimed for FHIR and `other` for anything: both say less than is known. Old DICOM files have no magic. */
function agrees(claimed: KnownKind, found: KnownKind): boolean {
  if (claimed === found || claimed === 'other') return true
  if (claimed === 'text') return found === 'fhir'
  return claimed === 'dicom' && found === 'other'
}

const malformed = (claimed: string): EmrmError =>
  new EmrmError(
    'record-malformed',
    `the bytes are no ${claimed}${claimed === 'fhir' ? ' resource (JSON with a resourceType)' : ' file'}; correct the file or leave the kind out`,
    { kind: claimed },
  )

function looksLikeJson(head: Buffer): boolean {
  let at = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0
  while (at < head.length && [0x20, 0x09, 0x0a, 0x0d].includes(head[at]!)) at++
  return head[at] === 0x7b
}

function readFhir(bytes: Uint8Array): FhirResource | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const resource: unknown = JSON.parse(text)
    if (typeof resource !== 'object' || resource === null || Array.isArray(resource)) return null
    const type = (resource as Record<string, unknown>)['resourceType']
    return typeof type === 'string' && /^[A-Z][A-Za-z]{1,63}$/.test(type) ? (resource as FhirResource) : null
  } catch {
    return null
  }
}

/** UTF-8 without control characters but those of layout. The head may end inside a character. */
function isText(head: Buffer): boolean {
  if (head.some(byte => byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0c && byte !== 0x0d)) return false
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: head.length === HEAD_BYTES })
    return true
  } catch {
    return false
  }
}

async function* again(held: readonly Uint8Array[], iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* held
    for (;;) {
      const { value, done } = await iterator.next()
      if (done) return
      yield value
    }
  } finally {
    await iterator.return?.()
  }
}
