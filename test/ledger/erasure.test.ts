// The end of a record: the patient asks, the custodian erases, every holder signs; and none of it before the law lets go.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Timestamp } from '../../src/model/ids.ts'
import type { Destroyable, Encounter } from '../../src/model/operations.ts'
import { placedWith } from '../../src/model/placement.ts'
import {
  FOREVER,
  HOSPITALS,
  idNamed,
  keyNamed,
  makeClinic,
  makeGenesis,
  makeLedger,
  reasonOf,
  recordNamed,
  recordRegister,
  START,
  userRegister,
  type World,
} from './world.ts'

const OUTPATIENT_MS = 3_600_000
const INPATIENT_MS = 7_200_000
const record = recordNamed('x-ray')

/** One record, visited at START. */
const clinic = (change = {}): World =>
  makeClinic(
    makeGenesis(
      {},
      { retentionOutpatientMs: OUTPATIENT_MS, retentionInpatientMs: INPATIENT_MS, replicas: 1, ...change },
    ),
  )
const ask = (world: World, by = 'patient', of = record): string =>
  reasonOf(world.do(by, { type: 'record.ask-erasure', record: of }))
const erase = (world: World, by = 'north', of = record): string =>
  reasonOf(world.do(by, { type: 'record.erase', record: of }))
const destroyed = (world: World, by: string, things: readonly Destroyable[] = ['share'], of = record): string =>
  reasonOf(world.do(by, { type: 'record.destroyed', record: of, destroyed: things }))
/** Block time of the next block will be this. */
const at = (world: World, ms: number): void => world.wait(ms - world.nowMs - 1000)
const visit = (
  world: World,
  name: string,
  lastVisit: number,
  encounter: Encounter = 'outpatient',
  by = 'north',
): string =>
  reasonOf(world.do(by, recordRegister(name, { lastVisit: lastVisit as Timestamp, encounter, custodian: idNamed(by) })))

test('the first block at which a record may be erased is the one at its very end, for asking as for erasing', () => {
  const world = clinic()
  at(world, START + OUTPATIENT_MS - 1)
  assert.equal(ask(world), 'refused: retention-not-over')
  assert.equal(world.views.erasure(record), null)
  at(world, START + OUTPATIENT_MS)
  assert.equal(ask(world), 'done')
  assert.equal(erase(world), 'done')
  // The law of the day counts: a longer term stops what was asked for before.
  const longer = clinic()
  at(longer, START + OUTPATIENT_MS)
  assert.equal(ask(longer), 'done')
  const { f, p, parameters } = longer.genesis
  longer.agree({
    type: 'validators.set',
    f,
    p,
    parameters: { ...parameters, retentionOutpatientMs: OUTPATIENT_MS * 2 },
  })
  assert.equal(erase(longer), 'refused: retention-not-over')
  at(longer, START + OUTPATIENT_MS * 2)
  assert.equal(erase(longer), 'done')
})

test('the clock is that of the encounter, and counts from the patient’s last visit of that kind at the custodian', () => {
  const world = clinic()
  world.register('other', 'north', { roles: ['patient'] })
  const until = (name: string): number => world.views.retention(world.views.record(recordNamed(name))!).until - START
  assert.equal(visit(world, 'stay', START + 10, 'inpatient'), 'done')
  assert.deepEqual([until('x-ray'), until('stay')], [OUTPATIENT_MS, INPATIENT_MS + 10])
  assert.equal(visit(world, 'later', START + 500), 'done')
  assert.deepEqual([until('x-ray'), until('stay')], [OUTPATIENT_MS + 500, INPATIENT_MS + 10])
  assert.equal(visit(world, 'an old paper', START - 9_999_999), 'done')
  assert.deepEqual([until('x-ray'), until('an old paper')], [OUTPATIENT_MS + 500, OUTPATIENT_MS + 500])
  assert.equal(visit(world, 'elsewhere', START + 900, 'outpatient', 'south'), 'done')
  world.do('north', recordRegister('another’s', { owner: idNamed('other'), lastVisit: (START + 900) as Timestamp }))
  assert.equal(until('x-ray'), OUTPATIENT_MS + 500)
  assert.equal(visit(world, 'to come', world.nowMs + 3_600_000), 'refused: future')
  // An heir takes the clock over.
  assert.equal(visit(world, 'new', START + 700), 'done')
  const adopt = { type: 'record.adopt', record, custodian: idNamed('east') } as const
  world.do('north', adopt)
  assert.equal(reasonOf(world.do('east', adopt)), 'done')
  assert.equal(until('x-ray'), OUTPATIENT_MS + 700)
})

