// Small makers of records' bytes for the tests of this folder.

import { createHash, randomBytes } from 'node:crypto'
import { EmrmError } from '../../src/model/errors.ts'
import { asIdentifier, asRecordId, type Identifier, type RecordId } from '../../src/model/ids.ts'

export const newRecordId = (): RecordId => asRecordId(randomBytes(16).toString('hex'))
export const newIdentifier = (): Identifier => asIdentifier(randomBytes(16).toString('hex'))

/** Bytes that are always the same for one seed, and not alike anywhere. */
export function fill(size: number, seed = 1): Uint8Array {
  const key = createHash('sha256').update(`fill ${seed}`).digest()
  const bytes = new Uint8Array(size)
  for (let at = 0, i = 0; at < size; at += 32, i++) {
    const block = createHash('sha256').update(key).update(String(i)).digest()
    bytes.set(block.subarray(0, Math.min(32, size - at)), at)
  }
  return bytes
}

export async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

export async function collected(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export const coded =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof EmrmError && error.code === code
