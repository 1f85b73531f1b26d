// Our evaluator against Cedar on random worlds; `node test/bench/oracle.ts` asks 100,000 times.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOracle } from './oracle.ts'

const PAIRS = 4_000

test('Cedar and our evaluator agree on random worlds, on the answer and on the policy that decides, in any order', () => {
  const tally = runOracle({ seed: 20261123, pairs: PAIRS, each: 20 })
  assert.equal(
    Object.values(tally).reduce((a, b) => a + b, 0),
    PAIRS,
  )
  // A generator that meets nothing proves nothing.
  const rungs = [
    ...['grant owner original', 'grant delegate original', 'grant policy original', 'grant policy deidentified'],
    ...['requester-unknown', 'credential-expired', 'credential-revoked', 'role-not-held', 'purpose-required'],
    ...['role-purpose', 'role-permission', 'purpose-permission', 'emergency-suspended', 'no-policy', 'patient-denied'],
    ...['window-not-open', 'window-closed', 'no-right', 'purpose-mismatch', 'label-withheld', 'record-withdrawn'],
  ]
  for (const rung of rungs) assert.ok((tally[rung] ?? 0) > 0, `${rung} never happened: ${JSON.stringify(tally)}`)
})
