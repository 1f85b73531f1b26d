// Break-the-glass on the chain: a short grant, a review with a deadline, and what an overdue or rejected one costs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RequestId } from '../../src/model/ids.ts'
import type { AccessReview, Grant, Outcome } from '../../src/model/operations.ts'
import { digestNamed, idNamed, makeClinic, policySet, reasonOf, recordNamed, type World } from './world.ts'

const REVIEW_MS = 72 * 3_600_000

function makeWard(): World {
  const world = makeClinic()
  world.register('medic', 'south', { roles: ['emergency', 'quality'] })
  world.register('officer', 'south', { roles: ['quality'] })
  world.register('stranger', 'west', { roles: ['quality'] })
  return world
}
const breakGlass = (world: World, reason = 'unconscious'): Outcome =>
  world.do('medic', {
    type: 'access.emergency',
    record: recordNamed('x-ray'),
    role: 'emergency',
    reason,
    recipient: digestNamed('recipient'),
  })
const granted = (outcome: Outcome): Grant => {
  assert.ok(outcome.type === 'granted', reasonOf(outcome))
  return outcome.grant
}
const review = (world: World, by: string, grant: RequestId, verdict: AccessReview['verdict']): string =>
  reasonOf(world.do(by, { type: 'access.review', grant, verdict, note: '' }))

test('an emergency reads for thirty minutes without a policy, and opens a review', () => {
  const world = makeWard()
  const grant = granted(breakGlass(world))
  assert.deepEqual([grant.purpose, grant.right, grant.basis], ['BTG', 'read', 'emergency'])
  assert.equal(grant.expires, grant.time + 30 * 60_000)
  const emergency = world.views.emergency(grant.grant)
  assert.equal(emergency?.deadline, grant.time + REVIEW_MS)
  assert.equal(emergency?.verdict, null)
  assert.deepEqual(world.views.emergenciesOf(idNamed('medic')), [emergency])
  const [row] = world.views.decisionsOf({ owner: idNamed('patient') })
  assert.deepEqual([row?.operation, row?.result, row?.basis], ['access.emergency', 'granted', 'emergency'])
})

test('without a reason or for a role that is not provisioned there is no emergency', () => {
  const world = makeWard()
  assert.equal(reasonOf(breakGlass(world, '')), 'refused: invalid-operation')
  const outcome = world.do('doctor', {
    ...{
      type: 'access.emergency',
      record: recordNamed('x-ray'),
      role: 'attending',
      reason: 'x',
      recipient: digestNamed('r'),
    },
  })
  assert.equal(reasonOf(outcome), 'denied: emergency-not-provisioned')
  assert.equal(world.views.decisionCount(idNamed('patient')), 1)
})

test('an overdue review suspends the right until it is justified', () => {
  const world = makeWard()
  const { grant } = granted(breakGlass(world))
  world.wait(REVIEW_MS - 2000)
  granted(breakGlass(world))
  world.wait(1000)
  assert.equal(reasonOf(breakGlass(world)), 'denied: emergency-suspended')
  assert.equal(world.views.emergencySuspended(idNamed('medic')), true)
  assert.equal(review(world, 'officer', grant, 'justified'), 'done')
  assert.equal(world.views.emergencySuspended(idNamed('medic')), false)
  granted(breakGlass(world))
})

test('a rejected review suspends until the custodian lifts it', () => {
  const world = makeWard()
  const { grant } = granted(breakGlass(world))
  assert.equal(review(world, 'south', grant, 'rejected'), 'done')
  assert.equal(reasonOf(breakGlass(world)), 'denied: emergency-suspended')
  assert.equal(review(world, 'officer', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'south', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'north', grant, 'rejected'), 'refused: review-closed')
  assert.equal(review(world, 'north', grant, 'justified'), 'done')
  granted(breakGlass(world))
  assert.equal(review(world, 'north', grant, 'rejected'), 'refused: review-closed')
})

test('the suspension holds for break-the-glass by policy as well, and for nothing else', () => {
  const world = makeWard()
  const { grant } = granted(breakGlass(world))
  review(world, 'north', grant, 'rejected')
  world.do('patient', policySet('patient', { grantee: { type: 'anyone' }, purposes: ['BTG', 'TREAT'] }))
  assert.equal(reasonOf(world.ask('medic', { role: 'emergency', purpose: 'BTG' })), 'denied: emergency-suspended')
  assert.equal(world.ask('medic', { role: 'emergency', purpose: 'TREAT' }).type, 'granted')
})

test('who judges: the custodian or the requester’s hospital, never the requester', () => {
  const world = makeWard()
  const { grant } = granted(breakGlass(world))
  assert.equal(review(world, 'medic', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'doctor', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'stranger', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'west', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'patient', grant, 'justified'), 'refused: not-authorized')
  assert.equal(review(world, 'north', digestNamed('nothing') as RequestId, 'justified'), 'refused: unknown-grant')
  assert.equal(review(world, 'north', grant, 'fine' as 'justified'), 'refused: unknown-code')
  assert.equal(review(world, 'officer', grant, 'justified'), 'done')
  assert.equal(world.views.emergency(grant)?.reviewer, idNamed('officer'))
})

test('an ordinary grant has no review', () => {
  const world = makeWard()
  world.policy('patient')
  const { grant } = granted(world.ask('doctor'))
  assert.equal(review(world, 'north', grant, 'rejected'), 'refused: unknown-grant')
})
