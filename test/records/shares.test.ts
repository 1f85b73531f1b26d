// Key shares: t of them make the key, fewer do not, and a share that is not the dealt one is noticed and named.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { combine } from 'shamir-secret-sharing'
import { sha256, toHex } from '../../src/model/hash.ts'
import type { Digest, RequestId } from '../../src/model/ids.ts'
import { inclusionProof, merkleRoot } from '../../src/model/merkle.ts'
import { createSealKey, type SealKey, sealTo } from '../../src/records/seal.ts'
import {
  combineShares,
  type Deal,
  dealShares,
  isCommitted,
  keyCommitOf,
  type OpenedShare,
  openReleasedShare,
  openShareBox,
  resealShare,
} from '../../src/records/shares.ts'
import { fill, newIdentifier, newRecordId } from './support.ts'

const contentKey = fill(32, 3)
const owner = newIdentifier()
const record = newRecordId()
const grant = toHex(fill(32, 5)) as RequestId

type Stage = { readonly keys: readonly SealKey[]; readonly deal: Deal; readonly opened: readonly OpenedShare[] }

async function stage(n: number, threshold: number): Promise<Stage> {
  const keys = Array.from({ length: n }, createSealKey)
  const sealKeys = keys.map(key => key.publicBytes)
  const deal = await dealShares({ contentKey, record, owner, threshold, sealKeys })
  const opened = await Promise.all(keys.map((key, i) => openShareBox(deal.boxes[i]!, key, deal.claim, owner)))
  assert.equal(opened.includes(null), false)
  return { keys, deal, opened: opened as OpenedShare[] }
}

const isKey = (bytes: Uint8Array): boolean => Buffer.compare(bytes, contentKey) === 0

test('any t of n shares make the key and t-1 do not, whatever their order', async () => {
  const { deal, opened } = await stage(7, 3)
  for (const chosen of [
    [0, 1, 2],
    [6, 3, 1],
    [2, 4, 5, 6],
    [0, 1, 2, 3, 4, 5, 6],
  ]) {
    const combined = await combineShares(
      chosen.map(i => opened[i]!),
      deal.claim,
      3,
    )
    assert.equal(combined.type === 'key' && isKey(combined.contentKey), true)
    assert.deepEqual(combined.type === 'key' && combined.bad, [])
  }
  for (const chosen of [[], [4], [0, 1], [5, 5, 5]])
    assert.deepEqual(
      await combineShares(
        chosen.map(i => opened[i]!),
        deal.claim,
        3,
      ),
      {
        type: 'insufficient',
        have: new Set(chosen).size,
        need: 3,
      },
    )
})

test('f shares say nothing of the key: every other key is as possible', async () => {
  // t = 2: for one share and any wished-for key byte there is a second share that fits; so one share excludes no key.
  const { opened } = await stage(4, 2)
  const one = opened[0]!.share
  const x = one[32]! === 1 ? 2 : 1
  const seen = new Set<number>()
  for (let value = 0; value < 256; value++) {
    const second = new Uint8Array(33).fill(value)
    second[32] = x
    seen.add((await combine([new Uint8Array(one), second]))[0]!)
  }
  assert.equal(seen.size, 256)
})

test('a threshold that the authority changed since the deal is no obstacle in either direction', async () => {
  const { deal, opened } = await stage(7, 4)
  for (const threshold of [2, 3, 4, 6]) {
    const combined = await combineShares(opened, deal.claim, threshold)
    assert.equal(combined.type, 'key', `threshold ${threshold}`)
  }
})

test('a box opens for its own validator, record, owner and index alone', async () => {
  const { keys, deal } = await stage(4, 2)
  const [box] = deal.boxes
  assert.notEqual(await openShareBox(box!, keys[0]!, deal.claim, owner), null)
  assert.equal(await openShareBox(box!, keys[1]!, deal.claim, owner), null)
  assert.equal(await openShareBox(box!, keys[0]!, deal.claim, newIdentifier()), null)
  assert.equal(await openShareBox({ ...box!, index: 1 }, keys[0]!, deal.claim, owner), null)
  assert.equal(await openShareBox(box!, keys[0]!, { ...deal.claim, record: newRecordId() }, owner), null)
})

test('boxes that someone copies into a record of his own do not open there', async () => {
  // CALYPSO's copy attack: register the victim's boxes as one's own record, then let oneself read.
  const { keys, deal } = await stage(4, 2)
  const mine = { ...deal.claim, record: newRecordId() }
  for (const [i, box] of deal.boxes.entries())
    assert.equal(await openShareBox({ ...box, record: mine.record }, keys[i]!, mine, newIdentifier()), null)
})

