// The peer's store on LevelDB (P-38): blocks with their certificates, the vote log, checkpoints of the state. One write is one batch and
// one fsync, atomic. Whatever is read is checked (checksum, block id over the header, root over the requests): damage is named, never
// used and never skipped. A block is one value, since a put costs 10 µs; requests are found through request-index.ts.
// Not here: the key space (level-keys.ts), signatures of what is read (wire/verify), repair.

import { assert, EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import type { BlockId, Digest, Height, RequestId } from '../model/ids.ts'
import type { Anchor, Handover } from '../model/snapshot.ts'
import type { VoteRecord } from '../model/vote-record.ts'
import type { Storage, StoredBlock, StoredChange } from '../ports.ts'
import {
  decodeHandover,
  decodeKeptBlock,
  decodeVoteRecord,
  encodeHandover,
  encodeKeptBlock,
  encodeVoteRecord,
  storedOfKept,
  WireFault,
} from '../wire/codec.ts'
import {
  checkLayout,
  corruptBlock,
  corruptCheckpoint,
  corruptStore,
  corruptVotes,
  type Database,
  namedError,
  openDatabase,
} from './level-database.ts'
import {
  blockIdKey,
  blockKey,
  bucketKey,
  checkpointValue,
  handoverKey,
  heightOfVoteKey,
  numberOf,
  seal,
  stateKey,
  stateKeyOf,
  table,
  u64,
  unseal,
  voteKey,
  within,
} from './level-keys.ts'
import { installSnapshot, LevelSnapshots, readAnchor } from './level-snapshots.ts'
import { bucketOf, findInRun, type RequestPlace, RequestTail } from './request-index.ts'
import { WriteMark } from './write-mark.ts'

/** What was found wrong on opening; the peer can still read what is left. */
export type StoreProblem =
  /** The first height that is missing below the head. */
  | { readonly code: 'block-missing'; readonly height: Height }
  | { readonly code: 'block-corrupt'; readonly height: Height }
  /** Acknowledged writes are gone, votes perhaps among them: the peer has to act as one that lost its disk. */
  | { readonly code: 'writes-lost'; readonly lost: number }

export type LevelStorage = Storage & { readonly problems: readonly StoreProblem[] }

type Put = { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
type Operation = Put | { readonly type: 'del'; readonly key: Buffer }

const READ_AT_ONCE = 1_000

/** `directory` is made when it is missing. Throws EmrmError `home-in-use`, `store-corrupt`, `store-open-failed`, `store-too-new`. */
export async function openLevelStorage(directory: string): Promise<LevelStorage> {
  const database = await openDatabase(directory)
  try {
    await checkLayout(database)
    const mark = new WriteMark(`${directory}.mark`)
    const store = new Store(database, mark)
    await store.load().catch(async error => {
      await mark.close()
      throw error
    })
    return store
  } catch (error) {
    await database.close()
    throw namedError(directory, error)
  }
}

class Store implements LevelStorage {
  readonly problems: StoreProblem[] = []
  readonly #database: Database
  readonly #mark: WriteMark
  readonly snapshots: LevelSnapshots
  #base: Anchor | null = null
  #head = 0 as Height
  #writes = 0
  #tail = new RequestTail(0 as Height)
  readonly #voteKeys = new Map<Height, Map<string, Buffer>>()
  #waiting: { readonly changes: readonly StoredChange[]; readonly settle: (error: unknown) => void }[] = []
  #writing: Promise<void> | null = null
  #failed: EmrmError | null = null

  constructor(database: Database, mark: WriteMark) {
    this.#database = database
    this.#mark = mark
    this.snapshots = new LevelSnapshots(database)
  }

  async load(): Promise<void> {
    const installing = await readAnchor(this.#database, 'installing')
    if (installing !== null) await installSnapshot(this.#database, this.snapshots, installing)
    this.#base = await readAnchor(this.#database, 'base')
    await this.#loadHeights()
    this.#writes = (await this.#number('writes')) ?? 0
    if (this.#writes < this.#mark.before)
      this.problems.push({ code: 'writes-lost', lost: this.#mark.before - this.#writes })
    for await (const key of this.#database.keys(within('votes'))) this.#noteVoteKey(key)
    await this.#loadTail()
  }

  // ---- writing ----

  /** Writes that wait behind one fsync share the next one; each is whole in it. */
  write(changes: readonly StoredChange[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, settle: error => (error === null ? resolve() : reject(error)) })
      this.#writing ??= this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const writes = this.#waiting
      this.#waiting = []
      let failure: unknown = null
      try {
        await this.#apply(writes.flatMap(write => write.changes))
      } catch (error) {
        failure = error
      }
      for (const write of writes) write.settle(failure)
    }
    this.#writing = null
  }

  async #apply(changes: readonly StoredChange[]): Promise<void> {
    if (this.#failed !== null) throw this.#failed
    await this.#mustFollow(changes)
    const operations = changes.flatMap(change => this.#operationsFor(change))
    operations.push(put(table('writes'), u64(this.#writes + 1)))
    await this.#commit(operations, true)
    this.#writes++
    this.#mark.save(this.#writes)
    for (const change of changes) this.#noteWritten(change)
    if (this.#tail.isFull) await this.#writeRun()
  }

  async #commit(operations: Operation[], sync: boolean): Promise<void> {
    try {
      await this.#database.batch(operations, { sync })
    } catch (error) {
      const message =
        'the store cannot be written; check that the disk has room and is healthy, then start the peer again'
      this.#failed = new EmrmError('store-write-failed', message, {}, error)
      throw this.#failed
    }
  }

  /** A block stands on the head, fills a gap, or is stored already: a decided block is never replaced by another. */
  async #mustFollow(changes: readonly StoredChange[]): Promise<void> {
    let top: number = this.#head
    for (const change of changes) {
      if (change.type !== 'block') continue
      const { height } = change.block.header
      const free = height === top + 1 || (height <= this.#head && !(await this.#database.has(blockKey(height))))
      const same = !free && (await this.heightOf(change.block.id)) === height
      assert(free || same, `block ${height} neither stands on the stored head ${top} nor is it stored`)
      if (height > top) top = height
    }
  }

  #operationsFor(change: StoredChange): Operation[] {
    switch (change.type) {
      case 'vote':
        return [put(voteKey(change.record), encodeVoteRecord(change.record))]
      case 'block': {
        const { height } = change.block.header
        return [put(blockKey(height), encodeKeptBlock(change)), put(blockIdKey(change.block.id), u64(height))]
      }
      case 'forget-votes':
        return [...(this.#voteKeys.get(change.height)?.values() ?? [])].map(key => ({ type: 'del', key }))
      case 'checkpoint': {
        const operations: Operation[] = []
        for (const [name, value] of change.changes) {
          const key = stateKey(name)
          operations.push(value === null ? { type: 'del', key } : put(key, value))
        }
        operations.push(put(table('checkpoint'), checkpointValue(change.height, change.root)))
        return operations
      }
      case 'handover':
        return [put(handoverKey(change.handover.header.height), encodeHandover(change.handover))]
    }
  }

  #noteWritten(change: StoredChange): void {
    if (change.type === 'vote') this.#noteVoteKey(voteKey(change.record))
    if (change.type === 'forget-votes') this.#voteKeys.delete(change.height)
    if (change.type === 'block') {
      if (change.block.header.height > this.#head) this.#head = change.block.header.height
      this.#tail.add(change.block)
    }
  }

  #noteVoteKey(key: Buffer): void {
    const height = heightOfVoteKey(key)
    const keys = this.#voteKeys.get(height) ?? new Map<string, Buffer>()
    keys.set(key.toString('hex'), key)
    this.#voteKeys.set(height, keys)
  }

  /** Not synced: after a crash the blocks above the marker are read again. */
  async #writeRun(): Promise<void> {
    const run = this.#tail.run()
    const operations: Operation[] = [put(table('indexed'), u64(run.to))]
    for (const [bucket, entries] of run.buckets) operations.push(put(bucketKey(bucket, run.from), entries))
    await this.#commit(operations, false)
    this.#tail = new RequestTail(run.to)
  }

  /** Other writes wait until it is done. */
  async install(anchor: Anchor): Promise<void> {
    while (this.#writing !== null) await this.#writing
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#writing = promise
    try {
      const { height } = anchor.at.header
      // What stood in the tail is not read again: the marker moves beyond it.
      await this.#writeRun()
      await installSnapshot(this.#database, this.snapshots, anchor)
      this.#base = anchor
      if (height > this.#head) this.#head = height
      this.#tail = new RequestTail(height)
      for (const voted of [...this.#voteKeys.keys()]) if (voted <= height) this.#voteKeys.delete(voted)
    } finally {
      this.#writing = null
      resolve()
      if (this.#waiting.length > 0) this.#writing ??= this.#writeAll()
    }
  }

  // ---- reading ----

  base(): Anchor | null {
    return this.#base
  }

  async handovers(from: Height, countMax: number): Promise<readonly Handover[]> {
    const found: Handover[] = []
    const range = { gte: handoverKey(from), lt: table('base'), limit: countMax }
    for await (const [key, sealed] of this.#database.iterator(range))
      found.push(decodeHandover(this.#unsealed(key, sealed)))
    return found
  }

  async head(): Promise<Height> {
    return this.#head
  }

  async blockAt(height: Height): Promise<StoredBlock | null> {
    const key = blockKey(height)
    const sealed = await this.#read(() => this.#database.get(key))
    if (sealed === undefined) return null
    const value = unseal(key, sealed)
    if (value === null) throw corruptBlock(height)
    try {
      const stored = decodeKeptBlock(value)
      const { block, certificate } = stored
      if (block.header.height !== height || certificate.id !== block.id) throw corruptBlock(height)
      return stored
    } catch (error) {
      throw error instanceof WireFault ? corruptBlock(height, error) : error
    }
  }

  async frameAt(height: Height): Promise<Uint8Array | null> {
    const key = blockKey(height)
    const sealed = await this.#read(() => this.#database.get(key))
    if (sealed === undefined) return null
    const value = unseal(key, sealed)
    if (value === null) throw corruptBlock(height)
    return storedOfKept(value)
  }

  async heightOf(id: BlockId): Promise<Height | null> {
    const key = blockIdKey(id)
    const sealed = await this.#read(() => this.#database.get(key))
    return sealed === undefined ? null : (numberOf(this.#unsealed(key, sealed)) as Height)
  }

  async requestAt(id: RequestId): Promise<RequestPlace | null> {
    const bucket = bucketOf(id)
    const range = { gte: bucketKey(bucket, 0 as Height), lt: bucketKey(bucket + 1, 0 as Height) }
    const iterator = this.#database.iterator(range)
    try {
      for (;;) {
        const runs = await this.#read(() => iterator.nextv(READ_AT_ONCE))
        for (const [key, sealed] of runs) {
          const place = findInRun(this.#unsealed(key, sealed), id)
          if (place !== null) return place
        }
        if (runs.length === 0) return this.#tail.find(id)
      }
    } finally {
      await iterator.close()
    }
  }

  async loadVotes(): Promise<readonly VoteRecord[]> {
    const records: VoteRecord[] = []
    for await (const [key, sealed] of this.#database.iterator(within('votes'))) {
      const height = heightOfVoteKey(key)
      if (height <= this.#head) continue
      const value = unseal(key, sealed)
      if (value === null) throw corruptVotes(height)
      try {
        records.push(decodeVoteRecord(value))
      } catch (error) {
        throw error instanceof WireFault ? corruptVotes(height, error) : error
      }
    }
    return records
  }

  async loadCheckpoint(): ReturnType<Storage['loadCheckpoint']> {
    const marker = await this.#database.get(table('checkpoint'))
    if (marker === undefined) return { height: 0 as Height, root: null, entries: new Map() }
    const value = unseal(table('checkpoint'), marker)
    if (value === null) throw corruptCheckpoint()
    const entries = new Map<string, Uint8Array>()
    const iterator = this.#database.iterator(within('state'))
    try {
      for (;;) {
        const some = await this.#read(() => iterator.nextv(READ_AT_ONCE))
        if (some.length === 0) break
        for (const [key, sealed] of some) {
          const entry = unseal(key, sealed)
          if (entry === null) throw corruptCheckpoint()
          entries.set(stateKeyOf(key), entry)
        }
      }
    } finally {
      await iterator.close()
    }
    return { height: numberOf(value.subarray(0, 8)) as Height, root: toHex(value.subarray(8)) as Digest, entries }
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#database.close()
    await this.#mark.close()
  }

  // ---- opening ----

  /** Heights from the small table of ids, so that no block is read; what lies between them is missing. */
  async #loadHeights(): Promise<void> {
    let seen = new Uint8Array(1024)
    const iterator = this.#database.iterator(within('heightOfBlock'))
    try {
      for (;;) {
        const some = await iterator.nextv(READ_AT_ONCE)
        if (some.length === 0) break
        for (const [key, sealed] of some) {
          const height = numberOf(this.#unsealed(key, sealed))
          if (height >= seen.length) {
            const longer = new Uint8Array(2 * height)
            longer.set(seen)
            seen = longer
          }
          seen[height] = 1
          if (height > this.#head) this.#head = height as Height
        }
      }
    } finally {
      await iterator.close()
    }
    const base = this.#base?.at.header.height ?? 0
    if (base > this.#head) this.#head = base as Height
    for (let height = base + 1; height <= this.#head; height++)
      if (seen[height] === 0) {
        this.problems.push({ code: 'block-missing', height: height as Height })
        return
      }
  }

  async #loadTail(): Promise<void> {
    const indexed = Math.min((await this.#number('indexed')) ?? 0, this.#head) as Height
    this.#tail = new RequestTail(indexed)
    for (let height = (indexed + 1) as Height; height <= this.#head; height++) {
      try {
        const stored = await this.blockAt(height)
        if (stored !== null) this.#tail.add(stored.block)
      } catch (error) {
        if (!(error instanceof EmrmError) || error.code !== 'block-corrupt') throw error
        this.problems.push({ code: 'block-corrupt', height })
      }
    }
  }

  async #number(name: 'indexed' | 'writes'): Promise<number | null> {
    const key = table(name)
    const sealed = await this.#database.get(key)
    return sealed === undefined ? null : numberOf(this.#unsealed(key, sealed))
  }

  #unsealed(key: Buffer, sealed: Buffer): Uint8Array {
    const value = unseal(key, sealed)
    if (value === null) throw corruptStore(this.#database.location)
    return value
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      throw namedError(this.#database.location, error)
    }
  }
}

const put = (key: Buffer, value: Uint8Array): Put => ({ type: 'put', key, value: seal(key, value) })
