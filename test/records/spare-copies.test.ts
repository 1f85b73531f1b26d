// A holder without room is stood in for by the next one, readers find that copy, and it goes when it is no longer needed; so do copies of
// records that moved or were withdrawn, after a day, and never while a holder lacks the record.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import { isHolder, replicaHolders, standIns } from '../../src/records/holders.ts'
import type { InstitutionFacts, RecordFacts } from '../../src/records/ledger-view.ts'
import { fetchPieces } from '../../src/records/piece-source.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { limitVault } from '../../src/records/vault-limit.ts'
import { collected, fill } from './support.ts'
import { countOf, type Hospital, makeWorld, never, type World } from './world.ts'

const DAY_MS = 24 * 60 * 60_000
const CONTENT = fill(1_200_000)

/** Five hospitals, two holders beside the custodian; `isFull` says which have no room now. */
async function stage(): Promise<{
  world: World
  custodian: Hospital
  isFull: Set<Hospital>
  hospitalOf(facts: InstitutionFacts): Hospital
  holds(hospital: Hospital, facts: RecordFacts): Promise<boolean>
}> {
  const isFull = new Set<Hospital>()
  const world: World = await makeWorld(5, {
    replicas: 2,
    vault: i => {
      const [roomy, full] = [limitVault(makeMemoryVault(), null), limitVault(makeMemoryVault(), 1_000_000)]
      return {
        ...roomy,
        putKnown: (...given) => (isFull.has(world.hospitals[i]!) ? full : roomy).putKnown(...given),
      }
    },
  })
  return {
    ...{ world, isFull, custodian: world.hospitals[0]! },
    hospitalOf: ({ id }) => world.hospitals.find(({ facts }) => facts.id === id)!,
    holds: async ({ vault }, { record }) => (await vault.entry(record)) !== null,
  }
}

async function delivered(world: World, custodian: Hospital): Promise<RecordFacts> {
  const facts = await world.add(custodian, CONTENT)
  await custodian.depositor.deliver(facts.record, never)
  world.clock.advance(61_000)
  return facts
}

test('a holder without room is stood in for by the next one, and readers find that copy', async () => {
  const { world, custodian, isFull, hospitalOf, holds } = await stage()
  const facts = await delivered(world, custodian)
  const [full, other] = replicaHolders(facts, world.ledger).map(hospitalOf) as [Hospital, Hospital]
  const [next, last] = standIns(facts, world.ledger).map(hospitalOf) as [Hospital, Hospital]
  isFull.add(full)
  assert.equal(await custodian.depositor.replicate(facts.record, never), 2)
  assert.deepEqual(await Promise.all([full, other, next, last].map(hospital => holds(hospital, facts))), [
    false,
    true,
    true,
    false,
  ])
  // Nothing is left to do, and nobody is accused.
  assert.deepEqual(await custodian.vault.items(facts.record), ['acks', 'facts', 'share'])
  assert.deepEqual((await custodian.caretaker.care(facts.record, never)).left, [])
  // The full one says of itself that it lacks the record.
  assert.deepEqual((await full.caretaker.care(facts.record, never)).left, [{ type: 'missing', record: facts.record }])

  for (const { facts: away } of [custodian, other]) world.away.add(away.peerId)
  const grant = world.grant(facts, last, createSealKey())
  const { vault, network } = last
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const source = { vault, network, ledger: world.ledger, clock: world.clock, log, onDamage: () => undefined }
  const read = await collected(fetchPieces(source, { entry: facts, grant: grant.grant, from: 0, signal: never }))
  assert.equal(read.length, facts.cipherSize)
})

