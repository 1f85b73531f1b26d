// The Merkle tree of RFC 6962 (SHA-256, leaf prefix 0, node prefix 1): requests of a block (P-10), pieces of a ciphertext, share
// commitments. The prefixes keep a node from being passed off as a leaf. In model because ledger, wire and records all need it.
// Not here: the sparse tree over the ledger's state (ledger/sparse-tree.ts).

import { sha256, sha256Joined } from './hash.ts'

/** Longest proof that is looked at: a tree of 2^53 leaves is not deeper. */
const PROOF_LENGTH_MAX = 53
const DIGEST_BYTES = 32
const LEAF_PREFIX = Uint8Array.of(0)
/** Below this a copy behind the prefix is cheaper than a hash in steps. */
const COPIED_MAX = 16 * 1024

/** SHA-256 of 0x00 ‖ bytes. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  if (bytes.length > COPIED_MAX) return sha256Joined(LEAF_PREFIX, bytes)
  const input = Buffer.allocUnsafe(1 + bytes.length)
  input[0] = 0
  input.set(bytes, 1)
  return sha256(input)
}

/** Root over the leaves' exact bytes; SHA-256 of nothing for an empty list. */
export const merkleRoot = (leaves: readonly Uint8Array[]): Uint8Array => rootOfLeafHashes(leaves.map(leafHash))

/** Root over hashes that `leafHash` made. */
export function rootOfLeafHashes(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return sha256(new Uint8Array(0))
  let level = hashes
  while (level.length > 1) level = levelAbove(level)
  return level[0]!
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
  input[0] = 1
  input.set(left, 1)
  input.set(right, 1 + DIGEST_BYTES)
  return sha256(input)
}
