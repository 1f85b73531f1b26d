// The encoder against the library that it stands in for: the same bytes for whatever both take, and no bytes for anything else.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode as libraryEncode } from '@ipld/dag-cbor'
import fc from 'fast-check'

import { encode } from '../../src/model/dag-cbor.ts'
import { toHex } from '../../src/model/hash.ts'

const RUNS = Number(process.env['EMRM_RUNS'] ?? 3_000)

const same = (value: unknown): void => assert.equal(toHex(encode(value)), toHex(libraryEncode(value)))

const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeNat(),
    fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({ maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 30 }),
    fc.dictionary(fc.stringMatching(/^[a-zA-Z]{1,14}$/), tie('value'), { maxKeys: 30 }),
  ),
}))

test('it writes the bytes that the DAG-CBOR library writes', () => {
  fc.assert(fc.property(value, same), { numRuns: RUNS })
})

test('it writes long values as the library does, and short ones after them', () => {
  const large = new Uint8Array(700_000).fill(7)
  for (const item of [large, [large, 'and', large], 'ü'.repeat(200_000), { a: large }, [1], 'x'.repeat(600_000), 1])
    same(item)
})

test('each answer is a copy of its own', () => {
  const first = encode(['one', 1])
  const before = toHex(first)
  encode(['two', 2])
  assert.equal(toHex(first), before)
  assert.equal(first.buffer.byteLength, first.length)
})

test('what has no canonical form is refused, and the next value is written whole', () => {
  for (const item of [undefined, Number.NaN, 1.5, -1, 2 ** 53, 1n, () => 1, Symbol('s'), [undefined], { a: undefined }])
    assert.throws(() => encode(item), TypeError)
  same(['after', { b: 1, a: 2, aa: 3 }])
})
