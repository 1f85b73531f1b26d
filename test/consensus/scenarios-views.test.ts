// F10 … F13 and F15 of consensus.md §8.2: jumps, late votes, crashes at every point, twins.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeCommitCertificate } from '../../src/consensus/certificates.ts'
import type { Commit } from '../../src/model/messages.ts'
import { Stage } from '../sim/stage.ts'

const TIMEOUT_MS = 100

test('F10: a certificate of a later view makes a replica jump there, without a VIEW-CHANGE', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(1, [A, B])
  for (const view of [1, 2]) {
    stage.pass(view * TIMEOUT_MS)
    stage.lose({ to: C })
    stage.lose({ type: 'PRE-PREPARE' })
    stage.say(stage.viewChange(Z, view), [A, B])
    stage.deliver({ type: 'VIEW-CHANGE' })
  }
  const X = stage.last(B, 'PRE-PREPARE')!
  assert.equal(X.view, 2)
  stage.deliver({ type: 'PRE-PREPARE', to: A })
  const commits = [stage.vote('COMMIT', Z, X.id, 2), stage.last(A, 'COMMIT'), stage.last(B, 'COMMIT')] as Commit[]
  const certificate = makeCommitCertificate(commits, stage.committee.quorum)
  assert.equal(stage.viewOf(C), 0)
  stage.say(stage.viewChange(Z, 3, null, certificate), [C])
  assert.equal(stage.viewOf(C), 2)
  assert.deepEqual([stage.last(C, 'BLOCK-ID')?.view, stage.last(C, 'BLOCK-ID')?.id], [2, X.id])
  stage.say(stage.prePrepare(Z, 0, stage.block(Z, 5)), [C])
  assert.deepEqual([stage.all(C, 'VIEW-CHANGE'), stage.all(C, 'COMMIT')], [[], []])
})

test('F11: after its VIEW-CHANGE a replica does not vote in the view that it left', () => {
  const [A, , , C] = [0, 1, 2, 3]
  const stage = new Stage({})
  stage.request(1)
  stage.pass(TIMEOUT_MS)
  assert.equal(stage.last(C, 'VIEW-CHANGE')?.view, 1)
  stage.deliver({ type: 'PRE-PREPARE', to: C })
  assert.deepEqual(stage.all(C, 'COMMIT'), [])
  assert.equal(stage.last(A, 'PRE-PREPARE')?.view, 0)
})

test('F13: a VIEW-CHANGE re-sent after a restart has the same bytes, whatever was learned since', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const stage = new Stage({ liars: [Z] })
  stage.request(9)
  const X = stage.block(Z, 1)
  stage.say(stage.prePrepare(Z, 0, X), [A, B])
  stage.pass(TIMEOUT_MS)
  const before = stage.last(C, 'VIEW-CHANGE')
  stage.say(stage.vote('COMMIT', Z, X.id), [C])
  stage.deliver({ type: 'COMMIT', view: 0, to: C })
  stage.peer(C).crash()
  const count = stage.all(C, 'VIEW-CHANGE').length
  stage.peer(C).start()
  stage.settle()
  const after = stage.last(C, 'VIEW-CHANGE')
  assert.equal(stage.all(C, 'VIEW-CHANGE').length, count + 1)
  assert.deepEqual(after?.signature, before?.signature)
  assert.deepEqual([after?.view, after?.lastVote, after?.highCertificate], [1, null, null])
  assert.ok(
    stage.peer(C).disk.has(record => record.type === 'high-certificate'),
    'it had learned the certificate',
  )
})

/** Two heights with a view change in the first: the primary is not heard in view 0. Crashes at the numbered points, back after 5 ms. */
function playWithCrashes(points: ReadonlySet<number>): { stage: Stage; passed: number } {
  let passed = 0
  const stage = new Stage({})
  stage.crashesAt = peer => {
    if (!points.has(passed++)) return false
    peer.crash()
    stage.scheduler.after(5, () => peer.start())
    return true
  }
  stage.request(1)
  stage.request(2)
  const done = (): boolean => [...stage.peers.values()].every(peer => peer.height > 2)
  const links = (from: number): boolean => from !== 0 || stage.scheduler.nowMs > TIMEOUT_MS
  stage.play(20_000, links, done)
  assert.ok(
    done(),
    `crashes at ${[...points].join(' and ')}: stuck at ${[...stage.peers.values()].map(peer => peer.height).join()}`,
  )
  assert.deepEqual(stage.evidence, [])
  return { stage, passed }
}

test('F12: a crash at any point, around each fsync and each send, costs neither agreement nor truth', () => {
  const { passed } = playWithCrashes(new Set())
  assert.ok(passed > 80, `${passed} points`)
  for (let point = 0; point < passed; point++) playWithCrashes(new Set([point]))
})

test('F12: nor do two crashes', () => {
  const { passed } = playWithCrashes(new Set())
  for (let first = 0; first < passed; first += 3)
    for (let second = first + 1; second < passed; second += 3) playWithCrashes(new Set([first, second]))
})

test('F15: twins that lead view 0 cannot split the others, whichever COMMITs arrive', () => {
  const [Z, A, B, C] = [0, 1, 2, 3]
  const correct = [A, B, C]
  const links = correct.flatMap(from => correct.filter(to => to !== from).map(to => [from, to] as const))
  for (let pattern = 0; pattern < 2 ** 9; pattern++) {
    const stage = new Stage({ liars: [Z] })
    stage.request(9)
    const X = stage.block(Z, 1)
    const Y = stage.block(Z, 2)
    stage.say(stage.prePrepare(Z, 0, X), [A])
    stage.say(stage.prePrepare(Z, 0, Y), [B, C])
    links.forEach(([from, to], bit) => {
      if (pattern & (1 << bit)) stage.deliver({ type: 'COMMIT', from, to })
    })
    correct.forEach((to, i) => {
      if (pattern & (1 << (6 + i))) stage.say(stage.vote('COMMIT', Z, to === A ? X.id : Y.id), [to])
    })
    stage.say(stage.prePrepare(Z, 0, X), [B])
    stage.play(10_000, undefined, () => correct.every(index => stage.decisionOf(index) !== null))
    assert.equal(new Set(correct.map(index => stage.decisionOf(index))).size, 1, `pattern ${pattern}`)
    assert.notEqual(stage.decisionOf(A), null, `pattern ${pattern}`)
    assert.ok(stage.evidence.some(({ fault, replica }) => fault === 'two-proposals-in-one-view' && replica === Z))
  }
})
