// `select` (consensus.md §1.4): the table of §8.2, and a comparison with the simulation's own port on random sets.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { select } from '../../src/consensus/view-change.ts'
import type { BlockId, Height, ValidatorIndex, View } from '../../src/model/ids.ts'
import type { ViewChange } from '../../src/model/messages.ts'
import { makeQuorum } from '../../src/model/quorum.ts'
import { selectAgain } from '../sim/checkers.ts'

type Claim = readonly [view: number, id: string] | null
type Row = readonly [lastVote: Claim, certificate: Claim]

const height = 1 as Height
const claimed = (claim: Claim) => (claim === null ? null : { view: claim[0] as View, id: claim[1] as BlockId })
const setOf = (rows: readonly Row[], view: number): ViewChange[] =>
  rows.map(([lastVote, certificate], sender) => {
    const claim = claimed(certificate)
    return {
      type: 'VIEW-CHANGE',
      height,
      view: view as View,
      lastVote: claimed(lastVote),
      highCertificate: claim === null ? null : { height, ...claim, commits: [] },
      sender: sender as ValidatorIndex,
      signature: new Uint8Array(0),
    }
  })
const say = (rows: readonly Row[], n = 4, f = 1, p = 0): string => {
  const selection = select(setOf(rows, 9), makeQuorum(n, f, p))
  return selection.type === 'free' ? 'free' : selection.id
}

const TABLE: readonly { name: string; rows: readonly Row[]; expect: string }[] = [
  {
    name: 'nobody voted: free',
    rows: [
      [null, null],
      [null, null],
      [null, null],
    ],
    expect: 'free',
  },
  {
    name: 'F1: one vote of three is below T: free',
    rows: [
      [null, null],
      [[0, 'X'], null],
      [null, null],
    ],
    expect: 'free',
  },
  {
    name: 'F2: two votes against one lie: X',
    rows: [
      [[0, 'X'], null],
      [[0, 'X'], null],
      [[0, 'Y'], null],
    ],
    expect: 'X',
  },
  {
    name: 'F3: votes at w* itself do not count: X',
    rows: [
      [[0, 'X'], null],
      [
        [0, 'Y'],
        [0, 'X'],
      ],
      [[0, 'Y'], null],
    ],
    expect: 'X',
  },
  {
    name: 'F5: votes above an old certificate win: Y',
    rows: [
      [[1, 'Y'], null],
      [[1, 'Y'], null],
      [null, [0, 'X']],
    ],
    expect: 'Y',
  },
  {
    name: 'F6: a lone claim of a higher view hides nothing: X',
    rows: [
      [[0, 'X'], null],
      [[0, 'X'], null],
      [[1, 'Y'], null],
    ],
    expect: 'X',
  },
  {
    name: 'F7: votes of two views for one block add up: X',
    rows: [
      [[1, 'X'], null],
      [[0, 'X'], null],
      [[0, 'Y'], null],
    ],
    expect: 'X',
  },
  {
    name: 'the highest of two certificates: Y',
    rows: [
      [null, [0, 'X']],
      [null, [2, 'Y']],
      [null, null],
    ],
    expect: 'Y',
  },
  {
    name: 'a certificate and no votes above it: X',
    rows: [
      [
        [1, 'Y'],
        [0, 'X'],
      ],
      [[0, 'X'], null],
      [null, null],
    ],
    expect: 'X',
  },
]

for (const { name, rows, expect } of TABLE) test(name, () => assert.equal(say(rows), expect))

test('the order in which VIEW-CHANGEs stand does not matter', () => {
  for (const { rows, expect } of TABLE) assert.equal(say([...rows].reverse()), expect)
})

test('select agrees with its port in the oracle on random sets', () => {
  const claim = fc.option(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom('X', 'Y', 'V')))
  const config = fc.constantFrom([4, 1, 0], [5, 1, 0], [6, 1, 1], [7, 2, 0], [9, 2, 1] as const)
  fc.assert(
    fc.property(config, fc.array(fc.tuple(claim, claim), { minLength: 9, maxLength: 9 }), ([n, f, p], rows) => {
      const quorum = makeQuorum(n as number, f as number, p as number)
      // A view has one certificate (Lemma 1): its value is the one claimed first.
      const certified = new Map<number, string>()
      const set = setOf(
        rows.slice(0, quorum.viewChange).map(([vote, certificate]): Row => {
          if (certificate === null) return [vote, null]
          const id = certified.get(certificate[0]) ?? certificate[1]
          certified.set(certificate[0], id)
          return [vote, [certificate[0], id]]
        }),
        9,
      )
      const selection = select(set, quorum)
      assert.equal(selection.type === 'free' ? 'free' : selection.id, selectAgain(set, quorum))
    }),
    { numRuns: 2_000 },
  )
})