test('record.ask-erasure: who may and for what', () => {
  const rows: [what: string, by: string, of: string, answer: string][] = [
    ['the patient', 'patient', 'x-ray', 'done'],
    ['a guardian', 'guardian', 'x-ray', 'done'],
    ['a guardian of another record', 'aunt', 'x-ray', 'refused: unknown-record'],
    ['a delegate', 'delegate', 'x-ray', 'refused: unknown-record'],
    ['a stranger', 'doctor', 'x-ray', 'refused: unknown-record'],
    ['nobody registered', 'nobody', 'x-ray', 'refused: not-authorized'],
    ['the custodian', 'north', 'x-ray', 'refused: not-authorized'],
    ['a record that is not there', 'patient', 'nothing', 'refused: unknown-record'],
    ['the twin alone', 'patient', 'twin', 'refused: invalid-operation'],
  ]
  for (const [what, by, of, answer] of rows) {
    const world = clinic()
    for (const name of ['guardian', 'aunt', 'delegate']) {
      world.register(name, 'south', { roles: ['patient'] })
      const scope =
        name === 'aunt' ? { type: 'record' as const, record: recordNamed('mine') } : { type: 'all' as const }
      if (name === 'aunt') visit(world, 'mine', START)
      world.do('patient', {
        ...{ type: 'delegate.set', owner: idNamed('patient'), delegate: idNamed(name), scope },
        ...{ kind: name === 'delegate' ? 'delegate' : 'guardian', from: 0 as Timestamp, to: FOREVER },
        timestamp: world.nowMs as Timestamp,
      })
    }
    world.do('north', recordRegister('twin', { twinOf: record }))
    at(world, START + OUTPATIENT_MS)
    assert.equal(ask(world, by, recordNamed(of)), answer, what)
    if (answer === 'done') assert.equal(ask(world, by), 'refused: already-exists')
  }
})

test('record.erase: the custodian, once, and only when the patient asked', () => {
  const world = clinic()
  world.do('north', recordRegister('twin', { twinOf: record }))
  assert.equal(erase(world), 'refused: retention-not-over')
  at(world, START + OUTPATIENT_MS)
  assert.equal(erase(world), 'refused: erasure-not-asked')
  assert.equal(ask(world), 'done')
  assert.equal(erase(world, 'south'), 'refused: not-authorized')
  assert.equal(erase(world, 'patient'), 'refused: not-authorized')
  assert.equal(erase(world, 'authority-1'), 'refused: not-authorized')
  assert.equal(erase(world, 'north', recordNamed('nothing')), 'refused: unknown-record')
  assert.equal(erase(world, 'north', recordNamed('twin')), 'refused: invalid-operation')
  assert.equal(world.views.isErased(record), false)
  assert.equal(erase(world), 'done')
  assert.equal(erase(world), 'refused: already-exists')
})

test('an erased record goes to nobody, cannot be handed over or made again, and takes all its twins along', () => {
  const world = clinic()
  world.do('north', recordRegister('withdrawn twin', { twinOf: record }))
  world.do('north', { type: 'record.withdraw', record: recordNamed('withdrawn twin') })
  world.do('north', recordRegister('twin', { twinOf: record }))
  world.policy('patient')
  at(world, START + OUTPATIENT_MS)
  ask(world)
  assert.equal(world.ask('doctor').type, 'granted', 'asking alone changes nothing')
  assert.equal(erase(world), 'done')
  assert.equal(reasonOf(world.ask('doctor')), 'denied: record-withdrawn')
  assert.equal(reasonOf(world.ask('patient', { role: 'patient', purpose: '' })), 'denied: record-withdrawn')
  for (const name of ['x-ray', 'twin', 'withdrawn twin']) {
    assert.equal(world.views.isErased(recordNamed(name)), true, name)
    assert.equal(world.views.record(recordNamed(name))?.withdrawn, true, name)
  }
  assert.equal(reasonOf(world.do('north', recordRegister('x-ray'))), 'refused: already-exists')
  assert.equal(
    reasonOf(world.do('north', recordRegister('third twin', { twinOf: record }))),
    'refused: invalid-operation',
  )
  const adopt = { type: 'record.adopt', record, custodian: idNamed('east') } as const
  assert.equal(reasonOf(world.do('north', adopt)), 'refused: record-erased')
})

