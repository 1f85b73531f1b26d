// The caretaker on each kind of vault, with real stores: what rots is healed from another holder, what is dead goes, what the chain refers to
// stays. Long because of the bucket's server (contract/s3-server.ts).

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { openPostgresVault } from '../../src/adapters/postgres-vault.ts'
import { openS3Vault } from '../../src/adapters/s3-vault.ts'
import type { RecordId } from '../../src/model/ids.ts'
import type { Care } from '../../src/records/caretaker.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import type { Vault } from '../../src/records/vault.ts'
import { examineVault } from '../../src/records/vault-check.ts'
import { limitVault } from '../../src/records/vault-limit.ts'
import { postgresBinaries, startPostgres } from '../contract/postgres-server.ts'
import { s3Program, startS3 } from '../contract/s3-server.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'
import { type Hospital, makeWorld, never } from './world.ts'

/** A vault and what may happen to its store behind its back. */
type Store = {
  readonly vault: Vault
  rotPiece(record: RecordId, piece: number): Promise<void>
  rotIndex(record: RecordId): Promise<void>
  /** As an upload leaves it that broke off, and whose removal failed too. */
  leaveDead(record: RecordId): Promise<void>
}

const closing: (() => Promise<void>)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
})

async function overwrite(file: string, at: number): Promise<void> {
  const bytes = await readFile(file)
  bytes.fill(0, at, Math.min(at + 100, bytes.length))
  await writeFile(file, bytes)
}

async function put(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
}

async function files(): Promise<Store> {
  const root = await mkdtemp(join(tmpdir(), 'emrm-care-'))
  closing.push(() => rm(root, { recursive: true, force: true }))
  const file = (record: RecordId, name: string): string => join(root, record.slice(0, 2), record, name)
  return {
    vault: await openFileVault(root),
    rotPiece: (record, piece) => overwrite(file(record, 'cipher'), piece * PIECE_BYTES),
    rotIndex: record => overwrite(file(record, 'index'), 50),
    leaveDead: record => put(file(record, '.tmp-00'), fill(1000)),
  }
}

async function database(): Promise<Store | string> {
  const binaries = postgresBinaries()
  if (binaries === null) return 'no PostgreSQL server is installed under /usr/lib/postgresql'
  const server = await startPostgres(binaries)
  const url = await server.newDatabase()
  const vault = await openPostgresVault(url)
  closing.push(
    () => server.stop(),
    () => vault.close(),
  )
  const run = (statement: string, ...values: readonly unknown[]): Promise<void> => server.run(url, statement, values)
  const rot = Buffer.from('rot')
  return {
    vault,
    rotPiece: (record, piece) =>
      run(
        'update emrm_piece set bytes = $3 where piece = $2 and upload = (select upload from emrm_cipher where record = $1)',
        ...[record, piece, rot],
      ),
    rotIndex: record => run('update emrm_cipher set index = $2 where record = $1', record, rot),
    leaveDead: record => run('insert into emrm_piece values ($1, 0, $2)', record, Buffer.from(fill(1000))),
  }
}

async function bucket(): Promise<Store | string> {
  const found = await s3Program()
  if ('absent' in found) return found.absent
  const server = await startS3(found.program)
  const place = await server.newPlace()
  const vault = await openS3Vault(place)
  closing.push(
    () => server.stop(),
    () => vault.close(),
  )
  const chunkOf = async (record: RecordId): Promise<string> =>
    server.fileOf(place, (await server.keysIn(place)).find(key => key.startsWith(`chunks/${record}/`))!)
  return {
    vault,
    rotPiece: async (record, piece) => overwrite(await chunkOf(record), piece * PIECE_BYTES),
    rotIndex: record => overwrite(server.fileOf(place, `records/${record}/index`), 50),
    leaveDead: async record => {
      await put(server.fileOf(place, `pending/${record}`), new Uint8Array(0))
      await put(server.fileOf(place, `chunks/${record}/${'a'.repeat(32)}/00000`), fill(1000))
    },
  }
}

async function roundOf({ caretaker }: Hospital): Promise<readonly Care[]> {
  const cares: Care[] = []
  for await (const care of caretaker.round(never)) cares.push(care)
  return cares
}

for (const [name, open] of Object.entries({ files, database, bucket }))
  test(`${name}: the caretaker heals what rots and clears away what is dead, and nothing else`, async t => {
    const store = await open()
    if (typeof store === 'string') return t.skip(store)
    const { vault } = store
    const world = await makeWorld(4, { replicas: 2, vault: i => (i === 0 ? vault : makeMemoryVault()) })
    Object.assign(world.parameters, { requestWindowPastMs: 600_000, requestWindowFutureMs: 60_000 })
    const custodian = world.hospitals[0]!
    const records: RecordId[] = []
    for (const size of [2_500_000, 1_000]) {
      const { record } = await world.add(custodian, fill(size))
      await custodian.depositor.deliver(record, never)
      assert.equal(await custodian.depositor.replicate(record, never), 2)
      records.push(record)
    }
    world.clock.advance(61_000)
    const [large, small] = records as [RecordId, RecordId]
    const whole = await vault.usedBytes()

    await store.rotPiece(large, 0)
    await store.rotPiece(large, 2)
    await assert.rejects(vault.piece(large, 2), coded('piece-corrupt'))
    const limited = limitVault(vault, null)
    const found = new Set<RecordId>()
    // Two records of four pieces, two of them rotten: a few looks find it.
    for (let look = 0; look < 40 && found.size === 0; look++)
      for (const record of (await examineVault(limited)).damaged) found.add(record)
    assert.deepEqual([...found], [large])
    const mended = await roundOf(custodian)
    assert.deepEqual(
      mended.map(({ record, left }) => [record, left]),
      [[large, []]],
    )
    await store.rotIndex(small)
    await vault.verify(small)
    assert.deepEqual(
      (await roundOf(custodian)).map(({ record, left }) => [record, left]),
      [[small, []]],
    )
    for (const record of records) assert.deepEqual(await vault.verify(record), [])
    assert.equal(await vault.usedBytes(), whole)

    // Put and never registered; broken off; and a share of a record that no chain knows.
    const [dead, cut, stale] = [newRecordId(), newRecordId(), newRecordId()]
    await vault.put(dead, chunked(fill(1_200_000), 70_000))
    await vault.putItem(stale, 'share', fill(500))
    await store.leaveDead(cut)
    await roundOf(custodian)
    assert.deepEqual(await vault.list(), [dead, stale, ...records].sort(), 'it may still be on its way')
    world.clock.advance(660_001)
    await roundOf(custodian)
    assert.deepEqual(await vault.list(), [...records].sort())
    assert.equal(await vault.usedBytes(), whole)
    assert.deepEqual((await examineVault(limited)).damaged, [])
  })
