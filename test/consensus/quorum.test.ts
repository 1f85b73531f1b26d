// The thresholds of consensus.md §1.1, row by row, and the arithmetic that the proof (§3) uses.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EmrmError } from '../../src/model/errors.ts'
import { defaultFaults, makeQuorum } from '../../src/model/quorum.ts'

const TABLE = [
  { n: 4, f: 1, p: 0, q: 3, fast: 4, set: 3, t: 2 },
  { n: 5, f: 1, p: 0, q: 4, fast: 5, set: 4, t: 3 },
  { n: 6, f: 1, p: 1, q: 4, fast: 5, set: 5, t: 3 },
  { n: 7, f: 1, p: 1, q: 5, fast: 6, set: 6, t: 4 },
  { n: 7, f: 2, p: 0, q: 5, fast: 7, set: 5, t: 3 },
  { n: 9, f: 2, p: 1, q: 6, fast: 8, set: 7, t: 4 },
  { n: 11, f: 2, p: 2, q: 7, fast: 9, set: 9, t: 5 },
]

for (const { n, f, p, q, fast, set, t } of TABLE)
  test(`n=${n} f=${f} p=${p} has the thresholds of the specification`, () => {
    const quorum = makeQuorum(n, f, p)
    assert.deepEqual(
      [quorum.commitCertificate, quorum.blockId, quorum.fast, quorum.viewChange, quorum.recovery, quorum.oneCorrect],
      [q, q, fast, set, t, f + 1],
    )
  })

test('at n = 6, 2f+1 is not a quorum: two sets of 3 of 6 share nobody', () => {
  const { n, f, commitCertificate } = makeQuorum(6, 1, 1)
  const naive = 2 * f + 1
  assert.ok(2 * naive - n <= f, 'two naive quorums need not share a correct replica')
  assert.ok(commitCertificate > naive)
  assert.ok(2 * commitCertificate - n > f)
})

test('every n up to 200 with its defaults satisfies what the proof uses', () => {
  for (let n = 4; n <= 200; n++) {
    const { f, p } = defaultFaults(n)
    const { commitCertificate: q, blockId: r, recovery: t, viewChange, fast } = makeQuorum(n, f, p)
    assert.ok(2 * q - n > f && q - p > f && n - 2 * p > f, `Lemma 1 at n=${n}`)
    assert.ok(2 * f < q && q <= n - f && q - f >= f + 1 && r <= n - f, `availability at n=${n}`)
    assert.ok(t >= f + p + 1 && 2 * t > viewChange && r - f + (n - 2 * f) > viewChange, `Lemma 2 at n=${n}`)
    assert.ok(fast <= n)
  }
})

test('n below 3f+2p+1, p above f and no fault at all are refused', () => {
  for (const [n, f, p] of [
    [3, 1, 0],
    [5, 1, 1],
    [8, 2, 1],
    [7, 1, 2],
    [4, 0, 0],
    [4, 1, -1],
    [4.5, 1, 0],
    [Number.NaN, 1, 0],
  ] as const)
    assert.throws(
      () => makeQuorum(n, f, p),
      (error: unknown) => error instanceof EmrmError && error.code === 'quorum-invalid',
      `n=${n} f=${f} p=${p}`,
    )
})
