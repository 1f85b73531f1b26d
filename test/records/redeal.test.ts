// Records outlive hospitals: when the committee changes, the key moves to the new one; a crash at any point leaves the record readable, a
// leaver's share opens nothing with f others, and nobody collects the key without an announcement.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EmrmError } from '../../src/model/errors.ts'
import { digestOf } from '../../src/model/hash.ts'
import { asIdentifier, type PeerId, type RequestId } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import { collectShares } from '../../src/records/collect.ts'
import {
  decodeDeal,
  decodeDepositRequest,
  decodePendingDeal,
  decodeShareBox,
  encodeDepositAnswer,
  encodeDepositRequest,
} from '../../src/records/frames.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { createSealKey } from '../../src/records/seal.ts'
import {
  combineShares,
  dealShares,
  type OpenedShare,
  openReleasedShare,
  openShareBox,
} from '../../src/records/shares.ts'
import { fill } from './support.ts'
import { type Hospital, makeWorld, never, type World } from './world.ts'

type Stage = {
  readonly world: World
  readonly custodian: Hospital
  readonly old: readonly Hospital[]
  /** The fifth took the fourth one's place. */
  readonly next: readonly Hospital[]
  readonly leaver: Hospital
  readonly facts: RecordFacts
}

/** Four validate, the record is delivered to them, and then the fifth takes the fourth one's place. */
async function stage(): Promise<Stage> {
  const world = await makeWorld(5, { validators: 4 })
  const [first, second, third, leaver, fifth] = world.hospitals as [Hospital, Hospital, Hospital, Hospital, Hospital]
  const facts = await world.add(first, fill(10_000))
  await first.depositor.deliver(facts.record, never)
  const next = [first, second, third, fifth]
  world.elect(next)
  return { world, custodian: first, old: [first, second, third, leaver], next, leaver, facts }
}

const now = (world: World, { record }: RecordFacts): RecordFacts => world.records.get(record)!

/** What a reader at the second hospital can make of the shares that it gets. */
async function readers(world: World, facts: RecordFacts): Promise<string> {
  const entry = now(world, facts)
  const recipient = createSealKey()
  const reader = world.hospitals[1]!
  const { grant } = world.grant(entry, reader, recipient)
  const { ledger, clock } = world
  const asked = { entry, grant, recipient: recipient.publicBytes, signal: never }
  const { shares } = await collectShares({ ledger, clock, network: reader.network, local: reader.shares }, asked)
  const opened = await Promise.all(shares.map(share => openReleasedShare(share, recipient, entry, grant)))
  const good = opened.filter(share => share !== null)
  return (await combineShares(good, entry, entry.threshold)).type
}

const care = async (hospitals: readonly Hospital[], { record }: RecordFacts): Promise<void> => {
  for (const { caretaker } of hospitals) await caretaker.care(record, never)
}

test('when a hospital takes another’s place, its custodian deals each key anew, and the new committee alone opens it with f silent', async () => {
  const { world, custodian, facts, leaver, next } = await stage()
  assert.deepEqual(custodian.redealer.due(), [facts.record])
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  const entry = now(world, facts)
  assert.notEqual(entry.shareRoot, facts.shareRoot)
  assert.equal(entry.keyCommit, facts.keyCommit)
  assert.deepEqual(custodian.redealer.due(), [])
  assert.equal(custodian.redealer.report().dealt, 1)
  world.away.add(leaver.facts.peerId)
  for (const faulty of next.slice(2)) {
    world.away.add(faulty.facts.peerId)
    assert.equal(await readers(world, facts), 'key', faulty.facts.name)
    world.away.delete(faulty.facts.peerId)
  }
})

test('old shares go when the new ones count, and not before', async () => {
  const { world, custodian, facts, leaver, old } = await stage()
  const held = async (hospital: Hospital): Promise<readonly string[]> => hospital.vault.items(facts.record)
  await care(old, facts)
  assert.deepEqual(await held(leaver), ['share'])
  await custodian.redealer.redeal(facts.record, never)
  leaver.freshness = 60_001
  await care(old, facts)
  assert.deepEqual(await held(leaver), ['share'], 'who does not know the head throws nothing away')
  leaver.freshness = 0
  await care(old, facts)
  assert.deepEqual(await held(leaver), [])
  assert.equal(leaver.events.includes('share-dropped'), true)
  for (const hospital of old.slice(0, 3)) assert.equal((await held(hospital)).includes('next'), false)
  assert.equal(await readers(world, facts), 'key')
})

