// What a block must be to stand on the head, and what a header for the next one says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Block, BlockHeader } from '../../src/model/block.ts'
import type { BlockId, Height, Timestamp, ValidatorIndex, View } from '../../src/model/ids.ts'
import { accessRequest, digestNamed, makeClinic, makeGenesis, World } from './world.ts'

const reject = (change: Partial<BlockHeader>, rest: Partial<Block> = {}): string | null => {
  const world = makeClinic()
  const block = world.block([])
  const fault = world.ledger.checkBlock({ ...block, ...rest, header: { ...block.header, ...change } }, false, 0)
  assert.notEqual(fault?.kind, 'local')
  return fault?.reason ?? null
}

test('a block that the head’s header describes is accepted', () => {
  assert.equal(reject({}), null)
})

const faults: readonly (readonly [reason: string, change: Partial<BlockHeader>])[] = [
  ['wrong-chain', { chainId: digestNamed('other') }],
  ['wrong-height', { height: 9 as Height }],
  ['wrong-parent', { parentId: digestNamed('other') as BlockId }],
  ['timestamp-not-above-parent', { timestamp: 5 as Timestamp }],
  ['state-root-differs', { stateRoot: digestNamed('other') }],
  ['rules-unknown', { rulesVersion: 2 }],
  ['rules-unknown', { rulesVersion: 0 }],
  ['author-unknown', { author: 4 as ValidatorIndex }],
  ['request-count-differs', { requestCount: 1 }],
]
for (const [reason, change] of faults)
  test(`refused on every peer: ${reason} ${JSON.stringify(change)}`, () => assert.equal(reject(change), reason))

test('a block is bounded in requests and bytes', () => {
  const world = new World(makeGenesis({}, { blockRequestsMax: 2 }))
  const requests = [1, 2, 3].map(() => world.request('a', accessRequest()))
  const reasonFor = (block: Block): string | undefined => world.ledger.checkBlock(block, false, 0)?.reason
  assert.equal(reasonFor(world.block(requests)), 'too-many-requests')
  assert.equal(reasonFor(world.block(requests.slice(1))), undefined)
  const large = { ...world.block([]), bytes: new Uint8Array(world.views.parameters().blockBytesMax + 1) }
  assert.equal(reasonFor(large), 'block-too-large')
})

test('the clock is asked for fresh blocks only, in both directions, and its opinion is local', () => {
  const world = makeClinic()
  const block = world.block([])
  const drift = world.views.parameters().clockDriftMaxMs
  const time = block.header.timestamp
  const judge = (fresh: boolean, nowMs: number) => world.ledger.checkBlock(block, fresh, nowMs)
  for (const nowMs of [time - drift, time, time + drift]) assert.equal(judge(true, nowMs), null)
  for (const nowMs of [time - drift - 1, time + drift + 1]) {
    assert.deepEqual(judge(true, nowMs), { kind: 'local', reason: 'clock-drift' })
    assert.equal(judge(false, nowMs), null)
  }
})

test('block time rises strictly, also when the proposer’s clock is behind', () => {
  const world = makeClinic()
  const head = world.ledger.head()
  const header = world.ledger.headerFor({
    ...{ author: 2 as ValidatorIndex, view: 3 as View, nowMs: 5, requests: [], requestsRoot: digestNamed('r') },
  })
  assert.equal(header.timestamp, head.timestamp + 1)
  assert.deepEqual([header.height, header.parentId, header.author, header.birthView], [head.height + 1, head.id, 2, 3])
  assert.equal(header.stateRoot, world.ledger.stateRoot())
})

test('a block that does not stand on the head is never executed', () => {
  const world = makeClinic()
  const [first] = world.blocks
  assert.throws(() => world.ledger.execute(first!), /stands on the head/)
  const block = world.block([])
  assert.throws(() => world.ledger.execute({ ...block, header: { ...block.header, rulesVersion: 9 } }), /rules 9/)
})

test('the head before the first block is the chain id', () => {
  const world = new World()
  assert.deepEqual(world.ledger.head(), {
    height: 0,
    id: world.ledger.chainId,
    timestamp: world.genesis.timestamp,
    author: 0,
  })
  assert.equal(world.block([]).header.parentId, world.ledger.chainId)
})
