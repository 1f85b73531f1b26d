// The plainest load for benchmarks that are not about what a request does: one CA registers users nobody will ever be, each request
// signed and unlike all others. Not here: how requests are sent (load.ts).

import { randomBytes } from 'node:crypto'
import type { Api } from '../../src/api/client.ts'
import { homePaths, loadSigningKey } from '../../src/config.ts'
import type { Genesis } from '../../src/model/genesis.ts'
import { identifierOf, toHex } from '../../src/model/hash.ts'
import { asTimestamp, type Digest, type PublicKey } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { makeRequest } from '../../src/wire/verify.ts'
import { PASSWORD, type Swarm } from '../e2e/swarm.ts'
import type { Signed, Source } from './load.ts'

export async function makeRegistrations(swarm: Swarm, api: Api): Promise<Source> {
  const ca = await loadSigningKey(homePaths(swarm.peers[0]?.home as string).caKey, PASSWORD)
  const { chainId, genesis } = (await api.call('GET', '/v1/genesis')) as { chainId: Digest; genesis: Genesis }
  // The first hospital of the network and its CA, whichever peer is asked.
  const institution = identifierOf(genesis.institutions[0]?.publicKey as PublicKey)
  return {
    next(): Signed {
      const now = Date.now()
      const operation = {
        type: 'user.register',
        publicKey: toHex(randomBytes(32)),
        ...{ scheme: 1, roles: ['patient'], groups: [], institution },
        validUntil: asTimestamp(now + 86_400_000),
      } as unknown as Operation
      const { publicKey } = ca
      const sign = (bytes: Uint8Array): Uint8Array => ca.sign(bytes)
      return makeRequest({ network: chainId, operation, timestamp: asTimestamp(now), scheme: 1, publicKey, sign })
    },
    settled() {},
  }
}