test('f disks with all their keys open nothing, f+1 do: before a re-deal and after it, and the leaver’s share helps nobody', async () => {
  const { world, custodian, facts, leaver, next } = await stage()
  // What an adversary makes of whole disks: every share box in them, opened with the hospital's own key, of whatever deal.
  const seized = async (hospitals: readonly Hospital[], entry: RecordFacts): Promise<string> => {
    const shares: OpenedShare[] = []
    for (const {
      vault,
      sealKey,
      facts: { id },
    } of hospitals)
      for (const item of await vault.items(facts.record)) {
        const bytes = (await vault.item(facts.record, item))!
        const boxes = [decodeShareBox(bytes), ...(decodeDeal(bytes) ?? []), ...(decodePendingDeal(bytes)?.boxes ?? [])]
        for (const box of boxes) {
          if (box === null || ('validator' in box && box.validator !== id)) continue
          for (const claim of [facts, entry]) {
            const opened = await openShareBox(box, sealKey, claim, facts.owner)
            // By coordinate, for he may mix deals: the library does not know which share is of which.
            if (opened !== null) shares.push({ ...opened, index: shares.length })
          }
        }
      }
    return (await combineShares(shares, entry, 2)).type
  }
  const before = world.hospitals.slice(0, 4)
  const disks = await Promise.all(before.map(copyOf))
  for (const one of disks) assert.equal(await seized([one], facts), 'insufficient')
  assert.equal(await seized(disks.slice(2), facts), 'key', 'f+1 is where the line is')

  await custodian.redealer.redeal(facts.record, never)
  await care(world.hospitals, facts)
  const entry = now(world, facts)
  const gone = disks[3]!
  assert.equal(gone.facts.id, leaver.facts.id)
  for (const member of next) {
    assert.equal(await seized([member], entry), 'insufficient')
    assert.equal(await seized([gone, member], entry), 'insufficient', `the leaver and ${member.facts.name}`)
  }
  assert.equal(await seized(next.slice(0, 2), entry), 'key')
  // What no re-deal takes back: f+1 old members that have kept copies of their old shares.
  assert.equal(await seized([gone, disks[2]!], entry), 'key')
})

/** A disk as it was stolen. */
async function copyOf(hospital: Hospital): Promise<Hospital> {
  const stolen = new Map<string, Uint8Array>()
  for (const record of await hospital.vault.list())
    for (const item of await hospital.vault.items(record))
      stolen.set(`${record} ${item}`, (await hospital.vault.item(record, item))!)
  return {
    ...hospital,
    vault: {
      ...hospital.vault,
      items: async record =>
        [...stolen.keys()].filter(key => key.startsWith(record)).map(key => key.slice(record.length + 1)) as never,
      item: async (record, item) => stolen.get(`${record} ${item}`) ?? null,
    },
  }
}

test('a crash before or after each step leaves the record readable, and the next round ends the work', async () => {
  for (const at of ['announce', 'announced', 'reshare', 'counted'] as const) {
    const { world, custodian, facts } = await stage()
    const crash = new Error(`crash at ${at}`)
    const { redealer, vault } = custodian
    const removeItem = vault.removeItem
    if (at === 'announce' || at === 'reshare')
      world.onSubmit = ({ type }) => {
        if (type === (at === 'announce' ? 'record.redeal' : 'record.reshare')) throw crash
      }
    if (at === 'announced') {
      const { putItem } = vault
      vault.putItem = async (record, item, bytes) => {
        if (item === 'redeal') throw crash
        return putItem(record, item, bytes)
      }
      await assert.rejects(redealer.redeal(facts.record, never), crash)
      vault.putItem = putItem
    } else {
      if (at === 'counted')
        vault.removeItem = async (record, item) => {
          if (item === 'redeal') throw crash
          return removeItem(record, item)
        }
      await assert.rejects(redealer.redeal(facts.record, never), crash)
    }
    assert.equal(await readers(world, facts), 'key', at)
    await care(world.hospitals, facts)
    assert.equal(await readers(world, facts), 'key', `${at}, after a round of care`)
    world.onSubmit = () => undefined
    vault.removeItem = removeItem
    await redealer.round(never)
    assert.equal(now(world, facts).dealtAt > facts.dealtAt, true, at)
    assert.equal(await readers(world, facts), 'key', at)
    assert.equal((await vault.items(facts.record)).includes('redeal'), false, at)
    assert.deepEqual(redealer.report().due, 0)
  }
})

