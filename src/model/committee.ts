// The validators of an epoch in ranking order (P-30, P-31) with their thresholds, and who is primary when (consensus.md §1.5).

import { EmrmError } from './errors.ts'
import { digestOf, fromHex } from './hash.ts'
import type { Digest, Height, PeerId, PublicKey, ValidatorIndex, View } from './ids.ts'
import { makeQuorum, type Quorum } from './quorum.ts'

/** P-30: at most 200 institutions form the alliance service group. */
export const VALIDATORS_MAX = 200

export type Validator = {
  readonly index: ValidatorIndex
  /** Institution's Ed25519 key, which is also its libp2p key. */
  readonly publicKey: PublicKey
  readonly peerId: PeerId
  readonly name: string
}

export type Committee = {
  /** In ranking order; validators[i].index === i. */
  readonly validators: readonly Validator[]
  readonly quorum: Quorum
  /** Digest over n, f, p and the ordered keys: part of every signature's domain. */
  readonly hash: Digest
}

export function makeCommittee(validators: readonly Validator[], f: number, p: number, hash: Digest): Committee {
  if (validators.length > VALIDATORS_MAX)
    throw new EmrmError('committee-too-large', `${validators.length} validators; at most ${VALIDATORS_MAX}`, {
      count: validators.length,
    })
  return { validators, quorum: makeQuorum(validators.length, f, p), hash }
}

/** SHA-256('emrm/committee/1' ‖ 0 ‖ n ‖ f ‖ p ‖ keys in ranking order), the numbers as 4 bytes each, big-endian. */
export function committeeHashOf(keys: readonly PublicKey[], f: number, p: number): Digest {
  const numbers = Buffer.alloc(12)
  numbers.writeUInt32BE(keys.length, 0)
  numbers.writeUInt32BE(f, 4)
  numbers.writeUInt32BE(p, 8)
  return digestOf(Buffer.concat([new TextEncoder().encode('emrm/committee/1\0'), numbers, ...keys.map(fromHex)]))
}

/** base(h+1) when the committee stays: the author of block h, or the next in the ranking when h+1 is a multiple of `rotationBlocks` (0: never). */
export function leadAfter(
  { height, author }: { readonly height: Height; readonly author: ValidatorIndex },
  committee: Committee,
  rotationBlocks: number,
): ValidatorIndex {
  const moves = rotationBlocks > 0 && (height + 1) % rotationBlocks === 0
  return ((author + (moves ? 1 : 0)) % committee.validators.length) as ValidatorIndex
}

/** `primary(h,v) = ranking[(base(h)+v) mod n]`; base(h): 0 at height 1, then `leadAfter`. */
export const primaryOf = (committee: Committee, base: ValidatorIndex, view: View): ValidatorIndex =>
  ((base + view) % committee.validators.length) as ValidatorIndex
