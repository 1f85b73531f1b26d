// The published Twins scenarios against this replica, and twins of f+1 validators, which must show the checkers firing.
// Environment variable EMRM_TWINS=all plays, besides, every pair of partitions for each choice of leaders (node test/sim/twins.test.ts).

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { MakeReplica } from './sim-peer.ts'
import { breedLed, playTwins, type TwinsFile, type TwinsScenario } from './twins.ts'

const data = join(import.meta.dirname, '../../../shared/data/bft-twins')

let makeReplica: MakeReplica
let remove: () => void
before(async () => {
  ;({ make: makeReplica, remove } = await breedLed())
})
after(() => remove())

test('the published Twins scenarios: one history, and it goes on when the links heal', t => {
  if (!existsSync(data)) return t.skip('../shared/data/bft-twins is absent')
  const files = readdirSync(data).filter(name => name.endsWith('.json'))
  assert.ok(files.length > 0)
  let played = 0
  for (const name of files) {
    const file = JSON.parse(readFileSync(join(data, name), 'utf8')) as TwinsFile
    const twins = Array.from({ length: file.num_of_twins }, (_, i) => i)
    for (const scenario of file.scenarios) {
      const violation = playTwins(scenario, { nodes: file.num_of_nodes, twins, makeReplica })
      assert.equal(violation, null, `${name}: ${JSON.stringify(scenario)}`)
      played++
    }
  }
  t.diagnostic(`${played} scenarios`)
})

/** Every way to put the five nodes into one or two groups. */
const SPLITS: readonly (readonly number[])[][] = Array.from({ length: 16 }, (_, bits) => {
  const inFirst = (node: number): boolean => node === 0 || (bits & (1 << (node - 1))) !== 0
  const nodes = [0, 1, 2, 3, 4]
  return [nodes.filter(inFirst), nodes.filter(node => !inFirst(node))]
})

test('twins with every pair of partitions and leaders', t => {
  const every = process.env['EMRM_TWINS'] === 'all' ? 1 : 37
  let number = 0
  let played = 0
  for (const first of SPLITS)
    for (const second of SPLITS)
      for (const leaders of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 2],
      ]) {
        if (number++ % every !== 0) continue
        const scenario: TwinsScenario = {
          round_leaders: { 1: [leaders[0] as number], 2: [leaders[1] as number] },
          round_partitions: { 1: first, 2: second },
        }
        assert.equal(playTwins(scenario, { nodes: 4, twins: [0], makeReplica }), null, JSON.stringify(scenario))
        played++
      }
  t.diagnostic(`${played} of ${number} scenarios`)
})

test('twins of two validators of four split the others, and the checkers say so', () => {
  const halves = [
    [0, 1, 2],
    [3, 4, 5],
  ]
  const scenario: TwinsScenario = { round_leaders: { 1: [0] }, round_partitions: { 1: halves } }
  assert.match(playTwins(scenario, { nodes: 4, twins: [0, 1], makeReplica }) ?? '', /decidable|fork/)
})
