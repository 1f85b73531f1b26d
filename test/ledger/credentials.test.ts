// P-44: a CA vouches for a while for the attributes and roles of a user, bound to the user's key, and can take it back alone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PublicKey, Timestamp } from '../../src/model/ids.ts'
import type { CredentialIssue } from '../../src/model/operations.ts'
import {
  digestNamed,
  FOREVER,
  idNamed,
  keyNamed,
  makeClinic,
  reasonOf,
  recordRegister,
  START,
  type World,
} from './world.ts'

const HOUR = 3_600_000
const soon = (START + HOUR) as Timestamp

const issue = (change: Partial<CredentialIssue> = {}): CredentialIssue => ({
  type: 'credential.issue',
  credential: digestNamed('jws'),
  user: idNamed('doctor'),
  publicKey: keyNamed('doctor'),
  roles: ['emergency'],
  attributes: [{ key: 'department', values: ['cardiology'] }],
  validUntil: soon,
  ...change,
})
const revoke = (name = 'jws') =>
  ({ type: 'credential.revoke', user: idNamed('doctor'), credential: digestNamed(name) }) as const

/** A doctor whom the registration gives the role attending, and a policy for what the credential adds. */
function clinic(): World {
  const world = makeClinic()
  world.policy('patient', { grantee: { type: 'role', role: 'emergency' } })
  return world
}
const asEmergency = (world: World): string => reasonOf(world.ask('doctor', { role: 'emergency' }))

const bad: readonly (readonly [what: string, by: string, change: Partial<CredentialIssue>, answer: string])[] = [
  ['another institution’s CA', 'ca-north', {}, 'refused: not-authorized'],
  ['the institution itself', 'south', {}, 'refused: not-authorized'],
  ['the user itself', 'doctor', {}, 'refused: not-authorized'],
  ['a user that nobody registered', 'ca-south', { user: idNamed('nobody') }, 'refused: unknown-user'],
  ['another key than the user’s', 'ca-south', { publicKey: keyNamed('thief') }, 'refused: invalid-operation'],
  ['a time that is over', 'ca-south', { validUntil: START as Timestamp }, 'refused: window-empty'],
  ['neither role nor attribute', 'ca-south', { roles: [], attributes: [] }, 'refused: invalid-operation'],
  ['a role with a slash', 'ca-south', { roles: ['a/b'] }, 'refused: invalid-operation'],
  [
    'an attribute twice',
    'ca-south',
    {
      attributes: [
        { key: 'a', values: ['1'] },
        { key: 'a', values: ['2'] },
      ],
    },
    'refused: invalid-operation',
  ],
  [
    'an attribute without a value',
    'ca-south',
    { attributes: [{ key: 'a', values: [] }] },
    'refused: invalid-operation',
  ],
  [
    'a digest that is none',
    'ca-south',
    { credential: 'ab' as CredentialIssue['credential'] },
    'refused: invalid-operation',
  ],
]
for (const [what, by, change, answer] of bad)
  test(`credential.issue: ${what} → ${answer}`, () => {
    const world = makeClinic()
    assert.equal(reasonOf(world.do(by, issue(change))), answer)
    assert.deepEqual(world.views.credentialsOf(idNamed('doctor')), [])
  })

test('a role is held by a credential until block time reaches its end, and the grant does not outlive it', () => {
  const world = clinic()
  assert.equal(asEmergency(world), 'denied: role-not-held')
  assert.equal(reasonOf(world.do('ca-south', issue())), 'done')
  assert.equal(reasonOf(world.do('ca-south', issue())), 'refused: already-exists')
  const granted = world.ask('doctor', { role: 'emergency' })
  assert.ok(granted.type === 'granted' && granted.grant.expires === soon)
  world.wait(HOUR)
  assert.equal(asEmergency(world), 'denied: credential-expired')
  // What the registration gives is another matter.
  assert.equal(reasonOf(world.ask('doctor', { role: 'attending' })), 'denied: no-policy')
})

test('a credential is revoked alone: the registration and the other credentials stay', () => {
  const world = clinic()
  world.do('ca-south', issue())
  assert.equal(reasonOf(world.do('ca-north', revoke())), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('ca-south', revoke('other'))), 'refused: unknown-credential')
  assert.equal(reasonOf(world.do('ca-south', revoke())), 'done')
  assert.equal(reasonOf(world.do('ca-south', revoke())), 'refused: already-exists')
  assert.equal(asEmergency(world), 'denied: credential-revoked')
  assert.equal(reasonOf(world.ask('doctor', { role: 'attending' })), 'denied: no-policy')
  assert.equal(reasonOf(world.do('ca-south', issue({ credential: digestNamed('second') }))), 'done')
  assert.equal(asEmergency(world), 'granted')
})

