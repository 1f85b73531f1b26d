// Frames of the record protocols: what we write we read, and whatever else comes is nothing, never an error.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import { asRequestId } from '../../src/model/ids.ts'
import * as frames from '../../src/records/frames.ts'
import { SEAL_KEY_BYTES } from '../../src/records/seal.ts'
import { fill, newIdentifier, newRecordId } from './support.ts'

const record = newRecordId()
const grant = asRequestId('cd'.repeat(32))
const sealed = { index: 3, box: fill(1200), commit: fill(32), proof: [fill(32, 2), fill(32, 3)] }
const box = { record, ...sealed }

type Case = readonly [name: string, encoded: Uint8Array, decode: (bytes: Uint8Array) => unknown, value: unknown]

const cases: readonly Case[] = [
  [
    'share deposit',
    frames.encodeDepositRequest({ type: 'share', ...box }),
    frames.decodeDepositRequest,
    { type: 'share', ...box },
  ],
  [
    'cipher deposit',
    frames.encodeDepositRequest({ type: 'cipher', record }),
    frames.decodeDepositRequest,
    { type: 'cipher', record },
  ],
  [
    'wanted share',
    frames.encodeDepositRequest({ type: 'want', record, loss: { index: 3, signature: fill(64) } }),
    frames.decodeDepositRequest,
    { type: 'want', record, loss: { index: 3, signature: fill(64) } },
  ],
  [
    'share again',
    frames.encodeDepositAnswer({ type: 'box', ...box }),
    frames.decodeDepositAnswer,
    { type: 'box', ...box },
  ],
  [
    'ack',
    frames.encodeDepositAnswer({ type: 'ack', signature: fill(64) }),
    frames.decodeDepositAnswer,
    { type: 'ack', signature: fill(64) },
  ],
  ['stored', frames.encodeDepositAnswer({ type: 'stored' }), frames.decodeDepositAnswer, { type: 'stored' }],
  [
    'refused',
    frames.encodeDepositAnswer({ type: 'refused', reason: 'x' }),
    frames.decodeDepositAnswer,
    { type: 'refused', reason: 'x' },
  ],
  [
    'share request',
    frames.encodeShareRequest({ grant, recipient: fill(SEAL_KEY_BYTES) }),
    frames.decodeShareRequest,
    { grant, recipient: fill(SEAL_KEY_BYTES) },
  ],
  [
    'released',
    frames.encodeShareAnswer({ type: 'released', ...sealed }),
    frames.decodeShareAnswer,
    { type: 'released', ...sealed },
  ],
  [
    'withheld',
    frames.encodeShareAnswer({ type: 'refused', reason: 'withheld', detail: 'rule' }),
    frames.decodeShareAnswer,
    { type: 'refused', reason: 'withheld', detail: 'rule' },
  ],
  [
    'pieces',
    frames.encodePiecesRequest({ record, grant, from: 1, to: 9, leaves: true }),
    frames.decodePiecesRequest,
    { record, grant, from: 1, to: 9, leaves: true },
  ],
  [
    'pieces of a holder',
    frames.encodePiecesRequest({ record, grant: null, from: 0, to: 0, leaves: false }),
    frames.decodePiecesRequest,
    { record, grant: null, from: 0, to: 0, leaves: false },
  ],
  ['pieces answer', frames.encodePiecesAnswer({ type: 'pieces' }), frames.decodePiecesAnswer, { type: 'pieces' }],
  [
    'no pieces',
    frames.encodePiecesAnswer({ type: 'refused', reason: 'not-available' }),
    frames.decodePiecesAnswer,
    { type: 'refused', reason: 'not-available' },
  ],
  ['stored share', frames.encodeShareBox(box), frames.decodeShareBox, box],
]
const validator = newIdentifier()
const lists: readonly Case[] = [
  ['deal', frames.encodeDeal([{ ...box, validator }]), frames.decodeDeal, [{ ...box, validator }]],
  [
    'acks',
    frames.encodeAcks([{ index: 2, validator, signature: fill(64) }]),
    frames.decodeAcks,
    [{ index: 2, validator, signature: fill(64) }],
  ],
]
const all = [...cases, ...lists]

test('every frame comes back as it was written', () => {
  for (const [name, encoded, decode, value] of all) assert.deepEqual(decode(encoded), value, name)
})

