// The container of a record: age v1 (C2SP), so that a record can still be opened with common tools in thirty years when its key is known.
// The header is made by the age library; the payload, 64 KiB chunks of ChaCha20-Poly1305 (STREAM), by Node, ten times faster and in
// constant memory. Inside stand 32 bytes of salt, then the record. The salt makes the commitment on the chain (P-12) unguessable, and
// erasable with the ciphertext. Not here: key shares (shares.ts), pieces (pieces.ts).

import { createHash, randomBytes } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import { sha256, toHex } from '../model/hash.ts'
import type { Digest, RecordId } from '../model/ids.ts'
import { makeHeader, openHeader, readHeader, recordCorrupt } from './age-header.ts'
import {
  CHUNK_BYTES,
  openPayload,
  PAYLOAD_NONCE_BYTES,
  payloadKey,
  SEALED_CHUNK_BYTES,
  sealPayload,
} from './age-payload.ts'
import { ByteReader } from './bytes.ts'

export const SALT_BYTES = 32

export type SealResult = {
  /** SHA-256('emrm/commitment/1' ‖ salt ‖ SHA-256(record)). */
  readonly commitment: Digest
  /** SHA-256 of the record itself; stays with the custodian. */
  readonly plainSha256: Digest
  readonly plainSize: number
  readonly cipherSize: number
}

type OpenResult = { readonly commitment: Digest; readonly plainSha256: Digest; readonly plainSize: number }

export type Sealing = {
  /** To be read once, to its end. Throws EmrmError `record-empty`. */
  readonly ciphertext: AsyncIterable<Uint8Array>
  /** Known when `ciphertext` was read to its end. */
  result(): SealResult
}

export type Opening = {
  /** The record. Each chunk is authentic, but the whole is only so when the stream has ended: nothing may be shown before. Throws EmrmError `record-corrupt`. */
  readonly plaintext: AsyncIterable<Uint8Array>
  result(): OpenResult
}

export const commitmentOf = (salt: Uint8Array, plainSha256: Uint8Array): Digest =>
  toHex(sha256(Buffer.concat([Buffer.from('emrm/commitment/1'), salt, plainSha256]))) as Digest

/** `contentKey` and `salt32`: 32 random bytes each, made for this record and never used again. */
export function sealStream(options: {
  readonly contentKey: Uint8Array
  readonly record: RecordId
  readonly salt32: Uint8Array
  readonly source: AsyncIterable<Uint8Array>
}): Sealing {
  const { contentKey, record, salt32, source } = options
  if (salt32.length !== SALT_BYTES) throw new RangeError(`the salt has ${SALT_BYTES} bytes`)
  let result: SealResult | null = null
  const hash = createHash('sha256')
  let plainSize = 0
  let cipherSize = 0

  async function* salted(): AsyncGenerator<Uint8Array> {
    yield salt32
    for await (const chunk of source) {
      hash.update(chunk)
      plainSize += chunk.length
      yield chunk
    }
    if (plainSize === 0)
      throw new EmrmError('record-empty', 'the record has no bytes; check the file that was named', { record })
  }

  async function* ciphertext(): AsyncGenerator<Uint8Array> {
    const { header, fileKey } = await makeHeader(contentKey, record)
    const nonce = randomBytes(PAYLOAD_NONCE_BYTES)
    const head = Buffer.concat([header, nonce])
    cipherSize += head.length
    yield head
    for await (const chunk of sealPayload(payloadKey(fileKey, nonce), salted())) {
      cipherSize += chunk.length
      yield chunk
    }
    const digest = hash.digest()
    result = {
      commitment: commitmentOf(salt32, digest),
      plainSha256: toHex(digest) as Digest,
      plainSize,
      cipherSize,
    }
  }
  return { ciphertext: ciphertext(), result: () => finished(result) }
}

/** `source`: the container's bytes, cut anywhere. */
export function openStream(options: {
  readonly contentKey: Uint8Array
  readonly record: RecordId
  readonly source: AsyncIterable<Uint8Array>
}): Opening {
  const { contentKey, record, source } = options
  let result: OpenResult | null = null

  async function* plaintext(): AsyncGenerator<Uint8Array> {
    const reader = new ByteReader(source)
    try {
      const fileKey = await openHeader(await readHeader(reader, record), contentKey, record)
      const nonce = await reader.take(PAYLOAD_NONCE_BYTES)
      if (nonce === null) throw recordCorrupt(record, 'it ends before its payload')
      const hash = createHash('sha256')
      const salt = new Uint8Array(SALT_BYTES)
      let plainSize = 0
      for await (const plain of openPayload(payloadKey(fileKey, nonce), reader.rest(), record)) {
        const saltPart = plainSize === 0 ? plain.subarray(0, SALT_BYTES) : plain.subarray(0, 0)
        if (plainSize === 0 && saltPart.length < SALT_BYTES) throw recordCorrupt(record, 'it is too short')
        salt.set(saltPart)
        plainSize += plain.length
        const chunk = saltPart.length === 0 ? plain : plain.subarray(saltPart.length)
        hash.update(chunk)
        if (chunk.length > 0) yield chunk
      }
      const digest = hash.digest()
      result = {
        commitment: commitmentOf(salt, digest),
        plainSha256: toHex(digest) as Digest,
        plainSize: plainSize - SALT_BYTES,
      }
    } finally {
      await reader.close()
    }
  }
  return { plaintext: plaintext(), result: () => finished(result) }
}

/**
 * A container's bytes once more, from those of its record: sealing is deterministic once head and key are there. `head`: the container's
 * first bytes, at least a chunk more than its header. `from`: where to begin, not before the end of `head`. `plaintext`: the record from a
 * byte on, as far as it goes; where it ends too early, so does what comes of it, with bytes that are not the container's.
 * Throws EmrmError `record-corrupt` when the header does not open.
 */
export async function* sealAgain(options: {
  readonly contentKey: Uint8Array
  readonly record: RecordId
  readonly head: Uint8Array
  readonly from: number
  readonly plaintext: (from: number) => AsyncIterable<Uint8Array>
}): AsyncGenerator<Uint8Array> {
  const { contentKey, record, head, from, plaintext } = options
  const reader = new ByteReader(only(head))
  const header = await readHeader(reader, record)
  const nonce = await reader.take(PAYLOAD_NONCE_BYTES)
  if (nonce === null) throw recordCorrupt(record, 'it ends before its payload')
  const key = payloadKey(await openHeader(header, contentKey, record), nonce)
  const offset = from - header.length - nonce.length
  const first = Math.floor(offset / SEALED_CHUNK_BYTES)
  if (first < 1) throw new RangeError('the first chunk holds the salt: it cannot be made from the record')
  let skip = offset - first * SEALED_CHUNK_BYTES
  for await (const sealed of sealPayload(key, plaintext(first * CHUNK_BYTES - SALT_BYTES), first)) {
    yield sealed.subarray(skip)
    skip = 0
  }
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function finished<T>(result: T | null): T {
  if (result === null) throw new Error('invariant broken: the result is asked for before the stream has ended')
  return result
}
