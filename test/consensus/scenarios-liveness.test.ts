// L1 … L8 of consensus.md §8.2: what must happen in the end.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stage } from '../sim/stage.ts'

const TIMEOUT_MS = 100

test('L1: who decided alone answers the others, and the next height has one primary', () => {
  const [A, B, C, Z] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(1)
  stage.deliver({ type: 'PRE-PREPARE' })
  const X = stage.last(A, 'PRE-PREPARE')!.id
  stage.say(stage.vote('COMMIT', Z, X), [A])
  stage.deliver({ type: 'COMMIT', to: A })
  stage.lose()
  assert.deepEqual(
    [A, B, C].map(index => stage.decisionOf(index)),
    [X, null, null],
  )
  stage.pass(TIMEOUT_MS)
  // Without A's answer B and C are two of the three that every quorum needs.
  stage.lose({ type: 'STATUS' })
  assert.ok(stage.deliver({ type: 'VIEW-CHANGE', to: A }) > 0)
  assert.ok(stage.deliver({ type: 'DECIDED', from: A }) > 0)
  assert.deepEqual(
    [A, B, C].map(index => stage.decisionOf(index)),
    [X, X, X],
  )
  assert.deepEqual(
    [A, B, C].map(index => stage.peer(index).replica?.view()?.primary),
    [A, A, A],
  )
  stage.request(2)
  stage.play(500, undefined, () => stage.decisionOf(C, 2) !== null)
  assert.notEqual(stage.decisionOf(C, 2), null)
})

test('L2: the certificate inside the next PRE-PREPARE decides, and who has it tells the rest', () => {
  const [P, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({})
  stage.request(1)
  stage.deliver({ type: 'PRE-PREPARE' })
  stage.deliver({ type: 'COMMIT', to: P })
  stage.lose()
  assert.notEqual(stage.decisionOf(P), null)
  stage.request(2)
  stage.deliver({ type: 'PRE-PREPARE', to: C })
  stage.peer(P).crash()
  stage.lose()
  assert.deepEqual(
    [A, B, C].map(index => stage.decisionOf(index) !== null),
    [false, false, true],
  )
  assert.equal(stage.last(C, 'COMMIT')?.height, 2, 'the proposal that carried it was kept and voted for')
  stage.play(5_000, undefined, () => [A, B, C].every(index => stage.decisionOf(index, 2) !== null))
  assert.equal(new Set([P, A, B, C].map(index => stage.decisionOf(index))).size, 1)
  assert.deepEqual(
    [A, B, C].map(index => stage.decisionOf(index, 2) !== null),
    [true, true, true],
  )
})

test('L3: halves that cannot hear each other do not run away, and agree soon after they meet', () => {
  const stage = new Stage({})
  stage.request(1)
  stage.lose()
  stage.play(20 * TIMEOUT_MS, (from, to) => from % 2 === to % 2)
  assert.deepEqual(
    [0, 1, 2, 3].map(index => stage.viewOf(index)),
    [1, 1, 1, 1],
    'timers wait for n-f',
  )
  stage.play(4 * TIMEOUT_MS, undefined, () => [0, 1, 2, 3].every(index => stage.decisionOf(index) !== null))
  assert.equal(new Set([0, 1, 2, 3].map(index => stage.decisionOf(index))).size, 1)
  assert.notEqual(stage.decisionOf(0), null)
})

test('L3: a replica left behind joins the view that f+1 others ask for', () => {
  const stage = new Stage({ liars: [3] })
  stage.request(1, [0])
  stage.lose()
  assert.equal(stage.viewOf(1), 0)
  for (const sender of [0, 2]) stage.say(stage.viewChange(sender, 4), [1])
  assert.equal(stage.viewOf(1), 4)
  assert.equal(stage.last(1, 'VIEW-CHANGE')?.view, 4)
})

test('L4: one liar’s views, however high, move nobody', () => {
  const [A, B, C, Z] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  for (const view of [1_000_000_000, Number.MAX_SAFE_INTEGER, ...Array.from({ length: 200 }, (_, i) => i + 1)]) {
    stage.say(stage.viewChange(Z, view), [A, B, C])
    stage.say(stage.vote('COMMIT', Z, stage.block(Z, 1).id, view), [A, B, C])
    stage.say(stage.vote('BLOCK-ID', Z, stage.block(Z, 1).id, view), [A, B, C])
  }
  assert.deepEqual(
    [A, B, C].map(index => stage.viewOf(index)),
    [0, 0, 0],
  )
  for (const index of [A, B, C]) assert.ok((stage.peer(index).replica?.held() ?? 99) <= 8 + 8 + 1 + 7)
  stage.request(1)
  stage.play(500, undefined, () => stage.decisionOf(C) !== null)
  assert.notEqual(stage.decisionOf(C), null)
})

test('L5: a forced block is voted for, however old it is', () => {
  const stage = new Stage({ silent: [3] })
  stage.request(1)
  stage.deliver({ type: 'PRE-PREPARE' })
  const X = stage.last(0, 'PRE-PREPARE')!.id
  for (let i = 0; i < 50; i++) {
    stage.lose()
    stage.pass(TIMEOUT_MS)
  }
  stage.play(3_000, undefined, () => stage.decisionOf(1) !== null)
  assert.ok((stage.decided.get(1)?.[0]?.certificate.view ?? 0) > 0)
  assert.equal(stage.decisionOf(1), X)
})

test('L6: a primary without the forced body fetches it from the one who has it', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  const X = stage.block(Z, 1)
  stage.say(stage.prePrepare(Z, 0, X), [B])
  stage.lose({ type: 'COMMIT' })
  stage.pass(TIMEOUT_MS)
  stage.say(stage.viewChange(Z, 1, [0, X.id]), [A])
  stage.deliver({ type: 'VIEW-CHANGE', from: B, to: A })
  assert.deepEqual(stage.fetches[0], { by: A, id: X.id })
  assert.equal(stage.last(A, 'PRE-PREPARE'), null)
  stage.deliver({ type: 'BODY' })
  assert.equal(stage.last(A, 'PRE-PREPARE')?.id, X.id)
  stage.play(500, undefined, () => stage.decisionOf(C) !== null)
  assert.equal(stage.decisionOf(C), X.id)
})