test('no frame is taken for one of another kind', () => {
  for (const [name, encoded] of all)
    for (const [other, , decode, value] of all) {
      const read = decode(encoded)
      const isSame = all.find(([known]) => known === name)?.[2] === decode
      if (!isSame) assert.equal(read, null, `${name} as ${other}: ${JSON.stringify(value).slice(0, 40)}`)
    }
})

test('a frame with anything cut, added or changed is another frame or none, and reading it never throws', () => {
  for (const [name, encoded, decode, value] of all) {
    for (const at of [0, 1, 2, 5, encoded.length - 1]) assert.equal(decode(encoded.subarray(0, at)), null, name)
    assert.equal(decode(Buffer.concat([encoded, Uint8Array.of(0)])), null, name)
    fc.assert(
      fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = new Uint8Array(encoded)
        changed[at]! ^= mask
        assert.notDeepEqual(decode(changed), value)
      }),
      { numRuns: 200 },
    )
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => all.every(([, , decode]) => decode(bytes) === null)),
  )
})

test('values out of bounds are nothing', () => {
  const id = Buffer.from(record, 'hex')
  const tuple = (...fields: unknown[]): Uint8Array => encode([1, ...fields])
  const wrong: [unknown, unknown][] = [
    ['index of no validator', frames.decodeShareBox(tuple('box', id, 200, fill(10), fill(32), []))],
    ['negative index', frames.decodeShareBox(tuple('box', id, -1, fill(10), fill(32), []))],
    ['fraction', frames.decodeShareBox(tuple('box', id, 0.5, fill(10), fill(32), []))],
    ['empty box', frames.decodeShareBox(tuple('box', id, 0, fill(0), fill(32), []))],
    ['large box', frames.decodeShareBox(tuple('box', id, 0, fill(8193), fill(32), []))],
    ['long proof', frames.decodeShareBox(tuple('box', id, 0, fill(10), fill(32), Array(17).fill(fill(32))))],
    ['short step', frames.decodeShareBox(tuple('box', id, 0, fill(10), fill(32), [fill(31)]))],
    ['short record', frames.decodeShareBox(tuple('box', id.subarray(1), 0, fill(10), fill(32), []))],
    ['other version', frames.decodeShareBox(encode([2, 'box', id, 0, fill(10), fill(32), []]))],
    ['one field more', frames.decodeShareBox(tuple('box', id, 0, fill(10), fill(32), [], 0))],
    ['backwards', frames.decodePiecesRequest(tuple('pieces', id, null, 5, 4, true))],
    ['leaves?', frames.decodePiecesRequest(tuple('pieces', id, null, 0, 1, 1))],
    ['too far', frames.decodePiecesRequest(tuple('pieces', id, null, 0, 2 ** 33, true))],
    ['recipient of another length', frames.decodeShareRequest(tuple('ask', fill(32), fill(SEAL_KEY_BYTES - 1)))],
    ['unknown reason', frames.decodeShareAnswer(tuple('refused', 'because', ''))],
    ['long reason', frames.decodeDepositAnswer(tuple('refused', 'x'.repeat(257)))],
    ['short signature', frames.decodeDepositAnswer(tuple('ack', fill(63)))],
    ['a map', frames.decodeDepositAnswer(encode({ 0: 1, 1: 'stored' }))],
    ['too many acks', frames.decodeAcks(tuple('acks', Array(201).fill([0, fill(16), fill(64)])))],
    ['acks of another arity', frames.decodeAcks(tuple('acks', [[0, fill(16)]]))],
    ['a frame beyond the limit', frames.decodeDepositAnswer(tuple('refused', 'x'.repeat(70_000)))],
  ]
  for (const [name, read] of wrong) assert.equal(read, null, String(name))
  // A number in more bytes than it needs: [1, 'stored'] with the 1 as 0x18 0x01.
  const canonical = encode([1, 'stored'])
  const long = Buffer.concat([canonical.subarray(0, 1), Uint8Array.of(0x18, 1), canonical.subarray(2)])
  assert.equal(frames.decodeDepositAnswer(long), null)
})

test('a deal and the signatures of 200 validators fit their limits', () => {
  const many = Array.from({ length: 200 }, (_, index) => ({
    ...box,
    index,
    validator,
    box: fill(1201),
    proof: Array(8).fill(fill(32)) as Uint8Array[],
  }))
  assert.equal(frames.decodeDeal(frames.encodeDeal(many))?.length, 200)
  const acks = many.map(({ index }) => ({ index, validator, signature: fill(64) }))
  assert.equal(frames.decodeAcks(frames.encodeAcks(acks))?.length, 200)
})
