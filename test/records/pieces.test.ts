// Ciphertext from whoever holds it: each piece checked, holders that lie or stall left, strangers told nothing.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { EmrmError } from '../../src/model/errors.ts'
import { asRequestId, type PeerId, type RecordId, type RequestId } from '../../src/model/ids.ts'
import type { Grant } from '../../src/model/operations.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import { decodePiecesAnswer, encodePiecesRequest, type PiecesRequest } from '../../src/records/frames.ts'
import { mayHold, replicaHolders } from '../../src/records/holders.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { fetchPieces } from '../../src/records/piece-source.ts'
import { PIECE_BYTES, pieceCount, pieceLength, unpackLeaves } from '../../src/records/pieces.ts'
import { scrubVault } from '../../src/records/scrub.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { chunked, coded, collected, fill, newRecordId } from './support.ts'
import { type Hospital, makeWorld, never, START, type World } from './world.ts'

const RECORD = fill(3 * PIECE_BYTES + 5_000)

type Stage = {
  readonly world: World
  readonly custodian: Hospital
  /** Holds a copy. */
  readonly holder: Hospital
  /** Holds nothing. */
  readonly reader: Hospital
  readonly facts: RecordFacts
  readonly grant: Grant
  readonly cipher: Buffer
  fetch(from?: number): AsyncIterable<Uint8Array>
}

async function stage(content = RECORD, replicas = 1): Promise<Stage> {
  const world = await makeWorld(4, { replicas })
  const [custodian, ...others] = world.hospitals
  const facts = await world.add(custodian!, content)
  await custodian!.depositor.replicate(facts.record, never)
  const entries = await Promise.all(others.map(({ vault }) => vault.entry(facts.record)))
  const holder = others.find((_, i) => entries[i] !== null)!
  const readers = others.filter((_, i) => entries[i] === null)
  // Another one may stand in for a holder.
  const reader = readers.find(({ facts: { id } }) => !mayHold(facts, id, world.ledger)) ?? readers[0]!
  const grant = world.grant(facts, reader, createSealKey())
  const options = {
    vault: reader.vault,
    ledger: world.ledger,
    network: reader.network,
    onDamage: (record: RecordId) => void reader.damaged.push(record),
    clock: world.clock,
    log: silentLog(reader),
  }
  const cipher = await collected(pieces(custodian!, facts))
  return {
    ...{ world, custodian: custodian!, holder, reader, facts, grant, cipher },
    fetch: (from = 0) => fetchPieces(options, { entry: facts, grant: grant.grant, from, signal: never }),
  }
}

async function* pieces(hospital: Hospital, facts: RecordFacts): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < pieceCount(facts.cipherSize); i++) yield await hospital.vault.piece(facts.record, i)
}

const silentLog = (hospital: Hospital) => {
  const note = (event: string, fields?: object): void =>
    void hospital.events.push(fields && 'reason' in fields ? `${event} ${String(fields.reason)}` : event)
  return { debug: note, info: note, warn: note, error: note }
}

const peersAsked = (world: World): readonly PeerId[] =>
  world.asked.filter(({ protocol }) => protocol === PROTOCOLS.pieces).map(({ to }) => to)

test('a reader gets the whole ciphertext from the custodian, and from any piece on', async () => {
  const { fetch, cipher, world, custodian } = await stage()
  assert.equal((await collected(fetch())).equals(cipher), true)
  assert.equal((await collected(fetch(2))).equals(cipher.subarray(2 * PIECE_BYTES)), true)
  assert.equal((await collected(fetch(4))).length, 0)
  assert.deepEqual(new Set(peersAsked(world)), new Set([custodian.facts.peerId]))
})

