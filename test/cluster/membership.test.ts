// Validators change at the end of an epoch, through the chain, while requests flow (P-30, P-31): an observer joins, the first in the ranking
// becomes primary, a removed one validates to the end of its epoch and is then cut off, and the whole chain still verifies.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import type { Operation } from '../../src/model/operations.ts'
import { replayChain } from '../../src/replay.ts'
import { verifyHome } from '../../src/verify-home.ts'
import { keyOf } from '../wire/samples.ts'
import { Cluster, peerIdOf } from './cluster.ts'

const EPOCH = 10
let cluster: Cluster
before(async () => {
  cluster = await new Cluster({ peers: 5, validators: 4, parameters: { epochBlocks: EPOCH } }).start()
})
after(() => cluster.stop())

const authority = keyOf('authority')
const decree = (operation: Operation) => cluster.submit(0, cluster.request(authority, operation))
const height = (): number => cluster.peer(0).ledger.head().height
const role = (i: number): string => cluster.peer(i).driver.view().role
const linked = (a: number, b: number): boolean => cluster.peer(a).network.directPeers().has(peerIdOf(b))
/** Of all but the expelled one, which may miss the block that ends its epoch. */
async function toEpochEnd(expelled: number | null = null): Promise<void> {
  await cluster.commit(EPOCH - (height() % EPOCH))
  const end = height()
  await cluster.until(() =>
    cluster.running.every(({ index, ledger }) => index === expelled || ledger.head().height >= end),
  )
}

test('a registered hospital that does not validate follows as an observer', async () => {
  await cluster.commit(3)
  await cluster.agreed(3)
  assert.equal(role(4), 'observer')
  assert.equal(role(0), 'primary')
})

test('rated above all, it is the primary of the next epoch, and the last in the ranking stops validating', async () => {
  const { identifier } = cluster.peer(4)
  assert.equal((await decree({ type: 'institution.rate', institution: identifier, score: 5_000 })).outcome.type, 'done')
  assert.equal(role(4), 'observer', 'not before the epoch ends')
  await toEpochEnd()
  assert.equal(height(), EPOCH)
  assert.deepEqual([0, 1, 2, 3, 4].map(role), ['validator', 'validator', 'validator', 'observer', 'primary'])
  await cluster.submit(3, cluster.anyRequest())
  await cluster.agreed(EPOCH + 1)
  const stored = await cluster.peer(0).storage.blockAt(cluster.peer(0).ledger.head().height)
  const author = cluster.peer(0).ledger.committeeAt(cluster.peer(0).ledger.head().height)?.validators[0]
  assert.equal(stored?.block.header.author, 0)
  assert.equal(author?.publicKey, cluster.peer(4).key.publicKey)
})

test('a removed hospital validates to the end of its epoch and is then cut off by everybody; the next in the ranking takes its seat', async () => {
  const { identifier } = cluster.peer(1)
  assert.equal((await decree({ type: 'institution.remove', institution: identifier })).outcome.type, 'done')
  await cluster.commit(1)
  assert.equal(role(1), 'validator')
  assert.ok(linked(0, 1))
  await toEpochEnd(1)
  await cluster.timeline.advance(1_000)
  for (const i of [0, 2, 3, 4]) assert.equal(linked(i, 1), false, `${i} still holds a line to the expelled peer`)
  assert.equal(role(3), 'validator')
  const cutAt = cluster.peer(1).ledger.head().height
  await cluster.commit(3)
  assert.ok(cluster.peer(0).ledger.head().height > cutAt)
  assert.equal(cluster.peer(1).ledger.head().height, cutAt)
})

test('readmitted, it catches up over the epochs that it missed', async () => {
  const { institutions } = cluster.genesis
  await toEpochEnd(1)
  const { name, publicKey, peerId, sealKey, region } = institutions[1] as (typeof institutions)[0]
  const admit: Operation = { type: 'institution.admit', name, publicKey, peerId, sealKey, region, score: 1 }
  assert.equal((await decree(admit)).outcome.type, 'done')
  // It learns that it is admitted only from the chain, and nobody serves it while its own register says that it is out.
  await cluster.stopPeer(1)
  cluster.loseDisk(1)
  await cluster.startPeer(1)
  await cluster.agreed(height())
})

test('votes of every epoch verify from genesis on, and a replay decides the same', async () => {
  const { genesis, chainId, committee } = cluster
  const { storage, ledger } = cluster.peer(2)
  const ignore = (): void => {}
  const chain = { genesis, chainId, committee, self: null, nowMs: 0 }
  const report = await verifyHome({ ...chain, storage, vault: makeMemoryVault(), onProgress: ignore })
  assert.deepEqual(report.problems, [])
  assert.ok(report.heights >= 3 * EPOCH)
  const blockAt = (at: Parameters<typeof storage.blockAt>[0]) => storage.blockAt(at)
  const first = makeLedger(cluster)
  const replayed = await replayChain({ ledger: first, head: ledger.head().height, blockAt, onProgress: ignore })
  assert.deepEqual([replayed.ok, replayed.heights], [true, ledger.head().height])
})
