// A store that begins with a snapshot instead of the first block: the same promises in memory and on LevelDB, and on LevelDB that a kill at
// any write of the installation leaves either the old state or the new one.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

import { openDatabase } from '../../src/adapters/level-database.ts'
import { installSnapshot, LevelSnapshots } from '../../src/adapters/level-snapshots.ts'
import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { makeMemoryStorage } from '../../src/adapters/memory-storage.ts'
import { asHeight, type Digest, type Height, type View } from '../../src/model/ids.ts'
import type { Anchor, Handover, StateClaim } from '../../src/model/snapshot.ts'
import type { Storage, StoredChange } from '../../src/ports.ts'
import { encodeChunk } from '../../src/wire/codec.ts'
import { chainOf } from './storage-chain.ts'

const BASE = 30
const chain = chainOf(BASE + 5)
const link = (height: number) => chain[height - 1] as (typeof chain)[number]
const certified = (height: number) => {
  const { block, change } = link(height)
  return { header: block.header, id: block.id, certificate: change.certificate }
}
const anchor: Anchor = { at: certified(BASE), next: certified(BASE + 1) }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const state = new Map([
  ['a/1', bytes('one')],
  ['b/2', bytes('two')],
  ['刘/3', bytes('three')],
])
const entries = [...state]
const node = { type: 'inner', hash: new Uint8Array(32) } as const
const vote = (height: number): StoredChange => ({
  type: 'vote',
  record: { type: 'view', height: asHeight(height), view: 1 as View },
})
const old: StoredChange[] = [
  ...chain.slice(0, 3).map(({ change }) => change),
  vote(4),
  vote(BASE + 1),
  {
    type: 'checkpoint',
    height: asHeight(3),
    root: '0'.repeat(64) as Digest,
    changes: new Map([['old/1', bytes('gone')]]),
  },
]

async function stage(store: Storage): Promise<void> {
  await store.write(old)
  const height = asHeight(BASE)
  await store.snapshots.begin({ height, depth: 1, nodes: [node, node] })
  await store.snapshots.putChunk(height, 0, encodeChunk(entries.slice(0, 2)))
  await store.snapshots.putChunk(height, 1, encodeChunk(entries.slice(2)))
  await store.snapshots.seal(height)
}

let folder: string
let count = 0
const place = (): string => join(folder, String(count++))
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-snapshot-'))
})
after(() => rm(folder, { recursive: true, force: true }))

async function assertInstalled(store: Storage): Promise<void> {
  assert.equal(await store.head(), BASE)
  assert.deepEqual(store.base(), anchor)
  const loaded = await store.loadCheckpoint()
  assert.deepEqual([loaded.height, loaded.root], [BASE, anchor.next.header.stateRoot])
  assert.deepEqual(new Map([...loaded.entries].sort()), new Map([...state].sort()))
  assert.deepEqual(
    (await store.loadVotes()).map(({ height }) => height),
    [BASE + 1],
    'votes of heights that are decided are gone',
  )
}

