// A chain that grew old: a new peer begins with a snapshot and the blocks after it, believes nobody, and votes like any other.

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'

import { Cluster, type ClusterPeer } from './cluster.ts'

const EVERY = 8
const PARAMETERS = { blockRequestsMax: 1, snapshotBlocks: EVERY, epochBlocks: 5 }
let cluster: Cluster
afterEach(() => cluster.stop())

const began = (peer: ClusterPeer): number | null => peer.storage.base()?.at.header.height ?? null
const sealed = async ({ storage }: ClusterPeer): Promise<number[]> =>
  (await storage.snapshots.list()).flatMap(({ height, sealed }) => (sealed ? [height] : []))

test('a new peer begins with the newest snapshot, takes the blocks after it, and votes', async () => {
  cluster = await new Cluster({ parameters: PARAMETERS, absent: [3] }).start()
  await cluster.commit(3 * EVERY + 3)
  assert.deepEqual(await sealed(cluster.peer(0)), [2 * EVERY, 3 * EVERY], 'the newest two are kept')
  const late = await cluster.startPeer(3)
  await cluster.agreed(3 * EVERY + 3)
  assert.equal(began(late), 3 * EVERY)
  assert.equal(await late.storage.blockAt((3 * EVERY) as never), null)
  assert.notEqual(await late.storage.blockAt((3 * EVERY + 1) as never), null)
  await cluster.stopPeer(0)
  await cluster.commit(EVERY, 3)
  await cluster.agreed(4 * EVERY + 3)
  assert.deepEqual(await sealed(late), [3 * EVERY, 4 * EVERY], 'and keeps snapshots itself')
})
