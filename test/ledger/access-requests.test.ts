// Sharing under a policy, on the chain: from registration to receipt (P-39, P-42, P-47).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Timestamp } from '../../src/model/ids.ts'
import { digestNamed, FOREVER, idNamed, keyNamed, makeClinic, reasonOf, recordNamed, recordRegister } from './world.ts'

test('a doctor reads what the patient permits, and the receipt closes the story', () => {
  const world = makeClinic()
  assert.equal(reasonOf(world.ask('doctor')), 'denied: no-policy')
  assert.equal(reasonOf(world.policy('patient')), 'done')
  const outcome = world.ask('doctor')
  assert.ok(outcome.type === 'granted')
  const { grant } = outcome
  assert.equal(grant.record, recordNamed('x-ray'))
  assert.equal(grant.owner, idNamed('patient'))
  assert.equal(grant.requester, idNamed('doctor'))
  assert.equal(grant.institution, idNamed('south'))
  assert.equal(grant.variant, 'original')
  assert.equal(grant.expires, grant.time + 3_600_000)
  assert.equal(grant.basis, world.views.policiesOf(idNamed('patient'))[0]?.id)
  assert.deepEqual(world.views.grant(grant.grant), grant)
  const receipt = { type: 'access.receipt', grant: grant.grant, sha256Commitment: digestNamed('commitment') } as const
  assert.equal(reasonOf(world.do('patient', receipt)), 'refused: unknown-grant')
  assert.equal(reasonOf(world.do('doctor', receipt)), 'done')
  assert.equal(reasonOf(world.do('doctor', receipt)), 'refused: already-exists')
  assert.equal(world.views.receipt(grant.grant)?.commitment, digestNamed('commitment'))
})

test('every decision stands in the patient’s list, grants and denials, without a gap', () => {
  const world = makeClinic()
  world.ask('doctor')
  world.policy('patient')
  world.ask('doctor')
  world.ask('doctor', { purpose: 'HRESCH' })
  const rows = world.views.decisionsOf({ owner: idNamed('patient') })
  assert.deepEqual(
    rows.map(row => row.result),
    ['no-policy', 'granted', 'role-purpose'],
  )
  assert.deepEqual(
    rows.map(row => row.number),
    [0, 1, 2],
  )
  assert.equal(world.views.decisionCount(idNamed('patient')), 3)
  assert.deepEqual(world.views.decisionsOf({ user: idNamed('doctor') }), rows)
  assert.deepEqual(world.views.decisionsOf({ record: recordNamed('x-ray') }), rows)
  const policy = world.views.policiesOf(idNamed('patient'))[0]
  assert.equal(rows[1]?.basis, policy?.id)
  assert.equal(rows[1]?.policyTimestamp, policy?.timestamp)
})

test('a record that does not exist looks like one without a policy, and the probe is noted under who probed', () => {
  const world = makeClinic()
  const missing = { record: recordNamed('nothing') }
  assert.equal(reasonOf(world.ask('doctor', missing)), 'denied: no-policy')
  assert.equal(reasonOf(world.ask('doctor', { ...missing, role: 'nurse' })), 'denied: role-not-held')
  assert.equal(reasonOf(world.ask('doctor', { ...missing, purpose: 'HRESCH' })), 'denied: role-purpose')
  assert.equal(world.views.decisionCount(idNamed('doctor')), 3)
  assert.equal(world.views.decisionCount(idNamed('patient')), 0)
})

test('nobody can be denied in another’s name', () => {
  const world = makeClinic()
  const forged = world.do('stranger', { ...baseAsk() }, { client: idNamed('doctor') })
  assert.equal(reasonOf(forged), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('stranger', { ...baseAsk() })), 'denied: requester-unknown')
  assert.equal(world.views.decisionsOf({ user: idNamed('doctor') }).length, 0)
})

test('after a rotation only the new key acts for the user, and the identifier stays', () => {
  const world = makeClinic()
  world.policy('patient')
  const rotate = {
    type: 'user.rotate-key',
    user: idNamed('doctor'),
    publicKey: keyNamed('doctor-2'),
    scheme: 1,
  } as const
  assert.equal(reasonOf(world.do('patient', rotate)), 'refused: not-authorized')
  assert.equal(reasonOf(world.do('doctor', rotate)), 'done')
  assert.equal(reasonOf(world.ask('doctor')), 'refused: not-authorized')
  const asked = world.do('doctor-2', baseAsk(), { client: idNamed('doctor') })
  assert.equal(asked.type, 'granted')
  assert.equal(reasonOf(world.do('doctor-2', baseAsk())), 'denied: requester-unknown')
})

test('a grant outlives neither the policy’s window nor the credential', () => {
  const world = makeClinic()
  const soon = (world.nowMs + 60_000) as Timestamp
  world.policy('patient', { to: soon })
  const outcome = world.ask('doctor')
  assert.ok(outcome.type === 'granted')
  assert.equal(outcome.grant.expires, soon)
  world.register('locum', 'south', { validUntil: soon })
  world.policy('patient', { to: FOREVER })
  const second = world.ask('locum')
  assert.ok(second.type === 'granted')
  assert.equal(second.grant.expires, soon)
})

test('anonymous: the de-identified twin is released, and without a twin nothing is', () => {
  const world = makeClinic()
  world.policy('patient', { anonymous: true })
  assert.equal(reasonOf(world.ask('doctor')), 'denied: label-withheld')
  assert.equal(reasonOf(world.do('north', recordRegister('twin', { twinOf: recordNamed('x-ray') }))), 'done')
  const outcome = world.ask('doctor')
  assert.ok(outcome.type === 'granted')
  assert.equal(outcome.grant.variant, 'deidentified')
  assert.equal(outcome.grant.record, recordNamed('twin'))
  world.do('north', { type: 'record.withdraw', record: recordNamed('twin') })
  assert.equal(reasonOf(world.ask('doctor')), 'denied: label-withheld')
})

test('a withdrawn record is released to nobody, and only who was permitted hears why', () => {
  const world = makeClinic()
  world.policy('patient')
  world.register('outsider', 'east', { roles: ['nurse'] })
  assert.equal(
    reasonOf(world.do('south', { type: 'record.withdraw', record: recordNamed('x-ray') })),
    'refused: not-authorized',
  )
  assert.equal(reasonOf(world.do('north', { type: 'record.withdraw', record: recordNamed('x-ray') })), 'done')
  assert.equal(reasonOf(world.ask('doctor')), 'denied: record-withdrawn')
  assert.equal(reasonOf(world.ask('patient', { role: 'patient' })), 'denied: record-withdrawn')
  assert.equal(reasonOf(world.ask('outsider', { role: 'nurse' })), 'denied: no-policy')
})

const baseAsk = () =>
  ({
    type: 'access.request',
    record: recordNamed('x-ray'),
    role: 'attending',
    purpose: 'TREAT',
    right: 'read',
    recipient: digestNamed('recipient'),
  }) as const
