// Proof of a validator's lie is recorded once and costs it half its score.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EvidenceSubmit } from '../../src/model/operations.ts'
import { idNamed, makeGenesis, reasonOf, World } from './world.ts'

const evidence = (change: Partial<EvidenceSubmit> = {}): EvidenceSubmit => ({
  ...{ type: 'evidence.submit', validator: idNamed('west'), fault: 'two-commits-in-one-view', height: 1 },
  ...{ first: new Uint8Array(1), second: new Uint8Array(2), ...change },
})
const score = (world: World): number | undefined => world.views.institution(idNamed('west'))?.score

test('a proved fault is recorded once and halves the score', () => {
  const world = new World(makeGenesis(), () => true)
  const before = score(world)
  assert.equal(before, 600)
  assert.equal(reasonOf(world.do('north', evidence())), 'done')
  assert.equal(score(world), 300)
  assert.equal(reasonOf(world.do('south', evidence())), 'refused: already-exists')
  assert.equal(reasonOf(world.do('south', evidence({ height: 2 }))), 'done')
  assert.equal(score(world), 150)
  assert.deepEqual(
    world.views.evidenceAgainst(idNamed('west')).map(entry => entry.faultHeight),
    [1, 2],
  )
})

const rows: readonly (readonly [what: string, by: string, change: Partial<EvidenceSubmit>, answer: string])[] = [
  ['a user', 'doctor', {}, 'refused: not-authorized'],
  ['the authority', 'authority-1', {}, 'refused: not-authorized'],
  ['against a stranger', 'north', { validator: idNamed('nowhere') }, 'refused: unknown-institution'],
  ['of an unknown fault', 'north', { fault: 'rudeness' }, 'refused: unknown-code'],
  ['of a fault that every object has', 'north', { fault: 'constructor' }, 'refused: unknown-code'],
  ['for a height to come', 'north', { height: 99 }, 'refused: invalid-operation'],
]
for (const [what, by, change, answer] of rows)
  test(`evidence.submit ${what} → ${answer}`, () => {
    const world = new World(makeGenesis(), () => true)
    assert.equal(reasonOf(world.do(by, evidence(change))), answer)
    assert.equal(score(world), 600)
  })

test('what the signatures do not prove, and everything where nobody can check, is refused', () => {
  for (const world of [new World(makeGenesis(), () => false), new World()]) {
    assert.equal(reasonOf(world.do('north', evidence())), 'refused: invalid-operation')
    assert.equal(score(world), 600)
  }
})
