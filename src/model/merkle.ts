// The Merkle tree of RFC 6962 (SHA-256, leaf prefix 0, node prefix 1): requests of a block (P-10), pieces of a ciphertext, share
// commitments. The prefixes keep a node from being passed off as a leaf. In model because ledger, wire and records all need it.
// Not here: the sparse tree over the ledger's state (ledger/sparse-tree.ts).

import { Behind } from './behind.ts'
import { sha256, sha256Into, sha256Joined, sha256Text } from './hash.ts'

/** Longest proof that is looked at: a tree of 2^53 leaves is not deeper. */
const PROOF_LENGTH_MAX = 53
const DIGEST_BYTES = 32
const NODE_PREFIX = 1
const LEAF_PREFIX = Uint8Array.of(0)
const leafInput = new Behind(LEAF_PREFIX)
/** Below this a copy behind the prefix is cheaper than a hash in steps. */
const COPIED_MAX = 16 * 1024

/** SHA-256 of 0x00 ‖ bytes. */
export const leafHash = (bytes: Uint8Array): Uint8Array =>
  bytes.length > COPIED_MAX ? sha256Joined(LEAF_PREFIX, bytes) : sha256(leafInput.lay(bytes))

/** The same as a text of 32 characters, one for each byte. */
export const leafText = (bytes: Uint8Array): string => sha256Text(leafInput.lay(bytes))

/** Root over the leaves' exact bytes; SHA-256 of nothing for an empty list. */
export const merkleRoot = (leaves: readonly Uint8Array[]): Uint8Array => rootOfLeafHashes(leaves.map(leafHash))

/** Root over hashes that `leafHash` made. */
export function rootOfLeafHashes(hashes: readonly Uint8Array[]): Uint8Array {
  const level = Buffer.allocUnsafe(hashes.length * DIGEST_BYTES)
  hashes.forEach((hash, i) => void level.set(hash, i * DIGEST_BYTES))
  return rootOfLevel(level, hashes.length)
}

/** Root over hashes that `leafText` made. */
export function rootOfLeafTexts(hashes: readonly string[]): Uint8Array {
  const level = Buffer.allocUnsafe(hashes.length * DIGEST_BYTES)
  hashes.forEach((hash, i) => void level.write(hash, i * DIGEST_BYTES, DIGEST_BYTES, 'latin1'))
  return rootOfLevel(level, hashes.length)
}

/** Each level is written over the one below it. */
function rootOfLevel(level: Buffer, leaves: number): Uint8Array {
  if (leaves === 0) return sha256(new Uint8Array(0))
  const input = Buffer.alloc(1 + 2 * DIGEST_BYTES, NODE_PREFIX)
  for (let count = leaves; count > 1; count = Math.ceil(count / 2)) {
    for (let i = 0; i < count; i += 2) {
      const from = i * DIGEST_BYTES
      const to = (i / 2) * DIGEST_BYTES
      if (i + 1 === count) level.copy(level, to, from, from + DIGEST_BYTES)
      else {
        level.copy(input, 1, from, from + 2 * DIGEST_BYTES)
        sha256Into(input, level, to)
      }
    }
  }
  return Buffer.from(level.subarray(0, DIGEST_BYTES))
}

/** The siblings from the leaf up to the root. Throws RangeError when `index` is not in the list. */
export const inclusionProof = (leaves: readonly Uint8Array[], index: number): Uint8Array[] =>
  inclusionProofOfLeafHashes(leaves.map(leafHash), index)

/** The same for hashes that `leafHash` made. */
export function inclusionProofOfLeafHashes(hashes: readonly Uint8Array[], index: number): Uint8Array[] {
  if (!Number.isSafeInteger(index) || index < 0 || index >= hashes.length)
    throw new RangeError(`leaf ${String(index)} is not in a tree of ${hashes.length}`)
  const proof: Uint8Array[] = []
  let level = hashes
  let position = index
  while (level.length > 1) {
    // The last node of an odd level has no sibling: it rises unchanged and the proof has no entry for it.
    const sibling = level[position % 2 === 0 ? position + 1 : position - 1]
    if (sibling !== undefined) proof.push(sibling)
    level = levelAbove(level)
    position = Math.floor(position / 2)
  }
  return proof
}

/** Whether `leafHash` stands at `index` of the `size` leaves under `root` (RFC 9162 §2.1.3.2). False for every malformed proof. */
export function verifyInclusion(claim: {
  readonly leafHash: Uint8Array
  readonly index: number
  readonly size: number
  readonly proof: readonly Uint8Array[]
  readonly root: Uint8Array
}): boolean {
  const { index, size, proof, root } = claim
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size)) return false
  if (index < 0 || index >= size || proof.length > PROOF_LENGTH_MAX) return false
  if (claim.leafHash.length !== DIGEST_BYTES || root.length !== DIGEST_BYTES) return false
  let position = index
  let last = size - 1
  let hash = claim.leafHash
  for (const sibling of proof) {
    if (sibling.length !== DIGEST_BYTES || last === 0) return false
    if (position % 2 === 1) hash = nodeHash(sibling, hash)
    else {
      // The right-most node of its level: climb to where it first has a left sibling.
      if (position === last) {
        while (position % 2 === 0 && position !== 0) {
          position = Math.floor(position / 2)
          last = Math.floor(last / 2)
        }
        if (position === 0) return false
        hash = nodeHash(sibling, hash)
      } else hash = nodeHash(hash, sibling)
    }
    position = Math.floor(position / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && Buffer.compare(hash, root) === 0
}

function levelAbove(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = []
  for (let i = 0; i < level.length; i += 2) {
    const right = level[i + 1]
    above.push(right === undefined ? level[i]! : nodeHash(level[i]!, right))
  }
  return above
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const input = Buffer.allocUnsafe(1 + 2 * DIGEST_BYTES)
  input[0] = NODE_PREFIX
  input.set(left, 1)
  input.set(right, 1 + DIGEST_BYTES)
  return sha256(input)
}
