// The vault in a PostgreSQL database, for a hospital that backs up and replicates one already. Ciphertext only, as in every vault: the
// database's administrator sees ids and sizes. Pieces are rows of at most 1 MiB; the row in emrm_cipher, written last in one statement, is what
// makes a ciphertext exist, so a crash leaves nothing that looks complete. User and password come from PGUSER and PGPASSWORD.
// Everything read is checked (records/vault-rules). Not here: what the bytes mean.

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { EmrmError } from '../model/errors.ts'
import type { Digest, RecordId } from '../model/ids.ts'
import { cipherRootOf, isPiece, pieceCorrupt } from '../records/pieces.ts'
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
  vaultFull,
  verifyRecord,
} from '../records/vault-rules.ts'
import { decodeIndex, digested, encodeIndex, IndexCache, undigested } from './vault-index.ts'

const CONNECTIONS_MAX = 8
const CONNECT_TIMEOUT_MS = 10_000
const DUPLICATE_KEY = '23505'
const DISK_FULL = '53100'
/** External: pieces are random bytes and would be compressed in vain. */
const TABLES = `
  create table if not exists emrm_cipher (record text primary key, upload text not null, index bytea not null);
  create table if not exists emrm_piece (upload text not null, piece integer not null, bytes bytea not null, primary key (upload, piece));
  create table if not exists emrm_item (record text not null, name text not null, bytes bytea not null, primary key (record, name));
  alter table emrm_piece alter column bytes set storage external;`

export type PostgresVault = Vault & { close(): Promise<void> }

