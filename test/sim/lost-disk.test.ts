// A replica whose disk is lost in the storm (consensus.md §1.3): it learns D, the highest stored height, from n-f others that know as
// little as the rule allows, and signs from D+3 on. It counts as faulty, so there is one liar less. The checkers remember what it
// signed before; one height fewer, and they catch it. Not here: how a peer asks for D (test/cluster/lost-disk.test.ts).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Height } from '../../src/model/ids.ts'
import { makeRandom, type Random } from './random.ts'
import type { SimPeer } from './sim-peer.ts'
import { World } from './world.ts'

const BLOCKS = 8
const MARGIN = 3
/** Rare: four of three thousand runs. */
const SEED_OF_D_PLUS_2 = 2_333

/** Liars answer with nothing; of the correct, those answer that have stored least. */
function learnedFrom(world: World, victim: SimPeer): number {
  const { viewChange } = world.committee.quorum
  const heights = world.correct
    .filter(peer => peer !== victim && peer.self !== null)
    .map(peer => peer.disk.blocks.length)
    .sort((a, b) => a - b)
  return Math.max(...heights.slice(0, viewChange - world.byzantine.size))
}

/** Strikes as soon as the victim is up, or never when it stays down; returns what the run came to. */
function run(seed: number, n: number, margin: number): { violation: string | null; signedAgain: boolean } {
  const liars = n === 4 ? 0 : 1
  const world = new World({ seed, n, blocks: BLOCKS, liars })
  const random: Random = makeRandom(-seed)
  const victim = random.pick(world.correct.filter(peer => peer.self !== null))
  let lost = false
  const strike = (): void => {
    if (!victim.alive) return world.scheduler.after(5, strike)
    victim.crash()
    victim.disk.lose()
    victim.signFrom = (learnedFrom(world, victim) + margin) as Height
    lost = true
    world.scheduler.after(random.between(1, 50), () => victim.start())
  }
  world.scheduler.after(random.next() * Math.max(100, world.weather.gstMs), strike)
  const { violation } = world.run()
  return { violation, signedAgain: lost && victim.height > victim.signFrom }
}

for (const { n, seeds } of [
  { n: 4, seeds: 120 },
  { n: 7, seeds: 40 },
])
  test(`n=${n}: a replica that lost its disk never signs a second time`, () => {
    let signedAgain = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const outcome = run(seed, n, MARGIN)
      assert.equal(outcome.violation, null, `seed ${seed}: ${outcome.violation}`)
      if (outcome.signedAgain) signedAgain++
    }
    assert.ok(signedAgain > seeds / 4, `it took part again in ${signedAgain} of ${seeds} runs`)
  })

const CONTRADICTION = /E[1-6]|vote after|BLOCK-ID after|other bytes/

test('from D+1 on is too early: it contradicts what it signed before', () => {
  let caught: string | null = null
  for (let seed = 1; seed <= 120 && caught === null; seed++) caught = run(seed, 4, 1).violation
  assert.match(caught ?? '', CONTRADICTION)
})

test('so is D+2', () => {
  assert.match(run(SEED_OF_D_PLUS_2, 4, 2).violation ?? '', CONTRADICTION)
})