test('a validator that crashes while its new share takes the old one’s place has it afterwards', async () => {
  for (const at of ['put', 'remove'] as const) {
    const { world, custodian, facts, old } = await stage()
    const { vault, shelf } = old[1]!
    await custodian.redealer.redeal(facts.record, never)
    const entry = now(world, facts)
    const { putItem, removeItem } = vault
    const crash = async (): Promise<never> => {
      throw new Error('crash')
    }
    if (at === 'put') vault.putItem = crash
    else vault.removeItem = crash
    await assert.rejects(shelf.own(entry), /crash/)
    Object.assign(vault, { putItem, removeItem })
    const next = await shelf.own(entry)
    assert.notEqual(next, null, at)
    assert.deepEqual([...(await vault.items(facts.record))], ['share'])
    assert.deepEqual(await shelf.own(entry), next)
  }
})

test('after a crash the boxes that were dealt are delivered on, under the same announcement', async () => {
  const { world, custodian, facts } = await stage()
  world.onSubmit = ({ type }) => {
    if (type === 'record.reshare') throw new Error('crash')
  }
  await assert.rejects(custodian.redealer.redeal(facts.record, never))
  const announced: string[] = []
  world.onSubmit = ({ type }) => void announced.push(type)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  assert.deepEqual(announced, ['record.reshare'])
})

test('a crash right after the new deal has come to count does not cost a member that was away its box', async () => {
  const { world, custodian, facts, next } = await stage()
  const fifth = next[3]!
  world.away.add(fifth.facts.peerId)
  const { vault, redealer } = custodian
  const { putItem } = vault
  vault.putItem = async (record, item, bytes) => {
    if (item === 'acks') throw new Error('crash')
    return putItem(record, item, bytes)
  }
  await assert.rejects(redealer.redeal(facts.record, never))
  assert.notEqual(now(world, facts).shareRoot, facts.shareRoot)
  vault.putItem = putItem
  world.away.clear()
  await redealer.round(never)
  await custodian.depositor.depositMissing(never)
  assert.notEqual(await fifth.shelf.own(now(world, facts)), null)
})

test('a key that lies with the committee before this one is asked for there', async () => {
  const world = await makeWorld(7, { validators: 4 })
  const at = (...places: number[]): Hospital[] => places.map(i => world.hospitals[i]!)
  const custodian = world.hospitals[0]!
  const facts = await world.add(custodian, fill(100))
  await custodian.depositor.deliver(facts.record, never)
  world.elect(at(0, 4, 5, 6))
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  await care(world.hospitals, facts)
  world.elect(at(0, 1, 2, 3))
  assert.equal(await readers(world, facts), 'key')
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  assert.equal(await readers(world, facts), 'key')
})

test('fewer than 2f+1 new members can be reached: nothing changes; who was away gets its box later', async () => {
  const { world, custodian, facts, next } = await stage()
  const fifth = next[3]!
  await custodian.depositor.depositMissing(never)
  world.away.add(fifth.facts.peerId)
  world.away.add(next[2]!.facts.peerId)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'waiting')
  assert.deepEqual(now(world, facts), facts)
  assert.equal(await readers(world, facts), 'key')
  world.away.delete(next[2]!.facts.peerId)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  world.away.clear()
  world.clock.advance(61_000)
  await custodian.depositor.depositMissing(never)
  assert.notEqual(await fifth.shelf.own(now(world, facts)), null)
  assert.deepEqual(
    (await custodian.vault.items(facts.record)).filter(item => item === 'deal'),
    [],
  )
})

test('a member that signs with another key has not signed, and is sent its box again', async () => {
  const { world, custodian, facts, next } = await stage()
  world.liars.set(`${next[3]!.facts.peerId} ${PROTOCOLS.deposit}`, async function* (frames) {
    for await (const _ of frames) yield encodeDepositAnswer({ type: 'ack', signature: fill(64) })
  })
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  assert.equal((await custodian.vault.items(facts.record)).includes('deal'), true)
  assert.deepEqual((await custodian.depositor.delivery(facts.record)).missing, [next[3]!.facts.id])
})

