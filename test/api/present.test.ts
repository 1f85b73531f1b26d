// What the API shows of a request: the fields that a reader of the chain needs, none of those that only our memory needs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requestJson } from '../../src/api/present.ts'
import { requests } from '../wire/samples.ts'

test('a request is shown with its statement, its id and its signature, and nothing else', () => {
  const shown = requestJson(requests[0]!)
  const names = ['version', 'network', 'client', 'timestamp', 'operation', 'scheme', 'publicKey', 'signature', 'id']
  assert.deepEqual(Object.keys(shown).sort(), names.sort())
  assert.match(String(shown['signature']), /^[0-9a-f]{128}$/)
})
