// The vault in a bucket of S3-compatible storage. Ciphertext only, as in every vault: who runs the storage sees ids and sizes. Under its prefix:
//   records/<record>/index      upload id, size, root, leaf hashes; put last, and what makes a ciphertext exist
//   records/<record>/<item>     a small value behind its digest
//   chunks/<record>/<upload>/n  eight pieces one after the other
//   pending/<record>            chunks of this record may be of no use: they are being put, or removed
// An object is replaced whole or not at all, so a crash leaves nothing that looks complete. Eight pieces in an object: 32 GiB are 4,096 PUTs
// instead of 32,768, a piece is one ranged GET, and mending one moves 8 MiB twice. Records are listed without their chunks.
// Everything read is checked (records/vault-rules). Not here: how objects are moved (s3-objects.ts), what the bytes mean.

import { randomBytes } from 'node:crypto'
import { type Digest, isHexadecimal, type RecordId } from '../model/ids.ts'
import { cipherRootOf, isPiece, PIECE_BYTES, pieceCorrupt, pieceLength } from '../records/pieces.ts'
import { isItemName, type Vault, type VaultEntry } from '../records/vault.ts'
import {
  checkedItem,
  checkedItemBytes,
  checkedPieces,
  checkedRecord,
  notedPieces,
  recordExists,
  recordNotHeld,
  shareCorrupt,
  verifyRecord,
} from '../records/vault-rules.ts'
import { type BucketPlace, type Objects, openObjects } from './s3-objects.ts'
import { decodeIndex, digested, encodeIndex, IndexCache, undigested } from './vault-index.ts'

const CHUNK_PIECES = 8
const CHUNK_BYTES = CHUNK_PIECES * PIECE_BYTES
/** Chunks on their way at a time, beside the one that is being filled: 24 MiB for a record of any size. */
const CHUNKS_UNDER_WAY = 2
const UPLOAD_DIGITS = 32

type Held = { readonly entry: VaultEntry; readonly upload: string }
export type S3Vault = Vault & { close(): Promise<void> }

