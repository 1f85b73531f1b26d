// One suite for every store: what a peer relies on when it says "durable before sent" (consensus.md §1.3). Memory and real LevelDB.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { makeMemoryStorage } from '../../src/adapters/memory-storage.ts'
import type { BlockId, Digest, Height, RequestId, View } from '../../src/model/ids.ts'
import type { VoteRecord } from '../../src/model/vote-record.ts'
import type { Storage, StoredChange } from '../../src/ports.ts'
import { encodeVoteRecord } from '../../src/wire/codec.ts'
import { blockOf, voteRecords } from '../wire/samples.ts'
import { chainOf, changeOf } from './storage-chain.ts'

const height = (value: number): Height => value as Height
const view = (value: number, at = 2): VoteRecord => ({ type: 'view', height: height(at), view: value as View })
const vote = (record: VoteRecord): StoredChange => ({ type: 'vote', record })
const saved = async (store: Storage): Promise<string[]> =>
  (await store.loadVotes()).map(record => Buffer.from(encodeVoteRecord(record)).toString('hex')).sort()
const encoded = (records: readonly VoteRecord[]): string[] =>
  records.map(record => Buffer.from(encodeVoteRecord(record)).toString('hex')).sort()

/** `open`: a fresh store; `reopen`: closes it and opens the same again, null where nothing survives. */
type Maker = {
  readonly name: string
  readonly open: () => Promise<Storage>
  readonly reopen: ((store: Storage) => Promise<Storage>) | null
}

let folder: string
let count = 0
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-storage-'))
})
after(async () => {
  await rm(folder, { recursive: true, force: true })
})

const places = new WeakMap<Storage, string>()
const openAt = async (place: string): Promise<Storage> => {
  const store = await openLevelStorage(place)
  places.set(store, place)
  return store
}
const makers: readonly Maker[] = [
  { name: 'memory', open: async () => makeMemoryStorage(), reopen: null },
  {
    name: 'LevelDB',
    open: () => openAt(join(folder, String(count++))),
    async reopen(store) {
      await store.close()
      return openAt(places.get(store) as string)
    },
  },
]

