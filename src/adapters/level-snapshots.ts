// Snapshots of the state in the peer's LevelDB, and putting one in the place of the state. Each chunk is one value with its checksum, synced
// when it is written: what is counted as fetched is there after a crash. Installing is many writes and yet atomic: a mark stands first,
// and the next opening goes on from the chunks, which stay. Not here: who writes snapshots, who fetches them (snapshot/).

import { assert } from '../model/errors.ts'
import type { Height } from '../model/ids.ts'
import type { Anchor, Manifest } from '../model/snapshot.ts'
import type { SnapshotStore } from '../ports.ts'
import { decodeAnchor, decodeChunk, decodeManifest, encodeAnchor, encodeManifest, WireFault } from '../wire/codec.ts'
import { corruptCheckpoint, corruptStore, type Database, namedError } from './level-database.ts'
import {
  checkpointValue,
  chunkKey,
  heightOfVoteKey,
  indexOfChunkKey,
  numberOf,
  SNAPSHOT_SLOT,
  seal,
  snapshotKey,
  stateKey,
  table,
  u64,
  unseal,
  within,
} from './level-keys.ts'

const KEYS_A_BATCH = 2_000

export class LevelSnapshots implements SnapshotStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async list(): Promise<readonly { readonly height: Height; readonly sealed: boolean }[]> {
    const found = new Map<Height, boolean>()
    for await (const key of this.#database.keys(within('snapshot'))) {
      const height = numberOf(key.subarray(1, 9)) as Height
      found.set(height, found.get(height) === true || key[9] === SNAPSHOT_SLOT.sealed)
    }
    return [...found].map(([height, sealed]) => ({ height, sealed }))
  }

  async manifest(height: Height): Promise<Manifest | null> {
    const bytes = await this.#read(snapshotKey(height, 'manifest'))
    return bytes === null ? null : decoded(() => decodeManifest(bytes))
  }

  async begin(manifest: Manifest): Promise<void> {
    await this.forget(manifest.height)
    await this.#put(snapshotKey(manifest.height, 'manifest'), encodeManifest(manifest))
  }

  putChunk(height: Height, index: number, bytes: Uint8Array): Promise<void> {
    return this.#put(chunkKey(height, index), bytes)
  }

  async chunks(height: Height): Promise<ReadonlySet<number>> {
    const there = new Set<number>()
    const range = { gte: chunkKey(height, 0), lt: chunkKey((height + 1) as Height, 0) }
    for await (const key of this.#database.keys(range)) there.add(indexOfChunkKey(key))
    return there
  }

  chunk(height: Height, index: number): Promise<Uint8Array | null> {
    return this.#read(chunkKey(height, index))
  }

  seal(height: Height): Promise<void> {
    return this.#put(snapshotKey(height, 'sealed'), new Uint8Array())
  }

  /** The names first: half of a snapshot must not be called one. */
  async forget(height: Height): Promise<void> {
    const next = (height + 1) as Height
    await this.#database.clear({ gte: snapshotKey(height, 'manifest'), lt: snapshotKey(next, 'manifest') })
    await this.#database.clear({ gte: chunkKey(height, 0), lt: chunkKey(next, 0) })
  }

  async #put(key: Buffer, value: Uint8Array): Promise<void> {
    try {
      await this.#database.put(key, seal(key, value), { sync: true })
    } catch (error) {
      throw namedError(this.#database.location, error)
    }
  }

  async #read(key: Buffer): Promise<Uint8Array | null> {
    const sealed = await this.#database.get(key)
    if (sealed === undefined) return null
    const value = unseal(key, sealed)
    if (value === null) throw corruptCheckpoint()
    return value
  }
}

/** The anchor that an installation under way has set; null when there is none. `what`: `installing`, or `base` for one that is done. */
export async function readAnchor(database: Database, what: 'installing' | 'base'): Promise<Anchor | null> {
  const key = table(what)
  const sealed = await database.get(key)
  if (sealed === undefined) return null
  const value = unseal(key, sealed)
  if (value === null) throw corruptStore(database.location)
  return decoded(() => decodeAnchor(value))
}

/** May be done again after a crash at any point. */
export async function installSnapshot(database: Database, snapshots: SnapshotStore, anchor: Anchor): Promise<void> {
  const { height } = anchor.at.header
  const manifest = await snapshots.manifest(height)
  assert(manifest !== null, `a snapshot at ${height} to install`)
  const bytes = encodeAnchor(anchor)
  const set = (key: Buffer, value: Uint8Array) => ({ type: 'put' as const, key, value: seal(key, value) })
  const marks = [set(table('installing'), bytes)]
  await database.batch(marks, { sync: true })
  await database.clear(within('state'))
  for (let index = 0; index < manifest.nodes.length; index++) {
    const chunk = await snapshots.chunk(height, index)
    if (chunk === null) throw corruptCheckpoint()
    const entries = decoded(() => decodeChunk(chunk))
    for (let at = 0; at < entries.length; at += KEYS_A_BATCH) {
      const some = entries.slice(at, at + KEYS_A_BATCH)
      await database.batch(
        some.map(([key, value]) => set(stateKey(key), value)),
        { sync: true },
      )
    }
  }
  const decided: Buffer[] = []
  for await (const key of database.keys(within('votes'))) if (heightOfVoteKey(key) <= height) decided.push(key)
  await database.batch(
    [
      ...decided.map(key => ({ type: 'del' as const, key })),
      set(table('checkpoint'), checkpointValue(height, anchor.next.header.stateRoot)),
      set(table('indexed'), u64(height)),
      set(table('base'), bytes),
      { type: 'del' as const, key: table('installing') },
    ],
    { sync: true },
  )
}

function decoded<T>(decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    throw error instanceof WireFault ? corruptCheckpoint() : error
  }
}
