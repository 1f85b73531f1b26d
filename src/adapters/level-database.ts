// LevelDB opened for the peer's store, its layout's version, and the errors that say what is damaged and what to do about it.
// Not here: what is kept in it (level-storage.ts), under which keys (level-keys.ts).

import { ClassicLevel } from 'classic-level'

import { EmrmError } from '../model/errors.ts'
import type { Height } from '../model/ids.ts'
import { LAYOUT, numberOf, seal, table, u64, unseal } from './level-keys.ts'

export type Database = ClassicLevel<Buffer, Buffer>

const CACHE_BYTES = 32 * 1024 * 1024
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024

export async function openDatabase(directory: string): Promise<Database> {
  const database: Database = new ClassicLevel(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    // Hashes, signatures and ciphertext do not get smaller.
    compression: false,
    cacheSize: CACHE_BYTES,
    writeBufferSize: WRITE_BUFFER_BYTES,
  })
  try {
    await database.open()
    return database
  } catch (error) {
    throw namedError(directory, error)
  }
}

/** What LevelDB says, in our words; anything else is our own fault and stays as it is. */
export function namedError(directory: string, error: unknown): unknown {
  if (error instanceof EmrmError) return error
  const code = codeOf(error instanceof Error ? (error.cause ?? error) : error)
  if (typeof code !== 'string' || !code.startsWith('LEVEL_')) return error
  if (code === 'LEVEL_LOCKED')
    return new EmrmError(
      'home-in-use',
      `another process holds ${directory}; stop the peer that runs from this home, or use another home`,
      { directory },
      error,
    )
  if (code === 'LEVEL_CORRUPTION') return corruptStore(directory, error)
  return new EmrmError(
    'store-open-failed',
    `${directory} cannot be opened or read; check that it exists, belongs to this user and that the disk is healthy and has room`,
    { directory },
    error,
  )
}

export async function checkLayout(database: Database): Promise<void> {
  const key = table('layout')
  const sealed = await database.get(key)
  if (sealed === undefined) {
    await database.put(key, seal(key, u64(LAYOUT)))
    return
  }
  const value = unseal(key, sealed)
  if (value === null) throw corruptStore(database.location)
  const layout = numberOf(value)
  if (layout !== LAYOUT)
    throw new EmrmError(
      'store-too-new',
      `${database.location} has layout ${layout}, this version reads ${LAYOUT}; start it with the version that wrote it`,
      { layout },
    )
}

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

const RESTORE =
  'move the data folder away and start again: the peer fetches the chain from the others and signs nothing until it may'

export const corruptStore = (directory: string, cause?: unknown): EmrmError =>
  new EmrmError('store-corrupt', `${directory} is damaged; ${RESTORE}`, { directory }, cause)

export const corruptBlock = (height: Height, cause?: unknown): EmrmError =>
  new EmrmError('block-corrupt', `block ${height} is damaged in this home's store; ${RESTORE}`, { height }, cause)

export const corruptVotes = (height: Height, cause?: unknown): EmrmError =>
  new EmrmError('vote-log-corrupt', `the vote log of height ${height} is damaged; ${RESTORE}`, { height }, cause)

export const corruptCheckpoint = (): EmrmError =>
  new EmrmError('checkpoint-corrupt', `the checkpoint of the state is damaged; ${RESTORE}`)
