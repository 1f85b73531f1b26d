// The content key of a record in n shares, threshold t (contract.md "Release"): no single peer can open a record, f peers cannot leak it
// and f peers cannot withhold it. Share i goes to validator i in a box; on a grant the validator seals it again, to the reader.
// Shamir's scheme does not check anything: commitments under `shareRoot` and `keyCommit`, both on the chain, do that here.
// Not here: who may have a share (release.ts), how boxes travel (deposit.ts, collect.ts).

import { randomBytes } from 'node:crypto'
import { combine, split } from 'shamir-secret-sharing'
import { fromHex, sha256, toHex } from '../model/hash.ts'
import type { Digest, Identifier, RecordId, RequestId } from '../model/ids.ts'
import { inclusionProof, leafHash, merkleRoot, verifyInclusion } from '../model/merkle.ts'
import { u32 } from './bytes.ts'
import { type SealKey, sealTo } from './seal.ts'

export const CONTENT_KEY_BYTES = 32
const SALT_BYTES = 32
/** 32 bytes of the polynomial's values and the coordinate. */
const SHARE_BYTES = CONTENT_KEY_BYTES + 1
/** Subsets that `combineShares` tries when a committed share is wrong; n=200 of t=67 has more than anyone can try. */
const SUBSETS_MAX = 4096

/** What the chain says of a record's shares. */
export type ShareClaim = {
  readonly record: RecordId
  readonly shareRoot: Digest
  readonly shareCount: number
  readonly keyCommit: Digest
}

/** A share as it rests with a validator: its box, and the proof that its commitment stands under `shareRoot`. */
export type ShareBox = {
  readonly record: RecordId
  readonly index: number
  readonly box: Uint8Array
  readonly commit: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/** The same share, sealed to the recipient key of a grant. */
export type ReleasedShare = {
  readonly index: number
  readonly box: Uint8Array
  readonly commit: Uint8Array
  readonly proof: readonly Uint8Array[]
}

export type OpenedShare = { readonly index: number; readonly salt: Uint8Array; readonly share: Uint8Array }

export type Deal = {
  readonly claim: ShareClaim
  /** In committee order. */
  readonly boxes: readonly ShareBox[]
}

const depositInfo = (record: RecordId, owner: Identifier, index: number): string =>
  `emr/v1|share|${record}|${owner}|${index}`
const releaseInfo = (record: RecordId, grant: RequestId, index: number): string =>
  `emr/v1|release|${record}|${grant}|${index}`

/** SHA-256('emrm/key/1' ‖ record ‖ content key). */
export const keyCommitOf = (record: RecordId, contentKey: Uint8Array): Digest =>
  toHex(sha256(Buffer.concat([Buffer.from('emrm/key/1'), fromHex(record), contentKey]))) as Digest

/** SHA-256('emrm/share/1' ‖ record ‖ index (u32, big-endian) ‖ salt ‖ share). */
const shareCommitOf = (record: RecordId, opened: OpenedShare): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('emrm/share/1'), fromHex(record), u32(opened.index), opened.salt, opened.share]))

/** `sealKeys`: X-Wing public keys of the validators in committee order, at least 2. `threshold`: 2 … n. */
export async function dealShares(options: {
  readonly contentKey: Uint8Array
  readonly record: RecordId
  readonly owner: Identifier
  readonly threshold: number
  readonly sealKeys: readonly Uint8Array[]
}): Promise<Deal> {
  const { contentKey, record, owner, threshold, sealKeys } = options
  const shares = await split(new Uint8Array(contentKey), sealKeys.length, threshold)
  const opened = shares.map(
    (share, index): OpenedShare => ({ index, salt: new Uint8Array(randomBytes(SALT_BYTES)), share }),
  )
  const commits = opened.map(share => shareCommitOf(record, share))
  const boxes = await Promise.all(
    opened.map(
      async (share, index): Promise<ShareBox> => ({
        record,
        index,
        box: await sealTo(sealKeys[index]!, depositInfo(record, owner, index), packed(share)),
        commit: commits[index]!,
        proof: inclusionProof(commits, index),
      }),
    ),
  )
  for (const { share } of opened) share.fill(0)
  const shareRoot = toHex(merkleRoot(commits)) as Digest
  return { claim: { record, shareRoot, shareCount: shares.length, keyCommit: keyCommitOf(record, contentKey) }, boxes }
}

/** Null when the box does not open for this record, owner and index, or holds another share than the chain's root commits to. */
export async function openShareBox(
  stored: ShareBox,
  key: SealKey,
  claim: ShareClaim,
  owner: Identifier,
): Promise<OpenedShare | null> {
  const plain = await key.open(stored.box, depositInfo(claim.record, owner, stored.index))
  return plain === null ? null : checked(plain, stored, claim)
}

