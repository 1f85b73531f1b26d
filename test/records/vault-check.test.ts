// The look that the doctor takes at a vault: a store that loses or changes what was written is found, and nothing of the look stays.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { examineVault } from '../../src/records/vault-check.ts'
import { limitVault } from '../../src/records/vault-limit.ts'
import { vaultFull } from '../../src/records/vault-rules.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'

test('a vault that gives back other bytes, or none, is called unusable, and a full one full', async () => {
  const inner = makeMemoryVault()
  const examined = (broken: Partial<typeof inner>): Promise<unknown> =>
    examineVault(limitVault({ ...inner, ...broken }, null))
  await assert.rejects(examined({ item: async () => null }), coded('vault-unusable'))
  await assert.rejects(examined({ item: async () => fill(1024) }), coded('vault-unusable'))
  await assert.rejects(
    examined({
      putItem: async () => {
        throw vaultFull({})
      },
    }),
    coded('vault-full'),
  )
  assert.deepEqual(await inner.list(), [])
})

test('a vault that is well says what it holds and how much of it was looked into', async () => {
  const vault = limitVault(makeMemoryVault(), 10_000)
  for (let i = 0; i < 5; i++) await vault.put(newRecordId(), chunked(fill(1000), 1000))
  await vault.putItem(newRecordId(), 'share', fill(10))
  // Small items count from the next look on.
  await vault.sweep()
  const { records, sampled, damaged, usedBytes, quotaBytes } = await examineVault(vault)
  assert.deepEqual([records, sampled, damaged, usedBytes, quotaBytes], [6, 5, [], 5010, 10_000])
  assert.equal((await examineVault(vault, 2)).records, 6)
  assert.ok((await examineVault(vault, 2)).sampled <= 2)
})
