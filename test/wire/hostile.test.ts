// Bytes from a liar: whatever comes, decoding answers with a value in its one form or with a WireFault, and with nothing else.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encode } from '@ipld/dag-cbor'
import fc from 'fast-check'

import { fromHex, toHex } from '../../src/model/hash.ts'
import type { Timestamp } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import {
  decodeAnchor,
  decodeBlock,
  decodeBlockBatch,
  decodeCertificate,
  decodeChunk,
  decodeGenesis,
  decodeHandover,
  decodeHeader,
  decodeKeptBlock,
  decodeManifest,
  decodeMessage,
  decodeOutcomes,
  decodeRequest,
  decodeRequestBatch,
  decodeSnapshotQuestion,
  decodeStoredBlock,
  decodeVoteRecord,
  encodeAnchor,
  encodeBlockBatch,
  encodeCertificate,
  encodeChunk,
  encodeGenesis,
  encodeHandover,
  encodeHeader,
  encodeKeptBlock,
  encodeManifest,
  encodeMessage,
  encodeOutcomes,
  encodeSnapshotQuestion,
  encodeStoredBlock,
  encodeVoteRecord,
  WireFault,
} from '../../src/wire/codec.ts'
import { Reader } from '../../src/wire/reader.ts'
import { makeVerifier } from '../../src/wire/verify.ts'
import * as s from './samples.ts'

const SEED = Number(process.env['EMRM_SEED'] ?? 20_260_102)
const outcomes = [{ type: 'done' }, { type: 'refused', reason: 'stale' }] as const

/** Every decoder with the encoder that gives its bytes back. */
const doors: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  request: bytes => decodeRequest(bytes).bytes,
  batch: bytes => encode([1, [...decodeRequestBatch(bytes)]]),
  header: bytes => encodeHeader(decodeHeader(bytes)),
  block: bytes => decodeBlock(bytes).bytes,
  message: bytes => encodeMessage(decodeMessage(bytes)),
  certificate: bytes => encodeCertificate(decodeCertificate(bytes)),
  'vote record': bytes => encodeVoteRecord(decodeVoteRecord(bytes)),
  outcomes: bytes => encodeOutcomes(decodeOutcomes(bytes)),
  'stored block': bytes => {
    const { block, certificate } = decodeStoredBlock(bytes)
    return encodeStoredBlock(block, certificate)
  },
  'kept block': bytes => encodeKeptBlock(decodeKeptBlock(bytes)),
  genesis: bytes => encodeGenesis(decodeGenesis(bytes)),
  anchor: bytes => encodeAnchor(decodeAnchor(bytes)),
  manifest: bytes => encodeManifest(decodeManifest(bytes)),
  chunk: bytes => encodeChunk(decodeChunk(bytes)),
  handover: bytes => encodeHandover(decodeHandover(bytes)),
  'question about snapshots': bytes => encodeSnapshotQuestion(decodeSnapshotQuestion(bytes)),
  'batch of blocks': bytes => encodeBlockBatch(decodeBlockBatch(bytes)),
}

const valid: readonly Uint8Array[] = [
  ...Object.values(s.operations).map(operation => s.requestOf(operation).bytes),
  ...Object.values(s.messages).map(encodeMessage),
  ...s.voteRecords.map(encodeVoteRecord),
  s.block.bytes,
  encodeHeader(s.block.header),
  encodeCertificate(s.parentCertificate),
  encodeOutcomes(outcomes),
  encodeStoredBlock(s.block, s.parentCertificate),
  encodeKeptBlock({ block: s.block, certificate: s.parentCertificate, outcomes }),
  encodeGenesis(s.genesis),
  encodeAnchor(s.anchor),
  encodeManifest(s.manifest),
  encodeChunk(s.chunk),
  encodeHandover(s.handover),
  encodeSnapshotQuestion({ type: 'chunk', height: 10_000, depth: 3, index: 7 }),
  encodeBlockBatch([encodeStoredBlock(s.first, s.parentCertificate)]),
]

/** Null when refused; anything but a WireFault fails the test. */
function tryDoor(name: string, bytes: Uint8Array): Uint8Array | null {
  try {
    return (doors[name] as (bytes: Uint8Array) => Uint8Array)(bytes)
  } catch (error) {
    assert.ok(error instanceof WireFault, `${name} threw ${String(error)} for ${toHex(bytes).slice(0, 400)}`)
    return null
  }
}

