// At most once (P-34): what a request must be before its operation is looked at.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Timestamp } from '../../src/model/ids.ts'
import { accessRequest, digestNamed, makeClinic, makeGenesis, policySet, reasonOf, World } from './world.ts'

const PAST = 600_000
const FUTURE = 60_000

test('a request runs once: a replay is refused, in the same block and in a later one', () => {
  const world = makeClinic()
  const request = world.request('doctor', accessRequest())
  const { outcomes } = world.executeAll([request, request])
  assert.deepEqual(outcomes.map(reasonOf), ['denied: no-policy', 'refused: replayed'])
  assert.equal(reasonOf(world.executeAll([request]).outcomes[0]!), 'refused: replayed')
  assert.equal(world.ledger.isExecuted(request.id), true)
})

test('a refused request is spent too; one that was never looked at is not', () => {
  const world = makeClinic()
  const refused = world.request('doctor', policySet('patient'))
  assert.equal(reasonOf(world.executeAll([refused]).outcomes[0]!), 'refused: not-authorized')
  assert.equal(reasonOf(world.executeAll([refused]).outcomes[0]!), 'refused: replayed')
  const early = world.request('doctor', accessRequest(), {
    timestamp: (world.nowMs + 1000 + FUTURE + 1000) as Timestamp,
  })
  assert.equal(reasonOf(world.executeAll([early]).outcomes[0]!), 'refused: future')
  assert.equal(world.ledger.isExecuted(early.id), false)
  assert.equal(reasonOf(world.executeAll([early]).outcomes[0]!), 'denied: no-policy')
})

test('the edges of the window are inside', () => {
  const world = makeClinic()
  const blockTime = world.nowMs + 1000
  const at = (timestamp: number) => world.request('doctor', accessRequest(), { timestamp: timestamp as Timestamp })
  const requests = [at(blockTime - PAST), at(blockTime - PAST - 1), at(blockTime + FUTURE), at(blockTime + FUTURE + 1)]
  const { outcomes } = world.executeAll(requests)
  assert.deepEqual(outcomes.map(reasonOf), [
    'denied: no-policy',
    'refused: stale',
    'denied: no-policy',
    'refused: future',
  ])
})

test('a request for another network is refused', () => {
  const world = makeClinic()
  assert.equal(
    reasonOf(world.do('doctor', accessRequest(), { network: digestNamed('elsewhere') })),
    'refused: wrong-network',
  )
})

test('ids are forgotten when their window is over, and never before', () => {
  const world = makeClinic()
  const request = world.request('doctor', accessRequest())
  world.executeAll([request])
  world.wait(PAST - 1000)
  world.executeAll([])
  assert.equal(world.ledger.isExecuted(request.id), true)
  world.wait(1000)
  world.executeAll([])
  assert.equal(world.ledger.isExecuted(request.id), false)
  assert.equal(reasonOf(world.executeAll([request]).outcomes[0]!), 'refused: stale')
  assert.equal(world.views.store.executed.under().length, 0)
})

test('widening the window lets nothing in again that was forgotten', () => {
  const world = new World(makeGenesis())
  world.register('patient', 'north', { roles: ['patient'] })
  const request = world.request('patient', policySet('patient', { timestamp: 5 as Timestamp }))
  world.executeAll([request])
  world.wait(PAST + 10_000)
  const parameters = { ...world.views.parameters(), requestWindowPastMs: 2 * PAST }
  assert.equal(reasonOf(world.agree({ type: 'validators.set', f: 1, p: 0, parameters })), 'done')
  assert.equal(world.views.parameters().requestWindowPastMs, 2 * PAST)
  assert.ok(request.timestamp > world.nowMs - 2 * PAST)
  assert.equal(reasonOf(world.executeAll([request]).outcomes[0]!), 'refused: stale')
})