test('it is complete when everyone who must have held something has signed; who is missing is known until then', () => {
  const world = clinic()
  at(world, START + OUTPATIENT_MS)
  ask(world)
  assert.equal(destroyed(world, 'north'), 'refused: record-not-erased')
  erase(world)
  const missing = (): string[] => {
    const ids = world.views.erasure(record)!.missing
    return HOSPITALS.filter(name => ids.includes(idNamed(name)))
  }
  assert.deepEqual(missing(), [...HOSPITALS], 'the committee, to which the key was dealt')
  assert.equal(destroyed(world, 'patient'), 'refused: not-authorized')
  assert.equal(destroyed(world, 'north', ['everything' as Destroyable]), 'refused: unknown-code')
  assert.equal(destroyed(world, 'north', ['ciphertext', 'share']), 'done')
  assert.equal(destroyed(world, 'north', []), 'refused: already-exists')
  assert.deepEqual(missing(), ['south', 'east', 'west'])
  assert.deepEqual(world.views.receiptsOwed(idNamed('north')), [])
  assert.deepEqual(world.views.receiptsOwed(idNamed('west')), [record])
  for (const name of ['south', 'east']) destroyed(world, name)
  assert.equal(world.views.erasure(record)?.complete, null)
  assert.equal(destroyed(world, 'west', []), 'done')
  assert.equal(world.views.erasure(record)?.complete, world.ledger.head().height)
  assert.deepEqual(world.views.receiptsOwed(idNamed('west')), [])
})

test('who was granted to share, and an observer that rendezvous hashing chose, owe a receipt too; a removed one stays missing', () => {
  const others = ['fifth', 'sixth', 'seventh']
  const world = clinic({ replicas: 3 })
  for (const name of others) {
    const seal = { peerId: name as never, sealKey: 'ab'.repeat(1216), region: 'r' }
    world.agree({ type: 'institution.admit', name, publicKey: keyNamed(name), ...seal, score: 1 })
  }
  const candidates = ['south', 'east', 'west', ...others].map(name => ({ id: idNamed(name), name }))
  const chosen = placedWith(record, candidates, 3).map(({ name }) => name)
  const sharing = others.find(name => !chosen.includes(name))!
  assert.ok(chosen.some(name => others.includes(name)) && sharing, 'the stage is set: one observer chosen, one not')
  world.agree({ type: 'ca.authorize', institutions: [idNamed(sharing)], publicKey: keyNamed('ca-sharing') })
  world.do('ca-sharing', userRegister('sharer', sharing))
  world.policy('patient', { rights: ['read', 'share'] })
  assert.equal(world.ask('sharer', { right: 'share' }).type, 'granted')
  at(world, START + OUTPATIENT_MS)
  ask(world)
  erase(world)
  const owing = world.views.erasure(record)!.owing
  const names = [...HOSPITALS, ...others].filter(name => owing.includes(idNamed(name)))
  assert.deepEqual(names.sort(), [...new Set([...HOSPITALS, ...chosen, sharing])].sort())
  world.agree({ type: 'institution.remove', institution: idNamed('east') })
  assert.equal(destroyed(world, 'east'), 'refused: not-authorized')
  for (const name of names.filter(each => each !== 'east')) assert.equal(destroyed(world, name), 'done')
  assert.deepEqual(world.views.erasure(record)?.missing, [idNamed('east')])
  assert.equal(world.views.erasure(record)?.complete, null)
})

test('a peer that is restored from a checkpoint knows what was erased and who owes a receipt', () => {
  const world = clinic()
  at(world, START + OUTPATIENT_MS)
  ask(world)
  erase(world)
  destroyed(world, 'south')
  const { changes, height, root } = world.ledger.checkpoint()
  const entries = new Map([...changes].flatMap(([key, value]) => (value === null ? [] : [[key, value] as const])))
  const ledger = makeLedger(world.genesis)
  ledger.restore(entries, height, root, world.blocks.at(-1)!)
  assert.equal(ledger.views.erasedCount(), 1)
  assert.deepEqual(ledger.views.receiptsOwed(idNamed('north')), [record])
  assert.deepEqual(ledger.views.receiptsOwed(idNamed('south')), [])
  assert.deepEqual(ledger.views.erasure(record), world.views.erasure(record))
})

test('retention of no time, of centuries or in parts of a millisecond is no parameter', () => {
  for (const retentionInpatientMs of [0, 999, 1000.5, 250 * 366 * 86_400_000])
    assert.throws(() => clinic({ retentionInpatientMs }), /chain parameter/)
})
