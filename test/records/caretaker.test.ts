// A vault that rots, loses its disk or is lied to: what another holder has comes back, checked; what nobody has is named; nothing false is
// ever written. With vaults in real folders, damaged behind the vault's back.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import type { RecordId } from '../../src/model/ids.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import type { Care } from '../../src/records/caretaker.ts'
import { encodePiecesAnswer } from '../../src/records/frames.ts'
import { isHolder, mayHold, replicaHolders } from '../../src/records/holders.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { fetchPieces } from '../../src/records/piece-source.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import { scrubVault } from '../../src/records/scrub.ts'
import { createSealKey } from '../../src/records/seal.ts'
import type { Vault } from '../../src/records/vault.ts'
import { coded, collected, fill, newRecordId } from './support.ts'
import { countOf, type Hospital, makeWorld, never, type World } from './world.ts'

const root = await mkdtemp(join(tmpdir(), 'emrm-care-'))
after(() => rm(root, { recursive: true, force: true }))

/** A vault whose folder can be pulled from under it; `reopen` is what a restart does. */
type Disk = { readonly folder: string; readonly vault: Vault; reopen(): Promise<void> }

async function diskOf(folder: string): Promise<Disk> {
  let inner = await openFileVault(folder)
  const names = Object.keys(inner) as (keyof Vault)[]
  const vault = Object.fromEntries(
    names.map(name => [name, (...given: unknown[]) => (inner[name] as (...args: unknown[]) => unknown)(...given)]),
  ) as unknown as Vault
  return {
    folder,
    vault,
    async reopen() {
      inner = await openFileVault(folder)
    },
  }
}

type Stage = {
  readonly world: World
  readonly disks: readonly Disk[]
  readonly custodian: Hospital
  readonly disk: Disk
  add(size?: number): Promise<RecordFacts>
  holderOf(facts: RecordFacts): Hospital
  file(facts: RecordFacts, name: string): string
}

async function stage(n = 4, replicas = 2): Promise<Stage> {
  const base = await mkdtemp(join(root, 'world-'))
  const disks = await Promise.all(Array.from({ length: n }, (_, i) => diskOf(join(base, String(i)))))
  const world = await makeWorld(n, { replicas, vault: i => disks[i]!.vault })
  const custodian = world.hospitals[0]!
  return {
    ...{ world, disks, custodian, disk: disks[0]! },
    async add(size = 1_100_000) {
      const facts = await world.add(custodian, fill(size))
      await custodian.depositor.deliver(facts.record, never)
      assert.equal(await custodian.depositor.replicate(facts.record, never), replicas)
      // What is younger may still be on its way.
      world.clock.advance(61_000)
      return facts
    },
    holderOf: facts => {
      const [chosen] = replicaHolders(facts, world.ledger)
      return world.hospitals.find(({ facts: { id } }) => id === chosen!.id)!
    },
    file: ({ record }, name) => join(disks[0]!.folder, record.slice(0, 2), record, name),
  }
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file)
  bytes[at]! ^= 1
  await writeFile(file, bytes)
}

const cipherOf = (hospital: Hospital, facts: RecordFacts): Promise<Buffer> =>
  collected(
    (async function* () {
      const { leaves } = (await hospital.vault.entry(facts.record))!
      for (let i = 0; i < leaves.length; i++) yield await hospital.vault.piece(facts.record, i)
    })(),
  )

const types = (problems: Care['found']): string[] => problems.map(({ type }) => type)

async function roundOf({ caretaker }: Hospital): Promise<Care[]> {
  const cares: Care[] = []
  for await (const care of caretaker.round(never)) cares.push(care)
  return cares
}

test('a rotten piece is fetched from another holder, checked and written again; the rest is not touched', async () => {
  const { custodian, add, file } = await stage()
  const facts = await add()
  const before = await cipherOf(custodian, facts)
  await flip(file(facts, 'cipher'), PIECE_BYTES + 5)
  const care = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(care.found, [{ type: 'piece', record: facts.record, piece: 1 }])
  assert.deepEqual(care.left, [])
  assert.equal((await readFile(file(facts, 'cipher'))).equals(before), true)
  assert.deepEqual(await custodian.vault.verify(facts.record), [])
})

test('a cut, a missing and a wholly overwritten ciphertext come back', async () => {
  const { custodian, add, file } = await stage()
  const facts = await add()
  const before = await cipherOf(custodian, facts)
  for (const damage of [
    () => truncate(file(facts, 'cipher'), 100),
    () => rm(file(facts, 'cipher')),
    () => writeFile(file(facts, 'cipher'), Buffer.alloc(before.length)),
  ]) {
    await damage()
    const { found, left } = await custodian.caretaker.care(facts.record, never)
    assert.equal(found.length, 2)
    assert.deepEqual(left, [])
    assert.equal((await cipherOf(custodian, facts)).equals(before), true)
  }
})

