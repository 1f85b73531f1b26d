// The payload of an age v1 file: chunks of 64 KiB under ChaCha20-Poly1305, the nonce a counter and a mark of the last chunk (STREAM), so that
// nothing can be cut off, moved, repeated or added. Made by Node, in constant memory. Not here: the header (age-header.ts).

import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync } from 'node:crypto'
import type { RecordId } from '../model/ids.ts'
import { recordCorrupt } from './age-header.ts'
import { regroup } from './bytes.ts'

export const PAYLOAD_NONCE_BYTES = 16
const CHUNK_BYTES = 64 * 1024
const TAG_BYTES = 16
const NONCE_BYTES = 12

/** Sealed chunks, each followed by its tag, to stand behind the payload's nonce. */
export async function* sealPayload(key: Uint8Array, plaintext: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // Made once: from raw bytes Node makes one for each chunk, at a third of the chunk's cost.
  const secret = createSecretKey(key)
  for await (const { chunk, counter, isLast } of counted(regroup(plaintext, CHUNK_BYTES))) {
    const cipher = createCipheriv('chacha20-poly1305', secret, chunkNonce(counter, isLast), {
      authTagLength: TAG_BYTES,
    })
    yield cipher.update(chunk)
    cipher.final()
    yield cipher.getAuthTag()
  }
}

/** Chunks of an age payload behind its nonce. Throws EmrmError `record-corrupt` for a chunk that is changed, missing, moved or too many. */
export async function* openPayload(
  key: Uint8Array,
  payload: AsyncIterable<Uint8Array>,
  record: RecordId,
): AsyncGenerator<Uint8Array> {
  const secret = createSecretKey(key)
  let seen = false
  for await (const { chunk, counter, isLast } of counted(regroup(payload, CHUNK_BYTES + TAG_BYTES))) {
    seen = true
    // Only the single chunk of an empty file may be empty.
    if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && counter > 0))
      throw recordCorrupt(record, 'it ends inside a chunk')
    const decipher = createDecipheriv('chacha20-poly1305', secret, chunkNonce(counter, isLast), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAuthTag(chunk.subarray(chunk.length - TAG_BYTES))
    const plain = decipher.update(chunk.subarray(0, chunk.length - TAG_BYTES))
    try {
      decipher.final()
    } catch {
      throw recordCorrupt(record, `chunk ${counter} is changed, or not the last`)
    }
    yield plain
  }
  if (!seen) throw recordCorrupt(record, 'it has no payload')
}

/** HKDF-SHA-256 of the file key, as the age format has it. */
export const payloadKey = (fileKey: Uint8Array, nonce: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', fileKey, nonce, 'payload', 32))

/** 11 bytes of counter, big-endian, then 1 for the last chunk. */
function chunkNonce(counter: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(NONCE_BYTES)
  nonce.writeUIntBE(counter, 5, 6)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** Knows of each chunk whether another follows, at the price of holding one back. */
async function* counted(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly chunk: Uint8Array; readonly counter: number; readonly isLast: boolean }> {
  let held: Uint8Array | null = null
  let counter = 0
  for await (const chunk of chunks) {
    if (held !== null) yield { chunk: held, counter: counter++, isLast: false }
    held = chunk
  }
  if (held !== null) yield { chunk: held, counter, isLast: true }
}