for (const { n, path } of [
  { n: 4, path: 'SLOW' },
  { n: 6, path: 'FAST' },
] as const)
  test(`L7: with one of ${n} validators down every height is decided, and all of them are ${path}`, () => {
    const heights = 10_000
    const stage = new Stage({ n, silent: [n - 1] })
    for (let number = 0; number < heights; number++) stage.request(number)
    stage.play(600_000, undefined, () => [...stage.peers.values()].every(peer => peer.height > heights))
    for (const decided of stage.decided.values()) {
      assert.equal(decided.length, heights)
      assert.ok(decided.every(({ certificate }) => certificate.path === path && certificate.view === 0))
    }
  })

for (const { rotationBlocks, led, what } of [
  { rotationBlocks: 0, led: [1, 2, 3], what: 'keeps the lead when it never moves' },
  { rotationBlocks: 3, led: [1, 2], what: 'leads no longer than until the next multiple of R' },
])
  test(`L8: a stable liar that proposes just before the timeout costs one timeout for each block, and ${what}`, () => {
    const [Z, A, B, C] = [0, 1, 2, 3]
    const stage = new Stage({ liars: [Z], rotationBlocks })
    for (let number = 0; number < 4; number++) stage.request(number)
    for (const height of led) {
      assert.equal(stage.peer(A).replica?.view()?.primary, Z)
      stage.play(TIMEOUT_MS - 10)
      const { application } = stage.peer(A)
      const block = application.build({
        author: Z as never,
        view: 0 as never,
        nowMs: stage.scheduler.nowMs,
        requests: [stage.request(height - 1)],
      })
      stage.say(stage.prePrepare(Z, 0, block), [A, B, C])
      stage.play(5)
      assert.deepEqual(
        [A, B, C].map(index => stage.decisionOf(index, height)),
        [block.id, block.id, block.id],
      )
    }
    if (rotationBlocks === 0) return
    // What the liar left out is ordered by the next one, without a timeout.
    stage.play(TIMEOUT_MS - 10, undefined, () => stage.peer(C).height > 4)
    for (const index of [A, B, C]) {
      assert.equal(stage.peer(index).replica?.view()?.primary, A)
      assert.equal(stage.peer(index).height, 5)
    }
  })

test('an idle chain is silent: no block, no timer, no message but the heartbeat', () => {
  const stage = new Stage({})
  stage.play(5_000)
  assert.deepEqual(
    [0, 1, 2, 3].map(index => stage.viewOf(index)),
    [0, 0, 0, 0],
  )
  assert.deepEqual(new Set(stage.sent.map(message => message.type)), new Set(['STATUS']))
})

test('an observer and a replica that lost its disk follow, and sign nothing', () => {
  const stage = new Stage({ observers: 1, signFrom: new Map([[3, 3]]) })
  for (let number = 0; number < 4; number++) stage.request(number)
  stage.play(5_000, undefined, () => [...stage.peers.values()].every(peer => peer.height > 4))
  const signed = stage.sent.filter(message => 'sender' in message && message.sender === 3 && message.type !== 'STATUS')
  assert.ok(signed.length > 0)
  assert.ok(signed.every(message => 'height' in message && message.height >= 3))
  assert.ok(stage.sent.every(message => !('sender' in message) || message.sender !== 4))
  assert.equal(stage.decided.get(4)?.length, 4)
  assert.equal(stage.peer(4).replica?.view()?.role, 'observer')
})
