// The vault in files: <root>/<first two digits>/<record>/ with `cipher` (pieces one after the other), `index` (size, root, leaf hashes) and
// one small file for each item. `index` is written last, by rename, and is what makes a ciphertext exist: a crash leaves nothing that
// looks complete. Everything read is checked (records/vault-rules). Not here: what the bytes mean.

import { type FileHandle, mkdir, open, rename, rm, rmdir, stat, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EmrmError } from '../model/errors.ts'
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
import {
  codeOf,
  exists,
  isTemporary,
  makeFolder,
  namesIn,
  onDisk,
  readIfThere,
  shred,
  syncFolder,
  temporaryName,
  writeAt,
  writeAtomically,
  writeThrough,
} from './durable-file.ts'
import { decodeIndex, digested, encodeIndex, IndexCache, undigested } from './vault-index.ts'

/** Removes what a crash left half-written. Throws EmrmError `vault-unusable`. */
export async function openFileVault(root: string): Promise<Vault> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 })
    await removeLeftovers(root, () => false)
  } catch (cause) {
    throw new EmrmError(
      'vault-unusable',
      `the vault ${root} cannot be used (${codeOf(cause)}); check the folder's owner and free space`,
      { cause: codeOf(cause) },
      cause,
    )
  }
  const cache = new IndexCache<VaultEntry>()
  const writing = new Set<RecordId>()
  /** Records in whose folder something is being written, and how often. */
  const touched = new Map<RecordId, number>()
  async function touching<T>(record: RecordId, work: () => Promise<T>): Promise<T> {
    touched.set(record, (touched.get(record) ?? 0) + 1)
    try {
      return await work()
    } finally {
      const left = (touched.get(record) ?? 1) - 1
      if (left === 0) touched.delete(record)
      else touched.set(record, left)
    }
  }
  const folderOf = (record: RecordId): string => join(root, checkedRecord(record).slice(0, 2), record)

  async function store(
    record: RecordId,
    source: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<VaultEntry> {
    const folder = folderOf(record)
    if (writing.has(record)) throw recordExists(record)
    writing.add(record)
    const temporary = join(folder, temporaryName())
    try {
      if (await exists(join(folder, 'index'))) throw recordExists(record)
      await makeFolder(root, folder)
      const note = { leaves: [] as Uint8Array[], size: 0 }
      await writeThrough(temporary, notedPieces(record, source, note))
      const entry = { record, cipherRoot: cipherRootOf(note.leaves), cipherSize: note.size, leaves: note.leaves }
      if (expected !== null && entry.cipherRoot !== expected) throw pieceCorrupt(record, 0)
      await onDisk(() => rename(temporary, join(folder, 'cipher')))
      await writeAtomically(folder, 'index', encodeIndex(entry))
      cache.set(record, entry)
      return entry
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    } finally {
      writing.delete(record)
    }
  }

  async function readEntry(record: RecordId): Promise<VaultEntry | null> {
    const cached = cache.get(record)
    if (cached !== undefined) return cached
    const bytes = await readIfThere(join(folderOf(record), 'index'))
    if (bytes === null) return null
    const entry = decodeIndex(record, bytes)
    cache.set(record, entry)
    return entry
  }

  const vault: Vault = {
    put: (record, source) => touching(record, () => store(record, source, null)),
    putKnown: (claim, leaves, pieces) =>
      touching(claim.record, () => store(claim.record, checkedPieces(claim, leaves, pieces), claim.cipherRoot)),
    entry: readEntry,
    piece: async (record, index) => {
      const entry = await readEntry(record)
      if (entry === null || !Number.isSafeInteger(index) || index < 0 || index >= entry.leaves.length)
        throw recordNotHeld(record)
      const piece = await readPiece(join(folderOf(record), 'cipher'), entry, index)
      if (!isPiece(piece, index, entry.leaves, entry)) throw pieceCorrupt(record, index)
      return piece
    },
    mendPiece: async (record, index, bytes) => {
      const entry = await readEntry(record)
      if (entry === null || entry.leaves[index] === undefined) throw recordNotHeld(record)
      if (!isPiece(bytes, index, entry.leaves, entry)) throw pieceCorrupt(record, index)
      await onDisk(() => writeAt(join(folderOf(record), 'cipher'), index * PIECE_BYTES, bytes))
    },
    removeCipher: async record => {
      cache.delete(record)
      const folder = folderOf(record)
      await onDisk(async () => {
        await rm(join(folder, 'index'), { force: true })
        await shred(join(folder, 'cipher'))
      })
    },
    putItem: async (record, item, bytes) => {
      const folder = folderOf(record)
      const name = checkedItem(item)
      const stored = digested(checkedItemBytes(bytes))
      await touching(record, async () => {
        await makeFolder(root, folder)
        await writeAtomically(folder, name, stored)
      })
    },
    item: async (record, item) => {
      const stored = await readIfThere(join(folderOf(record), checkedItem(item)))
      if (stored === null) return null
      const bytes = undigested(stored)
      if (bytes === null) throw shareCorrupt(record)
      return new Uint8Array(bytes)
    },
    removeItem: async (record, item) => {
      const path = join(folderOf(record), checkedItem(item))
      await onDisk(() => shred(path))
    },
    items: async record => (await namesIn(folderOf(record))).filter(isItemName).sort(),
    list: async () => {
      const records: RecordId[] = []
      for (const group of await namesIn(root))
        for (const name of await namesIn(join(root, group)))
          if (isHexadecimal(name, 32) && (await holdsAnything(join(root, group, name)))) records.push(name as RecordId)
      return records.sort()
    },
    remove: async record => {
      cache.delete(record)
      const folder = folderOf(record)
      // The index first: from here on the ciphertext does not exist, whatever happens to the rest.
      await onDisk(async () => {
        await rm(join(folder, 'index'), { force: true })
        for (const name of await namesIn(folder)) await shred(join(folder, name))
        await rm(folder, { recursive: true, force: true })
        if (await exists(join(folder, '..'))) await syncFolder(join(folder, '..'))
      })
    },
    verify: (record, pace) => {
      cache.delete(record)
      return verifyRecord(vault, record, pace)
    },
    sweep: () => removeLeftovers(root, record => touched.has(record)),
    usedBytes: async () => {
      let bytes = 0
      for await (const folder of foldersIn(root))
        for (const name of await namesIn(folder)) bytes += await sizeOf(join(folder, name))
      return bytes
    },
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(root)
      return bavail * bsize
    },
  }
  return vault
}

