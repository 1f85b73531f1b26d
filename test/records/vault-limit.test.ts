// A vault with a limit: what would not fit is refused at once when its size is known, else at the byte that is too many; nothing of it stays,
// what is removed makes room again, and two at once cannot both have the last place. With a vault in a real folder.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import type { RecordId } from '../../src/model/ids.ts'
import { type LimitedVault, limitVault } from '../../src/records/vault-limit.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'

const folders: string[] = []
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

async function limited(quotaBytes: number): Promise<{ root: string; vault: LimitedVault }> {
  const root = await mkdtemp(join(tmpdir(), 'emrm-limit-'))
  folders.push(root)
  return { root, vault: limitVault(await openFileVault(root), quotaBytes) }
}

const filesIn = async (root: string): Promise<string[]> =>
  (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(({ name }) => name)

const put = (vault: LimitedVault, bytes: number, record: RecordId = newRecordId()): Promise<unknown> =>
  vault.put(record, chunked(fill(bytes), 100_000))

test('a record of unknown size is refused at the byte that is too many, and nothing of it stays', async () => {
  const { root, vault } = await limited(3_000_000)
  await put(vault, 1_000_000)
  let read = 0
  async function* large(): AsyncGenerator<Uint8Array> {
    while (read < 20_000_000) {
      read += 100_000
      yield fill(100_000)
    }
  }
  await assert.rejects(vault.put(newRecordId(), large()), coded('vault-full'))
  assert.ok(read <= 2_100_000, String(read))
  assert.equal((await vault.list()).length, 1)
  assert.deepEqual((await filesIn(root)).sort(), ['cipher', 'index'])
  // What fits still does.
  await put(vault, 1_900_000)
})

test('what others want to be kept is refused before a byte of it is taken', async () => {
  const origin = makeMemoryVault()
  const entry = await origin.put(newRecordId(), chunked(fill(2_000_000), 100_000))
  const { vault } = await limited(1_999_999)
  let isRead = false
  async function* pieces(): AsyncGenerator<Uint8Array> {
    isRead = true
    yield await origin.piece(entry.record, 0)
    yield await origin.piece(entry.record, 1)
  }
  await assert.rejects(vault.putKnown(entry, entry.leaves, pieces()), coded('vault-full'))
  assert.equal(isRead, false)
  await assert.rejects(vault.requireRoom(2_000_000), coded('vault-full'))
  await vault.requireRoom(1_900_000)
})

test('two that come at once cannot both have the last place', async () => {
  const { vault } = await limited(3_000_000)
  const settled = await Promise.allSettled([put(vault, 2_000_000), put(vault, 2_000_000)])
  assert.ok(settled.filter(({ status }) => status === 'rejected').length >= 1)
  const { usedBytes } = await vault.usage()
  assert.ok(usedBytes <= 3_000_000, String(usedBytes))
  const left = (await vault.list()).length
  assert.equal(left, settled.filter(({ status }) => status === 'fulfilled').length)
})

test('two copies for others that come at once cannot both have the last place', async () => {
  const origin = makeMemoryVault()
  const { vault } = await limited(3_000_000)
  const come = async (): Promise<unknown> => {
    const entry = await origin.put(newRecordId(), chunked(fill(2_000_000), 100_000))
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (const piece of [0, 1]) yield await origin.piece(entry.record, piece)
    }
    return vault.putKnown(entry, entry.leaves, pieces())
  }
  const settled = await Promise.allSettled([come(), come()])
  assert.deepEqual(settled.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const [first] = await vault.list()
  assert.deepEqual(await vault.verify(first!), [])
})

test('what is removed makes room again, also when its list of pieces is damaged', async () => {
  const { root, vault } = await limited(3_000_000)
  for (const take of ['remove', 'removeCipher'] as const) {
    const record = newRecordId()
    await put(vault, 2_000_000, record)
    await assert.rejects(put(vault, 2_000_000), coded('vault-full'))
    await vault[take](record)
  }
  const record = newRecordId()
  await put(vault, 2_000_000, record)
  await writeFile(join(root, record.slice(0, 2), record, 'index'), 'rot')
  await vault.verify(record)
  await vault.removeCipher(record)
  await put(vault, 2_000_000)
})

test('small items are taken also when the vault is full, and are counted at the next look', async () => {
  const { vault } = await limited(1_000_000)
  const record = newRecordId()
  await put(vault, 999_000, record)
  await assert.rejects(put(vault, 2_000), coded('vault-full'))
  await vault.putItem(record, 'share', fill(10_000))
  await vault.sweep()
  const usage = await vault.usage()
  assert.ok(usage.usedBytes > 1_009_000 && usage.quotaBytes === 1_000_000)
})

test('without a limit nothing is counted until somebody asks, and then it is kept', async () => {
  let counts = 0
  const inner = makeMemoryVault()
  const usedBytes = (): Promise<number> => {
    counts++
    return inner.usedBytes()
  }
  const vault = limitVault({ ...inner, usedBytes }, null)
  await put(vault, 1000)
  assert.equal(counts, 0)
  assert.deepEqual(vault.lastUsage(), { usedBytes: null, quotaBytes: null })
  assert.deepEqual(await vault.usage(), { usedBytes: 1000, quotaBytes: null, freeBytes: null })
  await put(vault, 500)
  assert.deepEqual(vault.lastUsage(), { usedBytes: 1500, quotaBytes: null })
  assert.equal(counts, 1)
})
