// Files that are either whole or absent after a crash: written under a temporary name, synced, renamed, and their folder synced.
// Not here: what the vault keeps in them (file-vault.ts).

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import { vaultFull } from '../records/vault-rules.ts'

const SHRED_BYTES = 1024 * 1024
const TEMPORARY_PREFIX = '.tmp-'

export const temporaryName = (): string => `${TEMPORARY_PREFIX}${toHex(randomBytes(8))}`
export const isTemporary = (name: string): boolean => name.startsWith(TEMPORARY_PREFIX)

export async function writeThrough(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await onDisk(() => open(path, 'wx', 0o600))
  try {
    // The next chunk is made while the one before is written.
    let pending: Promise<void> = Promise.resolve()
    for await (const chunk of chunks) {
      await pending
      pending = onDisk(() => handle.writeFile(chunk))
      pending.catch(() => undefined)
    }
    await pending
    await onDisk(() => handle.sync())
  } finally {
    await handle.close()
  }
}

/** Temporary file, fsync, rename, fsync of the folder. */
export async function writeAtomically(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(folder, temporaryName())
  try {
    await writeThrough(temporary, once(bytes))
    await onDisk(async () => {
      await rename(temporary, join(folder, name))
      await syncFolder(folder)
    })
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** Overwrites in place, and makes the file when it is gone: only for bytes that every reader checks, which a torn write leaves as damaged as before. */
export async function writeAt(path: string, position: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600)
  try {
    let written = 0
    while (written < bytes.length)
      written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Overwrites the bytes in place, syncs, and unlinks: on a plain disk the blocks hold nothing any more. A copy-on-write file system and a flash
 * translation layer may keep the old ones. No error when the file is not there.
 */
export async function shred(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r+')
    try {
      const { size } = await handle.stat()
      const blank = new Uint8Array(Math.min(size, SHRED_BYTES))
      for (let at = 0; at < size; at += blank.length)
        await handle.write(blank, 0, Math.min(blank.length, size - at), at)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause
  }
  await rm(path, { force: true })
}

/** A new folder's name is durable when its parents are synced. */
export async function makeFolder(root: string, folder: string): Promise<void> {
  if (await exists(folder)) return
  await onDisk(async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await syncFolder(join(folder, '..'))
    await syncFolder(root)
  })
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Of a disk, and of a user's or a project's share of it. */
const FULL = ['ENOSPC', 'EDQUOT']

/** Throws EmrmError `vault-full`, or `vault-write-failed` for whatever else goes wrong in `write`. */
export async function onDisk<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (cause) {
    if (FULL.includes(codeOf(cause))) throw vaultFull({ cause: codeOf(cause) }, cause)
    throw new EmrmError(
      'vault-write-failed',
      `the vault cannot be written (${codeOf(cause)}); check free space and the disk`,
      { cause: codeOf(cause) },
      cause,
    )
  }
}

export async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  }
}

export async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ENOTDIR') return []
    throw cause
  }
}

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

export const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? 'unknown'
