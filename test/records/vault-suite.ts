// What every vault promises, whatever it stores into: one suite for all makers. Not here: how each of them is damaged behind its back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { Digest } from '../../src/model/ids.ts'
import { merkleRoot } from '../../src/model/merkle.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import type { Vault } from '../../src/records/vault.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'

const SIZE = 2 * PIECE_BYTES + 12_345
/** A record of three pieces. */
export const bytes: Uint8Array = fill(SIZE)
export const pieceOf = (index: number): Uint8Array => bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES)

/** A vault on a disk of 4 MiB: what does not fit is `vault-full`, leaves nothing, and what fits is stored as ever. */
export async function fillsUp(vault: Vault): Promise<void> {
  const small = newRecordId()
  await vault.put(small, chunked(fill(400_000), 70_000))
  const large = newRecordId()
  await assert.rejects(vault.put(large, chunked(fill(12 * PIECE_BYTES, 5), 300_000)), coded('vault-full'))
  assert.equal(await vault.entry(large), null)
  assert.deepEqual(await vault.list(), [small])
  assert.deepEqual(await vault.verify(small), [])
}

export function vaultSuite(name: string, make: () => Promise<Vault>): void {
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

  test(`${name}: a claim with another root is not met by the same pieces`, async () => {
    const origin = makeMemoryVault()
    const entry = await origin.put(newRecordId(), chunked(bytes, 70_000))
    const claim = { ...entry, record: newRecordId(), cipherRoot: '0'.repeat(64) as Digest }
    const vault = await make()
    await assert.rejects(vault.putKnown(claim, entry.leaves, chunked(bytes, 70_000)), coded('piece-corrupt'))
    assert.deepEqual([await vault.entry(claim.record), await vault.usedBytes()], [null, 0])
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

  test(`${name}: it says how much it holds`, async () => {
    const vault = await make()
    const record = newRecordId()
    assert.equal(await vault.usedBytes(), 0)
    await vault.put(record, chunked(bytes, 70_000))
    await vault.putItem(record, 'share', fill(1000))
    const used = await vault.usedBytes()
    assert.ok(used >= SIZE + 1000 && used < SIZE + 2000, String(used))
    const free = await vault.freeBytes()
    assert.ok(free === null || free > 0)
    await vault.remove(record)
    assert.equal(await vault.usedBytes(), 0)
  })

  test(`${name}: sweeping touches neither what is whole nor what is on its way in`, async () => {
    const vault = await make()
    const [whole, coming] = [newRecordId(), newRecordId()]
    await vault.put(whole, chunked(bytes, 70_000))
    await vault.putItem(whole, 'share', fill(100))
    async function* swept(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 500_000) {
        yield bytes.subarray(at, at + 500_000)
        await vault.sweep()
      }
    }
    await vault.put(coming, swept())
    await vault.sweep()
    assert.deepEqual([await vault.verify(whole), await vault.verify(coming)], [[], []])
    assert.deepEqual(await vault.list(), [whole, coming].sort())
  })
}
