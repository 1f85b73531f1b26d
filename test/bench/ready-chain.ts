// A long chain laid into the homes of a network that does not run yet, signed with its own keys: what takes its peers hours takes seconds.
// Not here: what is measured on it (behind.ts).

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { homePaths, loadConfig, loadSigningKey } from '../../src/config.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import { digestOf } from '../../src/model/hash.ts'
import type { PublicKey, Timestamp, ValidatorIndex, View } from '../../src/model/ids.ts'
import type { DecideCertificate } from '../../src/model/messages.ts'
import type { Operation } from '../../src/model/operations.ts'
import type { StoredChange } from '../../src/ports.ts'
import { genesisCommittee, makeBlock, requestsRootOf } from '../../src/wire/codec.ts'
import { makeRequest, signMessage } from '../../src/wire/verify.ts'
import { PASSWORD, type SwarmPeer } from '../e2e/swarm.ts'

const WRITE_BLOCKS = 64

/** Blocks of one registration each, a millisecond apart; `homes` are three of the four validators, the first three of the ranking. */
export async function layChain(homes: readonly SwarmPeer[], blocks: number): Promise<void> {
  const config = await loadConfig(homes[0]?.home as string)
  const { genesis, chainId } = config
  const committee = genesisCommittee(genesis)
  const ca = await loadSigningKey(config.paths.caKey, PASSWORD)
  const keys = await Promise.all(homes.map(({ home }) => loadSigningKey(homePaths(home).institutionKey, PASSWORD)))
  const stores = await Promise.all(
    homes.map(async ({ home }) => {
      const { dataDir } = await loadConfig(home)
      await mkdir(dataDir, { recursive: true })
      return openLevelStorage(join(dataDir, 'chain'))
    }),
  )
  const ledger = makeLedger({ genesis, chainId, committee })
  const institution = genesis.cas[0]?.institutions[0]
  let changes: StoredChange[] = []
  for (let height = 1; height <= blocks; height++) {
    const timestamp = (genesis.timestamp + height) as Timestamp
    const operation = {
      ...{
        type: 'user.register',
        publicKey: digestOf(Buffer.from(`user ${height}`)) as string as PublicKey,
        scheme: 1,
      },
      ...{ roles: ['patient'], groups: [], institution, validUntil: (timestamp + 1e12) as Timestamp },
    } as Operation
    const sign = (bytes: Uint8Array): Uint8Array => ca.sign(bytes)
    const request = makeRequest({ network: chainId, operation, timestamp, scheme: 1, publicKey: ca.publicKey, sign })
    const place = { author: 0 as ValidatorIndex, view: 0 as View, nowMs: timestamp }
    const header = ledger.headerFor({ ...place, requests: [request], requestsRoot: requestsRootOf([request]) })
    const block = makeBlock(header, [request])
    const { outcomes } = ledger.execute(block)
    const vote = { height: header.height, view: 0 as View, id: block.id }
    const votes = keys.map((key, i) => {
      const sender = i as ValidatorIndex
      const signer = { sign: (bytes: Uint8Array) => key.sign(bytes) }
      return {
        sender,
        signature: signMessage({ type: 'BLOCK-ID', ...vote, sender }, { chainId, committee, signer }).signature,
      }
    })
    const certificate: DecideCertificate = { path: 'SLOW', ...vote, votes }
    changes.push({ type: 'block', block, certificate, outcomes })
    if (changes.length < WRITE_BLOCKS && height < blocks) continue
    changes.push({ type: 'checkpoint', ...ledger.checkpoint() })
    await Promise.all(stores.map(store => store.write(changes)))
    changes = []
  }
  await Promise.all(stores.map(store => store.close()))
}
