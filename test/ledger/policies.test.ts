// P-42 on the chain: one permission value for (owner, scope, grantee), set once for each timestamp, by the patient or a guardian.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RequestId, Timestamp } from '../../src/model/ids.ts'
import type { DelegateSet, PolicySet } from '../../src/model/operations.ts'
import {
  digestNamed,
  FOREVER,
  idNamed,
  makeClinic,
  policySet,
  reasonOf,
  recordNamed,
  recordRegister,
  START,
  type World,
} from './world.ts'

const at = (ms: number): Timestamp => ms as Timestamp
const owner = idNamed('patient')
const set = (world: World, by: string, change: Partial<PolicySet>): string =>
  reasonOf(world.do(by, policySet('patient', change)))
const revoke = (world: World, timestamp: number, policy?: RequestId): string =>
  reasonOf(
    world.do('patient', {
      ...{ type: 'policy.revoke', owner, timestamp: at(timestamp) },
      policy: policy ?? world.views.policiesOf(owner)[0]!.id,
    }),
  )

test('a policy replaces the one before it for the same scope and grantee, and only with a later timestamp', () => {
  const world = makeClinic()
  assert.equal(set(world, 'patient', { timestamp: at(10) }), 'done')
  assert.equal(set(world, 'patient', { timestamp: at(10), purposes: ['HRESCH'] }), 'refused: timestamp-not-above-last')
  assert.equal(set(world, 'patient', { timestamp: at(9), effect: 'deny' }), 'refused: timestamp-not-above-last')
  assert.equal(set(world, 'patient', { timestamp: at(11), purposes: ['PUBHLTH'] }), 'done')
  const policies = world.views.policiesOf(owner)
  assert.deepEqual(
    policies.map(policy => policy.purposes),
    [['PUBHLTH']],
  )
  assert.equal(reasonOf(world.ask('doctor')), 'denied: purpose-mismatch')
})

test('each scope and each grantee has a timestamp of its own', () => {
  const world = makeClinic()
  assert.equal(set(world, 'patient', { timestamp: at(10) }), 'done')
  assert.equal(set(world, 'patient', { timestamp: at(5), grantee: { type: 'anyone' } }), 'done')
  assert.equal(set(world, 'patient', { timestamp: at(5), scope: { type: 'kind', kind: 'fhir' } }), 'done')
  assert.equal(world.views.policiesOf(owner).length, 3)
})

test('a revoked policy stays revoked: an older signed one cannot come back', () => {
  const world = makeClinic()
  set(world, 'patient', { timestamp: at(10) })
  assert.equal(world.ask('doctor').type, 'granted')
  assert.equal(revoke(world, 10), 'refused: timestamp-not-above-last')
  assert.equal(revoke(world, 20), 'done')
  assert.equal(reasonOf(world.ask('doctor')), 'denied: no-policy')
  assert.equal(set(world, 'patient', { timestamp: at(20) }), 'refused: timestamp-not-above-last')
  assert.equal(set(world, 'patient', { timestamp: at(21) }), 'done')
  assert.equal(world.ask('doctor').type, 'granted')
})

test('what is not there cannot be revoked', () => {
  const world = makeClinic()
  assert.equal(revoke(world, 20, digestNamed('nothing') as RequestId), 'refused: unknown-policy')
})

const bad: readonly (readonly [what: string, change: Partial<PolicySet>, answer: string])[] = [
  ['no purposes', { purposes: [] }, 'refused: invalid-operation'],
  ['an unknown purpose', { purposes: ['TREAT', 'CURIOSITY'] }, 'refused: unknown-code'],
  ['no rights', { rights: [] }, 'refused: invalid-operation'],
  ['an unknown right', { rights: ['write' as 'read'] }, 'refused: unknown-code'],
  ['an unknown ceiling', { labelCeiling: 'X' as 'V' }, 'refused: unknown-code'],
  ['a window that ends as it begins', { from: at(5), to: at(5) }, 'refused: window-empty'],
  ['a window that ends before', { from: at(6), to: at(5) }, 'refused: window-empty'],
  ['a timestamp far ahead', { timestamp: at(START + 1e9) }, 'refused: future'],
  ['a name with a slash', { grantee: { type: 'role', role: 'a/b' } }, 'refused: invalid-operation'],
  ['a name with a bar', { scope: { type: 'kind', kind: 'a|b' } }, 'refused: invalid-operation'],
  [
    'an unknown institution',
    { grantee: { type: 'institution', institution: idNamed('nowhere') } },
    'refused: unknown-institution',
  ],
  ['an unknown user', { grantee: { type: 'user', user: idNamed('nobody') } }, 'refused: unknown-user'],
  ['an unknown record', { scope: { type: 'record', record: recordNamed('nothing') } }, 'refused: unknown-record'],
  [
    'another patient’s record',
    { scope: { type: 'record', record: recordNamed('foreign') } },
    'refused: unknown-record',
  ],
]
for (const [what, change, answer] of bad)
  test(`policy.set with ${what} → ${answer}`, () => {
    const world = makeClinic()
    world.register('other', 'north', { roles: ['patient'] })
    world.do('north', recordRegister('foreign', { owner: idNamed('other') }))
    const before = world.ledger.stateRoot()
    assert.equal(set(world, 'patient', { timestamp: at(1), ...change }), answer)
    assert.equal(world.views.policiesOf(owner).length, 0)
    assert.notEqual(world.ledger.stateRoot(), before, 'the refused request is remembered as executed')
  })