/** Makes its tables when they are not there and removes what a crash left. Throws EmrmError `vault-unusable`. */
export async function openPostgresVault(url: string): Promise<PostgresVault> {
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'emrm',
  })
  // An idle connection that breaks is replaced by the next query; without a listener it would end the process.
  pool.on('error', () => undefined)
  const cache = new IndexCache<{ readonly entry: VaultEntry; readonly upload: string }>()

  async function ask<Row extends pg.QueryResultRow>(
    text: string,
    values: readonly unknown[],
    code: 'vault-write-failed' | 'vault-unusable' = 'vault-unusable',
  ): Promise<readonly Row[]> {
    try {
      return (await pool.query<Row>({ text, values: [...values] })).rows
    } catch (cause) {
      const reason = (cause as { code?: string }).code ?? 'unknown'
      if (reason === DISK_FULL) throw vaultFull({ cause: reason }, cause)
      throw new EmrmError(
        code,
        `the vault's database refuses (${reason}); check that PostgreSQL runs, PGUSER, PGPASSWORD and free space`,
        { cause: reason },
        cause,
      )
    }
  }
  const change = (text: string, ...values: readonly unknown[]): Promise<readonly pg.QueryResultRow[]> =>
    ask(text, values, 'vault-write-failed')

  const uploading = new Set<string>()
  async function sweep(): Promise<void> {
    const ended = 'upload not in (select upload from emrm_cipher)'
    const rows = await ask<{ upload: string }>(`select distinct upload from emrm_piece where ${ended}`, [])
    // Asked for first and compared then: an upload is in the set before its first piece is in the table. One that was completed in between
    // has its row by now.
    const dead = rows.map(({ upload }) => upload).filter(upload => !uploading.has(upload))
    if (dead.length > 0) await change(`delete from emrm_piece where upload = any($1) and ${ended}`, dead)
  }

  try {
    await pool.query(TABLES)
    await sweep()
  } catch (cause) {
    await pool.end()
    if (cause instanceof EmrmError) throw cause
    const reason = (cause as { code?: string }).code ?? 'unknown'
    throw new EmrmError(
      'vault-unusable',
      `the vault's database cannot be used (${reason}); check "vault" in config.json, PGUSER and PGPASSWORD, and that the user may create tables`,
      { cause: reason },
      cause,
    )
  }

  async function store(
    record: RecordId,
    source: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<VaultEntry> {
    checkedRecord(record)
    if ((await held(record)) !== null) throw recordExists(record)
    const upload = randomBytes(16).toString('hex')
    uploading.add(upload)
    try {
      const note = { leaves: [] as Uint8Array[], size: 0 }
      let piece = 0
      for await (const bytes of notedPieces(record, source, note))
        await change('insert into emrm_piece values ($1, $2, $3)', upload, piece++, bytes)
      const entry = { record, cipherRoot: cipherRootOf(note.leaves), cipherSize: note.size, leaves: note.leaves }
      if (expected !== null && entry.cipherRoot !== expected) throw pieceCorrupt(record, 0)
      await change('insert into emrm_cipher values ($1, $2, $3)', record, upload, encodeIndex(entry))
      cache.set(record, { entry, upload })
      return entry
    } catch (error) {
      await ask('delete from emrm_piece where upload = $1', [upload]).catch(() => undefined)
      if (error instanceof EmrmError && error.facts['cause'] === DUPLICATE_KEY) throw recordExists(record)
      throw error
    } finally {
      uploading.delete(upload)
    }
  }

  async function held(record: RecordId): Promise<{ readonly entry: VaultEntry; readonly upload: string } | null> {
    const cached = cache.get(record)
    if (cached !== undefined) return cached
    const [row] = await ask<{ upload: string; index: Buffer }>(
      'select upload, index from emrm_cipher where record = $1',
      [record],
    )
    if (row === undefined) return null
    const found = { entry: decodeIndex(record, row.index), upload: row.upload }
    cache.set(record, found)
    return found
  }

  const removeCipher = async (record: RecordId): Promise<void> => {
    cache.delete(record)
    // One statement, so one transaction: the pieces go with what makes them exist.
    await change(
      'with gone as (delete from emrm_cipher where record = $1 returning upload) delete from emrm_piece where upload in (select upload from gone)',
      record,
    )
  }

  const vault: PostgresVault = {
    put: (record, source) => store(record, source, null),
    putKnown: (claim, leaves, pieces) => store(claim.record, checkedPieces(claim, leaves, pieces), claim.cipherRoot),
    entry: async record => (await held(record))?.entry ?? null,
    piece: async (record, index) => {
      const found = await held(record)
      if (found === null || found.entry.leaves[index] === undefined) throw recordNotHeld(record)
      const [row] = await ask<{ bytes: Buffer }>('select bytes from emrm_piece where upload = $1 and piece = $2', [
        found.upload,
        index,
      ])
      if (row === undefined || !isPiece(row.bytes, index, found.entry.leaves, found.entry))
        throw pieceCorrupt(record, index)
      return row.bytes
    },
    mendPiece: async (record, index, bytes) => {
      const found = await held(record)
      if (found === null || found.entry.leaves[index] === undefined) throw recordNotHeld(record)
      if (!isPiece(bytes, index, found.entry.leaves, found.entry)) throw pieceCorrupt(record, index)
      await change(
        'insert into emrm_piece values ($1, $2, $3) on conflict (upload, piece) do update set bytes = excluded.bytes',
        ...[found.upload, index, bytes],
      )
    },
    removeCipher,
    putItem: async (record, item, bytes) => {
      await change(
        'insert into emrm_item values ($1, $2, $3) on conflict (record, name) do update set bytes = excluded.bytes',
        ...[checkedRecord(record), checkedItem(item), digested(checkedItemBytes(bytes))],
      )
    },
    item: async (record, item) => {
      const [row] = await ask<{ bytes: Buffer }>('select bytes from emrm_item where record = $1 and name = $2', [
        record,
        checkedItem(item),
      ])
      if (row === undefined) return null
      const bytes = undigested(row.bytes)
      if (bytes === null) throw shareCorrupt(record)
      return new Uint8Array(bytes)
    },
    removeItem: async (record, item) => {
      await change('delete from emrm_item where record = $1 and name = $2', record, checkedItem(item))
    },
    items: async record => {
      const rows = await ask<{ name: string }>('select name from emrm_item where record = $1', [record])
      return rows
        .map(({ name }) => name)
        .filter(isItemName)
        .sort()
    },
    list: async () => {
      const rows = await ask<{ record: RecordId }>(
        'select record from emrm_cipher union select record from emrm_item',
        [],
      )
      return rows.map(({ record }) => record).sort()
    },
    remove: async record => {
      await removeCipher(record)
      await change('delete from emrm_item where record = $1', record)
    },
    verify: (record, pace) => {
      cache.delete(record)
      return verifyRecord(vault, record, pace)
    },
    sweep,
    usedBytes: async () => {
      // Lengths stand beside the bytes, which are not read for this.
      const [row] = await ask<{ bytes: string }>(
        `select coalesce((select sum(octet_length(bytes)) from emrm_piece), 0) + coalesce((select sum(octet_length(bytes)) from emrm_item), 0)
           + coalesce((select sum(octet_length(index)) from emrm_cipher), 0) as bytes`,
        [],
      )
      return Number(row?.bytes ?? 0)
    },
    freeBytes: async () => null,
    close: () => pool.end(),
  }
  return vault
}
