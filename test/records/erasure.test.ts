// What the chain has erased is destroyed by everyone who holds anything of it, signed for, and never comes back: not by a deposit that was on
// its way, not by a caretaker, not from a backup.

import assert from 'node:assert/strict'
import { link, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { Eraser } from '../../src/records/eraser.ts'
import { guardErased } from '../../src/records/erasure-guard.ts'
import { decodeDepositAnswer, encodeDepositRequest } from '../../src/records/frames.ts'
import { replicaHolders } from '../../src/records/holders.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { packLeaves } from '../../src/records/pieces.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { chunked, coded, collected, fill, newRecordId } from './support.ts'
import { type Hospital, makeWorld, never, type World } from './world.ts'

const root = await mkdtemp(join(tmpdir(), 'emrm-erasure-'))
after(() => rm(root, { recursive: true, force: true }))

type Stage = {
  readonly world: World
  readonly custodian: Hospital
  readonly facts: RecordFacts
  /** The hospital beside the custodian that holds the ciphertext. */
  readonly holder: Hospital
}

/** Four hospitals, one record delivered and copied; and another record that must stay. */
async function stage(): Promise<Stage & { readonly other: RecordFacts }> {
  const world = await makeWorld(4)
  const custodian = world.hospitals[0]!
  const add = async (seed: number): Promise<RecordFacts> => {
    const facts = await world.add(custodian, fill(200_000, seed))
    await custodian.depositor.deliver(facts.record, never)
    await custodian.depositor.replicate(facts.record, never)
    return facts
  }
  const [facts, other] = [await add(1), await add(2)]
  world.clock.advance(61_000)
  const [chosen] = replicaHolders(facts, world.ledger)
  const holder = world.hospitals.find(each => each.facts.id === chosen!.id)!
  return { world, custodian, facts, holder, other }
}

const receiptOf = ({ world, facts }: Stage, hospital: Hospital): readonly string[] | undefined =>
  world.receipts.get(`${facts.record} ${hospital.facts.id}`)
const lookAll = (world: World): Promise<unknown> => Promise.all(world.hospitals.map(each => each.eraser.look()))

test('everybody destroys what they have, and signs for exactly that; other records stay whole', async () => {
  const s = await stage()
  const { world, custodian, facts, holder, other } = s
  world.erase(facts.record)
  await lookAll(world)
  for (const hospital of world.hospitals) {
    assert.deepEqual(await hospital.vault.list(), [other.record])
    const holds = hospital === custodian || hospital === holder ? ['ciphertext', 'share'] : ['share']
    assert.deepEqual(receiptOf(s, hospital), holds)
    assert.deepEqual(await hospital.vault.verify(other.record), [])
  }
})

test('shares that a custodian had still to deliver are destroyed with the rest', async () => {
  const { world, custodian } = await stage()
  const facts = await world.add(custodian, fill(1000, 3))
  world.away.add(world.hospitals[3]!.facts.peerId)
  await custodian.depositor.deliver(facts.record, never)
  world.erase(facts.record)
  await custodian.eraser.look()
  assert.deepEqual(world.receipts.get(`${facts.record} ${custodian.facts.id}`), ['ciphertext', 'deal', 'share'])
})

test('from the erasing block on no share and no piece is given out, whatever is still on the disk', async () => {
  const { world, custodian, facts, holder } = await stage()
  const recipient = createSealKey()
  const grant = world.grant(facts, holder, recipient)
  const asked = { grant: grant.grant, recipient: recipient.publicBytes }
  assert.equal((await custodian.shares.answer(asked, holder.facts.peerId)).type, 'released')
  world.erase(facts.record)
  const answer = await custodian.shares.answer(asked, holder.facts.peerId)
  assert.deepEqual(answer, { type: 'refused', reason: 'record-withdrawn', detail: '' })
  assert.equal((await custodian.vault.items(facts.record)).includes('share'), true, 'nobody has looked yet')
})

test('a custodian gives out no share any more that it had still to deliver', async () => {
  const { world, custodian } = await stage()
  const away = world.hospitals[3]!
  world.away.add(away.facts.peerId)
  const facts = await world.add(custodian, fill(1000, 4))
  await custodian.depositor.deliver(facts.record, never)
  const want = async (): Promise<string | undefined> => {
    const frame = encodeDepositRequest({ type: 'want', record: facts.record, loss: away.receiver.loss(facts)! })
    const [answer] = await collectFrames(custodian.receiver.handle(once(frame), away.facts.peerId))
    return decodeDepositAnswer(answer!)?.type
  }
  assert.equal(await want(), 'box')
  world.erase(facts.record)
  assert.equal(await want(), 'refused')
})

test('a deposit that is under way when its record is erased leaves nothing, and the receipt waits for it', async () => {
  const s = await stage()
  const { world, custodian, facts } = s
  const late = world.hospitals.find(each => each !== custodian && each !== s.holder)!
  const held = (await custodian.vault.entry(facts.record))!
  const gate = Promise.withResolvers<void>()
  const half = Promise.withResolvers<void>()
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield encodeDepositRequest({ type: 'cipher', record: facts.record })
    yield packLeaves(held.leaves)
    half.resolve()
    await gate.promise
    yield await Promise.resolve(ciphertext)
  }
  const ciphertext = await custodian.vault.piece(facts.record, 0)
  const answer = collectFrames(late.receiver.handle(slow(), custodian.facts.peerId))
  await half.promise
  world.erase(facts.record)
  const looked = late.eraser.look()
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve))
  assert.equal(receiptOf(s, late), undefined, 'something of it may still come')
  gate.resolve()
  assert.deepEqual(decodeDepositAnswer((await answer)[0]!), { type: 'refused', reason: 'record-erased' })
  await looked
  assert.deepEqual(receiptOf(s, late), ['share'])
  assert.deepEqual(await late.vault.items(facts.record), [])
  assert.equal(await late.vault.entry(facts.record), null)
})