const delegate = (change: Partial<DelegateSet> = {}): DelegateSet => ({
  ...{ type: 'delegate.set', owner, delegate: idNamed('doctor'), kind: 'guardian', scope: { type: 'all' } },
  ...{ from: at(0), to: FOREVER, timestamp: at(1), ...change },
})

test('nobody but the patient or a guardian in time sets policies', () => {
  const world = makeClinic()
  assert.equal(set(world, 'doctor', { timestamp: at(1) }), 'refused: not-authorized')
  assert.equal(set(world, 'north', { timestamp: at(1) }), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('doctor', delegate())), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('patient', delegate({ kind: 'delegate' }))), 'done')
  assert.equal(set(world, 'doctor', { timestamp: at(1) }), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('patient', delegate({ timestamp: at(2), to: at(world.nowMs + 5000) }))), 'done')
  assert.equal(set(world, 'doctor', { timestamp: at(1) }), 'done')
  world.wait(10_000)
  assert.equal(set(world, 'doctor', { timestamp: at(2) }), 'refused: not-authorized')
})

test('a guardian acts within the scope that the patient gave', () => {
  const world = makeClinic()
  world.do('patient', delegate({ scope: { type: 'kind', kind: 'fhir' } }))
  assert.equal(set(world, 'doctor', { timestamp: at(1) }), 'refused: not-authorized')
  assert.equal(
    set(world, 'doctor', { timestamp: at(1), scope: { type: 'kind', kind: 'dicom' } }),
    'refused: not-authorized',
  )
  assert.equal(set(world, 'doctor', { timestamp: at(1), scope: { type: 'kind', kind: 'fhir' } }), 'done')
  assert.equal(
    set(world, 'doctor', { timestamp: at(1), scope: { type: 'record', record: recordNamed('x-ray') } }),
    'done',
  )
})

test('a guardian names delegates, never guardians, and does not touch other guardians', () => {
  const world = makeClinic()
  world.register('aunt', 'north', { roles: ['guardian'] })
  world.do('patient', delegate())
  const aunt = (change: Partial<DelegateSet>): DelegateSet => delegate({ delegate: idNamed('aunt'), ...change })
  assert.equal(reasonOf(world.do('doctor', aunt({}))), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('doctor', aunt({ kind: 'delegate' }))), 'done')
  assert.equal(reasonOf(world.do('patient', aunt({ timestamp: at(2) }))), 'done')
  const off = { type: 'delegate.revoke', owner, delegate: idNamed('aunt') } as const
  assert.equal(reasonOf(world.do('doctor', { ...off, timestamp: at(3) })), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('doctor', aunt({ kind: 'delegate', timestamp: at(3) }))), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('patient', { ...off, timestamp: at(2) })), 'refused: timestamp-not-above-last')
  assert.equal(reasonOf(world.do('patient', { ...off, timestamp: at(3) })), 'done')
  assert.equal(reasonOf(world.do('patient', aunt({ timestamp: at(3) }))), 'refused: timestamp-not-above-last')
  assert.deepEqual(
    world.views.delegatesOf(owner).map(entry => entry.delegate),
    [idNamed('doctor')],
  )
})

test('a delegate reads without a policy until revoked; the decision says so', () => {
  const world = makeClinic()
  world.do('patient', delegate({ kind: 'delegate' }))
  const outcome = world.ask('doctor', { purpose: '' })
  assert.ok(outcome.type === 'granted')
  assert.equal(outcome.grant.basis, 'delegate')
  world.do('patient', { type: 'delegate.revoke', owner, delegate: idNamed('doctor'), timestamp: at(2) })
  assert.equal(reasonOf(world.ask('doctor')), 'denied: no-policy')
})

test('a user whose credential is over sets nothing', () => {
  const world = makeClinic()
  world.do('ca-north', { type: 'user.revoke', user: owner })
  assert.equal(set(world, 'patient', { timestamp: at(1) }), 'refused: not-authorized')
})
