// A peer that was away catches up by ranges from several peers while the others go on (consensus.md §1.7); a liar among them is passed by.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLog } from '../../src/adapters/node-system.ts'
import type { Height, PeerId } from '../../src/model/ids.ts'
import { type Log, PROTOCOLS } from '../../src/ports.ts'
import { type CertifiedBlock, fetchInParallel } from '../../src/ranges.ts'
import { decodeStoredBlock, encodeStoredBlock } from '../../src/wire/codec.ts'
import { verifySignature } from '../../src/wire/verify.ts'
import { Cluster, peerIdOf } from './cluster.ts'

const peers = ['a', 'b', 'c'] as PeerId[]
const blockAt = (height: number): CertifiedBlock => ({ block: { header: { height } } }) as unknown as CertifiedBlock
const range = (from: number, count: number, head: number): CertifiedBlock[] =>
  Array.from({ length: Math.max(0, Math.min(count, head - from + 1)) }, (_, i) => blockAt(from + i))
const heightOf = ({ block }: CertifiedBlock): number => block.header.height

type Fetch = Parameters<typeof fetchInParallel>[0]['fetchRange']
/** Returns what was accepted and who served well. */
async function run(claims: Record<string, number>, fetchRange: Fetch, isGood: (peer: PeerId) => boolean = () => true) {
  let head = 0
  let windowMax = 0
  const accepted: string[] = []
  const good = await fetchInParallel({
    peers,
    head: () => head as Height,
    claim: async peer => claims[peer] ?? 0,
    fetchRange: (peer, from, count) => {
      windowMax = Math.max(windowMax, from + count - head)
      return fetchRange(peer, from, count)
    },
    async accept(block, peer) {
      if (heightOf(block) <= head) return true
      if (!isGood(peer)) return false
      assert.equal(heightOf(block), head + 1)
      head++
      accepted.push(peer)
      return true
    },
    isStopped: () => false,
  })
  return { head, good, windowMax, servers: new Set(accepted) }
}

test('nobody has anything: it ends at once', async () => {
  const { head, good } = await run({}, async () => null)
  assert.deepEqual([head, good], [0, peers])
})

test('a liar that claims a chain which nobody has is passed by', async () => {
  const { head, good } = await run({ a: 900, b: 10_000_000, c: 900 }, async (peer, from, count) =>
    peer === 'b' ? [] : range(from, count, 900),
  )
  assert.equal(head, 900)
  assert.deepEqual(good, ['a', 'c'])
})

test('a peer that sends what is not accepted, or nothing, or half, leaves no gap', async () => {
  const { head, good } = await run(
    { a: 3000, b: 3000, c: 3000 },
    async (peer, from, count) => (peer === 'c' ? range(from, Math.ceil(count / 2), 3000) : range(from, count, 3000)),
    peer => peer !== 'b',
  )
  assert.equal(head, 3000)
  assert.deepEqual(good, ['a', 'c'])
})

test('when all but one fail midway, the one brings the rest', async () => {
  let calls = 0
  const { head, good, servers } = await run({ a: 5000, b: 5000, c: 5000 }, async (peer, from, count) =>
    ++calls > 5 && peer !== 'c' ? null : range(from, count, 5000),
  )
  assert.equal(head, 5000)
  assert.ok(good.includes('c' as PeerId) && servers.size > 1)
})

test('a peer that stalls for ever holds nobody up: what it owes is asked of another, and its answer is not waited for', async () => {
  const asked: string[] = []
  const { head, good } = await run({ a: 5000, b: 5000, c: 5000 }, (peer, from, count) => {
    asked.push(`${peer} ${from}`)
    return peer === 'b' ? new Promise(() => {}) : Promise.resolve(range(from, count, 5000))
  })
  assert.equal(head, 5000)
  assert.deepEqual(good, peers, 'slow is not false')
  assert.equal(asked.filter(line => line.startsWith('b')).length, 1)
})

test('a peer that claims less from one question to the next ends nothing', async () => {
  let told = 3000
  const { head } = await run({ a: 3000, b: 3000, c: 3000 }, async (peer, from, count) => {
    if (peer === 'b') told -= 500
    return range(from, count, peer === 'b' ? told : 3000)
  })
  assert.equal(head, 3000)
})

test('several serve, in order, and never more than a window above the head', async () => {
  const { head, servers, windowMax } = await run(
    { a: 10_000, b: 10_000, c: 10_000 },
    (_, from, count) =>
      new Promise(resolve => setTimeout(() => resolve(range(from, count, 10_000)), from === 1 ? 200 : 0)),
  )
  assert.equal(head, 10_000)
  assert.equal(servers.size, 3)
  assert.ok(windowMax <= 1024 + 128 + 1, `${windowMax} blocks ahead`)
})

let cluster: Cluster
before(async () => {
  cluster = await new Cluster({ parameters: { blockRequestsMax: 1 } }).start()
})
after(() => cluster.stop())

test('a validator 600 blocks behind catches up from several peers while the others commit', async () => {
  await cluster.commit(1)
  await cluster.stopPeer(3)
  for (let i = 0; i < 600; i++) void cluster.peer(i % 3).driver.submit(cluster.anyRequest(), 600_000)
  await cluster.until(() => cluster.peer(0).ledger.head().height >= 600, 600_000)
  const heightBefore = cluster.peer(0).ledger.head().height
  const served = new Map<PeerId, number>()
  const late = await cluster.startPeer(3)
  const { request } = late.network
  late.network.request = (to, protocol, frames, signal) => {
    if (protocol === PROTOCOLS.blocks) served.set(to, (served.get(to) ?? 0) + 1)
    return request.call(late.network, to, protocol, frames, signal)
  }
  for (let i = 0; i < 5; i++) void cluster.peer(i % 3).driver.submit(cluster.anyRequest(), 600_000)
  await cluster.agreed(heightBefore + 5)
  assert.ok(served.size >= 2, `asked ${[...served]}`)
  // And it votes again: with another one stopped, the chain goes on.
  await cluster.stopPeer(0)
  await cluster.submit(3, cluster.anyRequest())
  await cluster.agreed(heightBefore + 6)
})

test('a certificate with one wrong signature is refused, also when a thread checks, and the block is taken from another', async () => {
  let checked = 0
  const refused: string[] = []
  const warn: Log['warn'] = (event, fields) => {
    if (event === 'catch-up-refused') refused.push(`${fields?.['peer']} ${fields?.['height']} ${fields?.['reason']}`)
  }
  const lying = await new Cluster({
    absent: [3],
    log: () => ({ ...silentLog, warn }),
    checkSignatures: jobs => {
      checked += jobs.length
      return jobs.map(({ publicKey, bytes, signature }) => verifySignature(publicKey, bytes, signature))
    },
  }).start()
  try {
    await lying.commit(20)
    await lying.agreed(20)
    const { storage } = lying.peer(0)
    const { frameAt } = storage
    storage.frameAt = async height => {
      const frame = await frameAt.call(storage, height)
      if (frame === null || height !== 7) return frame
      const { block, certificate } = decodeStoredBlock(frame)
      const [vote, ...votes] = certificate.votes as [(typeof certificate.votes)[number], ...typeof certificate.votes]
      const wrong = { ...vote, signature: vote.signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte)) }
      return encodeStoredBlock(block, { ...certificate, votes: [wrong, ...votes] })
    }
    await lying.startPeer(3)
    await lying.agreed(20)
    assert.ok(
      refused.every(line => line === `${peerIdOf(0)} 7 certificate-signature`),
      refused.join(),
    )
    assert.ok(refused.length > 0 && checked > 0)
  } finally {
    await lying.stop()
  }
})
