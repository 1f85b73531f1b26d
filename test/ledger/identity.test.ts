// P-44: a CA vouches for the users of its institutions and for nobody else.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Timestamp } from '../../src/model/ids.ts'
import type { UserRegister } from '../../src/model/operations.ts'
import { FOREVER, idNamed, keyNamed, makeClinic, reasonOf, START, userRegister, World } from './world.ts'

const soon = (START + 100_000) as Timestamp
const later = (START + 200_000) as Timestamp

const bad: readonly (readonly [what: string, by: string, change: Partial<UserRegister>, answer: string])[] = [
  ['another institution’s CA', 'ca-south', {}, 'refused: not-authorized'],
  ['the institution itself', 'north', {}, 'refused: not-authorized'],
  ['the authority', 'authority-1', {}, 'refused: not-authorized'],
  ['an unknown institution', 'ca-north', { institution: idNamed('nowhere') }, 'refused: unknown-institution'],
  ['a role with a slash', 'ca-north', { roles: ['a/b'] }, 'refused: invalid-operation'],
  [
    'too many groups',
    'ca-north',
    { groups: Array.from({ length: 65 }, (_, i) => `g${i}`) },
    'refused: invalid-operation',
  ],
  ['a key of the wrong length for its scheme', 'ca-north', { scheme: 2 }, 'refused: invalid-operation'],
  ['a credential that is over', 'ca-north', { validUntil: START as Timestamp }, 'refused: window-empty'],
]
for (const [what, by, change, answer] of bad)
  test(`user.register: ${what} → ${answer}`, () => {
    const world = new World()
    assert.equal(reasonOf(world.do(by, userRegister('new', 'north', change))), answer)
    assert.equal(world.views.user(idNamed('new')), null)
  })

test('a second registration renews only with a later end, at the same institution', () => {
  const world = new World()
  assert.equal(reasonOf(world.register('nurse', 'north', { validUntil: soon, roles: ['nurse'] })), 'done')
  assert.equal(reasonOf(world.register('nurse', 'north', { validUntil: soon })), 'refused: already-exists')
  assert.equal(reasonOf(world.register('nurse', 'south', { validUntil: later })), 'refused: already-exists')
  assert.equal(reasonOf(world.register('nurse', 'north', { validUntil: later, roles: ['attending'] })), 'done')
  assert.deepEqual(world.views.user(idNamed('nurse'))?.roles, ['attending'])
  assert.equal(world.views.user(idNamed('nurse'))?.validUntil, later)
  assert.deepEqual(
    world.views.usersOf(idNamed('north')).map(({ id }) => id),
    [idNamed('nurse')],
  )
})

test('a revoked user stays revoked', () => {
  const world = makeClinic()
  world.policy('patient')
  const revoke = { type: 'user.revoke', user: idNamed('doctor') } as const
  assert.equal(reasonOf(world.do('ca-north', revoke)), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('ca-south', { ...revoke, user: idNamed('nobody') })), 'refused: unknown-user')
  assert.equal(reasonOf(world.do('ca-south', revoke)), 'done')
  assert.equal(reasonOf(world.ask('doctor')), 'denied: credential-revoked')
  assert.equal(
    reasonOf(world.register('doctor', 'south', { validUntil: (FOREVER + 1) as Timestamp })),
    'refused: already-exists',
  )
  const rotate = {
    type: 'user.rotate-key',
    user: idNamed('doctor'),
    publicKey: keyNamed('doctor-2'),
    scheme: 1,
  } as const
  assert.equal(reasonOf(world.do('ca-south', rotate)), 'refused: not-authorized')
})

test('a renewal keeps the rotated key', () => {
  const world = new World()
  world.register('nurse', 'north', { validUntil: soon })
  const rotate = { type: 'user.rotate-key', user: idNamed('nurse'), publicKey: keyNamed('nurse-2'), scheme: 1 } as const
  assert.equal(reasonOf(world.do('ca-south', rotate)), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('ca-north', rotate)), 'done')
  assert.equal(reasonOf(world.do('ca-north', rotate)), 'refused: already-exists')
  world.register('nurse', 'north', { validUntil: later })
  assert.equal(world.views.user(idNamed('nurse'))?.publicKey, keyNamed('nurse-2'))
})

test('rotating a user’s key to an institution’s takes nothing from the institution', () => {
  const world = makeClinic()
  // A CA registers the institution's own key as a user and turns it over to somebody else's key.
  world.do('ca-south', userRegister('north', 'south'))
  const rotate = { type: 'user.rotate-key', user: idNamed('north'), publicKey: keyNamed('thief'), scheme: 1 } as const
  assert.equal(reasonOf(world.do('ca-south', rotate)), 'done')
  const withdraw = {
    type: 'record.withdraw',
    record: world.views.recordsOfCustodian(idNamed('north'))[0]!.record,
  } as const
  assert.equal(reasonOf(world.do('thief', withdraw, { client: idNamed('north') })), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('north', withdraw)), 'done')
})

test('a revoked CA registers nobody; its users stay', () => {
  const world = makeClinic()
  assert.equal(reasonOf(world.agree({ type: 'ca.revoke', ca: idNamed('ca-north') })), 'done')
  assert.equal(reasonOf(world.register('late', 'north')), 'refused: not-authorized')
  assert.equal(world.ask('patient', { role: 'patient' }).type, 'granted')
})

test('a CA for several institutions is one that the authority named so', () => {
  const world = new World()
  const institutions = [idNamed('north'), idNamed('west')]
  assert.equal(reasonOf(world.agree({ type: 'ca.authorize', publicKey: keyNamed('ca-all'), institutions })), 'done')
  assert.equal(reasonOf(world.do('ca-all', userRegister('a', 'west'))), 'done')
  assert.equal(reasonOf(world.do('ca-all', userRegister('b', 'east'))), 'refused: not-authorized')
})