/** The bucket must be there. Removes what a crash left. Throws EmrmError `vault-unusable`. */
export async function openS3Vault(place: BucketPlace): Promise<S3Vault> {
  const objects = openObjects(place)
  const cache = new IndexCache<Held>()
  /** Records whose chunks are being put or removed. */
  const busy = new Set<RecordId>()
  async function alone<T>(record: RecordId, work: () => Promise<T>): Promise<T> {
    if (busy.has(checkedRecord(record))) throw recordExists(record)
    busy.add(record)
    try {
      return await work()
    } finally {
      busy.delete(record)
    }
  }

  async function sweep(): Promise<void> {
    for await (const { key } of objects.list('pending/')) {
      const record = key.slice('pending/'.length) as RecordId
      if (isHexadecimal(record, 32) && !busy.has(record)) await alone(record, () => removeLeftovers(objects, record))
    }
  }

  try {
    await sweep()
  } catch (error) {
    objects.close()
    throw error
  }

  async function store(
    record: RecordId,
    source: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<VaultEntry> {
    if ((await held(record)) !== null) throw recordExists(record)
    await objects.put(pendingKey(record), new Uint8Array(0))
    try {
      const upload = randomBytes(UPLOAD_DIGITS / 2).toString('hex')
      const note = { leaves: [] as Uint8Array[], size: 0 }
      await putChunks(objects, record, upload, notedPieces(record, source, note))
      const entry = { record, cipherRoot: cipherRootOf(note.leaves), cipherSize: note.size, leaves: note.leaves }
      if (expected !== null && entry.cipherRoot !== expected) throw pieceCorrupt(record, 0)
      await objects.put(indexKey(record), Buffer.concat([Buffer.from(upload), encodeIndex(entry)]))
      cache.set(record, { entry, upload })
      // If the mark stays, the next sweep sees that the index names this upload.
      await objects.delete([pendingKey(record)]).catch(() => undefined)
      return entry
    } catch (error) {
      // An index may have arrived although its answer did not. What cannot be removed now goes with the next sweep.
      await removeAll(record).catch(() => undefined)
      throw error
    }
  }

  async function held(record: RecordId): Promise<Held | null> {
    const cached = cache.get(record)
    if (cached !== undefined) return cached
    const stored = await objects.get(indexKey(record))
    if (stored === null) return null
    const upload = uploadOf(stored)
    if (upload === null) throw pieceCorrupt(record, 0)
    const found = { entry: decodeIndex(record, stored.subarray(UPLOAD_DIGITS)), upload }
    cache.set(record, found)
    return found
  }

  async function heldPiece(record: RecordId, index: number): Promise<Held> {
    const found = await held(checkedRecord(record))
    if (found === null || found.entry.leaves[index] === undefined) throw recordNotHeld(record)
    return found
  }

  /** Of a record that is marked as pending. */
  const removeAll = async (record: RecordId): Promise<void> => {
    // The index first: from here on the ciphertext does not exist, whatever happens to the rest.
    await objects.delete([indexKey(record)])
    await removeChunks(objects, record, null)
    await objects.delete([pendingKey(record)])
  }

  /** Two pieces of one chunk that are mended at once must not undo each other. */
  let mending: Promise<unknown> = Promise.resolve()
  async function mend({ entry, upload }: Held, index: number, bytes: Uint8Array): Promise<void> {
    const chunk = Math.floor(index / CHUNK_PIECES)
    const key = chunkKey(entry.record, upload, chunk)
    const stored = await objects.get(key)
    const whole = Buffer.alloc(Math.min(CHUNK_BYTES, entry.cipherSize - chunk * CHUNK_BYTES))
    stored?.copy(whole)
    whole.set(bytes, (index % CHUNK_PIECES) * PIECE_BYTES)
    await objects.put(key, whole)
  }

  const vault: S3Vault = {
    put: (record, source) => alone(record, () => store(record, source, null)),
    putKnown: (claim, leaves, pieces) =>
      alone(claim.record, () => store(claim.record, checkedPieces(claim, leaves, pieces), claim.cipherRoot)),
    entry: async record => (await held(checkedRecord(record)))?.entry ?? null,
    piece: async (record, index) => {
      const { entry, upload } = await heldPiece(record, index)
      const bytes = await objects.get(chunkKey(record, upload, Math.floor(index / CHUNK_PIECES)), {
        from: (index % CHUNK_PIECES) * PIECE_BYTES,
        length: pieceLength(entry.cipherSize, index),
      })
      if (bytes === null || !isPiece(bytes, index, entry.leaves, entry)) throw pieceCorrupt(record, index)
      return bytes
    },
    mendPiece: async (record, index, bytes) => {
      const found = await heldPiece(record, index)
      if (!isPiece(bytes, index, found.entry.leaves, found.entry)) throw pieceCorrupt(record, index)
      const turn = mending.then(() => mend(found, index, bytes))
      mending = turn.catch(() => undefined)
      await turn
    },
    removeCipher: async record => {
      cache.delete(record)
      if (await isAbsent(objects, indexKey(record))) return
      await alone(record, async () => {
        await objects.put(pendingKey(record), new Uint8Array(0))
        await removeAll(record)
      })
    },
    putItem: async (record, item, bytes) => {
      await objects.put(itemKey(record, checkedItem(item)), digested(checkedItemBytes(bytes)))
    },
    item: async (record, item) => {
      const stored = await objects.get(itemKey(record, checkedItem(item)))
      if (stored === null) return null
      const bytes = undigested(stored)
      if (bytes === null) throw shareCorrupt(record)
      return new Uint8Array(bytes)
    },
    removeItem: async (record, item) => {
      await objects.delete([itemKey(record, checkedItem(item))])
    },
    items: async record => {
      const names: string[] = []
      const under = `records/${checkedRecord(record)}/`
      for await (const { key } of objects.list(under)) names.push(key.slice(under.length))
      return names.filter(isItemName).sort()
    },
    list: async () => {
      const records = new Set<RecordId>()
      for await (const { key } of objects.list('records/')) {
        const [, record = '', name = ''] = key.split('/')
        if (isHexadecimal(record, 32) && (name === 'index' || isItemName(name))) records.add(record as RecordId)
      }
      return [...records].sort()
    },
    remove: async record => {
      await vault.removeCipher(record)
      const keys: string[] = []
      for await (const { key } of objects.list(`records/${record}/`)) keys.push(key)
      await objects.delete(keys)
    },
    verify: (record, pace) => {
      cache.delete(record)
      return verifyRecord(vault, record, pace)
    },
    sweep,
    usedBytes: async () => {
      let bytes = 0
      for await (const { size } of objects.list('')) bytes += size
      return bytes
    },
    freeBytes: async () => null,
    close: async () => objects.close(),
  }
  return vault
}

const indexKey = (record: RecordId): string => `records/${checkedRecord(record)}/index`
const itemKey = (record: RecordId, item: string): string => `records/${checkedRecord(record)}/${item}`
const pendingKey = (record: RecordId): string => `pending/${record}`
const chunkKey = (record: RecordId, upload: string, chunk: number): string =>
  `chunks/${record}/${upload}/${String(chunk).padStart(5, '0')}`

/** Null when the index is damaged. */
function uploadOf(stored: Buffer): string | null {
  const upload = stored.subarray(0, UPLOAD_DIGITS).toString('latin1')
  return isHexadecimal(upload, UPLOAD_DIGITS) ? upload : null
}

async function isAbsent(objects: Objects, key: string): Promise<boolean> {
  for await (const found of objects.list(key)) if (found.key === key) return false
  return true
}

/** Joins pieces and puts them, a few at a time. */
async function putChunks(
  objects: Objects,
  record: RecordId,
  upload: string,
  pieces: AsyncIterable<Uint8Array>,
): Promise<void> {
  const underWay: Promise<Buffer>[] = []
  let chunk: Buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  let filled = 0
  let count = 0
  const send = async (): Promise<void> => {
    const full = chunk
    const sent = objects.put(chunkKey(record, upload, count++), full.subarray(0, filled)).then(() => full)
    // It may fail before it is its turn.
    sent.catch(() => undefined)
    underWay.push(sent)
    // The same few buffers all the way: new ones would be more than the collector clears away in time.
    chunk = underWay.length > CHUNKS_UNDER_WAY ? ((await underWay.shift()) as Buffer) : Buffer.allocUnsafe(CHUNK_BYTES)
    filled = 0
  }
  try {
    for await (const piece of pieces) {
      chunk.set(piece, filled)
      filled += piece.length
      if (filled === CHUNK_BYTES) await send()
    }
    if (filled > 0) await send()
  } finally {
    // Nothing may arrive after what it belongs to was given up.
    await Promise.allSettled(underWay)
  }
  await Promise.all(underWay)
}

/** Of every upload but that one. */
async function removeChunks(objects: Objects, record: RecordId, kept: string | null): Promise<void> {
  const useless = async function* (): AsyncGenerator<string> {
    for await (const { key } of objects.list(`chunks/${record}/`)) if (key.split('/')[2] !== kept) yield key
  }
  await objects.delete(useless())
}

async function removeLeftovers(objects: Objects, record: RecordId): Promise<void> {
  const stored = await objects.get(indexKey(record))
  const upload = stored === null ? null : uploadOf(stored)
  // Damaged: whoever mends the record removes all of its chunks.
  if (stored !== null && upload === null) return
  await removeChunks(objects, record, upload)
  await objects.delete([pendingKey(record)])
}
