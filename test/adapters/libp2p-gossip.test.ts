// A fault of the gossip library that we repair: two connections to one peer, the older closes, and gossip between the two is dead for good although everything looks well.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { makeGate } from '../../src/adapters/libp2p-gate.ts'
import { Gossip, type GossipNode } from '../../src/adapters/libp2p-gossip.ts'
import { nodeKeyOf } from '../../src/adapters/libp2p-identity.ts'
import { makeNode } from '../../src/adapters/libp2p-node.ts'
import { TOPICS } from '../../src/ports.ts'
import { at, idOfSeed, seeds, silentLog, until } from '../contract/network-world.ts'

it('brings gossip back after the older of two connections closed', { timeout: 60_000 }, async t => {
  const keys = seeds(2)
  const ids = new Set(keys.map(idOfSeed))
  const nodes: GossipNode[] = []
  const gossips: Gossip[] = []
  const heard = [0, 0]
  for (const [index, seed] of keys.entries()) {
    const node = await makeNode({
      privateKey: await nodeKeyOf(seed),
      swarmKey: new Uint8Array(32).fill(7),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      bootstrap: [],
      mdns: false,
      datastore: null,
      gate: makeGate(idOfSeed(seed), ids, silentLog),
    })
    const gossip = new Gossip(node, silentLog)
    gossip.handle(TOPICS.commit, () => {
      heard[index] = at(heard, index) + 1
      return 'accept'
    })
    await node.start()
    gossip.start()
    t.after(() => {
      gossip.stop()
      return node.stop()
    })
    nodes.push(node)
    gossips.push(gossip)
  }
  const [one, two] = [at(nodes, 0), at(nodes, 1)]
  let sent = 0
  const bothHear = async (what: string): Promise<void> => {
    const before = [...heard]
    await until(what, () => {
      for (const gossip of gossips) gossip.publish(TOPICS.commit, new TextEncoder().encode(String(sent++)))
      return heard.every((count, index) => count > at(before, index))
    })
  }
  const older = await one.dial(multiaddr(at(two.getMultiaddrs().map(String), 0)))
  await bothHear('gossip over the first connection')
  let identified = 0
  for (const node of nodes) node.addEventListener('peer:identify', () => identified++)
  const newer = await two.dial(multiaddr(at(one.getMultiaddrs().map(String), 0)), { force: true })
  assert.notEqual(older.id, newer.id)
  await until('two connections', () => one.getConnections().length === 2 && two.getConnections().length === 2)
  // Before that the library would still announce the peer by itself.
  await until('both know the new connection', () => identified === 2)
  await older.close()
  await until('one connection', () => one.getConnections().length === 1 && two.getConnections().length === 1)
  await bothHear('gossip over the second connection')
})
