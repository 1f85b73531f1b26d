// A proof of one key of the state as it stands in a JSON document for patients, and back. What comes back may be from anyone: text that is
// no proof is null, never an error. Not here: what a proof proves (ledger/proofs.ts).

import type { StateProof } from './ledger/sparse-tree.ts'
import { fromHex, toHex } from './model/hash.ts'
import { isHexadecimal } from './model/ids.ts'

const HASH_DIGITS = 64

/** Siblings from the root down, 64 digits each, and the leaf where the path ends. */
export type ProofText = {
  readonly siblings: string
  readonly leaf: { readonly keyHash: string; readonly valueHash: string } | null
}

export const proofText = ({ siblings, leaf }: StateProof): ProofText => ({
  siblings: toHex(Buffer.concat(siblings)),
  leaf: leaf === null ? null : { keyHash: toHex(leaf.keyHash), valueHash: toHex(leaf.valueHash) },
})

export function proofFromText(text: unknown): StateProof | null {
  if (!isObject(text, ['siblings', 'leaf'])) return null
  const siblings = siblingsFromText(text['siblings'])
  const { leaf } = text
  if (siblings === null || leaf === null) return siblings && { siblings, leaf: null }
  if (!isObject(leaf, ['keyHash', 'valueHash'])) return null
  const { keyHash, valueHash } = leaf
  if (typeof keyHash !== 'string' || typeof valueHash !== 'string') return null
  if (!isHexadecimal(keyHash, HASH_DIGITS) || !isHexadecimal(valueHash, HASH_DIGITS)) return null
  return { siblings, leaf: { keyHash: fromHex(keyHash), valueHash: fromHex(valueHash) } }
}

function siblingsFromText(text: unknown): readonly Uint8Array[] | null {
  if (typeof text !== 'string' || text.length % HASH_DIGITS !== 0 || text.length > 256 * HASH_DIGITS) return null
  if (!isHexadecimal(text, text.length)) return null
  const hashes: Uint8Array[] = []
  for (let at = 0; at < text.length; at += HASH_DIGITS) hashes.push(fromHex(text.slice(at, at + HASH_DIGITS)))
  return hashes
}

/** An object with exactly these fields. */
export function isObject(value: unknown, fields: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const keys = Object.keys(value)
  return keys.length === fields.length && fields.every(field => keys.includes(field))
}

export const bytesFromText = (text: unknown): Uint8Array | null =>
  typeof text === 'string' && text.length % 2 === 0 && isHexadecimal(text, text.length) ? fromHex(text) : null
