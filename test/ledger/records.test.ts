// The index (P-12, P-33): only the custodian registers, withdraws and hands over, and only for owners that are known.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerId } from '../../src/model/ids.ts'
import type { RecordRegister } from '../../src/model/operations.ts'
import {
  digestNamed,
  idNamed,
  keyNamed,
  makeClinic,
  makeGenesis,
  reasonOf,
  recordNamed,
  recordRegister,
  type World,
} from './world.ts'

const twinOf = recordNamed('x-ray')
const adopt = (world: World, by: string, to: string): string =>
  reasonOf(world.do(by, { type: 'record.adopt', record: recordNamed('x-ray'), custodian: idNamed(to) }))

const rows: readonly (readonly [what: string, by: string, change: Partial<RecordRegister>, answer: string])[] = [
  ['the custodian', 'north', {}, 'done'],
  ['in another’s name', 'south', {}, 'refused: not-authorized'],
  ['a user', 'doctor', { custodian: idNamed('doctor') }, 'refused: not-authorized'],
  ['an unknown owner', 'north', { owner: idNamed('nobody') }, 'refused: unknown-user'],
  ['a record that exists', 'north', { record: recordNamed('x-ray') }, 'refused: already-exists'],
  ['an unknown confidentiality', 'north', { confidentiality: 'X' as 'N' }, 'refused: unknown-code'],
  ['an unknown label', 'north', { labels: ['HIV', 'SECRET'] }, 'refused: unknown-code'],
  ['a digest that is none', 'north', { cipherRoot: 'zz' as never }, 'refused: invalid-operation'],
  ['no shares', 'north', { shareCount: 0 }, 'refused: invalid-operation'],
  ['a threshold of one', 'north', { threshold: 1 }, 'refused: invalid-operation'],
  ['a threshold above the number of shares', 'north', { threshold: 5 }, 'refused: invalid-operation'],
  ['all shares needed', 'north', { threshold: 4 }, 'done'],
  ['a kind that is no name', 'north', { kind: 'a/b' }, 'refused: invalid-operation'],
  ['a twin', 'north', { twinOf }, 'done'],
  ['a twin of unknown rules', 'north', { twinOf, twinRules: null }, 'refused: invalid-operation'],
  ['rules without a twin', 'north', { twinRules: digestNamed('rules') }, 'refused: invalid-operation'],
  ['a twin of nothing', 'north', { twinOf: recordNamed('nothing') }, 'refused: unknown-record'],
  ['a twin for another owner', 'north', { twinOf, owner: idNamed('doctor') }, 'refused: invalid-operation'],
  ['a twin at another custodian', 'south', { twinOf, custodian: idNamed('south') }, 'refused: invalid-operation'],
]
for (const [what, by, change, answer] of rows)
  test(`record.register: ${what} → ${answer}`, () => {
    const world = makeClinic()
    assert.equal(reasonOf(world.do(by, recordRegister('new', change))), answer)
    assert.equal(world.views.record(recordNamed('new')) !== null, answer === 'done')
  })

test('f hospitals must not reach the threshold', () => {
  const four = makeGenesis().institutions
  const three = ['up', 'down', 'mid'].map(name => ({
    ...four[0]!,
    name,
    publicKey: keyNamed(name),
    peerId: name as PeerId,
  }))
  const genesis = makeGenesis({ f: 2, validatorCount: 7, institutions: [...four, ...three] }, { shareThreshold: 3 })
  const world = makeClinic(genesis)
  const register = (threshold: number): string =>
    reasonOf(world.do('north', recordRegister('new', { shareCount: 7, threshold })))
  assert.equal(register(2), 'refused: invalid-operation')
  assert.equal(register(3), 'done')
})

test('one twin at a time, and no twin of a twin', () => {
  const world = makeClinic()
  world.do('north', recordRegister('twin', { twinOf }))
  assert.equal(world.views.record(twinOf)?.twin, recordNamed('twin'))
  assert.equal(reasonOf(world.do('north', recordRegister('second', { twinOf }))), 'refused: already-exists')
  assert.equal(
    reasonOf(world.do('north', recordRegister('second', { twinOf: recordNamed('twin') }))),
    'refused: invalid-operation',
  )
  world.do('north', { type: 'record.withdraw', record: recordNamed('twin') })
  assert.equal(reasonOf(world.do('north', recordRegister('second', { twinOf }))), 'done')
})

test('withdrawing an original takes its twin along, once', () => {
  const world = makeClinic()
  world.do('north', recordRegister('twin', { twinOf }))
  assert.equal(
    reasonOf(world.do('north', { type: 'record.withdraw', record: recordNamed('nothing') })),
    'refused: unknown-record',
  )
  assert.equal(reasonOf(world.do('north', { type: 'record.withdraw', record: twinOf })), 'done')
  assert.equal(reasonOf(world.do('north', { type: 'record.withdraw', record: twinOf })), 'refused: already-exists')
  assert.equal(world.views.record(recordNamed('twin'))?.withdrawn, true)
  assert.equal(reasonOf(world.do('north', recordRegister('second', { twinOf }))), 'refused: invalid-operation')
})

test('custody passes when the custodian has offered and the named one adopts', () => {
  const world = makeClinic()
  assert.equal(adopt(world, 'south', 'south'), 'refused: not-authorized')
  assert.equal(adopt(world, 'north', 'nowhere'), 'refused: unknown-institution')
  assert.equal(adopt(world, 'north', 'north'), 'refused: already-exists')
  assert.equal(adopt(world, 'doctor', 'south'), 'refused: not-authorized')
  assert.equal(adopt(world, 'north', 'south'), 'done')
  assert.equal(world.views.record(twinOf)?.custodian, idNamed('north'))
  assert.equal(adopt(world, 'east', 'east'), 'refused: not-authorized')
  assert.equal(adopt(world, 'south', 'south'), 'done')
  assert.equal(world.views.record(twinOf)?.custodian, idNamed('south'))
  assert.equal(world.views.adoption(twinOf), null)
  assert.equal(world.views.recordsOfCustodian(idNamed('north')).length, 0)
  assert.equal(world.views.recordsOfCustodian(idNamed('south')).length, 1)
})

test('the authority names an heir only for a custodian that is gone', () => {
  const world = makeClinic()
  assert.equal(adopt(world, 'authority-1', 'south'), 'refused: not-authorized')
  world.agree({ type: 'institution.remove', institution: idNamed('north') })
  assert.equal(adopt(world, 'authority-1', 'south'), 'done')
  assert.equal(adopt(world, 'south', 'south'), 'refused: not-authorized')
  assert.equal(adopt(world, 'authority-3', 'south'), 'done')
  assert.equal(adopt(world, 'south', 'south'), 'done')
  assert.equal(world.views.record(twinOf)?.custodian, idNamed('south'))
})
