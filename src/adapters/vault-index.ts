// What every vault that writes bytes somewhere writes alike: small values behind their digest, and the index of a ciphertext (size, root, leaf
// hashes), read back only when all of it holds. Not here: where they are written.

import { fromHex, sha256, toHex } from '../model/hash.ts'
import type { Digest, RecordId } from '../model/ids.ts'
import { packLeaves, pieceCorrupt, unpackLeaves } from '../records/pieces.ts'
import type { VaultEntry } from '../records/vault.ts'

const INDEX_MAGIC = Buffer.from('emrm-vault-1\n')
const DIGEST_BYTES = 32

/** Small files carry the digest of their bytes before them. */
export const digested = (bytes: Uint8Array): Uint8Array => Buffer.concat([sha256(bytes), bytes])

export function undigested(stored: Buffer): Buffer | null {
  if (stored.length < DIGEST_BYTES) return null
  const bytes = stored.subarray(DIGEST_BYTES)
  return stored.subarray(0, DIGEST_BYTES).equals(sha256(bytes)) ? bytes : null
}

export function encodeIndex(entry: VaultEntry): Uint8Array {
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(entry.cipherSize))
  return digested(Buffer.concat([INDEX_MAGIC, size, fromHex(entry.cipherRoot), packLeaves(entry.leaves)]))
}

export function decodeIndex(record: RecordId, stored: Buffer): VaultEntry {
  const bytes = undigested(stored)
  if (bytes === null) throw pieceCorrupt(record, 0)
  const at = INDEX_MAGIC.length
  if (bytes.length < at + 8 + DIGEST_BYTES || !bytes.subarray(0, at).equals(INDEX_MAGIC)) throw pieceCorrupt(record, 0)
  const cipherSize = Number(bytes.readBigUInt64BE(at))
  const cipherRoot = toHex(bytes.subarray(at + 8, at + 8 + DIGEST_BYTES)) as Digest
  const leaves = unpackLeaves(bytes.subarray(at + 8 + DIGEST_BYTES), { record, cipherRoot, cipherSize })
  if (leaves === null) throw pieceCorrupt(record, 0)
  return { record, cipherRoot, cipherSize, leaves }
}

/** Indexes kept in memory, so that serving a piece does not read and hash the list again: 1 MiB at most for each record of 32 GiB. */
const ENTRIES_CACHED_MAX = 64

/** The most recently used ones. */
export class IndexCache<T> {
  readonly #found = new Map<RecordId, T>()

  get(record: RecordId): T | undefined {
    return this.#found.get(record)
  }

  set(record: RecordId, found: T): void {
    this.#found.delete(record)
    this.#found.set(record, found)
    const oldest = this.#found.size > ENTRIES_CACHED_MAX ? this.#found.keys().next().value : undefined
    if (oldest !== undefined) this.#found.delete(oldest)
  }

  delete(record: RecordId): void {
    this.#found.delete(record)
  }
}
