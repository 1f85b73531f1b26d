// One suite for every vault: memory, files and PostgreSQL (a real server, where one is installed). Then what only files and databases can
// suffer: rot, cuts and crashes.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { openPostgresVault, type PostgresVault } from '../../src/adapters/postgres-vault.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { Digest, RecordId } from '../../src/model/ids.ts'
import { merkleRoot } from '../../src/model/merkle.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import type { ItemName, Vault } from '../../src/records/vault.ts'
import { postgresBinaries, startPostgres } from '../contract/postgres-server.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'

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

const SIZE = 2 * PIECE_BYTES + 12_345
const bytes = fill(SIZE)
const pieceOf = (index: number): Uint8Array => bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES)

for (const [name, make] of Object.entries(makers)) {
  test(`${name}: a ciphertext comes back piece by piece under the root of its pieces`, async () => {
    const vault = await make()
    const record = newRecordId()
    const entry = await vault.put(record, chunked(bytes, 70_000))
    assert.equal(entry.cipherSize, SIZE)
    assert.equal(entry.cipherRoot, Buffer.from(merkleRoot([0, 1, 2].map(pieceOf))).toString('hex'))
    for (const index of [2, 0, 1]) assert.equal(Buffer.compare(await vault.piece(record, index), pieceOf(index)), 0)
    assert.deepEqual(await vault.entry(record), entry)
    assert.deepEqual(await vault.list(), [record])
    assert.deepEqual(await vault.verify(record), [])
  })

  test(`${name}: what is not held is said to be so`, async () => {
    const vault = await make()
    const record = newRecordId()
    assert.equal(await vault.entry(record), null)
    assert.equal(await vault.item(record, 'share'), null)
    assert.deepEqual(await vault.items(record), [])
    assert.deepEqual(await vault.list(), [])
    await assert.rejects(vault.piece(record, 0), coded('record-not-held'))
    await vault.put(record, chunked(fill(10), 10))
    for (const index of [1, -1, 0.5, Number.NaN])
      await assert.rejects(vault.piece(record, index), coded('record-not-held'))
    await vault.remove(newRecordId())
  })

  test(`${name}: a record is put once`, async () => {
    const vault = await make()
    const record = newRecordId()
    const first = await vault.put(record, chunked(fill(10), 10))
    await assert.rejects(vault.put(record, chunked(fill(20, 2), 10)), coded('record-exists'))
    assert.deepEqual(await vault.entry(record), first)
  })

  test(`${name}: two puts of one record at once leave one of them, whole`, async () => {
    const vault = await make()
    const record = newRecordId()
    const puts = [1, 2].map(seed => vault.put(record, chunked(fill(300_000, seed), 1000)))
    const settled = await Promise.allSettled(puts)
    assert.deepEqual(settled.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    assert.deepEqual(await vault.verify(record), [])
  })

  test(`${name}: a source that fails midway leaves nothing`, async () => {
    const vault = await make()
    const record = newRecordId()
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, PIECE_BYTES + 5)
      throw new EmrmError('record-empty', 'broken on purpose')
    }
    await assert.rejects(vault.put(record, broken()), coded('record-empty'))
    assert.equal(await vault.entry(record), null)
    assert.deepEqual(await vault.list(), [])
    await vault.put(record, chunked(bytes, 70_000))
  })

  test(`${name}: a copy from another holder is stored only when it is the one on the chain`, async () => {
    const origin = await make()
    const record = newRecordId()
    const entry = await origin.put(record, chunked(bytes, 70_000))
    const changed = new Uint8Array(bytes)
    changed[PIECE_BYTES + 1]! ^= 1
    const wrong: [Uint8Array, number][] = [
      [changed, 1],
      [bytes.subarray(0, 2 * PIECE_BYTES), 2],
      [bytes.subarray(0, SIZE - 1), 2],
      [Buffer.concat([bytes, Uint8Array.of(0)]), 2],
      [Buffer.concat([pieceOf(1), pieceOf(0), pieceOf(2)]), 0],
      [new Uint8Array(0), 0],
    ]
    for (const [copy, piece] of wrong) {
      const vault = await make()
      await assert.rejects(
        vault.putKnown(entry, entry.leaves, chunked(copy, 50_000)),
        (error: unknown) => coded('piece-corrupt')(error) && (error as EmrmError).facts['piece'] === piece,
      )
      assert.equal(await vault.entry(record), null)
    }
    const vault = await make()
    assert.deepEqual(await vault.putKnown(entry, entry.leaves, chunked(bytes, 50_000)), entry)
  })

  test(`${name}: items are replaced, listed and removed on their own`, async () => {
    const vault = await make()
    const record = newRecordId()
    await vault.putItem(record, 'share', fill(100))
    await vault.putItem(record, 'deal', fill(101))
    await vault.putItem(record, 'share', fill(102))
    assert.equal(Buffer.compare((await vault.item(record, 'share'))!, fill(102)), 0)
    assert.deepEqual(await vault.items(record), ['deal', 'share'])
    assert.deepEqual(await vault.list(), [record])
    assert.equal(await vault.entry(record), null)
    await vault.removeItem(record, 'deal')
    await vault.removeItem(record, 'acks')
    assert.deepEqual(await vault.items(record), ['share'])
    await vault.removeItem(record, 'share')
    assert.deepEqual(await vault.list(), [])
  })

  test(`${name}: a piece is mended with that piece and nothing else`, async () => {
    const vault = await make()
    const record = newRecordId()
    await vault.put(record, chunked(bytes, 70_000))
    await assert.rejects(vault.mendPiece(record, 0, pieceOf(1)), coded('piece-corrupt'))
    await assert.rejects(vault.mendPiece(record, 2, pieceOf(2).subarray(1)), coded('piece-corrupt'))
    await assert.rejects(vault.mendPiece(record, 3, new Uint8Array(0)), coded('record-not-held'))
    await assert.rejects(vault.mendPiece(newRecordId(), 0, pieceOf(0)), coded('record-not-held'))
    await vault.mendPiece(record, 1, pieceOf(1))
    assert.deepEqual(await vault.verify(record), [])
  })

  test(`${name}: the ciphertext goes alone, and its items stay`, async () => {
    const vault = await make()
    const record = newRecordId()
    const entry = await vault.put(record, chunked(bytes, 70_000))
    await vault.putItem(record, 'share', fill(100))
    await vault.removeCipher(record)
    await vault.removeCipher(record)
    assert.equal(await vault.entry(record), null)
    assert.deepEqual(await vault.items(record), ['share'])
    assert.deepEqual(await vault.putKnown(entry, entry.leaves, chunked(bytes, 50_000)), entry)
  })

  test(`${name}: a removed record is gone with its items, and may be put again`, async () => {
    const vault = await make()
    const record = newRecordId()
    await vault.put(record, chunked(bytes, 70_000))
    await vault.putItem(record, 'share', fill(100))
    await vault.remove(record)
    assert.deepEqual(
      [await vault.entry(record), await vault.item(record, 'share'), await vault.list()],
      [null, null, []],
    )
    await vault.put(record, chunked(fill(5), 5))
  })
}

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

test('files: a root that cannot be used is refused at once', async () => {
  const root = await newFolder()
  await writeFile(join(root, 'file'), '')
  await assert.rejects(openFileVault(join(root, 'file', 'vault')), coded('vault-unusable'))
})

test('a claim with another root is not met by the same pieces', async () => {
  const vault = makeMemoryVault()
  const entry = await vault.put(newRecordId(), chunked(bytes, 70_000))
  const claim = { ...entry, record: newRecordId(), cipherRoot: '0'.repeat(64) as Digest }
  await assert.rejects(makeMemoryVault().putKnown(claim, entry.leaves, chunked(bytes, 70_000)), coded('piece-corrupt'))
})
