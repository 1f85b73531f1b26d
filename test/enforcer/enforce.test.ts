// The hospital's own rules: each condition, the file's strictness, and that rules can only narrow.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { enforce, type LocalFacts } from '../../src/enforcer/enforce.ts'
import { NO_RULES, parseRules } from '../../src/enforcer/rules.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { Identifier } from '../../src/model/ids.ts'

const institution = 'ab'.repeat(16) as Identifier
const grant = { purpose: 'TREAT', role: 'attending', institution }
const facts: LocalFacts = { kind: 'fhir', confidentiality: 'R', minuteOfDay: 10 * 60 }

const answer = (when: unknown, changes: Partial<typeof grant & LocalFacts> = {}): string => {
  const rules = parseRules({ version: 1, rules: [{ name: 'house-rule', effect: 'withhold', when }] })
  const result = enforce(rules, { ...grant, ...changes }, { ...facts, ...changes })
  return result.type === 'withhold' ? result.rule : 'release'
}

test('a rule withholds exactly when all of its conditions hold', () => {
  const rows: [string, unknown, Partial<typeof grant & LocalFacts>, 'withhold' | 'release'][] = [
    ['purpose named', { purpose: ['HRESCH', 'TREAT'] }, {}, 'withhold'],
    ['purpose not named', { purpose: ['HRESCH'] }, {}, 'release'],
    ['role named', { role: ['attending'] }, {}, 'withhold'],
    ['role not named', { role: ['nurse'] }, {}, 'release'],
    ['institution named', { institution: [institution] }, {}, 'withhold'],
    ['institution not named', { institution: ['cd'.repeat(16)] }, {}, 'release'],
    ['kind named', { kind: ['fhir'] }, {}, 'withhold'],
    ['kind not named', { kind: ['dicom'] }, {}, 'release'],
    ['above the level', { confidentialityAbove: 'N' }, {}, 'withhold'],
    ['at the level', { confidentialityAbove: 'R' }, {}, 'release'],
    ['below the level', { confidentialityAbove: 'V' }, {}, 'release'],
    ['very restricted above all', { confidentialityAbove: 'R' }, { confidentiality: 'V' }, 'withhold'],
    ['all of two', { purpose: ['TREAT'], role: ['attending'] }, {}, 'withhold'],
    ['one of two', { purpose: ['TREAT'], role: ['nurse'] }, {}, 'release'],
    ['no condition at all', {}, {}, 'withhold'],
    ['inside hours', { hours: { from: '09:00', to: '17:00' } }, {}, 'withhold'],
    ['at the first minute', { hours: { from: '10:00', to: '17:00' } }, {}, 'withhold'],
    ['at the last minute', { hours: { from: '09:00', to: '10:00' } }, {}, 'release'],
    ['before midnight', { hours: { from: '20:00', to: '06:00' } }, { minuteOfDay: 1439 }, 'withhold'],
    ['after midnight', { hours: { from: '20:00', to: '06:00' } }, { minuteOfDay: 0 }, 'withhold'],
    ['at the end of the night', { hours: { from: '20:00', to: '06:00' } }, { minuteOfDay: 360 }, 'release'],
    ['by day', { hours: { from: '20:00', to: '06:00' } }, {}, 'release'],
  ]
  for (const [name, when, changes, expected] of rows)
    assert.equal(answer(when, changes), expected === 'withhold' ? 'house-rule' : 'release', name)
})

test('without rules everything that the chain granted is released', () => {
  assert.deepEqual(enforce(NO_RULES, grant, facts), { type: 'release' })
  assert.deepEqual(parseRules({ version: 1, rules: [] }), NO_RULES)
})

test('the first rule that holds is the one that is named', () => {
  const rule = (name: string, purpose: string) => ({ name, effect: 'withhold', when: { purpose: [purpose] } })
  const rules = parseRules({ version: 1, rules: [rule('a', 'HRESCH'), rule('b', 'TREAT'), rule('c', 'TREAT')] })
  assert.deepEqual(enforce(rules, grant, facts), { type: 'withhold', rule: 'b' })
})

