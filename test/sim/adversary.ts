// Liars. Each Byzantine validator plays one part for a whole run: silent; or an unmodified process with a decorator: twins (two of them
// under one key), selective (sends to some only), a mutator (changes what it sends), a censor (leaves out one client's requests, and
// answers with wrong bodies); or puppet (puppet.ts), which sees all traffic and says what it likes with its own pen. Nobody here can sign
// for another.

import type { Block } from '../../src/model/block.ts'
import type { BlockId, RequestId, ValidatorIndex } from '../../src/model/ids.ts'
import type { ConsensusMessage } from '../../src/model/messages.ts'
import { mutate } from './mutator.ts'
import { Puppet } from './puppet.ts'
import type { SimPeer } from './sim-peer.ts'
import type { World } from './world.ts'

export type Adversary = {
  /** Everything that was sent by anyone. */
  observe(message: ConsensusMessage): void
  /** What leaves for this receiver when this process says something; null: nothing. */
  says(from: SimPeer, to: SimPeer, message: ConsensusMessage): ConsensusMessage | null
  /** A liar's answer to who asks for the body of this id. */
  wrongBody(liar: SimPeer, id: BlockId): Block | null
  /** What censors leave out. */
  readonly censored: ReadonlySet<RequestId>
  start(): void
}

export type Part = 'silent' | 'twins' | 'selective' | 'mutator' | 'censor' | 'puppet'
export const PARTS: readonly Part[] = [
  'silent',
  'twins',
  'selective',
  'mutator',
  'censor',
  'puppet',
  'puppet',
  'puppet',
  'puppet',
]
const CHANGED = 0.3

export function makeAdversary(world: World, addPeer: (index: ValidatorIndex) => SimPeer): Adversary {
  const puppets: Puppet[] = []
  const selective = new Set<SimPeer>()
  const mutators = new Set<SimPeer>()
  const censored = new Set<RequestId>()
  for (const liar of world.byzantine) {
    const index = liar as ValidatorIndex
    switch (world.random.pick(PARTS)) {
      case 'silent':
        break
      case 'twins':
        selective.add(addPeer(index))
        selective.add(addPeer(index))
        break
      case 'selective':
        selective.add(addPeer(index))
        break
      case 'mutator':
        mutators.add(addPeer(index))
        break
      case 'censor':
        addPeer(index)
        for (const [i, { id }] of world.requests.entries()) if (i % 3 === 0) censored.add(id)
        break
      case 'puppet':
        puppets.push(new Puppet(world, index))
    }
  }
  // Towards whom a selective process is deaf changes with time.
  let shunned = new Set<string>()
  const key = (from: SimPeer, to: SimPeer): string => `${from.node} ${to.node}`
  const reshuffle = (): void => {
    shunned = new Set()
    for (const from of selective) for (const to of world.peers) if (world.random.chance(0.4)) shunned.add(key(from, to))
    world.scheduler.after(world.random.between(20, 300), reshuffle)
  }
  const change = (liar: SimPeer, message: ConsensusMessage): ConsensusMessage => {
    const self = liar.self as ValidatorIndex
    const changed = mutate(message, world.random, self, world.notary.penOf(self))
    if (changed.type === 'PRE-PREPARE') world.checkers.onPrePrepare(changed)
    return changed
  }
  return {
    censored,
    observe(message) {
      for (const puppet of puppets) puppet.observe(message)
    },
    says(from, to, message) {
      if (selective.has(from) && shunned.has(key(from, to))) return null
      return mutators.has(from) && world.random.chance(CHANGED) ? change(from, message) : message
    },
    wrongBody(liar, id) {
      const body = liar.bodyOf(id)
      const other = liar.disk.blocks.at(-1)?.block ?? body
      if (other === null || body === null) return null
      return world.random.pick([body, other, { ...other, id }, { ...body, requests: [] }])
    },
    start() {
      if (selective.size > 0) reshuffle()
      for (const puppet of puppets) puppet.start()
    },
  }
}