test('a holder that gives other bytes is passed over, and what it gave is not written', async () => {
  const { world, custodian, add, file, holderOf } = await stage(4, 1)
  const facts = await add()
  await flip(file(facts, 'cipher'), 7)
  const rotten = await readFile(file(facts, 'cipher'))
  world.liars.set(`${holderOf(facts).facts.peerId} ${PROTOCOLS.pieces}`, async function* (frames) {
    let n = 0
    for await (const frame of frames) yield n++ < 2 ? frame : fill(frame.length, 9)
  })
  const { left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(types(left), ['piece', 'copy-missing'])
  assert.equal((await readFile(file(facts, 'cipher'))).equals(rotten), true)
})

test('a damaged list of pieces costs a whole copy, which is kept until then', async () => {
  const { world, custodian, add, file } = await stage()
  const facts = await add()
  const before = await cipherOf(custodian, facts)
  await flip(file(facts, 'index'), 60)
  for (const { facts: other } of world.hospitals.slice(1)) world.away.add(other.peerId)
  const alone = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(types(alone.left), ['leaves'])
  assert.equal((await readFile(file(facts, 'cipher'))).equals(before), true)
  world.away.clear()
  const { found, left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual([types(found), left], [['leaves'], []])
  assert.equal((await cipherOf(custodian, facts)).equals(before), true)
})

test('a custodian whose disk was wiped gets every record back; none is lost', async () => {
  const { world, custodian, disk, add } = await stage()
  const records = [await add(), await add(10), await add(PIECE_BYTES)]
  const before = await Promise.all(records.map(facts => cipherOf(custodian, facts)))
  await rm(disk.folder, { recursive: true })
  await disk.reopen()
  for (const { record } of records) assert.equal(await custodian.vault.entry(record), null)
  const named: string[] = []
  const { vault, facts } = custodian
  const options = { vault, ledger: world.ledger, self: facts.id, nowMs: world.clock.nowMs() }
  for await (const { problems } of scrubVault(options)) named.push(...types(problems))
  assert.deepEqual(
    named,
    records.flatMap(() => ['missing', 'share-missing']),
  )

  const cares = await roundOf(custodian)
  const lost = cares.flatMap(({ left }) => left).filter(({ type }) => type === 'missing')
  assert.deepEqual(lost, [])
  for (const [i, each] of records.entries()) assert.equal((await cipherOf(custodian, each)).equals(before[i]!), true)
  // All had signed, so the deal is gone: the custodian's own share is lost, and is said to be.
  assert.deepEqual(types(cares.flatMap(({ left }) => left)), ['share-missing', 'share-missing', 'share-missing'])
  assert.equal(custodian.caretaker.report().leftCount, 3)
  assert.equal(custodian.caretaker.report().mended, 3)
  // The custodian's own shares, and everybody's deal, went with the disk: the keys are dealt anew, because the loss was signed for.
  let announced = 0
  world.onSubmit = ({ type }) => {
    if (type === 'record.redeal') announced++
  }
  await world.clock.run(custodian.redealer.round(never), () => announced === custodian.redealer.report().dealt)
  assert.equal(custodian.redealer.report().dealt, 3)
  world.clock.advance(61_000)
  assert.deepEqual(await roundOf(custodian), [])
})

test('a holder that takes the place of one that left fetches its copy', async () => {
  const { world, add, holderOf } = await stage(5, 1)
  const facts = await add()
  const gone = holderOf(facts)
  world.remove(gone)
  const next = holderOf(facts)
  assert.notEqual(next, gone)
  assert.equal(await next.vault.entry(facts.record), null)
  await roundOf(next)
  assert.equal((await next.vault.entry(facts.record))?.cipherRoot, facts.cipherRoot)
})

test('a lost or damaged share comes again from the custodian while it has the deal, to its own validator alone', async () => {
  const { world, disks, custodian } = await stage()
  const [, , victim, absent] = world.hospitals
  const facts = await world.add(custodian, fill(1000))
  world.away.add(absent!.facts.peerId)
  await custodian.depositor.deliver(facts.record, never)
  await custodian.depositor.replicate(facts.record, never)
  world.clock.advance(61_000)
  const before = await victim!.vault.item(facts.record, 'share')
  const path = join(disks[2]!.folder, facts.record.slice(0, 2), facts.record, 'share')
  for (const damage of [() => flip(path, 50), () => rm(path)]) {
    await damage()
    const { found, left } = await victim!.caretaker.care(facts.record, never)
    assert.equal(found.length, 1)
    assert.deepEqual(left, [])
    assert.deepEqual(await victim!.vault.item(facts.record, 'share'), before)
  }
  world.away.clear()
  await custodian.depositor.deliver(facts.record, never)
  await flip(path, 50)
  const { left } = await victim!.caretaker.care(facts.record, never)
  assert.deepEqual(left, [{ type: 'item', record: facts.record, item: 'share' }])
})

test('the custodian mends its own share of its own deal', async () => {
  const { world, custodian, file } = await stage()
  const facts = await world.add(custodian, fill(1000))
  world.away.add(world.hospitals[3]!.facts.peerId)
  await custodian.depositor.deliver(facts.record, never)
  world.clock.advance(61_000)
  await rm(file(facts, 'share'))
  const { left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(
    types(left).filter(type => type.includes('share')),
    [],
  )
  assert.notEqual(await custodian.vault.item(facts.record, 'share'), null)
})

test('an upload that was never registered is discarded after the request window, by a peer that knows the head', async () => {
  const { world, custodian } = await stage()
  Object.assign(world.parameters, { requestWindowPastMs: 600_000, requestWindowFutureMs: 60_000 })
  const record = newRecordId()
  await custodian.vault.put(
    record,
    (async function* () {
      yield fill(10)
    })(),
  )
  const look = async (): Promise<boolean> => {
    await custodian.caretaker.care(record, never)
    return (await custodian.vault.entry(record)) !== null
  }
  assert.equal(await look(), true)
  world.clock.advance(660_000)
  assert.equal(await look(), true)
  custodian.freshness = 120_000
  world.clock.advance(660_000)
  assert.equal(await look(), true, 'cut off from the others it may simply not know the registration')
  custodian.freshness = 0
  assert.equal(await look(), true, 'the time begins again')
  world.clock.advance(660_001)
  assert.equal(await look(), false)
})

test('a holder that says it holds and does not is found by a challenge, and gets the ciphertext again', async () => {
  const { world, custodian, add, holderOf } = await stage(4, 1)
  const facts = await add()
  const holder = holderOf(facts)
  await holder.vault.removeCipher(facts.record)
  const { left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(left, [{ type: 'copy-missing', record: facts.record, holder: holder.facts.name }])
  assert.equal(countOf(world, 'holder-failed'), 1)
  await custodian.depositor.depositMissing(never)
  assert.equal((await holder.vault.entry(facts.record))?.cipherRoot, facts.cipherRoot)
  assert.deepEqual((await custodian.caretaker.care(facts.record, never)).left, [])
  assert.deepEqual(await custodian.vault.items(facts.record), ['acks', 'facts', 'share'])
})

test('a holder that lies about pieces is caught by the challenge and by the reader, who gets the record all the same', async () => {
  const { world, custodian, add } = await stage(5, 2)
  const facts = await add()
  const holders = replicaHolders(facts, world.ledger)
  const liar = holders[0]!
  const reader = world.hospitals.find(each => !isHolder(facts, each.facts.id, world.ledger))!
  const grant = world.grant(facts, reader, createSealKey())
  const original = await cipherOf(custodian, facts)
  world.away.add(custodian.facts.peerId)
  const lies: Readonly<Record<string, (frames: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array>>> = {
    'piece-invalid': async function* (frames) {
      let n = 0
      for await (const frame of frames) yield n++ < 2 ? frame : fill(frame.length, 9)
    },
    'leaves-invalid': async function* (frames) {
      let n = 0
      for await (const frame of frames) yield n++ === 1 ? fill(frame.length, 9) : frame
    },
    refused: async function* (frames) {
      for await (const _ of frames) return yield encodePiecesAnswer({ type: 'refused', reason: 'not-available' })
    },
  }
  for (const [reason, lie] of Object.entries(lies)) {
    world.liars.set(`${liar.peerId} ${PROTOCOLS.pieces}`, lie)
    const { vault, network } = reader
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const source = { vault, network, log, ledger: world.ledger, clock: world.clock, onDamage: () => undefined }
    const asked = world.asked.length
    const read = await collected(fetchPieces(source, { entry: facts, grant: grant.grant, from: 0, signal: never }))
    assert.equal(read.equals(original), true, reason)
    assert.ok(
      world.asked.slice(asked).some(({ to }) => to === liar.peerId),
      'the liar was asked',
    )
    world.away.clear()
    const { left } = await custodian.caretaker.care(facts.record, never)
    assert.deepEqual(left, [{ type: 'copy-missing', record: facts.record, holder: liar.name }], reason)
    assert.equal((await custodian.vault.items(facts.record)).includes('copies'), true)
    world.away.add(custodian.facts.peerId)
  }
  assert.equal(countOf(world, 'holder-failed'), Object.keys(lies).length)
})

test('a share grant lets its institution keep the record and serve it, until the policy falls', async () => {
  const { world, custodian, add } = await stage(6, 1)
  const facts = await add()
  const keeper = world.hospitals.find(({ facts: { id } }) => !mayHold(facts, id, world.ledger))!
  const reader = world.hospitals.find(each => each !== keeper && !mayHold(facts, each.facts.id, world.ledger))!
  const grant = { ...world.grant(facts, keeper, createSealKey()), right: 'share' as const, basis: 'f'.repeat(64) }
  world.grants.set(grant.grant, grant)
  // The grant itself may be over: the right to keep hangs on the policy.
  world.blockTime = grant.expires + 1
  await keeper.caretaker.care(facts.record, never)
  assert.equal((await keeper.vault.entry(facts.record))?.cipherRoot, facts.cipherRoot)

  for (const { facts: each } of world.hospitals) if (each.id !== keeper.facts.id) world.away.add(each.peerId)
  const onward = {
    ...world.grant(facts, reader, createSealKey()),
    expires: (grant.expires + 10_000) as typeof grant.expires,
  }
  world.grants.set(onward.grant, onward)
  const { vault, network, damaged } = reader
  const onDamage = (record: RecordId): void => void damaged.push(record)
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const source = { vault, network, onDamage, ledger: world.ledger, clock: world.clock, log }
  const fetched = (id: typeof onward.grant | null): Promise<Buffer> =>
    collected(fetchPieces(source, { entry: facts, grant: id, from: 0, signal: never }))
  assert.equal((await fetched(onward.grant)).equals(await cipherOf(custodian, facts)), true)
  await assert.rejects(fetched(null), coded('record-unavailable'), 'onward release needs a grant of its own')

  world.fallen.set(grant.grant, 'no-policy')
  await keeper.caretaker.care(facts.record, never)
  assert.equal(await keeper.vault.entry(facts.record), null)
})

test('a share grant of the owner, which rests on no policy, ends when it expires', async () => {
  const { world, add } = await stage(6, 1)
  const facts = await add()
  const keeper = world.hospitals.find(({ facts: { id } }) => !mayHold(facts, id, world.ledger))!
  const grant = { ...world.grant(facts, keeper, createSealKey()), right: 'share' as const }
  world.grants.set(grant.grant, grant)
  assert.equal(isHolder(facts, keeper.facts.id, world.ledger), true)
  world.blockTime = grant.expires
  assert.equal(isHolder(facts, keeper.facts.id, world.ledger), false)
})

test('damage that a reader met is mended soon, and everything is looked at in rounds', async () => {
  const { world, custodian, add, file } = await stage()
  const facts = await add()
  await flip(file(facts, 'cipher'), 3)
  custodian.caretaker.later(facts.record)
  world.clock.advance(0)
  await until(async () => (await custodian.vault.verify(facts.record)).length === 0)

  await flip(file(facts, 'cipher'), 3)
  custodian.caretaker.start()
  world.clock.advance(60_000)
  // Only as fast as the round waits between pieces: a holder that reads a real disk must not look silent.
  await until(async () => {
    world.clock.advance(100)
    await new Promise(resolve => setTimeout(resolve, 20))
    return custodian.caretaker.report().finishedAt !== null
  })
  assert.deepEqual(await custodian.vault.verify(facts.record), [])
  assert.equal(custodian.caretaker.report().mended, 1)
  custodian.caretaker.stop()
})

test('withdrawn records are only looked at', async () => {
  const { world, custodian, add, file } = await stage()
  const facts = await add()
  world.records.set(facts.record, { ...facts, withdrawn: true })
  await flip(file(facts, 'cipher'), 3)
  const asked = world.asked.length
  const { left } = await custodian.caretaker.care(facts.record, never)
  assert.deepEqual(types(left), ['piece'])
  assert.equal(world.asked.length, asked)
})

test('nothing temporary stays behind', async () => {
  for (const name of await readdir(root, { recursive: true })) assert.doesNotMatch(name, /\.tmp-/)
})

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(resolve => setImmediate(resolve))
}