test('what the own vault holds is not fetched, and what is damaged there is', async () => {
  const { world, custodian, facts, cipher, reader } = await stage()
  const options = {
    vault: custodian.vault,
    ledger: world.ledger,
    network: custodian.network,
    onDamage: (record: RecordId) => void custodian.damaged.push(record),
    clock: world.clock,
    log: silentLog(custodian),
  }
  const fetch = () => fetchPieces(options, { entry: facts, grant: null, from: 0, signal: never })
  assert.equal((await collected(fetch())).equals(cipher), true)
  assert.deepEqual(peersAsked(world), [])
  const piece = custodian.vault.piece
  custodian.vault.piece = async (record, index) => {
    if (index === 2) throw (await import('../../src/records/pieces.ts')).pieceCorrupt(record, 2)
    return piece(record, index)
  }
  assert.equal((await collected(fetch())).equals(cipher), true)
  assert.equal(peersAsked(world).length, 1)
  assert.equal(custodian.events.includes('piece-corrupt'), true)
  assert.equal(reader.events.length >= 0, true)
})

test('a holder that lies, breaks off, stalls or is away is left, and the next one goes on at the same piece', async () => {
  const lies: Record<string, (frames: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>> = {
    'piece-invalid': async function* (frames) {
      let i = 0
      for await (const frame of frames) {
        const changed = new Uint8Array(frame)
        if (i++ === 4) changed[100]! ^= 1
        yield changed
      }
    },
    'leaves-invalid': async function* (frames) {
      let i = 0
      for await (const frame of frames) yield i++ === 1 ? fill(frame.length) : frame
    },
    'broke-off': async function* (frames) {
      let i = 0
      for await (const frame of frames)
        if (i++ < 4) yield frame
        else return
    },
    refused: async function* () {
      yield fill(20)
    },
    silent: async function* (frames) {
      let i = 0
      for await (const frame of frames) {
        if (i++ === 3) await new Promise(() => undefined)
        yield frame
      }
    },
  }
  for (const [reason, liar] of Object.entries(lies)) {
    const { world, custodian, holder, fetch, cipher, reader } = await stage()
    world.liars.set(`${custodian.facts.peerId} ${PROTOCOLS.pieces}`, liar)
    const got = await world.clock.run(collected(fetch()))
    assert.equal(got.equals(cipher), true, reason)
    assert.deepEqual(peersAsked(world), [custodian.facts.peerId, holder.facts.peerId])
    assert.deepEqual(
      reader.events.filter(event => event.startsWith('holder-left')),
      // Whoever stops while another could go on is not waited for.
      [`holder-left ${reason === 'silent' ? 'slow' : reason}`],
    )
  }
  const { world, custodian, fetch, cipher } = await stage()
  world.away.add(custodian.facts.peerId)
  assert.equal((await collected(fetch())).equals(cipher), true)
})

/** Long enough that three holders have work for several rounds. */
const LONG = new Uint8Array(randomBytes(40 * PIECE_BYTES + 77))

/** All three holders give through this; counts the pieces that leave each. */
function counted(here: Stage, change: Record<number, (piece: Uint8Array, nth: number) => Promise<Uint8Array>> = {}) {
  const holders = here.world.hospitals.filter(hospital => hospital !== here.reader)
  const served = holders.map(() => 0)
  holders.forEach((holder, i) => {
    here.world.liars.set(`${holder.facts.peerId} ${PROTOCOLS.pieces}`, async function* (frames) {
      for await (const frame of frames) {
        if (frame.length < 2_000) yield frame
        else {
          const nth = served[i]!++
          yield change[i] === undefined ? frame : await change[i](frame, nth)
        }
      }
    })
  })
  return { served, total: () => served.reduce((sum, count) => sum + count, 0) }
}

const left = ({ reader }: Stage): readonly string[] => reader.events.filter(event => event.startsWith('holder-left'))

test('all holders serve a reader at once, and no piece is sent twice', async () => {
  const here = await stage(LONG, 2)
  const { served, total } = counted(here)
  assert.equal((await collected(here.fetch(2))).equals(here.cipher.subarray(2 * PIECE_BYTES)), true)
  assert.equal(served.length, 3)
  for (const pieces of served) assert.ok(pieces >= 4, `served ${served}`)
  assert.equal(total(), 39)
  assert.deepEqual([here.reader.events, peersAsked(here.world).length], [[], 3])
})

test('a holder that lies in the middle costs what it still owed, which the others bring', async () => {
  const here = await stage(LONG, 2)
  const lie = async (piece: Uint8Array, nth: number): Promise<Uint8Array> => {
    if (nth !== 5) return piece
    const changed = Uint8Array.from(piece)
    changed[70_000]! ^= 1
    return changed
  }
  const { total } = counted(here, { 1: lie })
  assert.equal((await collected(here.fetch())).equals(here.cipher), true)
  assert.deepEqual(left(here), ['holder-left piece-invalid'])
  assert.equal(total(), 41 + 1)
})

test('a holder that stops is waited for a second and not longer, as long as another is there', async () => {
  const here = await stage(LONG, 2)
  const { total } = counted(here, {
    0: (piece, nth) => (nth < 3 ? Promise.resolve(piece) : new Promise(() => undefined)),
  })
  const began = here.world.clock.steadyMs()
  assert.equal((await here.world.clock.run(collected(here.fetch()))).equals(here.cipher), true)
  assert.deepEqual(left(here), ['holder-left slow'])
  assert.ok(here.world.clock.steadyMs() - began <= 2_000)
  assert.equal(total(), 41 + 1)
})

test('a slow holder does not slow the others down, and does it all when they are gone', async () => {
  const here = await stage(LONG, 2)
  const { clock } = here.world
  const slowly = (ms: number) => (piece: Uint8Array) =>
    new Promise<Uint8Array>(resolve => void clock.after(ms, () => resolve(piece)))
  const { served } = counted(here, { 0: slowly(10), 1: slowly(900), 2: slowly(10) })
  const began = clock.steadyMs()
  assert.equal((await clock.run(collected(here.fetch()))).equals(here.cipher), true)
  assert.ok(served[1]! <= 4, `served ${served}`)
  assert.ok(clock.steadyMs() - began < 5_000, `${clock.steadyMs() - began} ms`)
  assert.deepEqual(left(here), ['holder-left slow'])

  const alone = await stage(LONG.subarray(0, 6 * PIECE_BYTES), 2)
  const dies = async (piece: Uint8Array, nth: number): Promise<Uint8Array> =>
    nth < 1 ? piece : Promise.reject(new Error('gone'))
  const slow = (piece: Uint8Array) =>
    new Promise<Uint8Array>(resolve => void alone.world.clock.after(2_500, () => resolve(piece)))
  counted(alone, { 0: dies, 1: dies, 2: slow })
  assert.equal((await alone.world.clock.run(collected(alone.fetch()))).equals(alone.cipher), true)
})

test('a reader that takes its time keeps a bounded number of pieces waiting, and nobody is left for it', async () => {
  const here = await stage(LONG, 2)
  const { total } = counted(here)
  let taken = 0
  const read = async (): Promise<void> => {
    for await (const _ of here.fetch()) {
      taken++
      await new Promise<void>(resolve => void here.world.clock.after(60_000, resolve))
      assert.ok(total() - taken <= 16, `${total() - taken} waiting`)
    }
  }
  await here.world.clock.run(read())
  assert.deepEqual([taken, total(), left(here)], [41, 41, []])
})

test('when nobody serves a piece the reader is told which, and gets what there was before it', async () => {
  const { world, custodian, holder, fetch, facts } = await stage()
  world.away.add(holder.facts.peerId)
  world.liars.set(`${custodian.facts.peerId} ${PROTOCOLS.pieces}`, async function* (frames) {
    let i = 0
    for await (const frame of frames)
      if (i++ < 4) yield frame
      else return
  })
  let got = 0
  await assert.rejects(
    async () => {
      for await (const piece of fetch()) got += piece.length
    },
    (error: EmrmError) => coded('record-unavailable')(error) && error.facts['piece'] === 2,
  )
  assert.equal(got, 2 * PIECE_BYTES)
  assert.equal(facts.cipherSize > got, true)
})

test('pieces go to the institution of a live grant and to chosen holders; all others hear not-available', async () => {
  const here = await stage()
  const { world, custodian, holder, reader, facts, grant } = here
  const other = world.hospitals.find(hospital => ![custodian, holder, reader].includes(hospital))!
  const ask = async (from: PeerId, wanted: Partial<PiecesRequest>): Promise<string> => {
    const request = { record: facts.record, grant: null, from: 0, to: 1, leaves: true, ...wanted }
    const frames = custodian.pieces.handle(chunked(encodePiecesRequest(request), 10_000), from)
    const { value } = await frames.next()
    await frames.return(undefined)
    return decodePiecesAnswer(value as Uint8Array)?.type ?? 'unreadable'
  }
  const unknown = asRequestId('ab'.repeat(32)) as RequestId
  assert.equal(await ask(holder.facts.peerId, {}), 'pieces')
  assert.equal(await ask(reader.facts.peerId, { grant: grant.grant }), 'pieces')
  assert.equal(await ask(reader.facts.peerId, {}), 'refused')
  assert.equal(await ask(other.facts.peerId, {}), 'pieces', 'it may stand in for the holder')
  assert.equal(await ask('outsider' as PeerId, { grant: grant.grant }), 'refused')
  assert.equal(await ask(reader.facts.peerId, { grant: unknown }), 'refused')
  assert.equal(await ask(reader.facts.peerId, { grant: grant.grant, record: newRecordId() }), 'refused')
  const isForReader = (record: RecordFacts): boolean => mayHold(record, reader.facts.id, world.ledger)
  let second = await world.add(custodian, fill(1000))
  while (isForReader(second)) second = await world.add(custodian, fill(1000))
  assert.equal(await ask(reader.facts.peerId, { grant: grant.grant, record: second.record }), 'refused')
  while (replicaHolders(second, world.ledger)[0]!.id !== reader.facts.id)
    second = await world.add(custodian, fill(1000))
  assert.equal(await ask(reader.facts.peerId, { record: second.record }), 'pieces')
  world.records.set(facts.record, { ...facts, withdrawn: true })
  assert.equal(await ask(reader.facts.peerId, { grant: grant.grant }), 'refused')
  assert.equal(await ask(holder.facts.peerId, {}), 'refused')
  world.records.set(facts.record, facts)
  world.blockTime = grant.expires
  assert.equal(await ask(reader.facts.peerId, { grant: grant.grant }), 'refused')
})

test('a list of leaf hashes is believed only when it gives the root and has the right length', async () => {
  const { facts, custodian } = await stage()
  const { leaves } = (await custodian.vault.entry(facts.record))!
  const packed = Buffer.concat(leaves)
  assert.deepEqual(unpackLeaves(packed, facts)?.length, 4)
  const changed = Buffer.from(packed)
  changed[0]! ^= 1
  for (const bytes of [
    changed,
    packed.subarray(32),
    packed.subarray(1),
    Buffer.concat([packed, packed]),
    Buffer.alloc(0),
  ])
    assert.equal(unpackLeaves(bytes, facts), null)
  assert.equal(pieceLength(facts.cipherSize, 3), facts.cipherSize - 3 * PIECE_BYTES)
  assert.equal(pieceLength(facts.cipherSize, 4), 0)
  assert.equal(pieceLength(PIECE_BYTES, 0), PIECE_BYTES)
})

test('a scrub names what is damaged, what was never registered and what is not the registered one', async () => {
  const { world, custodian, facts } = await stage()
  const scrub = async (): Promise<string[]> => {
    const found: string[] = []
    for await (const { problems } of scrubVault({
      vault: custodian.vault,
      ledger: world.ledger,
      self: custodian.facts.id,
      nowMs: START,
    }))
      found.push(...problems.map(({ type }) => type))
    return found
  }
  assert.deepEqual(await scrub(), [])
  world.records.set(facts.record, { ...facts, cipherRoot: facts.shareRoot })
  assert.deepEqual(await scrub(), ['not-the-registered-one'])
  world.records.delete(facts.record)
  assert.deepEqual(await scrub(), ['unregistered'])
})
