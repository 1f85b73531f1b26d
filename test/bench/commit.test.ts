// The benchmark at its smallest: it runs, commits through four real peers, and counts what stands in the chain. No figure is judged here.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureCommits } from './commit.ts'

test('the commit benchmark drives four real peers and finds in the chain what it sent', async () => {
  const figures = await measureCommits({
    seconds: 1,
    lightPerSecond: 10,
    users: 100,
    inFlight: 40,
    seed: 7,
    profileDir: null,
  })
  for (const phase of [figures.light, figures.saturated, figures.half]) {
    assert.ok(phase.done > 0)
    assert.deepEqual([...phase.refused], [])
    assert.ok(phase.latencyMs.p50 > 0 && phase.latencyMs.p50 <= phase.latencyMs.p99)
  }
  assert.ok(figures.requestBytes >= 230 && figures.requestBytes <= 280, `${figures.requestBytes} bytes`)
  assert.ok(figures.inChain >= figures.saturated.done, 'every request that was answered stands in a block')
  assert.match(figures.head, /^[0-9a-f]{64}$/)
})
