// Which road a message takes: direct between validators, gossip only while somebody cannot be reached, both handled once.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Committee, makeCommittee } from '../src/model/committee.ts'
import { asBlockId, asDigest, asHeight, asPublicKey, asValidatorIndex, asView, type PeerId } from '../src/model/ids.ts'
import type { Commit, PrePrepare } from '../src/model/messages.ts'
import { type Clock, type Network, TOPICS } from '../src/ports.ts'
import { broadcast, makeCrossing, makeRequestBatcher, unwrapFromGossip, wrapForGossip } from '../src/roads.ts'

const peer = (i: number): PeerId => `peer-${i}` as PeerId

const committeeOf = (n: number): Committee =>
  makeCommittee(
    Array.from({ length: n }, (_, i) => ({
      index: asValidatorIndex(i),
      publicKey: asPublicKey(i.toString(16).padStart(64, '0')),
      peerId: peer(i),
      name: `h${i}`,
    })),
    1,
    0,
    asDigest('0'.repeat(64)),
  )

const commit: Commit = {
  type: 'COMMIT',
  height: asHeight(1),
  view: asView(0),
  id: asBlockId('1'.repeat(64)),
  sender: asValidatorIndex(0),
  signature: new Uint8Array(64),
}

function fakeNetwork(direct: readonly PeerId[]) {
  const frames: PeerId[] = []
  const gossip: string[] = []
  const network = {
    self: peer(0),
    directPeers: () => new Set(direct),
    sendDirect: (to: PeerId) => frames.push(to) > 0,
    publish: (topic: string) => gossip.push(topic) > 0,
  } as unknown as Network
  return { network, frames, gossip }
}

test('validators that are all linked hear a vote once, and gossip carries nothing', () => {
  const { network, frames, gossip } = fakeNetwork([peer(1), peer(2), peer(3)])
  broadcast(network, committeeOf(4), commit, new Uint8Array(3), 0)
  assert.deepEqual(frames, [peer(1), peer(2), peer(3)])
  assert.deepEqual(gossip, [])
})

test('while one validator cannot be reached directly, the vote is gossiped as well', () => {
  const { network, frames, gossip } = fakeNetwork([peer(1), peer(3)])
  broadcast(network, committeeOf(4), commit, new Uint8Array(3), 0)
  assert.deepEqual(frames, [peer(1), peer(3)])
  assert.deepEqual(gossip, [TOPICS.commit])
})

test('a proposal that gossip does not carry is uploaded to each, also when validators are many', () => {
  const others = Array.from({ length: 9 }, (_, i) => peer(i + 1))
  const { network, frames } = fakeNetwork(others)
  const proposal = { ...commit, type: 'PRE-PREPARE' } as unknown as PrePrepare
  broadcast(network, committeeOf(10), proposal, new Uint8Array(3), 0)
  assert.deepEqual(frames, [])
  const deaf = { ...network, publish: () => false } as unknown as Network
  broadcast(deaf, committeeOf(10), proposal, new Uint8Array(3), 0)
  assert.deepEqual(frames, others)
})

test('a message that comes both ways is handled once; a re-send on the same road is handled again', () => {
  const cameFirst = makeCrossing()
  const bytes = new Uint8Array([1, 2, 3])
  assert.equal(cameFirst(bytes, 'direct'), true)
  assert.equal(cameFirst(bytes, 'gossip'), false)
  assert.equal(cameFirst(bytes, 'direct'), true)
})

test('the memory of what came is bounded', () => {
  const cameFirst = makeCrossing()
  const number = (i: number): Uint8Array => new Uint8Array(new Uint32Array([i]).buffer)
  for (let i = 0; i < 40_000; i++) cameFirst(number(i), 'direct')
  assert.equal(cameFirst(number(39_999), 'gossip'), false)
  assert.equal(cameFirst(number(0), 'gossip'), true)
})

test('the same bytes gossiped later are a new message to gossip and the same to us', () => {
  const bytes = new Uint8Array([7, 8])
  const first = wrapForGossip(bytes, 1_000)
  const second = wrapForGossip(bytes, 2_000)
  assert.notDeepEqual(first, second)
  assert.deepEqual(unwrapFromGossip(first), unwrapFromGossip(second))
  assert.equal(unwrapFromGossip(new Uint8Array(3)), null)
})

test('a lone request leaves at once; a crowd leaves in batches of at most 64 KiB', () => {
  let now = 1_000
  const due: { at: number; run: () => void }[] = []
  const clock: Clock = {
    nowMs: () => now,
    steadyMs: () => now,
    after(ms, run) {
      const entry = { at: now + ms, run }
      due.push(entry)
      return () => {
        const i = due.indexOf(entry)
        if (i >= 0) due.splice(i, 1)
      }
    },
  }
  const pass = (ms: number): void => {
    now += ms
    for (const entry of [...due]) if (entry.at <= now && due.includes(entry)) entry.run()
  }
  const batches: number[] = []
  const batcher = makeRequestBatcher<{ bytes: Uint8Array }>(clock, batch => batches.push(batch.length))
  batcher.add({ bytes: new Uint8Array(250) })
  pass(0)
  assert.deepEqual(batches, [1])
  for (let i = 0; i < 10; i++) batcher.add({ bytes: new Uint8Array(250) })
  pass(1)
  assert.deepEqual(batches, [1])
  pass(20)
  assert.deepEqual(batches, [1, 10])
  for (let i = 0; i < 300; i++) batcher.add({ bytes: new Uint8Array(250) })
  assert.deepEqual(batches, [1, 10, 262])
  batcher.stop()
})