test('a user may be registered without a role and act by credentials alone; without the registration no credential counts', () => {
  const world = clinic()
  assert.equal(reasonOf(world.register('locum', 'south', { roles: [] })), 'done')
  world.do('ca-south', issue({ user: idNamed('locum'), publicKey: keyNamed('locum') }))
  assert.equal(reasonOf(world.ask('locum', { role: 'emergency' })), 'granted')
  world.do('ca-south', { type: 'user.revoke', user: idNamed('locum') })
  assert.equal(reasonOf(world.ask('locum', { role: 'emergency' })), 'denied: credential-revoked')
  const another = issue({ user: idNamed('locum'), publicKey: keyNamed('locum'), credential: digestNamed('second') })
  assert.equal(reasonOf(world.do('ca-south', another)), 'refused: not-authorized')
})

test('a credential is bound to the key: a rotated key needs another', () => {
  const world = clinic()
  world.do('ca-south', issue())
  const publicKey = keyNamed('doctor-2')
  world.do('ca-south', { type: 'user.rotate-key', user: idNamed('doctor'), publicKey, scheme: 1 })
  const ask = (): string => reasonOf(world.do('doctor-2', asked, { client: idNamed('doctor') }))
  const asked = { ...askedBase, role: 'emergency' }
  assert.equal(ask(), 'denied: credential-revoked')
  world.do('ca-south', issue({ publicKey: publicKey as PublicKey, credential: digestNamed('second') }))
  assert.equal(ask(), 'granted')
})
const askedBase = {
  type: 'access.request',
  record: recordRegister('x-ray').record,
  role: 'attending',
  purpose: 'TREAT',
  right: 'read',
  recipient: digestNamed('recipient'),
} as const

test('with its CA a credential falls, although the registrations of that CA stay', () => {
  const world = clinic()
  world.do('ca-south', issue())
  assert.equal(reasonOf(world.agree({ type: 'ca.revoke', ca: idNamed('ca-south') })), 'done')
  assert.equal(asEmergency(world), 'denied: credential-revoked')
  assert.equal(reasonOf(world.ask('doctor', { role: 'attending' })), 'denied: no-policy')
})

test('a grant by a credential no longer stands when the credential is revoked', async () => {
  const { standing } = await import('../../src/ledger/standing.ts')
  const world = clinic()
  world.do('ca-south', issue())
  const granted = world.ask('doctor', { role: 'emergency' })
  assert.ok(granted.type === 'granted')
  assert.equal(standing(world.views, granted.grant), null)
  world.do('ca-south', revoke())
  assert.equal(standing(world.views, granted.grant), 'credential-revoked')
})

test('a reviewer may hold the role quality by credential', () => {
  const world = clinic()
  const all = { roles: ['emergency'], credential: digestNamed('er') }
  world.do('ca-south', issue(all))
  const record = recordRegister('x-ray').record
  const broken = world.do('doctor', {
    ...{ type: 'access.emergency', record, role: 'emergency', reason: 'unconscious' },
    recipient: digestNamed('recipient'),
  })
  assert.ok(broken.type === 'granted')
  world.register('auditor', 'south', { roles: [] })
  const review = { type: 'access.review', grant: broken.grant.grant, verdict: 'justified', note: '' } as const
  assert.equal(reasonOf(world.do('auditor', review)), 'refused: not-authorized')
  world.do('ca-south', issue({ user: idNamed('auditor'), publicKey: keyNamed('auditor'), roles: ['quality'] }))
  assert.equal(reasonOf(world.do('auditor', review)), 'done')
})

test('attributes are those of the credentials that hold now', () => {
  const world = clinic()
  const attributes = [
    { key: 'specialty', values: ['oncology', 'cardiology'] },
    { key: 'department', values: ['surgery'] },
  ]
  world.do('ca-south', issue())
  world.do('ca-south', issue({ roles: [], attributes, credential: digestNamed('second'), validUntil: FOREVER }))
  assert.deepEqual(world.views.attributesNow(idNamed('doctor')), [
    { key: 'department', values: ['cardiology', 'surgery'] },
    { key: 'specialty', values: ['cardiology', 'oncology'] },
  ])
  world.wait(HOUR)
  world.ask('patient')
  assert.deepEqual(world.views.attributesNow(idNamed('doctor')), [
    { key: 'department', values: ['surgery'] },
    { key: 'specialty', values: ['cardiology', 'oncology'] },
  ])
})

test('what is over makes room, what holds is never pushed out', () => {
  const world = clinic()
  const nth = (i: number, validUntil: Timestamp): CredentialIssue =>
    issue({ credential: digestNamed(`jws ${i}`), validUntil })
  for (let i = 0; i < 31; i++) world.do('ca-south', nth(i, FOREVER))
  world.do('ca-south', nth(31, soon))
  assert.equal(reasonOf(world.do('ca-south', nth(32, FOREVER))), 'refused: invalid-operation')
  world.wait(HOUR)
  assert.equal(reasonOf(world.do('ca-south', nth(33, FOREVER))), 'done')
  const held = world.views.credentialsOf(idNamed('doctor')).map(({ credential }) => credential)
  assert.equal(held.length, 32)
  assert.ok(!held.includes(digestNamed('jws 31')) && held.includes(digestNamed('jws 33')))
})
