// Bytes and back: each operation, message, certificate and record survives the journey unchanged, in the one form that it has.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { decode as libraryDecode, encode as libraryEncode } from '@ipld/dag-cbor'

import { EmrmError } from '../../src/model/errors.ts'
import { toHex } from '../../src/model/hash.ts'
import { merkleRoot } from '../../src/model/merkle.ts'
import type { Operation, Outcome } from '../../src/model/operations.ts'
import {
  blockToJson,
  certificateToJson,
  chainIdOf,
  decodeBlock,
  decodeCertificate,
  decodeGenesis,
  decodeHeader,
  decodeMessage,
  decodeOutcomes,
  decodeRequest,
  decodeRequestBatch,
  decodeStoredBlock,
  decodeVoteRecord,
  encodeCertificate,
  encodeGenesis,
  encodeHeader,
  encodeMessage,
  encodeOutcomes,
  encodeRequest,
  encodeRequestBatch,
  encodeStoredBlock,
  encodeVoteRecord,
  genesisToJson,
  operationFromJson,
  operationToJson,
  outcomeToJson,
  parseGenesis,
  requestToJson,
} from '../../src/wire/codec.ts'
import {
  block,
  commit,
  genesis,
  genesisJson,
  messages,
  operations,
  parentCertificate,
  requestOf,
  requests,
  voteRecords,
} from './samples.ts'

const refusedWith = (code: string, field?: string) => (error: unknown) =>
  error instanceof EmrmError && error.code === code && (field === undefined || error.facts['field'] === field)

test('each operation comes back from its bytes as it was asked', () => {
  for (const operation of Object.values(operations)) {
    const request = requestOf(operation)
    const decoded = decodeRequest(encodeRequest(request))
    assert.deepEqual(decoded.operation, operation)
    assert.equal(decoded.id, request.id)
    assert.equal(toHex(libraryEncode(libraryDecode(request.bytes))), toHex(request.bytes))
  }
})

test('each operation comes back from its JSON as it was asked', () => {
  for (const operation of Object.values(operations))
    assert.deepEqual(operationFromJson(JSON.parse(JSON.stringify(operationToJson(operation)))), operation)
})

test('an operation in JSON with an unknown, missing or wrong field is refused by that field', () => {
  const json = operationToJson(operations['policy.set']) as Record<string, unknown>
  const wrong = [
    [{ ...json, extra: 1 }, 'extra'],
    [{ ...json, owner: undefined }, 'owner'],
    [{ ...json, owner: 'ABC' }, 'owner'],
    [{ ...json, anonymous: 1 }, 'anonymous'],
    [{ ...json, from: 1.5 }, 'from'],
    [{ ...json, from: -1 }, 'from'],
    [{ ...json, purposes: ['TREAT', 'TREAT'] }, 'purposes'],
    [{ ...json, purposes: Array(65).fill('TREAT') }, 'purposes'],
    [{ ...json, rights: ['write'] }, 'rights[0]'],
    [{ ...json, scope: { type: 'kind' } }, 'scope.kind'],
    [{ ...json, scope: { type: 'all', kind: 'fhir' } }, 'scope.kind'],
    [{ ...json, grantee: { type: 'everyone' } }, 'grantee.type'],
    [{ ...json, type: 'policy.unset' }, 'type'],
    [{ ...json, type: '__proto__' }, 'type'],
    [{ type: 'policy.set' }, 'owner'],
    [[], 'type'],
    [null, 'type'],
    ['policy.set', 'type'],
  ] as const
  for (const [value, field] of wrong) {
    const given = value === null ? value : JSON.parse(JSON.stringify(value))
    assert.throws(() => operationFromJson(given), refusedWith('request-invalid', field), JSON.stringify(given))
  }
})

test('a set may be given in any order and has one order on the wire', () => {
  const given = { ...operations['policy.set'], purposes: ['TREAT', 'HRESCH'], rights: ['share', 'read'] } as Operation
  assert.equal(requestOf(given).id, requestOf(operations['policy.set']).id)
})

test('text keeps every character, and control characters and broken surrogates are refused', () => {
  const note = (text: string): Operation => ({ ...operations['access.review'], note: text }) as Operation
  for (const text of ['刘医生 🩺', 'a\tb\nc', 'x'.repeat(2000)])
    assert.deepEqual(decodeRequest(requestOf(note(text)).bytes).operation, note(text))
  for (const text of ['\u0000', '\u001b[2J', '\u0085', '\ud800', 'x'.repeat(2001), '刘'.repeat(667)])
    assert.throws(() => requestOf(note(text)), refusedWith('request-invalid', 'note'))
})

test('each message comes back from its bytes as it was sent', () => {
  for (const [name, message] of Object.entries(messages)) {
    const bytes = encodeMessage(message)
    assert.deepEqual(encodeMessage(decodeMessage(bytes)), bytes, name)
    assert.deepEqual(decodeMessage(bytes), decodeMessage(encodeMessage(message)), name)
    assert.equal(toHex(libraryEncode(libraryDecode(bytes))), toHex(bytes), name)
  }
  assert.deepEqual(decodeMessage(encodeMessage(commit)), { ...commit })
})

