// "Not allowed" and "does not exist" take the same time, as far as a stranger could measure: the medians of many answers, asked in turn, lie
// closer together than one answer to the next. That status and body are the same is api/sight.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureSight } from './sight.ts'

/** What else runs on the machine can look like a leak once; a leak is there every time. */
const TRIES = 3

test('a stranger cannot tell from the time of an answer whether a record or a patient exists', async () => {
  const leaking = new Set(['ladder', 'record', 'policies'])
  const seen: string[] = []
  for (let i = 0; i < TRIES && leaking.size > 0; i++)
    for (const { door, difference, noise } of await measureSight(600)) {
      seen.push(`${door} ${difference.toFixed(1)} ±${noise.toFixed(1)} µs`)
      if (Math.abs(difference) <= noise) leaking.delete(door)
    }
  assert.deepEqual([...leaking], [], seen.join(', '))
})