const refuses = (read: () => unknown, reason: string): void =>
  assert.throws(read, error => error instanceof WireFault && error.reason === reason, reason)

const hexBytes = (hex: string): Uint8Array => fromHex(hex.replaceAll(' ', ''))
const reader = (hex: string): Reader => new Reader(hexBytes(hex))

test('a number has one form: shortest, whole, not negative, at most 2^53-1', () => {
  const good: readonly [string, number][] = [
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['18ff', 255],
    ['190100', 256],
    ['1a00010000', 65_536],
    ['1b0000000100000000', 2 ** 32],
    ['1b001fffffffffffff', Number.MAX_SAFE_INTEGER],
  ]
  for (const [hex, value] of good) assert.equal(reader(hex).uint(), value)
  for (const hex of ['1800', '1817', '190000', '1900ff', '1a0000ffff', '1b00000000ffffffff'])
    refuses(() => reader(hex).uint(), 'not-canonical')
  for (const hex of ['1b0020000000000000', '1bffffffffffffffff']) refuses(() => reader(hex).uint(), 'number-too-large')
  for (const hex of [
    '20',
    '3b001fffffffffffff',
    'f93c00',
    'fa3f800000',
    'fb3ff0000000000000',
    'c100',
    'f6',
    'f7',
    '40',
    '60',
    '80',
    'a0',
    '1c',
    '1f',
  ])
    refuses(() => reader(hex).uint(), 'unexpected-item')
  for (const hex of ['', '18', '19 01', '1a 000100', '1b 00000001000000'])
    refuses(() => reader(hex).uint(), 'truncated')
})

test('strings and lists have a definite length, and it is there', () => {
  for (const hex of ['5fff', '5f4101ff']) refuses(() => reader(hex).view(100), 'unexpected-item')
  refuses(() => reader('9fff').list(100), 'unexpected-item')
  refuses(() => reader('580141').view(100), 'not-canonical')
  refuses(() => reader('42 01').view(100), 'truncated')
  refuses(() => reader('5b 001fffffffffffff').view(Number.MAX_SAFE_INTEGER), 'truncated')
  refuses(() => reader('9b 001fffffffffffff').list(1000), 'list-too-long')
  refuses(() => reader('61 ff').text(10), 'broken-utf8')
  refuses(() => reader('63 eda080').text(10), 'broken-utf8')
  refuses(() => reader('62 c080').text(10), 'broken-utf8')
  assert.equal(reader('63 efbbbf').text(10), '\ufeff')
  refuses(() => reader('f7').boolean(), 'not-a-boolean')
})

test('a field more, a field less, bytes behind the end and another version are refused', () => {
  const { bytes } = s.requests[0]!
  for (let length = 0; length < bytes.length; length++)
    assert.equal(tryDoor('request', bytes.subarray(0, length)), null)
  refuses(() => decodeRequest(Buffer.concat([bytes, Buffer.from([0])])), 'trailing-bytes')
  const vote = ['tag', 2, 0, fromHex(s.block.id), 2, s.commit.signature]
  const with_ = (...fields: unknown[]): Uint8Array => encode(fields)
  assert.equal(decodeMessage(with_(2, ...vote.slice(1))).type, 'COMMIT')
  refuses(() => decodeMessage(with_(2, ...vote.slice(1), 0)), 'wrong-arity')
  refuses(() => decodeMessage(with_(2, ...vote.slice(1, -1))), 'wrong-arity')
  refuses(() => decodeMessage(with_(9, ...vote.slice(1))), 'unknown-type')
  refuses(() => decodeMessage(with_()), 'wrong-arity')
  refuses(() => decodeRequest(with_(2, bytes, s.requests[0]!.signature)), 'unknown-version')
})