test('a block is its header and its requests, and its id is the hash of its header alone', () => {
  const decoded = decodeBlock(block.bytes)
  assert.deepEqual(decoded.header, block.header)
  assert.equal(decoded.id, block.id)
  assert.deepEqual(
    decoded.requests.map(request => request.id),
    requests.map(request => request.id),
  )
  assert.equal(decoded.header.requestsRoot, toHex(merkleRoot(requests.map(request => request.bytes))))
  assert.deepEqual(decodeHeader(encodeHeader(block.header)), block.header)
})

test('certificates, records of votes, outcomes, batches and stored blocks come back as they were', () => {
  assert.deepEqual(decodeCertificate(encodeCertificate(parentCertificate)), parentCertificate)
  for (const record of voteRecords)
    assert.deepEqual(encodeVoteRecord(decodeVoteRecord(encodeVoteRecord(record))), encodeVoteRecord(record))
  assert.deepEqual(decodeVoteRecord(encodeVoteRecord(voteRecords[2]!)), voteRecords[2])
  assert.deepEqual(
    decodeRequestBatch(encodeRequestBatch(requests)),
    requests.map(request => request.bytes),
  )
  const stored = decodeStoredBlock(encodeStoredBlock(block, parentCertificate))
  assert.equal(stored.block.id, block.id)
  assert.deepEqual(stored.certificate, parentCertificate)
  const outcomes: readonly Outcome[] = [
    { type: 'done' },
    { type: 'refused', reason: 'replayed' },
    { type: 'denied', reason: 'no-policy' },
    { type: 'granted', grant: sampleGrant },
  ]
  assert.deepEqual(decodeOutcomes(encodeOutcomes(outcomes)), outcomes)
  assert.deepEqual(outcomeToJson(outcomes[1]!), { type: 'refused', reason: 'replayed' })
})

test('what --json prints is JSON: bytes as digits, ids as they are', () => {
  const shown = JSON.parse(JSON.stringify(blockToJson(block)))
  assert.equal(shown.id, block.id)
  assert.equal(shown.header.parentId, block.header.parentId)
  assert.equal(shown.requests[0].signature, toHex(requests[0]!.signature))
  assert.equal(JSON.parse(JSON.stringify(requestToJson(requests[0]!))).operation.type, 'policy.set')
  const certificate = JSON.parse(JSON.stringify(certificateToJson(parentCertificate)))
  assert.deepEqual(certificate.votes[0], { sender: 0, signature: toHex(parentCertificate.votes[0]!.signature) })
})

test('a genesis is one network whatever the order of its sets, and another network when anything differs', () => {
  const shuffled = JSON.parse(JSON.stringify(genesisToJson(genesis)))
  shuffled.relations.rolePurposes.reverse()
  shuffled.relations.rolePurposes[0].values.reverse()
  assert.equal(chainIdOf(parseGenesis(shuffled)), chainIdOf(genesis))
  assert.deepEqual(decodeGenesis(encodeGenesis(genesis)), genesis)
  const other = JSON.parse(JSON.stringify(genesisToJson(genesis)))
  other.institutions.reverse()
  assert.notEqual(chainIdOf(parseGenesis(other)), chainIdOf(genesis))
})

test('a genesis that cannot work is refused by its field', () => {
  const edit = (change: (json: { [key: string]: unknown }) => void): unknown => {
    const json = JSON.parse(JSON.stringify(genesisJson))
    change(json)
    return json
  }
  type Loose = { [key: string]: unknown }
  const wrong: readonly [(json: Loose) => void, string][] = [
    [json => Object.assign(json, { surprise: 1 }), 'surprise'],
    [json => Object.assign(json, { version: 2 }), 'version'],
    [json => Object.assign(json, { validatorCount: 5, f: 1 }), 'validatorCount'],
    [json => Object.assign(json['parameters'] as object, { shareThreshold: 1 }), 'parameters.shareThreshold'],
    [json => Object.assign(json['parameters'] as object, { shareThreshold: 4 }), 'parameters.shareThreshold'],
    [json => Object.assign(json['parameters'] as object, { blockBytesMax: 5_000_000 }), 'parameters.blockBytesMax'],
    [json => Object.assign(json['authority'] as object, { threshold: 2 }), 'authority.threshold'],
    [
      json => Object.assign((json['institutions'] as object[])[1]!, (json['institutions'] as object[])[0]),
      'institutions',
    ],
  ]
  for (const [change, field] of wrong)
    assert.throws(() => parseGenesis(edit(change)), refusedWith('genesis-invalid', field), field)
  assert.throws(() => parseGenesis(edit(json => Object.assign(json, { f: 2 }))), refusedWith('quorum-invalid'))
})

const grantId = requests[1]!.id
const sampleGrant: Extract<Outcome, { type: 'granted' }>['grant'] = {
  grant: grantId,
  record: '0'.repeat(32),
  owner: '1'.repeat(32),
  requester: '2'.repeat(32),
  institution: '3'.repeat(32),
  role: 'attending',
  purpose: 'TREAT',
  right: 'read',
  variant: 'original',
  recipient: grantId,
  height: 2,
  time: 5,
  expires: 6,
  basis: 'owner',
  rulesVersion: 1,
} as unknown as Extract<Outcome, { type: 'granted' }>['grant']
