// What only a store on disk can suffer: a second process, a kill in the middle of writes, flipped bytes, a log that lost its end.
// Damage is named, never used and never skipped.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { crc32 } from 'node:zlib'

import { ClassicLevel } from 'classic-level'

import { type LevelStorage, openLevelStorage } from '../../src/adapters/level-storage.ts'
import type { Block } from '../../src/model/block.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { digestOf } from '../../src/model/hash.ts'
import type { Digest, Height, RequestId, View } from '../../src/model/ids.ts'
import { chainId, voteRecords } from '../wire/samples.ts'
import { bulkBlock, chainOf, changeOf } from './storage-chain.ts'

let folder: string
let count = 0
const place = (): string => join(folder, String(count++))
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-damage-'))
})
after(async () => {
  await rm(folder, { recursive: true, force: true })
})

const withCode =
  (code: string, facts: Record<string, unknown> = {}) =>
  (error: unknown) => {
    assert.ok(error instanceof EmrmError, String(error))
    assert.equal(error.code, code)
    for (const [name, value] of Object.entries(facts)) assert.equal(error.facts[name], value)
    return true
  }

type Raw = ClassicLevel<Buffer, Buffer>
async function raw<T>(directory: string, work: (database: Raw) => Promise<T>): Promise<T> {
  const database: Raw = new ClassicLevel(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  await database.open()
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

/** Rewrites the value of every key of this table that `change` answers for. */
const rewrite = (
  directory: string,
  table: number,
  change: (value: Buffer, key: Buffer) => Buffer | null,
): Promise<number> =>
  raw(directory, async database => {
    let changed = 0
    for (const [key, value] of await database
      .iterator({ gte: Buffer.from([table]), lt: Buffer.from([table + 1]) })
      .all()) {
      const next = change(value, key)
      if (next === null) continue
      await database.put(key, next)
      changed++
    }
    return changed
  })

const flipAt = (value: Buffer, at: number): Buffer => {
  const flipped = Buffer.from(value)
  flipped[at] = (flipped[at] as number) ^ 1
  return flipped
}
/** With a checksum that fits again: what an intruder would do, and a disk would not. */
const reseal = (key: Buffer, value: Buffer): Buffer => {
  value.writeUInt32BE(crc32(value.subarray(4), crc32(key)))
  return value
}

async function stored(length: number): Promise<string> {
  const directory = place()
  const store = await openLevelStorage(directory)
  for (const { change } of chainOf(length)) await store.write([change])
  await store.close()
  return directory
}

test('a home that another process holds is refused by name', async () => {
  const directory = place()
  const store = await openLevelStorage(directory)
  await assert.rejects(openLevelStorage(directory), withCode('home-in-use'))
  await store.close()
  const again = await openLevelStorage(directory)
  await again.close()
})

test('any flipped byte of a stored block is noticed, and the height is named', async () => {
  const directory = await stored(3)
  const second = (key: Buffer): boolean => key[8] === 2
  const { length } = await raw(
    directory,
    async database => (await database.iterator({ gte: Buffer.from([1]), lt: Buffer.from([2]) }).all())[1]![1],
  )
  for (let at = 0; at < length; at += 7) {
    await rewrite(directory, 1, (value, key) => (second(key) ? flipAt(value, at) : null))
    const store = await openLevelStorage(directory)
    await assert.rejects(store.blockAt(2 as Height), withCode('block-corrupt', { height: 2 }), `byte ${at}`)
    assert.deepEqual(store.problems, [{ code: 'block-corrupt', height: 2 }])
    assert.equal((await store.blockAt(1 as Height))?.block.header.height, 1)
    await store.close()
    await rewrite(directory, 1, (value, key) => (second(key) ? flipAt(value, at) : null))
  }
})

test('a stored request that was changed with all its checksums does not fit the root of its block', async () => {
  const directory = await stored(2)
  const requestByte = (value: Buffer): number => value.indexOf('access.request') + 20
  const changed = await rewrite(directory, 1, (value, key) =>
    key[8] === 2 ? reseal(key, flipAt(value, requestByte(value))) : null,
  )
  assert.equal(changed, 1)
  const store = await openLevelStorage(directory)
  await assert.rejects(store.blockAt(2 as Height), withCode('block-corrupt', { height: 2 }))
  await store.close()
})

test('a block that lies under the height of another is noticed', async () => {
  const directory = await stored(2)
  await raw(directory, async database => {
    const keys = (await database.keys({ gte: Buffer.from([1]), lt: Buffer.from([2]) }).all()) as [Buffer, Buffer]
    await database.put(keys[1], reseal(keys[1], Buffer.from((await database.get(keys[0])) as Buffer)))
  })
  const store = await openLevelStorage(directory)
  await assert.rejects(store.blockAt(2 as Height), withCode('block-corrupt', { height: 2 }))
  await store.close()
})

test('a damaged vote record is named and never used', async () => {
  const directory = place()
  const store = await openLevelStorage(directory)
  await store.write(voteRecords.map(record => ({ type: 'vote', record })))
  await store.close()
  for (let kind = 1; kind <= 6; kind++) {
    const hurt = (value: Buffer, key: Buffer): Buffer | null =>
      key[9] === kind ? flipAt(value, value.length - 1) : null
    assert.equal(await rewrite(directory, 4, hurt), 1)
    const again = await openLevelStorage(directory)
    await assert.rejects(again.loadVotes(), withCode('vote-log-corrupt', { height: 2 }), `slot ${kind}`)
    await again.close()
    await rewrite(directory, 4, hurt)
  }
})

test('a damaged entry or marker of the checkpoint is named and never used', async () => {
  const directory = place()
  const store = await openLevelStorage(directory)
  const changes = new Map([['a', new Uint8Array([1, 2, 3])]])
  await store.write([{ type: 'checkpoint', height: 1 as Height, root: '0'.repeat(64) as Digest, changes }])
  await store.close()
  for (const table of [5, 6]) {
    const hurt = (value: Buffer): Buffer => flipAt(value, value.length - 1)
    assert.equal(await rewrite(directory, table, hurt), 1)
    const again = await openLevelStorage(directory)
    await assert.rejects(again.loadCheckpoint(), withCode('checkpoint-corrupt'))
    await again.close()
    await rewrite(directory, table, hurt)
  }
})

test("a value that lies under another's key is not taken for its own", async () => {
  const directory = place()
  const store = await openLevelStorage(directory)
  const changes = new Map([
    ['a', new Uint8Array([1])],
    ['b', new Uint8Array([2])],
  ])
  await store.write([{ type: 'checkpoint', height: 1 as Height, root: '0'.repeat(64) as Digest, changes }])
  await store.close()
  await raw(directory, async database => {
    const values = await database.values({ gte: Buffer.from([5]), lt: Buffer.from([6]) }).all()
    await database.put(Buffer.from('\u0005b'), values[0] as Buffer)
  })
  const again = await openLevelStorage(directory)
  await assert.rejects(again.loadCheckpoint(), withCode('checkpoint-corrupt'))
  await again.close()
})

test('the first height that is missing is reported', async () => {
  const directory = await stored(9)
  await raw(directory, async database => {
    for (const [key, value] of await database.iterator({ gte: Buffer.from([2]), lt: Buffer.from([3]) }).all())
      if (value.at(-1) === 4 || value.at(-1) === 6) {
        await database.del(key)
        await database.del(Buffer.concat([Buffer.from([1]), value.subarray(4)]))
      }
  })
  const store = await openLevelStorage(directory)
  assert.deepEqual(store.problems, [{ code: 'block-missing', height: 4 }])
  assert.equal(await store.blockAt(4 as Height), null)
  await store.write([chainOf(4)[3]!.change])
  await store.close()
  const healed = await openLevelStorage(directory)
  assert.deepEqual(healed.problems, [{ code: 'block-missing', height: 6 }])
  await healed.close()
})

test('a log that lost its end is noticed: votes may be gone with it', async () => {
  const directory = await stored(5)
  const log = join(directory, (await readdir(directory)).find(name => name.endsWith('.log')) as string)
  const bytes = await readFile(log)
  await writeFile(log, flipAt(bytes, bytes.length - 10))
  const store = await openLevelStorage(directory)
  assert.equal(await store.head(), 4)
  assert.deepEqual(store.problems, [{ code: 'writes-lost', lost: 1 }])
  await store.close()
})

test('an older copy of the data folder is noticed, and an untouched one has no problems', async () => {
  const directory = await stored(2)
  const fine = await openLevelStorage(directory)
  assert.deepEqual(fine.problems, [])
  await fine.close()
  await rm(directory, { recursive: true })
  const store = await openLevelStorage(directory)
  assert.deepEqual(store.problems, [{ code: 'writes-lost', lost: 2 }])
  await store.close()
})

test('a folder whose files are damaged is refused with what to do', async () => {
  const directory = await stored(2)
  const manifest = join(directory, (await readdir(directory)).find(name => name.startsWith('MANIFEST')) as string)
  await writeFile(manifest, flipAt(await readFile(manifest), 8))
  await assert.rejects(openLevelStorage(directory), withCode('store-corrupt'))
})

test('requests that left the tail for the runs are found, also by the next process, and damage to a run is named', async () => {
  const directory = place()
  const store = await openLevelStorage(directory)
  const blocks: Block[] = []
  for (let height = 1; height <= 10; height++) {
    const block = bulkBlock(height, blocks.at(-1)?.id ?? (chainId as Block['id']), 4_000)
    blocks.push(block)
    await store.write([changeOf(block)])
  }
  const findAll = async (where: LevelStorage): Promise<void> => {
    for (const block of blocks)
      for (const index of [0, 1_234, 3_999])
        assert.deepEqual(await where.requestAt(block.requests[index]!.id), { height: block.header.height, index })
    assert.equal(await where.requestAt(block32('absent')), null)
  }
  await findAll(store)
  await store.close()
  const again = await openLevelStorage(directory)
  await findAll(again)
  await again.close()
  // Nine blocks have reached 32 768 requests; the tenth is the tail. Nearly all of the 4096 buckets are in use.
  const runs = await rewrite(directory, 3, value => flipAt(value, value.length - 1))
  assert.ok(runs > 4_000 && runs <= 4_096, `${runs} values`)
  const hurt = await openLevelStorage(directory)
  await assert.rejects(hurt.requestAt(blocks[0]!.requests[0]!.id), withCode('store-corrupt'))
  await hurt.close()
})

const block32 = (name: string): RequestId => digestOf(Buffer.from(name)) as RequestId

test('what was acknowledged survives a kill in the middle of writes, and every write is whole', async () => {
  for (let round = 0; round < 3; round++) {
    const directory = place()
    const child = spawn(process.execPath, [join(import.meta.dirname, 'storage-writer.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let told = ''
    await new Promise<void>(resolve => {
      child.stdout.on('data', (chunk: Buffer) => {
        told += chunk.toString()
        if (Number(told.trimEnd().split('\n').at(-1)) >= 20 + round * 7) child.kill('SIGKILL')
      })
      child.on('exit', () => resolve())
    })
    const acknowledged = Number(told.slice(0, told.lastIndexOf('\n')).split('\n').at(-1))
    assert.ok(acknowledged >= 20)
    const store = await openLevelStorage(directory)
    assert.deepEqual(store.problems, [])
    const head = await store.head()
    assert.ok(head >= acknowledged, `${acknowledged} acknowledged, ${head} there`)
    for (let height = 1; height <= head; height++) {
      const block = (await store.blockAt(height as Height))?.block
      assert.equal(block?.header.height, height)
      assert.deepEqual(await store.requestAt(block!.requests[0]!.id), { height, index: 0 })
    }
    // Each write of the child is a block with the view of the next height: both or neither.
    const votes = await store.loadVotes()
    assert.deepEqual(votes, [{ type: 'view', height: head + 1, view: head as number as View }])
    await store.close()
  }
})
