// A record's deposit: available after 2f+1 signatures, continued when the others come back, and refused when anything of it is a lie.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RecordId } from '../../src/model/ids.ts'
import type { ChainParameters } from '../../src/model/operations.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import {
  decodeAcks,
  decodeDeal,
  decodeShareBox,
  encodeAcks,
  encodeDeal,
  encodeDepositAnswer,
} from '../../src/records/frames.ts'
import { replicaHolders } from '../../src/records/holders.ts'
import type { InstitutionFacts } from '../../src/records/ledger-view.ts'
import { dealShares } from '../../src/records/shares.ts'
import { coded, fill, newIdentifier, newRecordId } from './support.ts'
import { countOf, type Hospital, makeWorld, never, type World } from './world.ts'

const RECORD = fill(1_500_000)

async function stage(n = 4): Promise<{ world: World; custodian: Hospital; others: readonly Hospital[] }> {
  const world = await makeWorld(n)
  const [custodian, ...others] = world.hospitals
  return { world, custodian: custodian!, others }
}

const hasShare = async (hospital: Hospital, record: RecordId): Promise<boolean> =>
  (await hospital.vault.item(record, 'share')) !== null

test('every validator gets its own share, signs for it, and the boxes are then destroyed', async () => {
  const { world, custodian } = await stage()
  const { record } = await world.add(custodian, RECORD)
  assert.equal((await custodian.depositor.delivery(record)).isAvailable, false)
  const delivery = await custodian.depositor.deliver(record, never)
  assert.deepEqual(delivery, { acknowledged: 4, needed: 3, isAvailable: true, missing: [] })
  for (const hospital of world.hospitals) assert.equal(await hasShare(hospital, record), true)
  assert.equal(await custodian.vault.item(record, 'deal'), null)
  assert.equal(decodeAcks((await custodian.vault.item(record, 'acks'))!)?.length, 4)
  const asked = world.asked.length
  assert.equal((await custodian.depositor.deliver(record, never)).isAvailable, true)
  assert.equal(world.asked.length, asked, 'nobody is asked twice')
})

test('2f+1 signatures make a record available, 2f do not', async () => {
  const { world, custodian, others } = await stage(7)
  const { record } = await world.add(custodian, RECORD)
  for (const { facts } of others.slice(4)) world.away.add(facts.peerId)
  const five = await custodian.depositor.deliver(record, never)
  assert.deepEqual([five.acknowledged, five.needed, five.isAvailable], [5, 5, true])
  const second = await world.add(custodian, RECORD)
  world.away.add(others[3]!.facts.peerId)
  const four = await custodian.depositor.deliver(second.record, never)
  assert.deepEqual([four.acknowledged, four.isAvailable, four.missing.length], [4, false, 3])
})

test('a validator that was away gets its box when it comes back, and only then are the boxes destroyed', async () => {
  const { world, custodian, others } = await stage()
  const { record } = await world.add(custodian, RECORD)
  const late = others[2]!
  world.away.add(late.facts.peerId)
  const first = await custodian.depositor.deliver(record, never)
  assert.deepEqual(first.missing, [late.facts.id])
  assert.notEqual(await custodian.vault.item(record, 'deal'), null)
  await custodian.depositor.depositMissing(never)
  assert.equal(await hasShare(late, record), false)
  world.away.clear()
  await custodian.depositor.depositMissing(never)
  assert.equal(await hasShare(late, record), true)
  assert.equal(await custodian.vault.item(record, 'deal'), null)
})

test('a silent validator is given up after its time and does not hold the others up', async () => {
  const { world, custodian, others } = await stage()
  const { record } = await world.add(custodian, RECORD)
  world.silent.add(others[0]!.facts.peerId)
  const allOthers = () => countOf(world, 'share-deposited') === 3
  const delivery = await world.clock.run(custodian.depositor.deliver(record, never), allOthers)
  assert.deepEqual([delivery.acknowledged, delivery.isAvailable], [3, true])
})

test('a deposit that overtakes its block waits for it, but not for ever', async () => {
  const { world, custodian, others } = await stage()
  const facts = await world.add(custodian, RECORD)
  const deal = decodeDeal((await custodian.vault.item(facts.record, 'deal'))!)!
  world.records.delete(facts.record)
  const early = others[0]!.receiver.takeShare(deal[1]!, custodian.facts.peerId)
  await new Promise(resolve => setImmediate(resolve))
  world.nextBlock()
  await new Promise(resolve => setImmediate(resolve))
  world.records.set(facts.record, facts)
  world.nextBlock()
  assert.equal((await early).type, 'ack')
  world.records.delete(facts.record)
  const never_ = others[1]!.receiver.takeShare(deal[2]!, custodian.facts.peerId)
  assert.deepEqual(await world.clock.run(never_), { type: 'refused', reason: 'not-available' })
})