test('when the stand-in fails too the custodian says that a copy is missing', async () => {
  const { world, custodian, isFull, hospitalOf } = await stage()
  const facts = await delivered(world, custodian)
  const [full] = replicaHolders(facts, world.ledger).map(hospitalOf) as [Hospital]
  isFull.add(full)
  await custodian.depositor.replicate(facts.record, never)
  const [next] = standIns(facts, world.ledger).map(hospitalOf) as [Hospital]
  await next.vault.removeCipher(facts.record)
  const { left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(left, [{ type: 'copy-missing', record: facts.record, holder: full.facts.name }])
})

test('a stand-in keeps its copy until each holder has shown that it has the record, and a day longer', async () => {
  const { world, custodian, isFull, hospitalOf, holds } = await stage()
  const facts = await delivered(world, custodian)
  const [full, other] = replicaHolders(facts, world.ledger).map(hospitalOf) as [Hospital, Hospital]
  const [next] = standIns(facts, world.ledger).map(hospitalOf) as [Hospital]
  isFull.add(full)
  await custodian.depositor.replicate(facts.record, never)
  const look = async (afterMs: number): Promise<boolean> => {
    world.clock.advance(afterMs)
    await next.caretaker.care(facts.record, never)
    return holds(next, facts)
  }
  assert.equal(await look(0), true)
  assert.equal(await look(2 * DAY_MS), true, 'a holder lacks it')
  isFull.delete(full)
  await full.caretaker.care(facts.record, never)
  assert.equal(await holds(full, facts), true)
  next.freshness = 120_000
  assert.equal(await look(1), true, 'it does not know the head')
  next.freshness = 0
  assert.equal(await look(1), true, 'the day begins again')
  world.away.add(other.facts.peerId)
  assert.equal(await look(DAY_MS), true, 'a holder does not answer')
  world.away.clear()
  world.liars.set(`${other.facts.peerId} ${PROTOCOLS.pieces}`, async function* (frames) {
    let n = 0
    for await (const frame of frames) yield n++ < 2 ? frame : fill(PIECE_BYTES, 9)
  })
  assert.equal(await look(0), true, 'a holder shows something else')
  world.liars.clear()
  assert.equal(await look(0), false)
  assert.equal(await holds(custodian, facts), true)
  // Its share of the key is another matter.
  assert.deepEqual(await next.vault.items(facts.record), ['share'])
})

test('a copy of a record that moved goes after a day, a holder’s never', async () => {
  const { world, custodian, hospitalOf, holds } = await stage()
  const facts = await delivered(world, custodian)
  await custodian.depositor.replicate(facts.record, never)
  const [first, second] = replicaHolders(facts, world.ledger).map(hospitalOf) as [Hospital, Hospital]
  Object.assign(world.parameters, { replicas: 1 })
  for (const hospital of world.hospitals) await hospital.caretaker.care(facts.record, never)
  world.clock.advance(DAY_MS - 1)
  await second.caretaker.care(facts.record, never)
  assert.equal(await holds(second, facts), true)
  world.clock.advance(1)
  for (const hospital of world.hospitals) await hospital.caretaker.care(facts.record, never)
  assert.deepEqual(await Promise.all([custodian, first, second].map(hospital => holds(hospital, facts))), [
    true,
    true,
    false,
  ])
  assert.equal(countOf(world, 'copy-dropped'), 1)
})

test('copies of a withdrawn record go after a day; its custodian’s own stays, and so do the shares', async () => {
  const { world, custodian, hospitalOf, holds } = await stage()
  const facts = await delivered(world, custodian)
  await custodian.depositor.replicate(facts.record, never)
  const holders = replicaHolders(facts, world.ledger).map(hospitalOf)
  world.records.set(facts.record, { ...facts, withdrawn: true })
  // As after its disk was lost.
  await custodian.vault.removeItem(facts.record, 'acks')
  const round = async (): Promise<readonly boolean[]> => {
    for (const hospital of world.hospitals) await hospital.caretaker.care(facts.record, never)
    return Promise.all([custodian, ...holders].map(hospital => holds(hospital, facts)))
  }
  assert.deepEqual(await round(), [true, true, true])
  world.clock.advance(DAY_MS - 1)
  assert.deepEqual(await round(), [true, true, true])
  world.clock.advance(1)
  assert.deepEqual(await round(), [true, false, false])
  for (const { vault } of world.hospitals) assert.ok((await vault.items(facts.record)).includes('share'))
})

test('a custodian that handed its record over keeps what it took in', async () => {
  const { world, custodian, hospitalOf, holds } = await stage()
  let facts = await delivered(world, custodian)
  const heirOf = (record: RecordFacts): Hospital => hospitalOf(replicaHolders(record, world.ledger)[0]!)
  const adopted = (record: RecordFacts): RecordFacts => ({ ...record, custodian: heirOf(record).facts.id })
  // One of which it is no holder by the order either.
  while (isHolder(adopted(facts), custodian.facts.id, world.ledger)) facts = await delivered(world, custodian)
  await custodian.depositor.replicate(facts.record, never)
  world.records.set(facts.record, adopted(facts))
  for (let round = 0; round < 3; round++) {
    for (const hospital of world.hospitals) await hospital.caretaker.care(facts.record, never)
    world.clock.advance(DAY_MS)
  }
  assert.equal(await holds(custodian, facts), true)
})

test('a full vault says so to whoever wants it to hold something, before it takes a byte', async () => {
  const { world, custodian, isFull, hospitalOf } = await stage()
  const facts = await delivered(world, custodian)
  for (const hospital of world.hospitals) if (hospital !== custodian) isFull.add(hospital)
  const before = world.bytes
  assert.equal(await custodian.depositor.replicate(facts.record, never), 0)
  assert.ok(world.bytes - before < 10_000, `${world.bytes - before} bytes were sent to four full hospitals`)
  assert.deepEqual(await custodian.vault.items(facts.record), ['acks', 'copies', 'facts', 'share'])
  isFull.clear()
  await custodian.depositor.depositMissing(never)
  assert.deepEqual(await custodian.vault.items(facts.record), ['acks', 'facts', 'share'])
  const [first] = replicaHolders(facts, world.ledger).map(hospitalOf) as [Hospital]
  isFull.add(first)
  await assert.rejects(first.vault.putKnown(facts, [], (async function* () {})()), (error: unknown) => {
    return error instanceof EmrmError && error.code === 'vault-full'
  })
})
