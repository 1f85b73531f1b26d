// One suite for every vault: memory, files and PostgreSQL (a real server, where one is installed); a bucket is in bucket-vault.long.ts.
// Then what only files and databases can suffer: rot, cuts and crashes.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { openPostgresVault, type PostgresVault } from '../../src/adapters/postgres-vault.ts'
import type { EmrmError } from '../../src/model/errors.ts'
import type { RecordId } from '../../src/model/ids.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import type { ItemName, Vault } from '../../src/records/vault.ts'
import { postgresBinaries, startPostgres } from '../contract/postgres-server.ts'
import { mountSmallDisk } from '../contract/small-disk.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'
import { bytes, fillsUp, pieceOf, vaultSuite } from './vault-suite.ts'

const folders: string[] = []
const newFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'emrm-vault-'))
  folders.push(folder)
  return folder
}
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

const binaries = postgresBinaries()
const postgres = binaries === null ? null : await startPostgres(binaries)
const databases: PostgresVault[] = []
const openDatabase = async (url: string): Promise<PostgresVault> => {
  const vault = await openPostgresVault(url)
  databases.push(vault)
  return vault
}
after(async () => {
  for (const vault of databases) await vault.close()
  await postgres?.stop()
})
if (postgres === null) test('postgres', t => t.skip('no PostgreSQL server is installed under /usr/lib/postgresql'))

const makers: Record<string, () => Promise<Vault>> = {
  memory: async () => makeMemoryVault(),
  files: async () => openFileVault(await newFolder()),
  ...(postgres === null ? {} : { postgres: async () => openDatabase(await postgres.newDatabase()) }),
}

for (const [name, make] of Object.entries(makers)) vaultSuite(name, make)

if (postgres !== null) {
  test('postgres: what rots in the database is named, is not given out, and is mended', async () => {
    const url = await postgres.newDatabase()
    const vault = await openDatabase(url)
    const record = newRecordId()
    await vault.put(record, chunked(bytes, 70_000))
    await vault.putItem(record, 'share', fill(100))
    await postgres.run(url, 'update emrm_piece set bytes = $1 where piece = 1', [Buffer.from(fill(10))])
    await postgres.run(url, 'delete from emrm_piece where piece = 2')
    await postgres.run(url, 'update emrm_item set bytes = $1', [Buffer.from(fill(40))])
    await assert.rejects(vault.piece(record, 1), coded('piece-corrupt'))
    await assert.rejects(vault.item(record, 'share'), coded('share-corrupt'))
    assert.deepEqual(await vault.verify(record), [
      { type: 'piece', record, piece: 1 },
      { type: 'piece', record, piece: 2 },
      { type: 'item', record, item: 'share' },
    ])
    for (const piece of [1, 2]) await vault.mendPiece(record, piece, pieceOf(piece))
    assert.deepEqual(await vault.verify(record), [{ type: 'item', record, item: 'share' }])
    await postgres.run(url, 'update emrm_cipher set index = $1', [Buffer.from(fill(200))])
    assert.deepEqual((await vault.verify(record))[0], { type: 'leaves', record })
  })

  test('postgres: an upload that a crash cut off is never visible and goes with the next start', async () => {
    const url = await postgres.newDatabase()
    const first = await openDatabase(url)
    const record = newRecordId()
    await first.put(record, chunked(bytes, 70_000))
    await postgres.run(url, 'insert into emrm_piece values ($1, 0, $2)', ['crashed', Buffer.from(fill(10))])
    const again = await openDatabase(url)
    assert.deepEqual(await again.list(), [record])
    assert.deepEqual(await again.verify(record), [])
    await postgres.run(
      url,
      "do $$ begin if exists (select from emrm_piece where upload = 'crashed') then raise 'left'; end if; end $$",
    )
  })

  test('postgres: a full disk is said to be full, and nothing of what did not fit stays', async t => {
    const disk = await mountSmallDisk(4)
    if (disk === null) return t.skip('only root can mount a small disk')
    t.after(() => disk.stop())
    const url = await postgres.newDatabase()
    const vault = await openDatabase(url)
    await postgres.own(disk.folder)
    await postgres.run(url, `create tablespace tiny location '${disk.folder}'`)
    await postgres.run(url, 'alter table emrm_piece set tablespace tiny')
    await fillsUp(vault)
    await postgres.run(url, 'alter table emrm_piece set tablespace pg_default')
    await postgres.run(url, 'drop tablespace tiny')
  })

  test('postgres: a database that is not there is said so, without the password', async () => {
    const url = (await postgres.newDatabase()).replace(/vault_\d+$/, 'nowhere')
    await assert.rejects(openPostgresVault(url), (error: unknown) => {
      assert.equal(coded('vault-unusable')(error), true)
      assert.doesNotMatch(String(error), new RegExp(process.env['PGPASSWORD'] as string))
      return true
    })
  })
}

async function filed(): Promise<{ root: string; folder: string; record: RecordId; vault: Vault }> {
  const root = await newFolder()
  const vault = await openFileVault(root)
  const record = newRecordId()
  await vault.put(record, chunked(bytes, 70_000))
  await vault.putItem(record, 'share', fill(100))
  return { root, folder: join(root, record.slice(0, 2), record), record, vault }
}