test('a share is taken from the record’s custodian alone, and not for a withdrawn record', async () => {
  const { world, custodian, others } = await stage()
  const facts = await world.add(custodian, RECORD)
  const deal = decodeDeal((await custodian.vault.item(facts.record, 'deal'))!)!
  const [validator, thief] = [others[0]!, others[1]!]
  const take = (from: Hospital) => validator.receiver.takeShare(deal[1]!, from.facts.peerId)
  assert.deepEqual(await take(thief), { type: 'refused', reason: 'not-available' })
  world.records.set(facts.record, { ...facts, withdrawn: true })
  assert.deepEqual(await take(custodian), { type: 'refused', reason: 'not-available' })
  assert.equal(await hasShare(validator, facts.record), false)
})

test('a cheating uploader is found at the deposit: a wrong share, a stranger’s box and a second share are refused', async () => {
  const { world, custodian, others } = await stage()
  const facts = await world.add(custodian, RECORD)
  const validator = others[0]!
  const deal = decodeDeal((await custodian.vault.item(facts.record, 'deal'))!)!
  const sealKeys = world.hospitals.map(({ sealKey }) => sealKey.publicBytes)
  const other = await dealShares({
    contentKey: fill(32),
    record: facts.record,
    owner: facts.owner,
    threshold: 2,
    sealKeys,
  })
  const take = (box: (typeof deal)[number]) => validator.receiver.takeShare(box, custodian.facts.peerId)
  const invalid = { type: 'refused', reason: 'share-invalid' }
  assert.deepEqual(await take({ ...deal[1]!, box: other.boxes[1]!.box }), invalid)
  assert.deepEqual(await take({ ...deal[1]!, ...other.boxes[1]! }), invalid)
  assert.deepEqual(await take(deal[2]!), invalid)
  assert.equal(await hasShare(validator, facts.record), false)
  assert.equal(validator.events.includes('share-refused'), true)
  assert.equal((await take(deal[1]!)).type, 'ack')
  assert.equal((await take(deal[1]!)).type, 'ack', 'the same share again is signed for again')
})

test('a validator holds one share of a record, even when its custodian deals it two', async () => {
  const { world, custodian, others } = await stage()
  const facts = await world.add(custodian, RECORD)
  const validator = others[0]!
  const sealKeys = world.hospitals.map(() => validator.sealKey.publicBytes)
  const { record, owner } = facts
  const twice = await dealShares({ contentKey: fill(32), record, owner, threshold: 2, sealKeys })
  world.records.set(record, { ...facts, ...twice.claim })
  const take = (index: number) => validator.receiver.takeShare(twice.boxes[index]!, custodian.facts.peerId)
  assert.equal((await take(2)).type, 'ack')
  assert.deepEqual(await take(3), { type: 'refused', reason: 'other-share-held' })
  assert.equal(decodeShareBox((await validator.vault.item(record, 'share'))!)?.index, 2)
})

test('boxes that a thief registers as his own record’s are refused by every validator', async () => {
  const { world, custodian, others } = await stage()
  const facts = await world.add(custodian, RECORD)
  const deal = decodeDeal((await custodian.vault.item(facts.record, 'deal'))!)!
  const thief = others[2]!
  const stolen = { ...facts, record: newRecordId(), owner: newIdentifier(), custodian: thief.facts.id }
  world.records.set(stolen.record, stolen)
  await thief.vault.putItem(stolen.record, 'deal', encodeDeal(deal.map(box => ({ ...box, record: stolen.record }))))
  const delivery = await thief.depositor.deliver(stolen.record, never)
  assert.deepEqual([delivery.acknowledged, delivery.isAvailable], [0, false])
})

test('a signature that is not the validator’s own does not count', async () => {
  const { world, custodian, others } = await stage()
  const { record } = await world.add(custodian, RECORD)
  const liar = others[0]!
  world.liars.set(`${liar.facts.peerId} ${PROTOCOLS.deposit}`, async function* () {
    yield encodeDepositAnswer({ type: 'ack', signature: others[1]!.key.sign(fill(10)) })
  })
  const delivery = await custodian.depositor.deliver(record, never)
  assert.deepEqual([delivery.acknowledged, delivery.missing], [3, [liar.facts.id]])
})

test('answers that cannot be read count as none', async () => {
  const { world, custodian, others } = await stage()
  const { record } = await world.add(custodian, RECORD)
  world.liars.set(`${others[0]!.facts.peerId} ${PROTOCOLS.deposit}`, async function* () {
    yield fill(1000)
  })
  world.liars.set(`${others[1]!.facts.peerId} ${PROTOCOLS.deposit}`, async function* () {})
  assert.equal((await custodian.depositor.deliver(record, never)).acknowledged, 2)
})

