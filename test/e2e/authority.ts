// What the authority of a test's network does, and how its epochs pass. Not here: what comes of it.

import { join } from 'node:path'
import { connectApi } from '../../src/api/client.ts'
import { submitOperation } from '../../src/api/operations.ts'
import { homePaths, loadSigningKey } from '../../src/config.ts'
import type { Digest, Timestamp } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { makeRegistrations } from '../bench/registrations.ts'
import { PASSWORD, type Swarm, type SwarmPeer, statusOf } from './swarm.ts'

/** Signed with the authority's key, through any peer. */
export async function decree(swarm: Swarm, through: SwarmPeer, operation: Operation): Promise<void> {
  const api = await connectApi(homePaths(through.home))
  try {
    const { chainId } = (await api.call('GET', '/v1/genesis')) as { chainId: Digest }
    const key = await loadSigningKey(join(swarm.dir, 'net', 'authority', 'authority.key'), PASSWORD)
    await submitOperation(api, { key, chainId, timestamp: Date.now() as Timestamp }, operation)
  } finally {
    api.close()
  }
}

/** Requests until the next epoch has begun; over the API, since a process for each would take longer than the epoch. */
export async function nextEpoch(swarm: Swarm, peer: SwarmPeer, epochBlocks: number): Promise<void> {
  const api = await connectApi(homePaths(peer.home))
  try {
    const source = await makeRegistrations(swarm, api)
    const { height } = await statusOf(peer)
    const end = (Math.floor(height / epochBlocks) + 1) * epochBlocks
    for (let now = height; now <= end; ) now = Number((await api.submit(source.next(0).bytes))['height'])
  } finally {
    api.close()
  }
}