test('the threshold of a new deal is that of the chain now, between f+1 and n-f', async () => {
  for (const [parameter, dealt] of [
    [1, 2],
    [3, 3],
    [4, 3],
  ] as const) {
    const { world, custodian, facts } = await stage()
    world.parameters = { ...world.parameters, shareThreshold: parameter }
    assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
    assert.equal(now(world, facts).threshold, dealt)
    assert.equal(await readers(world, facts), 'key')
  }
})

test('fewer than t old shares can be had: the custodian says so, and the record stays where it is', async () => {
  const { world, custodian, facts, old } = await stage()
  for (const {
    facts: { peerId },
  } of old.slice(1))
    world.away.add(peerId)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'shares-insufficient')
  assert.equal(custodian.events.includes('redeal-shares-insufficient'), true)
  world.away.clear()
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
})

test('a validator whose disk took its share along has the key dealt anew, once a day and only by its own word', async () => {
  const { world, custodian, facts, old } = await stage()
  world.elect(old)
  const [, victim, other] = old as [Hospital, Hospital, Hospital, Hospital]
  assert.deepEqual(custodian.redealer.due(), [])
  await victim.vault.removeItem(facts.record, 'share')
  const loss = victim.receiver.loss(facts)!
  // Another's word, another's place, and a signature that is none.
  custodian.redealer.noteLoss(facts.record, loss, other.facts.id)
  custodian.redealer.noteLoss(facts.record, { ...loss, index: 2 }, other.facts.id)
  custodian.redealer.noteLoss(facts.record, { ...loss, signature: fill(64) }, victim.facts.id)
  assert.deepEqual(custodian.redealer.due(), [])
  assert.equal(world.hospitals[4]!.receiver.loss(facts), null, 'who was dealt none can lose none')

  const lose = async (): Promise<readonly string[]> => {
    world.clock.advance(61_000)
    await victim.vault.removeItem(facts.record, 'share')
    const { left } = await victim.caretaker.care(facts.record, never)
    assert.deepEqual(left, [{ type: 'share-missing', record: facts.record }])
    return custodian.redealer.due()
  }
  assert.deepEqual(await lose(), [facts.record])
  world.records.set(facts.record, { ...facts, shareRoot: digestOf(fill(1)) })
  assert.deepEqual(custodian.redealer.due(), [], 'it was lost under another root')
  world.records.set(facts.record, facts)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'dealt')
  assert.deepEqual((await victim.caretaker.care(facts.record, never)).left, [])
  assert.notEqual(await victim.shelf.own(now(world, facts)), null)
  assert.deepEqual(custodian.redealer.due(), [])
  assert.deepEqual(await lose(), [], 'again on the same day')
  world.clock.advance(24 * 3_600_000)
  assert.deepEqual(await lose(), [facts.record])
})

test('a second try needs no second announcement while the first one stands', async () => {
  const { world, custodian, facts, old } = await stage()
  const announced: string[] = []
  world.onSubmit = ({ type }) => void announced.push(type)
  for (const {
    facts: { peerId },
  } of old.slice(1))
    world.away.add(peerId)
  for (let i = 0; i < 3; i++) assert.equal(await custodian.redealer.redeal(facts.record, never), 'shares-insufficient')
  assert.deepEqual(announced, ['record.redeal'])
  world.clock.advance(3_600_000)
  assert.equal(await custodian.redealer.redeal(facts.record, never), 'shares-insufficient')
  assert.deepEqual(announced, ['record.redeal', 'record.redeal'])
})

test('a record that fails does not keep the others waiting; a chain that stands still does', async () => {
  const world = await makeWorld(5, { validators: 4 })
  const custodian = world.hospitals[0]!
  for (let i = 0; i < 2; i++) await custodian.depositor.deliver((await world.add(custodian, fill(100))).record, never)
  world.elect([...world.hospitals.slice(0, 3), world.hospitals[4]!])
  const [first] = custodian.redealer.due()
  const failing = (code: string) => (operation: Operation) => {
    if (operation.type === 'record.redeal' && operation.record === first) throw new EmrmError(code, 'no')
    if (operation.type === 'record.redeal') announced++
  }
  let announced = 0
  const round = (): Promise<void> =>
    world.clock.run(custodian.redealer.round(never), () => announced === custodian.redealer.report().dealt)
  world.onSubmit = failing('request-timeout')
  await assert.rejects(round(), { code: 'request-timeout' })
  assert.equal(custodian.redealer.report().dealt, 0)
  world.onSubmit = failing('vault-write-failed')
  await round()
  assert.deepEqual(custodian.redealer.report(), { due: 1, dealt: 1, lastFailure: 'vault-write-failed' })
})