/** Seals an opened share again, to the recipient of a grant and for nothing else. */
export async function resealShare(options: {
  readonly opened: OpenedShare
  readonly stored: ShareBox
  readonly grant: RequestId
  readonly recipient: Uint8Array
}): Promise<ReleasedShare> {
  const { opened, stored, grant, recipient } = options
  const box = await sealTo(recipient, releaseInfo(stored.record, grant, opened.index), packed(opened))
  return { index: opened.index, box, commit: stored.commit, proof: stored.proof }
}

/** Null when the released box does not open for this grant, or its share is not the committed one. */
export async function openReleasedShare(
  released: ReleasedShare,
  key: SealKey,
  claim: ShareClaim,
  grant: RequestId,
): Promise<OpenedShare | null> {
  const plain = await key.open(released.box, releaseInfo(claim.record, grant, released.index))
  return plain === null ? null : checked(plain, released, claim)
}

/** Whether `commit` stands at `index` under the record's `shareRoot`; what a peer can check of a box that it cannot open. */
export const isCommitted = (
  share: { readonly index: number; readonly commit: Uint8Array; readonly proof: readonly Uint8Array[] },
  claim: ShareClaim,
): boolean =>
  verifyInclusion({
    leafHash: leafHash(share.commit),
    index: share.index,
    size: claim.shareCount,
    proof: share.proof,
    root: fromHex(claim.shareRoot),
  })

export type Combined =
  | { readonly type: 'key'; readonly contentKey: Uint8Array; readonly bad: readonly number[] }
  /** Fewer than `threshold` different shares, or no subset of them makes the committed key. */
  | { readonly type: 'insufficient'; readonly have: number; readonly need: number }

/**
 * Makes the content key of shares that were checked against `shareRoot`. A dealer may have committed to a wrong share: then other subsets
 * are tried, and `bad` names the indexes that do not fit. More than `threshold` shares also work, so a threshold that was raised since is harmless.
 */
export async function combineShares(
  shares: readonly OpenedShare[],
  claim: ShareClaim,
  threshold: number,
): Promise<Combined> {
  const distinct = [...new Map(shares.map(share => [share.index, share])).values()].sort((a, b) => a.index - b.index)
  let tries = 0
  for (let size = Math.max(2, threshold); size <= distinct.length; size++)
    for (const subset of subsetsOf(distinct, size)) {
      if (++tries > SUBSETS_MAX) return { type: 'insufficient', have: distinct.length, need: threshold }
      const contentKey = await keyOf(subset, claim)
      if (contentKey === null) continue
      return { type: 'key', contentKey, bad: await badOnes(distinct, subset, claim) }
    }
  return { type: 'insufficient', have: distinct.length, need: threshold }
}

async function keyOf(subset: readonly OpenedShare[], claim: ShareClaim): Promise<Uint8Array | null> {
  // Two shares at one coordinate cannot both be right; the library throws for them.
  const coordinates = new Set(subset.map(({ share }) => share[SHARE_BYTES - 1]))
  if (coordinates.size !== subset.length) return null
  const key = await combine(subset.map(({ share }) => new Uint8Array(share)))
  return keyCommitOf(claim.record, key) === claim.keyCommit ? key : null
}

/** A share is bad when it makes another key in place of a good one. */
async function badOnes(
  all: readonly OpenedShare[],
  good: readonly OpenedShare[],
  claim: ShareClaim,
): Promise<readonly number[]> {
  const bad: number[] = []
  for (const share of all) {
    if (good.includes(share)) continue
    if ((await keyOf([...good.slice(1), share], claim)) === null) bad.push(share.index)
  }
  return bad
}

/** All subsets of `size`, in lexical order, made one at a time. */
function* subsetsOf<T>(items: readonly T[], size: number, from = 0): Generator<readonly T[]> {
  if (size === 0) {
    yield []
    return
  }
  for (let i = from; i <= items.length - size; i++)
    for (const rest of subsetsOf(items, size - 1, i + 1)) yield [items[i]!, ...rest]
}

const packed = (opened: OpenedShare): Uint8Array => new Uint8Array(Buffer.concat([opened.salt, opened.share]))

function checked(
  plain: Uint8Array,
  carried: { readonly index: number; readonly commit: Uint8Array; readonly proof: readonly Uint8Array[] },
  claim: ShareClaim,
): OpenedShare | null {
  if (plain.length !== SALT_BYTES + SHARE_BYTES) return null
  const opened = { index: carried.index, salt: plain.slice(0, SALT_BYTES), share: plain.slice(SALT_BYTES) }
  const same = Buffer.compare(shareCommitOf(claim.record, opened), carried.commit) === 0
  return same && isCommitted(carried, claim) ? opened : null
}