test('an operation that is unknown, or has a field too many or out of bounds, is refused', () => {
  const client = fromHex(s.requests[0]!.client)
  const asking = (operation: readonly unknown[], scheme = 1, key = 32): Uint8Array => {
    const statement = encode([1, fromHex(s.chainId), client, s.TIME, operation, scheme, new Uint8Array(key)])
    return encode([1, statement, new Uint8Array(64)])
  }
  const id = new Uint8Array(16)
  const digest = new Uint8Array(32)
  assert.equal(decodeRequest(asking(['record.withdraw', id])).operation.type, 'record.withdraw')
  assert.equal(decodeRequest(asking(['record.withdraw', id], 2, 33)).scheme, 2)
  const wrong: readonly [Uint8Array, string][] = [
    [asking(['record.destroy', id]), 'unknown-type'],
    [asking(['toString', id]), 'unknown-type'],
    [asking(['record.withdraw', id, 1]), 'wrong-arity'],
    [asking(['record.withdraw']), 'wrong-arity'],
    [asking([]), 'wrong-arity'],
    [asking(['record.withdraw', new Uint8Array(17)]), 'wrong-length'],
    [asking(['record.withdraw', null]), 'unexpected-item'],
    [asking(['record.withdraw', id], 3), 'number-too-large'],
    [asking(['record.withdraw', id], 0), 'unknown-scheme'],
    [asking(['record.withdraw', id], 1, 33), 'wrong-length'],
    [asking(['record.withdraw', id], 2, 32), 'wrong-length'],
    [asking(['institution.rate', id, 1.5]), 'unexpected-item'],
    [asking(['access.review', digest, 'perhaps', '']), 'unknown-word'],
    [asking(['access.review', digest, 'rejected', 'x'.repeat(2001)]), 'text-too-long'],
    [asking(['access.review', digest, 'rejected', '\u0007']), 'control-character'],
    [asking(['access.request', id, '', 'TREAT', 'read', digest]), 'text-too-short'],
    [asking(['ca.authorize', digest, [id, id]]), 'not-sorted'],
    [asking(['evidence.submit', id, 'x', 1, new Uint8Array(24 * 1024 + 1), digest]), 'bytes-too-long'],
  ]
  for (const [bytes, reason] of wrong) refuses(() => decodeRequest(bytes), reason)
})

test('depth and length that were made to hurt are refused before anything is built', () => {
  const deep = new Uint8Array(4 * 1024 * 1024).fill(0x81)
  const wide = new Uint8Array(4 * 1024 * 1024).fill(0x80)
  wide.set(hexBytes('9a 003ffffb'))
  for (const name of Object.keys(doors)) {
    assert.equal(tryDoor(name, deep), null, name)
    assert.equal(tryDoor(name, wide), null, name)
  }
  const padding = new Uint8Array(5 * 1024 * 1024)
  refuses(() => decodeMessage(encode([8, padding])), 'bytes-too-long')
  refuses(() => decodeMessage(encode([2, 2, 0, new Uint8Array(40_000), 2, s.commit.signature])), 'too-large')
  refuses(() => decodeMessage(new Uint8Array(7 * 1024 * 1024)), 'too-large')
  const senders = Array.from({ length: 201 }, (_, i) => [i % 200, new Uint8Array(64)])
  refuses(() => decodeCertificate(encode([1, 2, 0, fromHex(s.block.id), senders])), 'list-too-long')
})

test('a certificate lists each sender once, in order', () => {
  const [a, b, c] = s.parentCertificate.votes
  const certificate = (votes: readonly unknown[]): Uint8Array =>
    encode([
      2,
      1,
      0,
      fromHex(s.first.id),
      (votes as (typeof s.parentCertificate.votes)[number][]).map(v => [v.sender, v.signature]),
    ])
  assert.deepEqual(decodeCertificate(certificate([a, b, c])), s.parentCertificate)
  for (const votes of [
    [a, a, b],
    [b, a, c],
    [a, c, b],
  ])
    refuses(() => decodeCertificate(certificate(votes)), 'senders-not-ascending')
})

test('a byte moved from one request to the next is another block', () => {
  const [one, two] = s.requests.map(request => request.bytes) as [Uint8Array, Uint8Array]
  const header = encodeHeader(s.block.header)
  const moved = [one.subarray(0, -1), Buffer.concat([one.subarray(-1), two])]
  refuses(() => decodeBlock(encode([1, header, moved])), 'requests-root')
  refuses(() => decodeBlock(encode([1, header, [two, one]])), 'requests-root')
  refuses(() => decodeBlock(encode([1, header, [one]])), 'request-count')
  refuses(() => decodeBlock(encode([1, header, [one, two, two]])), 'request-count')
})

/** Small and fast, the same on every machine (mulberry32). */
function makeRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

function hurt(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  const at = random(bytes.length)
  const copy = Buffer.from(bytes)
  switch (random(6)) {
    case 0:
      copy[at] = random(256)
      return copy
    case 1:
      copy[at] = (copy[at] as number) ^ (1 << random(8))
      return copy
    case 2:
      return copy.subarray(0, at)
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(bytes.length, at + 1 + random(8)))])
    case 4:
      return Buffer.concat([copy.subarray(0, at), Buffer.from([random(256)]), copy.subarray(at)])
    default: {
      const heads = [
        '9b001fffffffffffff',
        '5bffffffffffffffff',
        '80',
        'f6',
        'fb3ff0000000000000',
        'bf',
        '1800',
        'd82a40',
      ]
      return Buffer.concat([
        copy.subarray(0, at),
        hexBytes(heads[random(heads.length)] as string),
        copy.subarray(at + 1),
      ])
    }
  }
}