test('nothing heals an erased record: what a backup brings back is destroyed by the next care, and named', async () => {
  const s = await stage()
  const { world, custodian, facts, holder } = s
  const share = (await holder.vault.item(facts.record, 'share'))!
  const { leaves } = (await holder.vault.entry(facts.record))!
  const pieces = await collected(chunked(await holder.vault.piece(facts.record, 0), 50_000))
  world.erase(facts.record)
  await lookAll(world)
  const restore = async (): Promise<void> => {
    await holder.vault.putKnown(facts, leaves, chunked(pieces, 50_000))
    await holder.vault.putItem(facts.record, 'share', share)
  }
  await restore()
  const care = await holder.caretaker.care(facts.record, never)
  assert.deepEqual(care, { record: facts.record, found: [{ type: 'erased', record: facts.record }], left: [] })
  assert.deepEqual((await holder.vault.list()).includes(facts.record), false)
  // A whole round of care at everybody asks nobody for it and brings nothing back.
  world.asked.length = 0
  for (const hospital of world.hospitals)
    for await (const problem of hospital.caretaker.round(never)) assert.fail(JSON.stringify(problem))
  for (const hospital of world.hospitals) assert.equal((await hospital.vault.list()).includes(facts.record), false)
  // A peer that starts with a restored vault destroys before anybody asks it to, though its receipt stands.
  await restore()
  const before = receiptOf(s, holder)
  const again = new Eraser({
    ...{ vault: guardErased(holder.vault, record => world.erased.has(record)), ledger: world.ledger },
    ...{ self: holder.facts.id, clock: world.clock, log: { debug() {}, info() {}, warn() {}, error() {} } },
    submit: () => assert.fail('it signed for that already'),
  })
  await again.look()
  assert.equal((await holder.vault.list()).includes(facts.record), false)
  assert.deepEqual(receiptOf(s, holder), before)
  assert.equal((await custodian.vault.list()).includes(facts.record), false)
})

test('a receipt that did not reach the chain is sent again until it does; what was destroyed is destroyed at once', async () => {
  const s = await stage()
  const { world, custodian, facts } = s
  world.away.add(custodian.facts.peerId)
  world.erase(facts.record)
  await custodian.eraser.look()
  assert.equal(receiptOf(s, custodian), undefined)
  assert.equal((await custodian.vault.list()).includes(facts.record), false)
  world.away.clear()
  world.clock.advance(30_000)
  await custodian.eraser.look()
  assert.deepEqual(receiptOf(s, custodian), ['ciphertext', 'share'])
})

test('one that the authority removed destroys all the same, and has no voice to say so', async () => {
  const s = await stage()
  const { world, facts, holder } = s
  world.remove(holder)
  world.erase(facts.record)
  await holder.eraser.look()
  assert.equal((await holder.vault.list()).includes(facts.record), false)
  assert.equal(receiptOf(s, holder), undefined)
})

test('the guard lets nothing in, whichever door it comes by', async () => {
  const erased = new Set<string>()
  const inner = makeMemoryVault()
  const vault = guardErased(inner, record => erased.has(record))
  const record = newRecordId()
  const entry = await vault.put(record, chunked(fill(100), 10))
  erased.add(record)
  const claim = { record, cipherRoot: entry.cipherRoot, cipherSize: entry.cipherSize }
  for (const write of [
    () => vault.put(record, chunked(fill(100), 10)),
    () => vault.putKnown(claim, entry.leaves, chunked(fill(100), 10)),
    () => vault.mendPiece(record, 0, fill(100)),
    () => vault.putItem(record, 'share', fill(10)),
    () => vault.piece(record, 0),
  ])
    await assert.rejects(write, coded('record-erased'))
  await vault.remove(record)
  assert.deepEqual(await vault.list(), [])
})

test('a file that is removed is overwritten first: another name for the same file shows nothing of it', async () => {
  const folder = join(root, 'shred')
  const vault = await openFileVault(folder)
  const record = newRecordId()
  const content = fill(2_500_000, 7)
  await vault.put(record, chunked(content, 70_000))
  await vault.putItem(record, 'share', content.subarray(0, 1000))
  await vault.putItem(record, 'deal', content.subarray(0, 2000))
  const place = join(folder, record.slice(0, 2), record)
  for (const name of await readdir(place)) await link(join(place, name), join(root, `kept-${name}`))
  await vault.removeItem(record, 'deal')
  await vault.remove(record)
  for (const name of ['cipher', 'share', 'deal']) {
    const kept = await readFile(join(root, `kept-${name}`))
    assert.ok(kept.length >= 1000 && kept.every(byte => byte === 0), name)
  }
  assert.deepEqual(await readdir(join(place, '..')), [])
})

async function* once(frame: Uint8Array): AsyncGenerator<Uint8Array> {
  yield frame
}

async function collectFrames(frames: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const found: Uint8Array[] = []
  for await (const frame of frames) found.push(frame)
  return found
}
