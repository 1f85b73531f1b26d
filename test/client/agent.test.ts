// What the user's agent signs is what the network accepts, and never the same thing twice.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeAgent } from '../../src/client/agent.ts'
import { createSigningKey } from '../../src/identity/keystore.ts'
import { digestOf } from '../../src/model/hash.ts'
import { asTimestamp, type Digest, type RequestId } from '../../src/model/ids.ts'
import { makeVerifier } from '../../src/wire/verify.ts'
import { fill, newIdentifier, newRecordId } from '../records/support.ts'

const network = digestOf(fill(3)) as Digest
const NOW = 1_800_000_000_000
const key = createSigningKey()
const verifier = makeVerifier({ chainId: network, committeeAt: () => null })
const agent = () => makeAgent({ network, key, now: () => NOW })

test('every request of an agent verifies, names its signer and says what was asked', () => {
  const it = agent()
  const [record, grant] = [newRecordId(), digestOf(fill(5)) as RequestId]
  const window = { from: asTimestamp(NOW), to: asTimestamp(NOW + 1000) }
  const scope = { type: 'record', record } as const
  const requests = [
    it.setPolicy({
      scope,
      grantee: { type: 'anyone' },
      effect: 'permit',
      purposes: ['TREAT'],
      rights: ['read'],
      ...window,
      anonymous: false,
      labelCeiling: 'N',
    }),
    it.revokePolicy(grant),
    it.setDelegate({ delegate: newIdentifier(), kind: 'delegate', scope, ...window }),
    it.revokeDelegate(newIdentifier()),
    it.requestAccess({ record, role: 'attending', purpose: 'TREAT', right: 'read' }).request,
    it.requestEmergency({ record, role: 'emergency', reason: 'unconscious' }).request,
    it.giveReceipt(grant, digestOf(fill(6))),
    it.review(grant, 'justified', 'seen'),
  ]
  const types = requests.map(request => {
    const checked = verifier.request(request.bytes)
    assert.equal(checked.type, 'ok', request.operation.type)
    assert.equal(request.client, key.identifier)
    if ('owner' in request.operation) assert.equal(request.operation.owner, key.identifier)
    return request.operation.type
  })
  assert.deepEqual(types, [
    'policy.set',
    'policy.revoke',
    'delegate.set',
    'delegate.revoke',
    'access.request',
    'access.emergency',
    'access.receipt',
    'access.review',
  ])
})

test('a guardian names the patient', () => {
  const patient = newIdentifier()
  const { operation } = agent().revokePolicy(digestOf(fill(5)) as RequestId, patient)
  assert.equal('owner' in operation && operation.owner, patient)
})

test('an access names the digest of a key made for it alone', () => {
  const it = agent()
  const wish = { record: newRecordId(), role: 'attending', purpose: 'TREAT', right: 'read' } as const
  const [first, second] = [it.requestAccess(wish), it.requestAccess(wish)]
  assert.notEqual(first.recipient.publicKey, second.recipient.publicKey)
  const { operation } = first.request
  assert.equal(operation.type === 'access.request' && operation.recipient, digestOf(first.recipient.publicBytes))
})

test('timestamps rise even when the clock stands still or goes back, and the policy carries the request’s', () => {
  let now = NOW
  const it = makeAgent({ network, key, now: () => now })
  const times = [0, 0, -5000, 10].map(step => {
    now += step
    const request = it.revokePolicy(digestOf(fill(5)) as RequestId)
    const { operation } = request
    assert.equal(operation.type === 'policy.revoke' && operation.timestamp, request.timestamp)
    return request.timestamp
  })
  assert.deepEqual(times, [NOW, NOW + 1, NOW + 2, NOW + 3])
})