const holdsAnything = async (folder: string): Promise<boolean> =>
  (await namesIn(folder)).some(name => name === 'index' || isItemName(name))

/** A piece that is cut short comes back short, and is then refused as damaged; so is one that the disk can no longer read. */
async function readPiece(path: string, entry: VaultEntry, index: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(pieceLength(entry.cipherSize, index))
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') throw pieceCorrupt(entry.record, index)
    throw cause
  }
  try {
    let read = 0
    while (read < bytes.length) {
      const { bytesRead } = await handle.read(bytes, read, bytes.length - read, index * PIECE_BYTES + read)
      if (bytesRead === 0) break
      read += bytesRead
    }
    return bytes.subarray(0, read)
  } catch (cause) {
    if (codeOf(cause) === 'EIO') throw pieceCorrupt(entry.record, index)
    throw cause
  } finally {
    await handle.close()
  }
}

async function* foldersIn(root: string): AsyncGenerator<string> {
  for (const group of await namesIn(root))
    for (const record of await namesIn(join(root, group))) yield join(root, group, record)
}

/** Nought when it went in between. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )

async function removeLeftovers(root: string, isInUse: (record: RecordId) => boolean): Promise<void> {
  for await (const folder of foldersIn(root)) {
    // Looked at again before each step: what began in between is left alone.
    const isFree = (): boolean => !isInUse(basename(folder) as RecordId)
    const names = await namesIn(folder)
    for (const name of names) if (isTemporary(name) && isFree()) await shred(join(folder, name))
    const isCut = names.includes('cipher') && !(await exists(join(folder, 'index')))
    if (isCut && isFree()) await shred(join(folder, 'cipher'))
    if (isFree()) await rmdir(folder).catch(() => undefined)
  }
}