test(`no bytes make a decoder throw anything but a WireFault, and what decodes has one form (seed ${SEED})`, () => {
  const random = makeRandom(SEED)
  const names = Object.keys(doors)
  const verifier = makeVerifier({ chainId: s.chainId, committeeAt: () => s.committee })
  let decoded = 0
  for (let round = 0; round < 20_000; round++) {
    let bytes = valid[random(valid.length)] as Uint8Array
    for (let times = random(3); times >= 0 && bytes.length > 0; times--) bytes = hurt(bytes, random)
    for (const name of round % 8 === 0 ? names : [names[random(names.length)] as string]) {
      const again = tryDoor(name, bytes)
      if (again === null) continue
      decoded++
      assert.equal(toHex(again), toHex(bytes), `${name} has two forms`)
    }
    if (round % 4 === 0) {
      assert.notEqual(verifier.message(bytes).type, 'unknown-height')
      verifier.request(bytes)
    }
  }
  assert.ok(decoded > 100, `only ${decoded} of the hurt inputs decoded: the fuzz does not reach far`)
})

test('noise is refused', () => {
  const random = makeRandom(SEED + 1)
  for (let round = 0; round < 5_000; round++) {
    const bytes = Uint8Array.from({ length: random(200) }, () => random(256))
    for (const name of Object.keys(doors)) if (name !== 'outcomes') assert.equal(tryDoor(name, bytes), null)
  }
})

const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(bytes => toHex(bytes))
const isPlain = (text: string): boolean => !/\p{Cc}/u.test(text)
const code = fc
  .string({ minLength: 1, maxLength: 16, unit: 'grapheme' })
  .filter(text => isPlain(text) && Buffer.byteLength(text) <= 64)
const codes = fc.uniqueArray(code, { maxLength: 8 })
const time = fc.maxSafeNat()
const record = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.record(fields, { noNullPrototype: true })
const operations: fc.Arbitrary<Operation> = fc.oneof(
  record({
    type: fc.constant('policy.set'),
    owner: hex(16),
    scope: fc.oneof(
      record({ type: fc.constant('all') }),
      record({ type: fc.constant('kind'), kind: code }),
      record({ type: fc.constant('record'), record: hex(16) }),
    ),
    grantee: fc.oneof(
      record({ type: fc.constant('anyone') }),
      record({ type: fc.constant('user'), user: hex(16) }),
      record({ type: fc.constant('group'), group: code }),
    ),
    effect: fc.constantFrom('permit', 'deny'),
    purposes: codes,
    rights: fc.subarray(['read', 'share']),
    from: time,
    to: time,
    anonymous: fc.boolean(),
    labelCeiling: fc.constantFrom('U', 'L', 'M', 'N', 'R', 'V'),
    timestamp: time,
  }),
  record({
    type: fc.constant('user.register'),
    publicKey: fc.oneof(hex(32), hex(33)),
    scheme: fc.constantFrom(1, 2),
    roles: codes,
    groups: codes,
    institution: hex(16),
    validUntil: time,
  }),
  record({
    type: fc.constant('evidence.submit'),
    validator: hex(16),
    fault: code,
    height: time,
    first: fc.uint8Array({ maxLength: 300 }),
    second: fc.uint8Array({ maxLength: 300 }),
  }),
) as unknown as fc.Arbitrary<Operation>

test('any operation within its limits comes back, and its sets in order', () => {
  fc.assert(
    fc.property(operations, time, (operation, timestamp) => {
      const request = s.requestOf(operation, s.patient, timestamp as Timestamp)
      const { operation: back, id } = decodeRequest(request.bytes)
      assert.equal(id, request.id)
      assert.equal(s.requestOf(back, s.patient, timestamp as Timestamp).id, id)
      for (const [name, value] of Object.entries(operation)) {
        const got = (back as unknown as Record<string, unknown>)[name]
        assert.deepEqual(got, Array.isArray(value) ? [...value].sort() : value)
      }
    }),
    { seed: SEED, numRuns: 200 },
  )
})