test('a record without its boxes cannot be delivered, and says so', async () => {
  const { world, custodian } = await stage()
  const { record } = await world.add(custodian, RECORD)
  await custodian.vault.removeItem(record, 'deal')
  await assert.rejects(custodian.depositor.deliver(record, never), coded('deal-missing'))
  await assert.rejects(custodian.depositor.deliver(newRecordId(), never), coded('record-unknown'))
})

test('the ciphertext goes to the holders that the record’s id chooses, and is the custodian’s byte for byte', async () => {
  const { world, custodian } = await stage(5)
  const { record, custodian: id, cipherRoot } = await world.add(custodian, RECORD)
  const [chosen] = replicaHolders({ record, custodian: id }, world.ledger)
  assert.equal(await custodian.depositor.replicate(record, never), 1)
  for (const hospital of world.hospitals.slice(1)) {
    const entry = await hospital.vault.entry(record)
    assert.equal(entry?.cipherRoot, hospital.facts.id === chosen!.id ? cipherRoot : undefined)
  }
  assert.equal(await custodian.depositor.replicate(record, never), 1, 'a holder that has it says so')
})

test('a copy that could not be made is made when the holder comes back', async () => {
  const { world, custodian, others } = await stage()
  const { record } = await world.add(custodian, RECORD)
  await custodian.depositor.deliver(record, never)
  for (const { facts } of others) world.away.add(facts.peerId)
  assert.equal(await custodian.depositor.replicate(record, never), 0)
  world.away.clear()
  await Promise.all([custodian.depositor.depositMissing(never), custodian.depositor.depositMissing(never)])
  const holders = await Promise.all(others.map(({ vault }) => vault.entry(record)))
  assert.equal(holders.filter(entry => entry !== null).length, 1)
  assert.deepEqual(await custodian.vault.items(record), ['acks', 'facts', 'share'])
  const asked = world.asked.length
  await custodian.depositor.depositMissing(never)
  assert.equal(world.asked.length, asked, 'nothing is left to do')
})

test('a holder refuses ciphertext that is not the registered one', async () => {
  const { world, custodian } = await stage()
  const facts = await world.add(custodian, RECORD)
  const other = await world.add(custodian, fill(1_500_000, 2))
  world.records.set(facts.record, { ...facts, cipherRoot: other.cipherRoot })
  assert.equal(await custodian.depositor.replicate(facts.record, never), 0)
  for (const hospital of world.hospitals.slice(1)) assert.equal(await hospital.vault.entry(facts.record), null)
})

const ledgerOf = (institutions: readonly InstitutionFacts[], replicas: number) => ({
  institutions: () => institutions,
  parameters: () => ({ replicas }) as ChainParameters,
})

test('holders are the same for every peer, spread over all, and few move when one joins', async () => {
  const { world } = await stage(10)
  const all = world.ledger.institutions()
  const custodian = all[0]!.id
  const counts = new Map<string, number>()
  let moved = 0
  for (let i = 0; i < 500; i++) {
    const record = newRecordId()
    const chosen = replicaHolders({ record, custodian }, ledgerOf(all, 2))
    assert.deepEqual(replicaHolders({ record, custodian }, ledgerOf([...all].reverse(), 2)), chosen)
    assert.equal(
      chosen.some(({ id }) => id === custodian),
      false,
    )
    for (const { id } of chosen) counts.set(id, (counts.get(id) ?? 0) + 1)
    const fewer = replicaHolders({ record, custodian }, ledgerOf(all.slice(0, 9), 2))
    moved += chosen.filter(({ id }) => !fewer.some(holder => holder.id === id)).length
  }
  assert.equal(counts.size, 9)
  for (const count of counts.values()) assert.ok(count > 60 && count < 170, `${count} of 1000`)
  assert.equal(moved, counts.get(all[9]!.id))
})

test('a removed institution holds nothing', async () => {
  const { world } = await stage()
  const all = world.ledger.institutions().map((facts, i) => ({ ...facts, removed: i === 2 }))
  for (let i = 0; i < 50; i++)
    assert.equal(
      replicaHolders({ record: newRecordId(), custodian: all[0]!.id }, ledgerOf(all, 4)).some(({ removed }) => removed),
      false,
    )
})

test('a vault whose signatures list is unreadable starts the deposit again', async () => {
  const { world, custodian } = await stage()
  const { record } = await world.add(custodian, RECORD)
  await custodian.vault.putItem(record, 'acks', fill(10))
  assert.equal((await custodian.depositor.deliver(record, never)).acknowledged, 4)
  assert.equal(decodeAcks(encodeAcks([])) === null, false)
})
