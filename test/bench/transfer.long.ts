// The measurement of transfers runs and means what it says: at a small size, what arrives is what was added, and every figure is there.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureTransfer } from './transfer.ts'

test('a record goes through four real peers byte by byte, and both copies are measured', async () => {
  const lines: string[] = []
  const options = { megabytes: 8, rounds: 1, profileDir: null }
  const figures = await measureTransfer(options, line => lines.push(line))
  assert.equal(figures.isIdentical, true)
  for (const value of [figures.added, figures.ratio, ...figures.accessed, ...figures.plain]) assert.ok(value > 0)
  for (const [name, peak] of Object.entries(figures.peakRss)) assert.ok(peak > 30 && peak < 400, `${name}: ${peak} MiB`)
  assert.equal(Object.keys(figures.peakRss).length, 6)
  assert.equal(lines.length, 2)
})
