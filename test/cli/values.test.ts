// How the command line reads values; bad ones first.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  readChoice,
  readGrantee,
  readScope,
  readTime,
  readWhole,
  requirePurposes,
  requireWindow,
} from '../../src/cli/values.ts'

const usage = { code: 'commander.invalidArgument' }

test('a time that no calendar has is refused', () => {
  for (const text of [
    '',
    'tomorrow',
    '2027-02-30',
    '2027-13-01',
    '2027-01-01T25:00',
    '27-01-01',
    '-5',
    '1.5',
    '2027-01-01T08',
    '99999999999999999',
  ])
    assert.throws(() => readTime(text), usage, text)
})

test('a time is ISO 8601 or milliseconds, and without a zone it is UTC', () => {
  const table: readonly [string, number][] = [
    ['0', 0],
    ['1800000000123', 1_800_000_000_123],
    ['2027-01-15', 1_799_971_200_000],
    ['2027-01-15T08:00', 1_800_000_000_000],
    ['2027-01-15T08:00:00Z', 1_800_000_000_000],
    ['2027-01-15 08:00:00.5Z', 1_800_000_000_500],
    ['2027-01-15T16:00:00+08:00', 1_800_000_000_000],
    ['2028-02-29', 1_835_395_200_000],
  ]
  for (const [text, ms] of table) assert.equal(readTime(text), ms, text)
})

test('a purpose that nobody knows is never a wildcard', () => {
  for (const code of ['*', 'treat', 'TREATMENT', ''])
    assert.throws(() => requirePurposes(['TREAT', code]), { code: 'purpose-unknown', facts: { purpose: code } })
  assert.doesNotThrow(() => requirePurposes(['TREAT', 'BTG', 'HRESCH']))
})

test('a window in which no time lies is refused', () => {
  assert.throws(() => requireWindow(5, 4), { code: 'window-empty' })
  assert.throws(() => requireWindow(5, 5), { code: 'window-empty' })
  assert.doesNotThrow(() => requireWindow(5, 6))
})

test('scopes and grantees that are not of the known forms are wrong usage', () => {
  for (const text of ['', 'everything', 'all:x', 'kind', 'kind:', 'record:12', 'record:'])
    assert.throws(() => readScope(text), usage, text)
  for (const text of ['', 'all', 'anyone:x', 'user:bob', 'institution:', 'role:', 'group'])
    assert.throws(() => readGrantee(text), usage, text)
})

test('scopes and grantees of the known forms are read', () => {
  const id = 'AB'.repeat(16)
  assert.deepEqual(readScope('all'), { type: 'all' })
  assert.deepEqual(readScope('kind:fhir'), { type: 'kind', kind: 'fhir' })
  assert.deepEqual(readScope(`record:${id}`), { type: 'record', record: id.toLowerCase() })
  assert.deepEqual(readGrantee('anyone'), { type: 'anyone' })
  assert.deepEqual(readGrantee('role:attending'), { type: 'role', value: 'attending' })
  assert.deepEqual(readGrantee('institution:St. Mary: West'), { type: 'institution', value: 'St. Mary: West' })
  assert.deepEqual(readGrantee(`user:${id}`), { type: 'user', value: id.toLowerCase() })
})

test('whole numbers and choices have bounds', () => {
  for (const text of ['x', '-1', '1.5', '1e3', '11', '']) assert.throws(() => readWhole(0, 10)(text), usage, text)
  assert.equal(readWhole(0, 10)('10'), 10)
  assert.throws(() => readChoice('a right', ['read', 'share'])('write'), usage)
  assert.deepEqual(readChoice('a right', ['read', 'share'])('share', ['read']), ['read', 'share'])
})
