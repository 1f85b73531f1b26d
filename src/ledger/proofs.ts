// Checks what a peer claims of its state against a state digest that a block header carries: that a key has a value, or has none.
// Needs no state of its own, so a patient's device can do it.

import { sha256 } from '../model/hash.ts'
import type { StateProof } from './sparse-tree.ts'

const HASH = 32
const DEPTH_MAX = 256

/** `value` null: that the key is absent. False for every malformed proof. */
export function verifyStateProof(claim: {
  readonly root: Uint8Array
  readonly key: string
  readonly value: Uint8Array | null
  readonly proof: StateProof
}): boolean {
  const { siblings, leaf } = claim.proof
  if (claim.root.length !== HASH || siblings.length > DEPTH_MAX) return false
  if (siblings.some(sibling => sibling.length !== HASH)) return false
  if (leaf !== null && (leaf.keyHash.length !== HASH || leaf.valueHash.length !== HASH)) return false
  const path = sha256(Buffer.from(claim.key))
  if (!leafAnswers(claim.value, leaf, path, siblings.length)) return false
  let hash = leaf === null ? new Uint8Array(HASH) : prefixed(0, leaf.keyHash, leaf.valueHash)
  for (let depth = siblings.length - 1; depth >= 0; depth--) {
    const right = bitAt(path, depth) === 1
    hash = right ? prefixed(1, siblings[depth]!, hash) : prefixed(1, hash, siblings[depth]!)
  }
  return Buffer.compare(hash, claim.root) === 0
}

/** Present: the leaf is the key's own. Absent: the path ends in nothing, or in another key's leaf that stands on the same path. */
function leafAnswers(value: Uint8Array | null, leaf: StateProof['leaf'], path: Uint8Array, depth: number): boolean {
  const own = leaf !== null && Buffer.compare(leaf.keyHash, path) === 0
  if (value !== null) return own && Buffer.compare(leaf.valueHash, sha256(value)) === 0
  if (own) return false
  if (leaf === null) return true
  for (let i = 0; i < depth; i++) if (bitAt(leaf.keyHash, i) !== bitAt(path, i)) return false
  return true
}

const prefixed = (prefix: number, a: Uint8Array, b: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.of(prefix), a, b]))

const bitAt = (bytes: Uint8Array, depth: number): number => (bytes[depth >> 3]! >> (7 - (depth & 7))) & 1