for (const maker of makers)
  describe(`a store in ${maker.name}`, () => {
    const reopened = async (store: Storage): Promise<Storage> => (maker.reopen === null ? store : maker.reopen(store))

    test('an empty store holds nothing', async () => {
      const store = await reopened(await maker.open())
      assert.equal(await store.head(), 0)
      assert.equal(await store.blockAt(height(1)), null)
      assert.equal(await store.heightOf('0'.repeat(64) as BlockId), null)
      assert.equal(await store.requestAt('0'.repeat(64) as RequestId), null)
      assert.deepEqual(await store.loadVotes(), [])
      assert.deepEqual(await store.loadCheckpoint(), { height: 0, root: null, entries: new Map() })
      await store.close()
    })

    test('a block comes back with its certificate and outcomes, by height, by id and by each of its requests', async () => {
      const store = await maker.open()
      const links = chainOf(5, 3)
      for (const { change } of links) await store.write([change])
      const again = await reopened(store)
      assert.equal(await again.head(), 5)
      for (const { block, change } of links) {
        const stored = await again.blockAt(block.header.height)
        assert.deepEqual(stored?.block.bytes, block.bytes)
        assert.deepEqual(stored?.certificate, change.certificate)
        assert.deepEqual(stored?.outcomes, change.outcomes)
        assert.equal(await again.heightOf(block.id), block.header.height)
        for (const [index, request] of block.requests.entries())
          assert.deepEqual(await again.requestAt(request.id), { height: block.header.height, index })
      }
      assert.equal(await again.blockAt(height(6)), null)
      await again.close()
    })

    test('several blocks in one write, and writes that do not wait for each other, all arrive in order', async () => {
      const store = await maker.open()
      const [first, second, ...rest] = chainOf(20)
      await Promise.all([
        store.write([first!.change, second!.change]),
        ...rest.map(({ change }) => store.write([change])),
      ])
      const again = await reopened(store)
      assert.equal(await again.head(), 20)
      await again.close()
    })

    test('a decided block is never replaced, and no height is left out', async () => {
      const store = await maker.open()
      const [first, second, third] = chainOf(3)
      const [other] = chainOf(1, 2)
      await store.write([first!.change])
      await assert.rejects(store.write([other!.change]), /neither stands on/)
      await assert.rejects(store.write([third!.change]), /neither stands on/)
      await store.write([first!.change])
      await store.write([second!.change])
      assert.deepEqual((await store.blockAt(height(1)))?.block.id, first!.block.id)
      await store.close()
    })

    test('every kind of vote record survives, and a later one replaces the earlier in its slot', async () => {
      const store = await maker.open()
      await store.write(voteRecords.map(vote))
      await store.write([vote(view(4)), vote(view(5))])
      const again = await reopened(store)
      assert.deepEqual(await saved(again), encoded([...voteRecords.slice(1), view(5)]))
      await again.close()
    })

    test('the votes of a height are forgotten with its block, and those of the next stay', async () => {
      const store = await maker.open()
      const [first, second] = chainOf(2)
      await store.write([first!.change, ...voteRecords.map(vote)])
      await store.write([vote(view(1, 3))])
      await store.write([second!.change, { type: 'forget-votes', height: height(2) }])
      const again = await reopened(store)
      assert.deepEqual(await saved(again), encoded([view(1, 3)]))
      await again.close()
    })

    test('votes are forgotten by whoever opened the store last, and then for good', async () => {
      const store = await maker.open()
      await store.write([...voteRecords.map(vote), vote(view(1, 3))])
      const again = await reopened(store)
      await again.write([{ type: 'forget-votes', height: height(2) }])
      assert.deepEqual(await saved(again), encoded([view(1, 3)]))
      await again.write([vote(view(9))])
      const last = await reopened(again)
      assert.deepEqual(await saved(last), encoded([view(9), view(1, 3)]))
      await last.close()
    })

    test('votes of heights that are decided are not told, even when they were not forgotten', async () => {
      const store = await maker.open()
      const [first, second] = chainOf(2)
      await store.write([first!.change, vote(view(7)), second!.change])
      const again = await reopened(store)
      assert.deepEqual(await again.loadVotes(), [])
      await again.close()
    })

    test('a checkpoint is the sum of its changes', async () => {
      const store = await maker.open()
      const root = (digit: string): Digest => digit.repeat(64) as Digest
      const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
      const checkpoint = (at: number, entries: readonly (readonly [string, string | null])[]): StoredChange => ({
        type: 'checkpoint',
        height: height(at),
        root: root(String(at)),
        changes: new Map(entries.map(([key, value]) => [key, value === null ? null : bytes(value)])),
      })
      await store.write([
        checkpoint(1, [
          ['a', '1'],
          ['b', '2'],
          ['刘', '3'],
          ['', '4'],
        ]),
      ])
      await store.write([
        checkpoint(2, [
          ['a', null],
          ['b', '5'],
          ['c', '6'],
        ]),
      ])
      const again = await reopened(store)
      const loaded = await again.loadCheckpoint()
      assert.equal(loaded.height, 2)
      assert.equal(loaded.root, root('2'))
      const wanted = { b: '5', 刘: '3', '': '4', c: '6' }
      assert.deepEqual(
        new Map([...loaded.entries].sort()),
        new Map(
          Object.entries(wanted)
            .map(([k, v]) => [k, bytes(v)] as const)
            .sort(),
        ),
      )
      await again.close()
    })

    test('a request that stands in two blocks is found in the first', async () => {
      const store = await maker.open()
      const [first] = chainOf(1, 2)
      const [one, two] = first!.block.requests
      await store.write([first!.change])
      await store.write([changeOf(blockOf({ height: height(2), parentId: first!.block.id }, [two!, one!]))])
      const again = await reopened(store)
      assert.deepEqual(await again.requestAt(one!.id), { height: 1, index: 0 })
      assert.deepEqual(await again.requestAt(two!.id), { height: 1, index: 1 })
      await again.close()
    })
  })