for (const name of ['memory', 'LevelDB'] as const)
  describe(`a store in ${name}`, () => {
    const directory = (): string => (name === 'memory' ? '' : place())
    const open = async (at: string): Promise<Storage> => (at === '' ? makeMemoryStorage() : openLevelStorage(at))
    const reopened = async (store: Storage, at: string): Promise<Storage> => {
      if (at === '') return store
      await store.close()
      return openLevelStorage(at)
    }

    test('a snapshot takes the place of the state; blocks go on after it, older ones stay as far as they went', async () => {
      const at = directory()
      const store = await open(at)
      await stage(store)
      await store.install(anchor)
      await assertInstalled(store)
      const next = link(BASE + 1)
      await store.write([next.change])
      const again = await reopened(store, at)
      assert.equal(await again.head(), BASE + 1)
      assert.deepEqual((await again.blockAt(asHeight(2)))?.block.id, link(2).block.id)
      assert.equal(await again.blockAt(asHeight(BASE)), null)
      assert.deepEqual(await again.requestAt(next.block.requests[0]!.id), { height: BASE + 1, index: 0 })
      assert.deepEqual(await again.requestAt(link(3).block.requests[0]!.id), { height: 3, index: 0 })
      if ('problems' in again) assert.deepEqual(again.problems, [], 'what was left out is not missing')
      await assert.rejects(again.write([link(BASE + 4).change]), /neither stands on/)
      await again.close()
    })

    test('writes that come while a snapshot is installed wait, and none is lost', async () => {
      const at = directory()
      const store = await open(at)
      await stage(store)
      await Promise.all([store.install(anchor), store.write([vote(BASE + 2)]), store.write([vote(BASE + 3)])])
      const again = await reopened(store, at)
      assert.deepEqual((await again.loadVotes()).map(({ height }) => height).sort(), [BASE + 1, BASE + 2, BASE + 3])
      await again.close()
    })

    test('what was fetched of a snapshot is there after a restart, sealed or not, until it is forgotten', async () => {
      const at = directory()
      const store = await open(at)
      const { snapshots } = store
      for (const height of [10, 20, 256].map(asHeight)) await snapshots.begin({ height, depth: 1, nodes: [node, null] })
      await snapshots.putChunk(asHeight(20), 1, bytes('chunk'))
      await snapshots.putChunk(asHeight(256), 0, bytes('other'))
      await snapshots.seal(asHeight(10))
      await snapshots.forget(asHeight(256))
      const again = await reopened(store, at)
      assert.deepEqual(await again.snapshots.list(), [
        { height: 10, sealed: true },
        { height: 20, sealed: false },
      ])
      assert.deepEqual([...(await again.snapshots.chunks(asHeight(20)))], [1])
      assert.deepEqual(await again.snapshots.chunk(asHeight(20), 1), bytes('chunk'))
      assert.equal(await again.snapshots.chunk(asHeight(256), 0), null)
      assert.deepEqual(await again.snapshots.manifest(asHeight(20)), { height: 20, depth: 1, nodes: [node, null] })
      await again.close()
    })

    test('handovers come back in order, from any height on', async () => {
      const at = directory()
      const store = await open(at)
      const claim: StateClaim = { value: bytes('v'), siblings: [new Uint8Array(32)], leaf: null }
      const handover = (height: number): Handover => ({ ...certified(height), epoch: claim, committee: claim })
      await store.write([15, 5, 10].map(height => ({ type: 'handover', handover: handover(height) })))
      const again = await reopened(store, at)
      assert.deepEqual(await again.handovers(asHeight(6), 10), [handover(10), handover(15)])
      assert.deepEqual(await again.handovers(asHeight(0), 1), [handover(5)])
      await again.close()
    })
  })

/** LevelDB that dies at its n-th write. */
function dying(database: Awaited<ReturnType<typeof openDatabase>>, writes: number): typeof database {
  let left = writes
  return new Proxy(database, {
    get(target, name) {
      const value = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const call = value.bind(target)
      if (name !== 'batch' && name !== 'put' && name !== 'clear') return call
      return (...args: unknown[]) => {
        if (left-- === 0) throw new Error('killed')
        return call(...args)
      }
    },
  })
}

test('killed at any write of the installation, the store opens with the old state or the new one', async () => {
  let finished = false
  for (let writes = 0; !finished; writes++) {
    const directory = place()
    const store = await openLevelStorage(directory)
    await stage(store)
    await store.close()
    const database = await openDatabase(directory)
    const killed = dying(database, writes)
    finished = await installSnapshot(killed, new LevelSnapshots(database), anchor).then(
      () => true,
      () => false,
    )
    await database.close()
    const again = await openLevelStorage(directory)
    if (writes > 0) await assertInstalled(again)
    else {
      assert.equal(again.base(), null)
      assert.equal((await again.loadCheckpoint()).height, 3 as Height)
      assert.equal((await again.loadVotes()).length, 2)
    }
    await again.close()
    assert.ok(writes < 20)
  }
})
