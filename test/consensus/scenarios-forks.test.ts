// F1 … F9 of consensus.md §8.2: schedules that forked a protocol with one rule relaxed. A, B, C are correct, Z lies; X and Y are blocks
// of one height. The stage's checkers watch every message, so a fork that nobody has assembled yet fails these tests too.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CommitCertificate, ViewChange } from '../../src/model/messages.ts'
import { Stage } from '../sim/stage.ts'

const TIMEOUT_MS = 100

test('F1: three of four COMMITs do not decide fast, so a view change may be free', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  const X = stage.block(Z, 1)
  stage.say(stage.prePrepare(Z, 0, X), [A, B])
  stage.pass(TIMEOUT_MS)
  stage.say(stage.viewChange(Z, 1), [A])
  stage.deliver({ type: 'VIEW-CHANGE', from: C, to: A })
  const proposal = stage.last(A, 'PRE-PREPARE')
  assert.deepEqual(
    proposal?.justification.map(vc => vc.sender),
    [Z, A, C],
  )
  assert.notEqual(proposal?.id, X.id)
  stage.say(stage.vote('COMMIT', Z, X.id), [A, B, C])
  stage.deliver({ type: 'COMMIT', view: 0 })
  assert.deepEqual(
    [A, B, C].map(index => stage.decisionOf(index)),
    [null, null, null],
  )
})

test('F2: T reports force a block that one replica alone saw decided', () => {
  const [A, B, C, Z] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(1)
  stage.deliver({ type: 'PRE-PREPARE' })
  const X = stage.last(A, 'PRE-PREPARE')!.id
  stage.say(stage.vote('COMMIT', Z, X), [A])
  stage.deliver({ type: 'COMMIT', to: A })
  assert.equal(stage.decisionOf(A), X)
  stage.lose({ type: 'COMMIT' })
  stage.pass(TIMEOUT_MS)
  stage.say(stage.viewChange(Z, 1, [0, stage.block(Z, 2).id]), [B])
  stage.deliver({ type: 'VIEW-CHANGE', from: C, to: B })
  assert.deepEqual(
    stage.last(B, 'PRE-PREPARE')?.justification.map(vc => vc.sender),
    [B, C, Z],
  )
  assert.equal(stage.last(B, 'PRE-PREPARE')?.id, X)
})

test('F3: votes of the certificate’s own view count for nothing against it', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  const X = stage.block(Z, 1)
  const Y = stage.block(Z, 2)
  stage.say(stage.prePrepare(Z, 0, X), [A, B])
  stage.say(stage.prePrepare(Z, 0, Y), [C])
  stage.say(stage.vote('COMMIT', Z, X.id), [B, C])
  stage.deliver({ type: 'COMMIT', to: [B, C] })
  assert.equal(stage.last(B, 'BLOCK-ID')?.id, X.id)
  assert.equal(stage.last(C, 'BLOCK-ID')?.id, X.id, 'C voted for Y and confirms the certificate of X')
  stage.say(stage.vote('BLOCK-ID', Z, X.id), [B])
  stage.deliver({ type: 'BLOCK-ID', to: B })
  assert.equal(stage.decisionOf(B), X.id)
  stage.lose({ type: 'COMMIT' })
  stage.lose({ type: 'BLOCK-ID' })
  stage.pass(TIMEOUT_MS)
  stage.say(stage.viewChange(Z, 1, [0, Y.id]), [A])
  stage.deliver({ type: 'VIEW-CHANGE', from: C, to: A })
  const proposal = stage.last(A, 'PRE-PREPARE')
  assert.deepEqual(
    proposal?.justification.map(vc => vc.lastVote?.id),
    [Y.id, X.id, Y.id],
  )
  assert.equal(proposal?.id, X.id)
})

test('F4: a certificate for a left view is remembered and never confirmed', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  const X = stage.block(Z, 1)
  stage.say(stage.prePrepare(Z, 0, X), [A, B])
  stage.pass(TIMEOUT_MS)
  assert.equal(stage.last(A, 'VIEW-CHANGE')?.highCertificate, null)
  stage.say(stage.vote('COMMIT', Z, X.id), [A, B])
  stage.deliver({ type: 'COMMIT', view: 0 })
  assert.deepEqual([...stage.all(A, 'BLOCK-ID'), ...stage.all(B, 'BLOCK-ID')], [])
  stage.deliver({ type: 'VIEW-CHANGE' })
  stage.lose()
  stage.pass(2 * TIMEOUT_MS)
  for (const index of [A, B]) {
    const later = stage.last(index, 'VIEW-CHANGE')
    assert.deepEqual([later?.view, later?.highCertificate?.view, later?.highCertificate?.id], [2, 0, X.id])
  }
  assert.equal(stage.viewOf(C), 2)
})

