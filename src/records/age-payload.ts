// The payload of an age v1 file: chunks of 64 KiB under ChaCha20-Poly1305, the nonce a counter and a mark of the last chunk (STREAM), so that
// nothing can be cut off, moved, repeated or added. Made by libsodium, sixteen chunks into one buffer: a cipher of Node's is an object that
// only a collection of the whole heap frees, and a gigabyte would make sixteen thousand. In constant memory. Not here: the header (age-header.ts).

import { hkdfSync } from 'node:crypto'
import sodium from 'sodium-native'
import type { RecordId } from '../model/ids.ts'
import { borrow } from '../short-lived.ts'
import { recordCorrupt } from './age-header.ts'
import { regroup } from './bytes.ts'

export const PAYLOAD_NONCE_BYTES = 16
export const CHUNK_BYTES: number = 64 * 1024
export const SEALED_CHUNK_BYTES: number = CHUNK_BYTES + 16
const TAG_BYTES = 16
const NONCE_BYTES = 12
/** Chunks that are worked on at a time: 1 MiB. */
const BATCH_MAX = 16

/** Sealed chunks, each followed by its tag, to stand behind the payload's nonce; `first`: the number of the first, when others went before. */
export async function* sealPayload(
  key: Uint8Array,
  plaintext: AsyncIterable<Uint8Array>,
  first = 0,
): AsyncGenerator<Uint8Array> {
  for await (const batch of batches(regroup(plaintext, CHUNK_BYTES), first)) {
    const sealed = borrow(bytesIn(batch) + batch.length * TAG_BYTES)
    let at = 0
    for (const { chunk, nonce } of batch) {
      const target = sealed.subarray(at, at + chunk.length + TAG_BYTES)
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(target, chunk, null, null, nonce, key)
      at += target.length
    }
    yield sealed
  }
}

/** Chunks of an age payload behind its nonce. Throws EmrmError `record-corrupt` for a chunk that is changed, missing, moved or too many. */
export async function* openPayload(
  key: Uint8Array,
  payload: AsyncIterable<Uint8Array>,
  record: RecordId,
): AsyncGenerator<Uint8Array> {
  let seen = false
  for await (const batch of batches(regroup(payload, SEALED_CHUNK_BYTES))) {
    seen = true
    // Only the single chunk of an empty file may be empty.
    for (const { chunk, counter } of batch)
      if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && counter > 0))
        throw recordCorrupt(record, 'it ends inside a chunk')
    const plain = borrow(bytesIn(batch) - batch.length * TAG_BYTES)
    let at = 0
    for (const { chunk, counter, nonce } of batch) {
      const size = chunk.length - TAG_BYTES
      const target = plain.subarray(at, at + size)
      try {
        const tag = chunk.subarray(size)
        sodium.crypto_aead_chacha20poly1305_ietf_decrypt_detached(
          target,
          null,
          chunk.subarray(0, size),
          tag,
          null,
          nonce,
          key,
        )
      } catch {
        throw recordCorrupt(record, `chunk ${counter} is changed, or not the last`)
      }
      at += size
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

type Chunk = { readonly chunk: Uint8Array; readonly counter: number; readonly nonce: Uint8Array }

const bytesIn = (batch: readonly Chunk[]): number => batch.reduce((sum, { chunk }) => sum + chunk.length, 0)

/** Knows of each chunk whether another follows, at the price of holding one back. */
async function* batches(chunks: AsyncIterable<Uint8Array>, first = 0): AsyncGenerator<readonly Chunk[]> {
  let batch: Chunk[] = []
  let held: Uint8Array | null = null
  let counter = first
  for await (const chunk of chunks) {
    if (held !== null) batch.push({ chunk: held, counter, nonce: chunkNonce(counter++, false) })
    held = chunk
    if (batch.length === BATCH_MAX) {
      yield batch
      batch = []
    }
  }
  if (held !== null) batch.push({ chunk: held, counter, nonce: chunkNonce(counter, true) })
  if (batch.length > 0) yield batch
}