async function flip(path: string, at: number): Promise<void> {
  const handle = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, at)
  byte[0]! ^= 1
  await handle.write(byte, 0, 1, at)
  await handle.close()
}

test('files: a vault that is opened again holds what it held', async () => {
  const { root, record } = await filed()
  const again = await openFileVault(root)
  assert.equal(Buffer.compare(await again.piece(record, 2), pieceOf(2)), 0)
  assert.equal(Buffer.compare((await again.item(record, 'share'))!, fill(100)), 0)
  assert.deepEqual(await again.verify(record), [])
})

test('files: a rotten piece is named, is not given out, and the others still are', async () => {
  const { folder, record, vault } = await filed()
  await flip(join(folder, 'cipher'), PIECE_BYTES + 77)
  await assert.rejects(vault.piece(record, 1), (error: unknown) => {
    assert.equal(coded('piece-corrupt')(error), true)
    assert.deepEqual((error as EmrmError).facts, { record, piece: 1 })
    return true
  })
  assert.equal(Buffer.compare(await vault.piece(record, 2), pieceOf(2)), 0)
  assert.deepEqual(await vault.verify(record), [{ type: 'piece', record, piece: 1 }])
})

test('files: a ciphertext that was cut short or lost is noticed', async () => {
  const { folder, record, vault } = await filed()
  await truncate(join(folder, 'cipher'), 2 * PIECE_BYTES + 1)
  assert.deepEqual(await vault.verify(record), [{ type: 'piece', record, piece: 2 }])
  await rm(join(folder, 'cipher'))
  assert.equal((await vault.verify(record)).length, 3)
})

test('files: a rotten index, root or list of hashes is never believed', async () => {
  const { folder, record, root } = await filed()
  const path = join(folder, 'index')
  const size = (await readFile(path)).length
  for (const at of [0, 14, 20, 30, 60, size - 1]) {
    await flip(path, at)
    const vault = await openFileVault(root)
    await assert.rejects(vault.entry(record), coded('piece-corrupt'), `byte ${at}`)
    await assert.rejects(vault.piece(record, 0), coded('piece-corrupt'))
    assert.deepEqual(await vault.verify(record), [{ type: 'leaves', record }])
    await flip(path, at)
  }
  await writeFile(path, '')
  assert.deepEqual(await (await openFileVault(root)).verify(record), [{ type: 'leaves', record }])
})

test('files: a rotten share is share-corrupt', async () => {
  const { folder, record, vault } = await filed()
  await flip(join(folder, 'share'), 40)
  await assert.rejects(vault.item(record, 'share'), coded('share-corrupt'))
  assert.deepEqual(await vault.verify(record), [{ type: 'item', record, item: 'share' }])
  await truncate(join(folder, 'share'), 3)
  await assert.rejects(vault.item(record, 'share'), coded('share-corrupt'))
})

test('files: what a crash left half-written is removed at the next start and was never visible', async () => {
  const { root, record } = await filed()
  const crashed = newRecordId()
  const folder = join(root, crashed.slice(0, 2), crashed)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, '.tmp-0011'), fill(100))
  await writeFile(join(folder, 'cipher'), fill(100))
  const vault = await openFileVault(root)
  assert.equal(await vault.entry(crashed), null)
  assert.deepEqual(await vault.list(), [record])
  assert.deepEqual(await readdir(join(root, crashed.slice(0, 2))).then(names => names.includes(crashed)), false)
  await vault.put(crashed, chunked(fill(9), 9))
})

test('files: a record’s name or an item’s name cannot lead out of the vault', async () => {
  const { vault, record } = await filed()
  for (const name of ['../../etc/passwd', '', '..', `${record.slice(2)}/.`, record.toUpperCase().replace(/[0-9]/, 'A')])
    await assert.rejects(vault.put(name as RecordId, chunked(fill(5), 5)), RangeError, name)
  for (const item of ['../x', 'index', 'cipher', '', 'share.x', 'Share']) {
    await assert.rejects(vault.putItem(record, item as ItemName, fill(5)), RangeError, item)
    await assert.rejects(vault.item(record, item as ItemName), RangeError, item)
    await assert.rejects(vault.removeItem(record, item as ItemName), RangeError, item)
  }
})

test('files: a full disk is said to be full, and nothing of what did not fit stays', async t => {
  const disk = await mountSmallDisk(4)
  if (disk === null) return t.skip('only root can mount a small disk')
  t.after(() => disk.stop())
  const vault = await openFileVault(join(disk.folder, 'vault'))
  await fillsUp(vault)
  const again = newRecordId()
  await vault.put(again, chunked(bytes, 70_000))
  assert.deepEqual(await vault.verify(again), [])
})

test('files: a root that cannot be used is refused at once', async () => {
  const root = await newFolder()
  await writeFile(join(root, 'file'), '')
  await assert.rejects(openFileVault(join(root, 'file', 'vault')), coded('vault-unusable'))
})
