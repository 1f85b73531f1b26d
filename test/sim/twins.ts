// Twins (Bano et al., OPODIS 2021): two unmodified processes under one key, and for each round its leaders and who can talk to whom.
// A round is height + view: the leader of a round leads it at whatever height a replica is, which safety must bear (consensus.md §3:
// it never uses who the primary is), and a message is cut off by the partition of its own round, however often it is sent again.
// Then all links heal, and the chain must go on. The one edit to the replica lets the scenario name the primary.

import type { Committee } from '../../src/model/committee.ts'
import type { ValidatorIndex, View } from '../../src/model/ids.ts'
import type { ConsensusMessage } from '../../src/model/messages.ts'
import { Violation } from './checkers.ts'
import { breed, type Mutant } from './mutants.ts'
import type { MakeReplica } from './sim-peer.ts'
import { type Links, Stage } from './stage.ts'

export type TwinsFile = {
  readonly num_of_nodes: number
  readonly num_of_twins: number
  readonly scenarios: readonly TwinsScenario[]
}
export type TwinsScenario = {
  readonly round_leaders: Readonly<Record<string, readonly number[]>>
  readonly round_partitions: Readonly<Record<string, readonly (readonly number[])[]>>
}

type Led = Committee & { readonly leaderOf: (height: number, view: View) => ValidatorIndex | null }

const STORM_MS = 2_000
const CALM_MS = 10_000

const LED: Mutant = {
  name: 'primaries by scenario',
  edits: [
    [
      'state.ts',
      'primaryOf(state.committee, state.parent.author, view)',
      '(state.committee as any).leaderOf(state.height, view) ?? primaryOf(state.committee, state.parent.author, view)',
    ],
  ],
}

/** A replica whose primaries a scenario names. */
export const breedLed = (): Promise<{ make: MakeReplica; remove: () => void }> => breed(LED)

/** Null when nothing was violated and, after the links healed, all correct replicas went on. */
export function playTwins(
  scenario: TwinsScenario,
  options: { readonly nodes: number; readonly twins: readonly number[]; readonly makeReplica: MakeReplica },
): string | null {
  const { nodes, twins, makeReplica } = options
  const leaderOf: Led['leaderOf'] = (height, view) => {
    const leader = scenario.round_leaders[height + view]?.[0]
    return leader === undefined ? null : ((leader < nodes ? leader : twins[leader - nodes]) as ValidatorIndex)
  }
  try {
    const stage = new Stage({ n: nodes, liars: twins, twins, makeReplica, committee: { leaderOf } as Partial<Led> })
    // Each twin hears first of another request, so that they propose different blocks.
    for (const node of stage.peers.keys()) {
      stage.request(node < nodes ? 1 : 2, [node])
      stage.request(node < nodes ? 2 : 1, [node])
    }
    stage.play(STORM_MS, linksOf(scenario))
    const correct = [...stage.peers.values()].filter(peer => peer.correct)
    const goal = Math.max(...correct.map(peer => peer.height)) + 1
    for (let number = 3; number < 6; number++) stage.request(number)
    const done = (): boolean => correct.every(peer => peer.height >= goal)
    stage.play(CALM_MS, undefined, done)
    return done() ? null : `stuck: heights ${correct.map(peer => peer.height).join(' ')}`
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    return error.message
  }
}

function linksOf({ round_partitions: partitions }: TwinsScenario): Links {
  return (from, to, message) => {
    const groups = partitions[roundOf(message)]
    return groups === undefined || groups.some(group => group.includes(from) && group.includes(to))
  }
}

function roundOf(message: ConsensusMessage): number {
  switch (message.type) {
    case 'FETCH':
      return message.height
    case 'BODY':
      return message.block.header.height + message.block.header.birthView
    case 'DECIDED':
      return message.certificate.height + message.certificate.view
    default:
      return message.height + message.view
  }
}