test('F8: a VIEW-CHANGE of another view in a justification is refused, and told as a lie', () => {
  const [A, B, Z, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  stage.lose()
  stage.pass(TIMEOUT_MS)
  stage.deliver({ type: 'VIEW-CHANGE' })
  stage.lose()
  stage.pass(2 * TIMEOUT_MS)
  const set = [
    stage.last(A, 'VIEW-CHANGE'),
    stage.last(B, 'VIEW-CHANGE'),
    stage.all(C, 'VIEW-CHANGE')[0],
  ] as ViewChange[]
  assert.deepEqual(
    set.map(vc => vc.view),
    [2, 2, 1],
  )
  stage.say(stage.prePrepare(Z, 2, stage.block(Z, 1, 2), set), [B, C])
  assert.deepEqual(
    [...stage.all(B, 'COMMIT'), ...stage.all(C, 'COMMIT')].filter(vote => vote.view === 2),
    [],
  )
  assert.deepEqual(
    stage.evidence.map(({ fault, replica }) => [fault, replica]),
    [
      ['unjustified-proposal', Z],
      ['unjustified-proposal', Z],
    ],
  )
  // The same set, all of view 2, is a justification.
  const honest = [...set.slice(0, 2), stage.last(C, 'VIEW-CHANGE') as ViewChange]
  stage.say(stage.prePrepare(Z, 2, stage.block(Z, 1, 2), honest), [B, C])
  assert.equal(stage.last(C, 'COMMIT')?.view, 2)
})

test('F9: two justified proposals of one view get one vote from each', () => {
  const [A, Z, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  stage.deliver({ type: 'PRE-PREPARE', to: B })
  stage.lose()
  const X = stage.last(A, 'PRE-PREPARE')!.block
  stage.pass(TIMEOUT_MS)
  const [a, b, c] = [A, B, C].map(index => stage.last(index, 'VIEW-CHANGE')) as [ViewChange, ViewChange, ViewChange]
  assert.deepEqual([a.lastVote?.id, b.lastVote?.id, c.lastVote], [X.id, X.id, null])
  const Y = stage.block(Z, 2, 1)
  const free = stage.prePrepare(Z, 1, Y, [stage.viewChange(Z, 1), c, a])
  const forced = stage.prePrepare(Z, 1, X, [a, b, c])
  stage.say(free, [A])
  stage.say(forced, [B, C])
  stage.say(forced, [A])
  stage.say(free, [B, C])
  const votes = [A, B, C].map(index => stage.all(index, 'COMMIT').filter(vote => vote.view === 1))
  assert.deepEqual(
    votes.map(all => new Set(all.map(vote => vote.id)).size),
    [1, 1, 1],
  )
  assert.deepEqual(
    votes.map(all => all[0]?.id),
    [Y.id, X.id, X.id],
  )
  assert.ok(stage.evidence.some(({ fault, replica }) => fault === 'two-proposals-in-one-view' && replica === Z))
  for (const id of [X.id, Y.id]) stage.say(stage.vote('COMMIT', Z, id, 1), [A, B, C])
  stage.deliver({ type: 'COMMIT' })
  const confirmed = [A, B, C].flatMap(index => stage.all(index, 'BLOCK-ID').map(vote => vote.id))
  assert.deepEqual(new Set(confirmed), new Set([X.id]), 'one commit certificate at most')
})

test('F14: a claimed certificate that is not there makes the VIEW-CHANGE, and a proposal that holds it, nothing', () => {
  const [A, Z, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  stage.lose()
  stage.pass(TIMEOUT_MS)
  const Y = stage.block(Z, 2, 0)
  const own = stage.vote('COMMIT', Z, Y.id, 0)
  const fakes: CommitCertificate[] = [
    { height: own.height, view: own.view, id: Y.id, commits: [] },
    { height: own.height, view: own.view, id: Y.id, commits: [own] },
    { height: own.height, view: own.view, id: Y.id, commits: [own, own, own] },
  ]
  const others = [A, C].map(index => stage.last(index, 'VIEW-CHANGE')) as ViewChange[]
  for (const fake of fakes) {
    const lie = stage.viewChange(Z, 1, null, fake)
    stage.say(stage.prePrepare(Z, 1, Y, [lie, ...others]), [B, C])
    // Alone it does not even count as a wish: with the next one f+1 would be in view 5.
    stage.say(stage.viewChange(Z, 5, null, { ...fake, view: 3 as CommitCertificate['view'] }), [B])
  }
  assert.deepEqual(
    [B, C].flatMap(index => stage.all(index, 'COMMIT')),
    [],
  )
  assert.equal(stage.viewOf(B), 1)
  assert.ok(stage.evidence.every(({ fault }) => fault === 'unjustified-proposal'))
  assert.equal(stage.evidence.length, 2)
})