test('a validator whose chain is old does not let go of a share that it does not know to count', async () => {
  const { world, custodian, facts, old } = await stage()
  const validator = old[1]!
  const former = decodeShareBox((await validator.vault.item(facts.record, 'share'))!)!
  await custodian.redealer.redeal(facts.record, never)
  await care(world.hospitals, facts)
  const held = await validator.vault.item(facts.record, 'share')
  // It lost its chain and reads it again: the record looks as it did before the re-deal.
  const entry = now(world, facts)
  world.records.set(facts.record, facts)
  validator.freshness = 60_001
  const answer = await validator.receiver.takeShare(former, custodian.facts.peerId)
  assert.equal(answer.type, 'refused')
  assert.deepEqual(await validator.vault.item(facts.record, 'share'), held)
  world.records.set(facts.record, entry)
  assert.notEqual(await validator.shelf.own(entry), null)
})

test('a validator gives its share to the custodian only against its own announcement, and to nobody else', async () => {
  const { world, custodian, facts, old } = await stage()
  const recipient = createSealKey()
  const validator = old[1]!
  const ask = (from: PeerId, change: object = {}): Promise<unknown> =>
    validator.shares
      .answer({ ...{ grant: intent, recipient: recipient.publicBytes, redeal: facts.record }, ...change }, from)
      .then(answer => (answer.type === 'refused' ? answer.reason : answer.type))
  const intent = 'ab'.repeat(32) as RequestId
  const self = custodian.facts.peerId
  const announcement = {
    ...{ intent, record: facts.record, custodian: facts.custodian, recipient: '' as never, height: world.height },
    expires: (world.blockTime + 60_000) as never,
  }
  assert.equal(await world.clock.run(ask(self)), 'not-available', 'nothing was announced')
  world.elect(old.slice(0, 3).concat(world.hospitals[4]!))
  const open = { ...announcement, recipient: digestOf(recipient.publicBytes), height: world.height + 1 }
  world.redeals.set(facts.record, open)
  world.height += 1
  assert.equal(await ask(self), 'released')
  assert.equal(await ask(old[2]!.facts.peerId), 'not-available', 'another hospital')
  assert.equal(await ask('outsider' as PeerId), 'not-available')
  assert.equal(await ask(self, { recipient: createSealKey().publicBytes }), 'not-available', 'another key')
  world.redeals.set(facts.record, { ...open, custodian: asIdentifier('ab'.repeat(16)) })
  assert.equal(await ask(self), 'not-available', 'announced by a former custodian')
  world.redeals.set(facts.record, open)
  validator.freshness = 60_001
  assert.equal(await ask(self), 'policy-stale')
  validator.freshness = 0
  validator.house = { type: 'withhold', rule: 'closed' }
  assert.equal(await ask(self), 'released', 'a house rule speaks of readers')
  world.elect(old)
  assert.equal(await ask(self), 'grant-expired', 'the committee has changed again')
  world.elect(old.slice(0, 3).concat(world.hospitals[4]!))
  world.blockTime += 60_000
  assert.equal(await ask(self), 'grant-expired')
})

