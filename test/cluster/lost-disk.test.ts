// A replica that lost its disk has forgotten what it signed: it signs nothing at or below D+2 (consensus.md §1.3), and then votes again.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { decodeMessage } from '../../src/wire/codec.ts'
import { Cluster, type ClusterPeer } from './cluster.ts'

let cluster: Cluster
before(async () => {
  cluster = await new Cluster().start()
  await cluster.commit(7)
})
after(() => cluster.stop())

const LOST = 2

/** Heights for which the peer signed something from now on. */
function overhear({ network, index }: ClusterPeer): Set<number> {
  const signed = new Set<number>()
  const { sendDirect } = network
  network.sendDirect = (to, bytes) => {
    const message = decodeMessage(bytes)
    if ('sender' in message && message.sender === index) signed.add(message.height)
    return sendDirect.call(network, to, bytes)
  }
  return signed
}

test('while fewer than n-f others answer, it follows and signs nothing at all', async () => {
  await cluster.stopPeer(LOST)
  cluster.loseDisk(LOST)
  cluster.hub.cut(cluster.peer(1).peerId, `peer-${LOST}` as ClusterPeer['peerId'])
  const lost = await cluster.startPeer(LOST, null)
  const signed = overhear(lost)
  await cluster.commit(3)
  await cluster.agreed(10)
  await cluster.timeline.advance(10_000)
  assert.equal(lost.signsFrom, null)
  assert.deepEqual([...signed], [])
})

test('with n-f answers it signs above D+2 and not below, and its vote counts again', async () => {
  const lost = cluster.peer(LOST)
  const signed = overhear(lost)
  const decided = cluster.peer(0).ledger.head().height
  cluster.hub.heal(cluster.peer(1).peerId, lost.peerId)
  await cluster.until(() => lost.signsFrom !== null)
  assert.equal(lost.signsFrom, decided + 3)
  await cluster.commit(4)
  assert.ok(signed.size > 0)
  assert.ok(Math.min(...signed) > decided + 2, `signed at ${[...signed]}`)
  await cluster.stopPeer(3)
  await cluster.commit(2)
  await cluster.agreed(decided + 6)
})
