// The codes are HL7's, the tree is HL7's, and break-the-glass is the one exception.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  isPurpose,
  PURPOSES,
  parentPurpose,
  purposeCovers,
  purposeIndex,
  purposeMask,
  standsAbove,
} from '../../src/access/purposes.ts'
import { CONFIDENTIALITIES, confidentialityRank, isSensitivity, sensitivities } from '../../src/access/sets.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')
const ABSENT = '../shared/data is absent'

type Codes = { codes: { code: string; parent: string }[] }
type Concept = { code: string; concept?: Concept[]; property?: { code: string; valueCode?: string }[] }

const read = <T>(path: string): T => JSON.parse(readFileSync(join(DATA, path), 'utf8')) as T

test('the purposes are those of HL7’s value set, with HL7’s parents', t => {
  if (!existsSync(join(DATA, 'hl7-codes'))) return t.skip(ABSENT)
  const { codes } = read<Codes>('hl7-codes/purpose-of-use.json')
  assert.deepEqual([...PURPOSES].sort(), codes.map(({ code }) => code).sort())
  for (const { code, parent } of codes)
    assert.equal(parentPurpose(code), parent === 'PurposeOfUse' ? null : parent, code)
})

for (const version of ['r4-4.0.1', 'thp-7.0.1'])
  test(`every purpose stands in the ActReason code system ${version} where we say`, t => {
    const path = `hl7-terminology/${version}/CodeSystem-v3-ActReason.json`
    if (!existsSync(join(DATA, path))) return t.skip(ABSENT)
    const parents = new Map<string, readonly string[]>()
    const walk = (concepts: readonly Concept[], above: string): void => {
      for (const { code, concept, property } of concepts) {
        const named = (property ?? []).filter(p => p.code === 'subsumedBy').map(p => p.valueCode ?? '')
        parents.set(code, named.length > 0 ? named : [above])
        walk(concept ?? [], code)
      }
    }
    walk(read<{ concept: Concept[] }>(path).concept, '')
    for (const code of PURPOSES) assert.deepEqual(parents.get(code), [parentPurpose(code) ?? 'PurposeOfUse'], code)
  })

test('confidentiality and sensitivity codes are HL7’s', t => {
  if (!existsSync(join(DATA, 'hl7-codes'))) return t.skip(ABSENT)
  const confidentiality = new Set(read<Codes>('hl7-codes/confidentiality.json').codes.map(({ code }) => code))
  assert.ok(CONFIDENTIALITIES.every(code => confidentiality.has(code)))
  const sensitivity = read<Codes>('hl7-codes/sensitivity.json').codes.map(({ code }) => code)
  assert.deepEqual(sensitivities(), sensitivity.filter(code => !code.startsWith('_')).sort())
  assert.equal(isSensitivity('HIV'), true)
  assert.equal(isSensitivity('_ActInformationSensitivityPolicy'), false)
})

test('U < L < M < N < R < V', () => {
  assert.deepEqual(
    ['U', 'L', 'M', 'N', 'R', 'V'].map(code => confidentialityRank(code as 'U')),
    [0, 1, 2, 3, 4, 5],
  )
})

test('there are 59 purposes, each once, parents first', () => {
  assert.equal(PURPOSES.length, 59)
  assert.equal(new Set(PURPOSES).size, 59)
  for (const [index, code] of PURPOSES.entries()) {
    assert.equal(purposeIndex(code), index)
    const parent = parentPurpose(code)
    if (parent !== null) assert.ok(purposeIndex(parent) < index, code)
  }
})

test('a missing or unknown purpose is none', () => {
  for (const code of ['', 'treat', 'TREAT ', 'PurposeOfUse', '*', 'constructor']) {
    assert.equal(isPurpose(code), false, code)
    assert.equal(purposeIndex(code), -1, code)
    assert.equal(purposeMask([code]).includes(1), false, code)
  }
})

test('a purpose covers those below it, never its parent or a sibling', () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['TREAT', 'TREAT', true],
    ['TREAT', 'COC', true],
    ['TREAT', 'ERTREAT', true],
    ['COC', 'TREAT', false],
    ['COC', 'CLINTRL', false],
    ['HRESCH', 'CLINTRCHPC', true],
    ['CLINTRCH', 'HRESCH', false],
    ['HOPERAT', 'LABELING', true],
    ['TREAT', 'HRESCH', false],
  ]
  for (const [permitted, asked, covered] of rows)
    assert.equal(purposeCovers(permitted, asked), covered, `${permitted} ${asked}`)
})

test('break-the-glass is never implied by a permit, but a deny above it reaches it', () => {
  for (const code of PURPOSES) assert.equal(purposeCovers(code, 'BTG'), code === 'BTG', code)
  assert.deepEqual(
    PURPOSES.filter(code => standsAbove(code, 'BTG')),
    ['TREAT', 'ETREAT', 'BTG'],
  )
  const index = purposeIndex('BTG')
  assert.equal(purposeMask(['TREAT', 'ETREAT'])[index], 0)
  assert.equal(purposeMask(['TREAT'], standsAbove)[index], 1)
})