test('a box whose commitment does not stand under the record’s root is refused', async () => {
  const { keys, deal } = await stage(4, 2)
  const [first, second] = deal.boxes
  assert.equal(isCommitted(first!, deal.claim), true)
  const wrong = [
    { ...first!, commit: second!.commit, proof: second!.proof },
    { ...first!, commit: new Uint8Array(32) },
    { ...first!, proof: [] },
    { ...first!, proof: [...first!.proof, new Uint8Array(32)] },
  ]
  for (const box of wrong) assert.equal(await openShareBox(box, keys[0]!, deal.claim, owner), null)
  const otherRoot = { ...deal.claim, shareRoot: '0'.repeat(64) as Digest }
  assert.equal(await openShareBox(first!, keys[0]!, otherRoot, owner), null)
})

test('a released share opens for the grant’s recipient and that grant alone', async () => {
  const { deal, opened } = await stage(4, 2)
  const reader = createSealKey()
  const stored = deal.boxes[2]!
  const released = await resealShare({ opened: opened[2]!, stored, grant, recipient: reader.publicBytes })
  const again = await openReleasedShare(released, reader, deal.claim, grant)
  assert.deepEqual(again, opened[2])
  const other = toHex(fill(32, 6)) as RequestId
  assert.equal(await openReleasedShare(released, createSealKey(), deal.claim, grant), null)
  assert.equal(await openReleasedShare(released, reader, deal.claim, other), null)
  assert.equal(await openReleasedShare({ ...released, index: 1 }, reader, deal.claim, grant), null)
})

test('a validator that seals another share than the committed one is refused by the reader', async () => {
  const { deal, opened } = await stage(4, 2)
  const reader = createSealKey()
  const lie = { ...opened[0]!, share: opened[1]!.share }
  const released = await resealShare({ opened: lie, stored: deal.boxes[0]!, grant, recipient: reader.publicBytes })
  assert.equal(await openReleasedShare(released, reader, deal.claim, grant), null)
})

test('shares that the dealer himself committed to wrongly are passed over and named', async () => {
  const { deal, opened } = await stage(7, 3)
  const bend = (i: number): OpenedShare => {
    const share = new Uint8Array(opened[i]!.share)
    // Each at a byte of its own: two errors at one byte cancel each other in one of 255 deals.
    share[i]! ^= 1
    return { ...opened[i]!, share }
  }
  const shares = [bend(0), opened[1]!, bend(2), opened[3]!, opened[4]!]
  const combined = await combineShares(shares, deal.claim, 3)
  assert.equal(combined.type === 'key' && isKey(combined.contentKey), true)
  assert.deepEqual(combined.type === 'key' && combined.bad, [0, 2])
  const hopeless = await combineShares([bend(0), opened[1]!, bend(2), opened[3]!], deal.claim, 3)
  assert.equal(hopeless.type, 'insufficient')
})

test('two shares at one coordinate are no reason to fail when the others suffice', async () => {
  const { deal, opened } = await stage(5, 2)
  const twin = { ...opened[1]!, share: new Uint8Array(opened[0]!.share) }
  const combined = await combineShares([opened[0]!, twin, opened[2]!], deal.claim, 2)
  assert.equal(combined.type === 'key' && isKey(combined.contentKey), true)
})

test('commitments are the bytes that contract.md names', async () => {
  const { deal, opened } = await stage(4, 2)
  const commits = opened.map(({ index, salt, share }) =>
    sha256(
      Buffer.concat([Buffer.from('emrm/share/1'), Buffer.from(record, 'hex'), Buffer.of(0, 0, 0, index), salt, share]),
    ),
  )
  assert.equal(deal.claim.shareRoot, toHex(merkleRoot(commits)))
  assert.deepEqual(deal.boxes[3]!.proof, inclusionProof(commits, 3))
  assert.equal(
    keyCommitOf(record, contentKey),
    toHex(sha256(Buffer.concat([Buffer.from('emrm/key/1'), Buffer.from(record, 'hex'), contentKey]))),
  )
})

test('a share of a length that was never dealt is refused', async () => {
  const { keys, deal } = await stage(4, 2)
  const info = `emr/v1|share|${record}|${owner}|0`
  for (const size of [0, 64, 66]) {
    const box = await sealTo(keys[0]!.publicBytes, info, new Uint8Array(size))
    assert.equal(await openShareBox({ ...deal.boxes[0]!, box }, keys[0]!, deal.claim, owner), null)
  }
})
