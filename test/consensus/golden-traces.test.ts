// Who says what to whom, in a form that a person can read. Update with `node --test --test-update-snapshots` and read the difference.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Stage } from '../sim/stage.ts'

const golden = (name: string): string => join(import.meta.dirname, 'golden', name)
const asText = { serializers: [(lines: readonly string[]) => `${lines.join('\n')}\n`] as never }
const all = (stage: Stage): boolean => [...stage.peers.values()].every(peer => peer.height > 1)

test('a normal height: one proposal, COMMITs from all to all, BLOCK-IDs beside them', t => {
  const stage = new Stage({})
  stage.request(1)
  stage.play(20, undefined, () => all(stage))
  assert.ok(all(stage))
  t.assert.fileSnapshot(stage.trace, golden('normal-height.txt'), asText)
})

test('a view change: the primary is silent, the next one proposes', t => {
  const stage = new Stage({ silent: [0] })
  stage.request(1)
  stage.play(300, undefined, () => all(stage))
  assert.ok(all(stage))
  t.assert.fileSnapshot(stage.trace, golden('view-change.txt'), asText)
})