test('a new member signs for the share that is its own, once for each announcement, and for none that the root does not hold', async () => {
  const { world, custodian, facts, next } = await stage()
  world.onSubmit = ({ type }) => {
    if (type === 'record.reshare') throw new Error('crash')
  }
  await assert.rejects(custodian.redealer.redeal(facts.record, never))
  const pending = decodePendingDeal((await custodian.vault.item(facts.record, 'redeal'))!)!
  const { intent, shareRoot, shareCount, boxes } = pending
  const member = next[2]!
  const { validator: _, ...box } = boxes[2]!
  const good = { intent, shareRoot, shareCount, ...box }
  const ids = { record: facts.record, owner: facts.owner }
  const take = (change: object, from = custodian): Promise<string> =>
    world.clock
      .run(member.receiver.takeNext({ ...good, ...change }, from.facts.peerId))
      .then(answer => (answer.type === 'refused' ? answer.reason : answer.type))
  assert.equal(await take({}), 'ack')
  assert.equal(await take({}, next[1]!), 'not-available')
  member.freshness = 60_001
  assert.equal(await take({}), 'not-available', 'it does not know the head')
  member.freshness = 0
  assert.equal(await take({ intent: 'cd'.repeat(32) }), 'not-available')
  assert.equal(await take({ shareRoot: 'cd'.repeat(32) }), 'share-invalid')
  assert.equal(await take({ shareCount: 5 }), 'share-invalid')
  assert.equal(await take({ ...boxes[1]! }), 'share-invalid', 'another member’s')
  assert.equal(await take({ index: 1 }), 'share-invalid')
  assert.equal(await take({ box: fill(1200) }), 'share-invalid')
  const misplaced = [0, 2, 1, 3].map(i => next[i]!.sealKey.publicBytes)
  const crossed = await dealShares({ contentKey: fill(32, 8), ...ids, threshold: 2, sealKeys: misplaced })
  const { shareRoot: crossedRoot } = crossed.claim
  assert.equal(await take({ shareRoot: crossedRoot, ...crossed.boxes[1]! }), 'share-invalid', 'another’s place')
  // A second deal under one announcement: the first one may be the one that comes to count.
  const held = (await member.vault.item(facts.record, 'next'))!
  const contentKey = fill(32, 8)
  const sealKeys = next.map(({ sealKey }) => sealKey.publicBytes)
  const other = await dealShares({ contentKey, ...ids, threshold: 2, sealKeys })
  assert.equal(await take({ shareRoot: other.claim.shareRoot, ...other.boxes[2]! }), 'other-share-held')
  assert.deepEqual(await member.vault.item(facts.record, 'next'), held)
})

test('an heir deals anew what the custodian that left did not', async () => {
  const { world, custodian, facts, next } = await stage()
  const heir = next[1]!
  world.remove(custodian)
  world.elect([next[1]!, next[2]!, next[3]!, world.hospitals[3]!])
  world.away.add(custodian.facts.peerId)
  assert.deepEqual(heir.redealer.due(), [])
  world.records.set(facts.record, { ...facts, custodian: heir.facts.id })
  await heir.redealer.round(never)
  assert.deepEqual(heir.redealer.report(), { due: 0, dealt: 1, lastFailure: null })
  assert.equal(await readers(world, facts), 'key')
})

test('one record at a time, in the background, with a pause between, and what it did is counted', async () => {
  const world = await makeWorld(5, { validators: 4 })
  const custodian = world.hospitals[0]!
  for (let i = 0; i < 3; i++) {
    const { record } = await world.add(custodian, fill(100))
    await custodian.depositor.deliver(record, never)
  }
  world.elect([...world.hospitals.slice(0, 3), world.hospitals[4]!])
  const at: number[] = []
  let announced = 0
  world.onSubmit = ({ type }) => {
    if (type === 'record.reshare') at.push(world.clock.nowMs())
    else announced++
  }
  custodian.redealer.start()
  const all = (async () => {
    while (custodian.redealer.report().dealt < 3) await new Promise(resolve => setImmediate(resolve))
  })()
  await world.clock.run(all, () => announced === custodian.redealer.report().dealt)
  custodian.redealer.stop()
  for (const [i, time] of at.entries()) if (i > 0) assert.ok(time - at[i - 1]! >= 200)
  assert.equal(custodian.redealer.report().dealt, 3)
})

test('the frame in which a box of a new deal travels is read as exactly what was written', async () => {
  const { custodian, facts, world, next } = await stage()
  world.onSubmit = ({ type }) => {
    if (type === 'record.reshare') throw new Error('crash')
  }
  await assert.rejects(custodian.redealer.redeal(facts.record, never))
  assert.ok(world.asked.some(({ to, protocol }) => to === next[3]!.facts.peerId && protocol === PROTOCOLS.deposit))
  const { boxes, intent, shareRoot, shareCount } = decodePendingDeal(
    (await custodian.vault.item(facts.record, 'redeal'))!,
  )!
  const { validator: _, ...box } = boxes[0]!
  const bytes = encodeDepositRequest({ type: 'next', intent, shareRoot, shareCount, ...box })
  assert.deepEqual(decodeDepositRequest(bytes), { type: 'next', intent, shareRoot, shareCount, ...box })
  for (let i = 0; i < bytes.length; i += 97) assert.equal(decodeDepositRequest(bytes.subarray(0, i)), null)
})