test('more rules never release more', () => {
  const words = fc.subarray(['TREAT', 'HRESCH', 'BTG'], { minLength: 1 })
  const level = fc.constantFrom('U', 'L', 'M', 'N', 'R', 'V' as const)
  const when = fc.record(
    { purpose: words, confidentialityAbove: level, kind: fc.constant(['fhir']) },
    { requiredKeys: [] },
  )
  const list = fc.array(when, { maxLength: 5 })
  fc.assert(
    fc.property(
      list,
      list,
      fc.constantFrom('TREAT', 'HRESCH', 'BTG'),
      level,
      (some, more, purpose, confidentiality) => {
        const parse = (all: readonly unknown[]) =>
          parseRules({ version: 1, rules: all.map((when, i) => ({ name: `r${i}`, effect: 'withhold', when })) })
        const ask = (all: readonly unknown[]) =>
          enforce(parse(all), { ...grant, purpose }, { ...facts, confidentiality: confidentiality as 'R' }).type
        if (ask(some) === 'withhold') assert.equal(ask([...some, ...more]), 'withhold')
        if (ask([...some, ...more]) === 'release') assert.equal(ask(some), 'release')
      },
    ),
  )
})

test('a file with anything misspelt, unknown or widening is refused, and the place is named', () => {
  const rule = { name: 'a', effect: 'withhold', when: {} }
  const wrong: [unknown, string][] = [
    [null, 'the file'],
    [[], 'the file'],
    [{ version: 1 }, 'the file'],
    [{ version: 2, rules: [] }, 'version'],
    [{ version: 1, rules: [], extra: 1 }, 'the file'],
    [{ version: 1, rules: {} }, 'rules'],
    [{ version: 1, rules: Array.from({ length: 201 }, (_, i) => ({ ...rule, name: `a${i}` })) }, 'rules'],
    [{ version: 1, rules: [rule, rule] }, 'rules'],
    [{ version: 1, rules: [{ ...rule, effect: 'release' }] }, 'rules[0].effect'],
    [{ version: 1, rules: [{ ...rule, name: 'Not A Name' }] }, 'rules[0].name'],
    [{ version: 1, rules: [{ name: 'a', effect: 'withhold' }] }, 'rules[0]'],
    [{ version: 1, rules: [{ ...rule, when: { purposes: ['TREAT'] } }] }, 'rules[0].when'],
    [{ version: 1, rules: [{ ...rule, when: { purpose: 'TREAT' } }] }, 'rules[0].when.purpose'],
    [{ version: 1, rules: [{ ...rule, when: { purpose: [] } }] }, 'rules[0].when.purpose'],
    [{ version: 1, rules: [{ ...rule, when: { role: [1] } }] }, 'rules[0].when.role'],
    [{ version: 1, rules: [{ ...rule, when: { institution: ['hospital-2'] } }] }, 'rules[0].when.institution'],
    [{ version: 1, rules: [{ ...rule, when: { confidentialityAbove: 'X' } }] }, 'rules[0].when.confidentialityAbove'],
    [{ version: 1, rules: [{ ...rule, when: { hours: { from: '24:00', to: '06:00' } } }] }, 'rules[0].when.hours.from'],
    [{ version: 1, rules: [{ ...rule, when: { hours: { from: '20:00' } } }] }, 'rules[0].when.hours'],
    [{ version: 1, rules: [{ ...rule, when: { hours: { from: '06:00', to: '06:00' } } }] }, 'rules[0].when.hours'],
  ]
  for (const [json, where] of wrong)
    assert.throws(
      () => parseRules(json),
      (error: unknown) =>
        error instanceof EmrmError && error.code === 'rules-invalid' && error.facts['where'] === where,
      `${JSON.stringify(json)?.slice(0, 100)} at ${where}`,
    )
})
