// The measurement of costs runs and means what it says: at a small size, the copies are on the disks and on the wire, and a re-deal has a price.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { costsOf, redealCostOf } from './cost.ts'

test('a record with one further copy costs two on the disks, one on the wire to add and one to read', async () => {
  const [cost] = await costsOf(4, 1, [3_000_000])
  for (const [value, expected] of [
    [cost!.vaults, 2],
    [cost!.wireToAdd, 1],
    [cost!.wireToRead, 1],
  ] as const)
    assert.ok(value > expected && value < expected + 0.1, `${value}, expected a little above ${expected}`)
})

test('a re-deal costs some ten thousand bytes and some hundred milliseconds, whatever the record’s size', async () => {
  const { wireBytes, chainBytes, cpuMs } = await redealCostOf(4, 2)
  // Boxes of 1.3 KB: two collected, three dealt to others, and the chain's messages.
  assert.ok(wireBytes > 5 * 1300 && wireBytes < 200_000, String(wireBytes))
  assert.ok(chainBytes > 1000 && chainBytes < 200_000, String(chainBytes))
  assert.ok(cpuMs > 0, String(cpuMs))
})
