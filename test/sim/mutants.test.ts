// The simulation is neither blind nor trigger-happy: ten broken rules are each noticed within a few seeds (`npm run sim:mutants` is the long
// form, with more of them), and the rules as they stand pass the same scenarios.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Replica } from '../../src/consensus/replica.ts'
import { DIRECTED } from './directed.ts'
import { breed, hunt, MUTANTS } from './mutants.ts'

const SEEDS = 60
const TEN = [
  'quorum one lower',
  'fast quorum one lower',
  'recovery threshold one lower',
  'view > w* dropped',
  'vote sent before persisted',
  'vote log not read at restart',
  'double vote in a view',
  'view-change set n-f-1',
  'signatures of certificates unchecked',
  'highest certificate not re-proposed',
]

for (const name of TEN)
  test(`noticed: ${name}`, async t => {
    const mutant = MUTANTS.find(one => one.name === name)
    assert.ok(mutant !== undefined)
    const broken = await breed(mutant)
    const caught = hunt(broken, SEEDS)
    broken.remove()
    assert.notEqual(caught, null)
    t.diagnostic(caught ?? '')
  })

test('the unbroken replica holds in every directed scenario', () => {
  for (const { name, holds } of DIRECTED)
    assert.ok(
      holds(environment => new Replica(environment)),
      name,
    )
})
