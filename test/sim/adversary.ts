// Liars. Each Byzantine validator plays one part for a whole run: silent; twins (two unmodified processes under one key); selective (an
// unmodified process that sends to some only); or puppet (puppet.ts), which sees all traffic and says what it likes with its own pen.
// Nobody here can sign for another.

import type { ValidatorIndex } from '../../src/model/ids.ts'
import type { ConsensusMessage } from '../../src/model/messages.ts'
import { Puppet } from './puppet.ts'
import type { SimPeer } from './sim-peer.ts'
import type { World } from './world.ts'

export type Adversary = {
  /** Everything that was sent by anyone. */
  observe(message: ConsensusMessage): void
  /** Whether a process's broadcast leaves for this receiver. */
  passes(from: SimPeer, to: SimPeer): boolean
  start(): void
}

export type Part = 'silent' | 'twins' | 'selective' | 'puppet'
export const PARTS: readonly Part[] = ['silent', 'twins', 'selective', 'puppet', 'puppet', 'puppet']

export function makeAdversary(world: World, addPeer: (index: ValidatorIndex) => SimPeer): Adversary {
  const puppets: Puppet[] = []
  const selective = new Set<SimPeer>()
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
  return {
    observe(message) {
      for (const puppet of puppets) puppet.observe(message)
    },
    passes: (from, to) => !selective.has(from) || !shunned.has(key(from, to)),
    start() {
      if (selective.size > 0) reshuffle()
      for (const puppet of puppets) puppet.start()
    },
  }
}
