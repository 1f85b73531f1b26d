// A grant stands while its question would still be granted: what the enforcers ask before a share moves.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { standing } from '../../src/ledger/standing.ts'
import type { Timestamp } from '../../src/model/ids.ts'
import type { Grant } from '../../src/model/operations.ts'
import {
  digestNamed,
  idNamed,
  makeClinic,
  policySet,
  reasonOf,
  recordNamed,
  recordRegister,
  type World,
} from './world.ts'

const grantOf = (world: World, record = recordNamed('x-ray')): Grant => {
  const outcome = world.ask('doctor', { record })
  assert.ok(outcome.type === 'granted', reasonOf(outcome))
  return outcome.grant
}

test('a grant stands until its policy is revoked', () => {
  const world = makeClinic()
  world.policy('patient')
  const grant = grantOf(world)
  assert.equal(standing(world.views, grant), null)
  const [policy] = world.views.policiesOf(idNamed('patient'))
  const timestamp = world.nowMs as Timestamp
  world.do('patient', { type: 'policy.revoke', owner: idNamed('patient'), policy: policy!.id, timestamp })
  assert.equal(standing(world.views, grant), 'no-policy')
})

test('a grant falls with a later deny, with the credential and with the record', () => {
  const deny = policySet('patient', { effect: 'deny', grantee: { type: 'anyone' } })
  const falls = [
    [(world: World) => world.do('patient', deny), 'patient-denied'],
    [(world: World) => world.do('ca-south', { type: 'user.revoke', user: idNamed('doctor') }), 'credential-revoked'],
    [
      (world: World) => world.do('north', { type: 'record.withdraw', record: recordNamed('x-ray') }),
      'record-withdrawn',
    ],
  ] as const
  for (const [happen, reason] of falls) {
    const world = makeClinic()
    world.policy('patient')
    const grant = grantOf(world)
    happen(world)
    assert.equal(standing(world.views, grant), reason)
  }
})

test('a twin stands whether it came for its original or was asked for itself', () => {
  const world = makeClinic()
  world.do('north', recordRegister('twin', { twinOf: recordNamed('x-ray') }))
  world.policy('patient', { anonymous: true })
  const inPlace = grantOf(world)
  assert.equal(inPlace.record, recordNamed('twin'))
  assert.equal(standing(world.views, inPlace), null)
  world.policy('patient', { anonymous: false, scope: { type: 'record', record: recordNamed('twin') } })
  world.policy('patient', { anonymous: false })
  const direct = grantOf(world, recordNamed('twin'))
  assert.equal(standing(world.views, direct), null)
})

test('an original that was granted does not stand once the patient asks for anonymity', () => {
  const world = makeClinic()
  world.do('north', recordRegister('twin', { twinOf: recordNamed('x-ray') }))
  world.policy('patient')
  const grant = grantOf(world)
  world.policy('patient', { anonymous: true })
  assert.equal(standing(world.views, grant), 'no-policy')
})

test('an emergency stands without a policy', () => {
  const world = makeClinic()
  world.register('medic', 'south', { roles: ['emergency'] })
  const outcome = world.do('medic', {
    ...{
      type: 'access.emergency',
      record: recordNamed('x-ray'),
      role: 'emergency',
      reason: 'r',
      recipient: digestNamed('r'),
    },
  })
  assert.ok(outcome.type === 'granted')
  assert.equal(standing(world.views, outcome.grant), null)
  world.do('north', { type: 'access.review', grant: outcome.grant.grant, verdict: 'rejected', note: '' })
  assert.equal(standing(world.views, outcome.grant), 'emergency-suspended')
})

test('a grant under rules that are not known does not stand', () => {
  const world = makeClinic()
  world.policy('patient')
  assert.equal(standing(world.views, { ...grantOf(world), rulesVersion: 99 }), 'no-policy')
})
