// A rule set that says which codes in a FHIR resource make a record sensitive: data, standard.json in this release, or a hospital's own
// file (`labels` in config.json), read strictly, because a misspelt rule would be one that never fires. Its digest is kept with each record
// that it labelled. Not here: applying it (derive.ts).
//
//   { "id": "ward-7", "version": "1", "date": "2027-01-31", "extends": "standard",
//     "systems": { "local": ["https://hospital.example/codes"] },
//     "confidentiality": { "HIV": "V" },
//     "valueSets": [ … FHIR ValueSets that list their codes … ],
//     "rules": [ { "name": "ward-7", "labels": ["PSY"], "confidentiality": "V",
//                  "codes": [ { "system": "local", "prefixes": ["W7-"] }, { "system": "icd-10", "codes": ["F43.1"] },
//                             { "valueSet": "https://hospital.example/ValueSet/addiction" } ] } ] }
//
// A `system` is a name in `systems` or an address. `confidentiality` says what a label brings with it. An ICD code is compared without its dot.

import { encode } from '@ipld/dag-cbor'
import { CONFIDENTIALITIES, isSensitivity } from '../../access/sets.ts'
import { EmrmError } from '../../model/errors.ts'
import { digestOf } from '../../model/hash.ts'
import type { Digest } from '../../model/ids.ts'
import type { Confidentiality } from '../../model/operations.ts'
import standard from './standard.json' with { type: 'json' }
import { codesOfValueSet } from './value-sets.ts'

export type LabelRule = {
  readonly name: string
  readonly labels: readonly string[]
  /** What the rule says itself, beside what its labels bring. */
  readonly confidentiality: Confidentiality | null
}

/** Rules by code; codes are folded (`foldCode`). */
type SystemRules = {
  readonly exact: Map<string, LabelRule[]>
  readonly prefixes: Map<string, LabelRule[]>
  readonly lengths: Set<number>
}

export type LabelRules = {
  readonly id: string
  readonly version: string
  readonly digest: Digest
  readonly bySystem: ReadonlyMap<string, SystemRules>
  /** What a label brings with it. */
  readonly confidentiality: ReadonlyMap<string, Confidentiality>
}

const RULES_MAX = 1_000
const CODES_MAX = 100_000
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/

type Fields = Readonly<Record<string, unknown>>

let parsed: LabelRules | null = null
export function standardLabels(): LabelRules {
  parsed ??= parseLabelRules(standard, 'standard.json')
  return parsed
}

/** Throws EmrmError `label-rules-invalid`, which names the place. */
export function parseLabelRules(json: unknown, file: string): LabelRules {
  const refuse: Refuse = refusing(file)
  const set = fieldsOf(json, 'the file', KNOWN, refuse)
  const texts = ['id', 'version', 'date'].map(key => textOf(set[key], key, refuse))
  const base = set['extends'] === undefined ? null : standardLabels()
  if (base !== null && set['extends'] !== 'standard') refuse('extends', 'can only be "standard"')
  const systems = systemsOf(base === null ? {} : standard.systems, set['systems'] ?? {}, refuse)
  const valueSets = valueSetsOf(set['valueSets'] ?? [], refuse)
  const confidentiality = new Map(base?.confidentiality)
  for (const [label, level] of Object.entries(objectOf(set['confidentiality'] ?? {}, 'confidentiality', refuse)))
    confidentiality.set(labelOf(label, 'confidentiality', refuse), levelOf(level, `confidentiality.${label}`, refuse))
  const table = new RuleTable(base?.bySystem)
  const names = new Set<string>()
  for (const [i, item] of listOf(set['rules'], 'rules', RULES_MAX, refuse).entries()) {
    const where = `rules[${i}]`
    const rule = fieldsOf(item, where, ['name', 'labels', 'codes', 'confidentiality?'], refuse)
    const name = textOf(rule['name'], `${where}.name`, refuse)
    if (!NAME.test(name) || names.has(name))
      refuse(`${where}.name`, 'has to be lower-case words with hyphens, each name once')
    names.add(name)
    const made: LabelRule = {
      name,
      labels: listOf(rule['labels'], `${where}.labels`, 32, refuse).map(label =>
        labelOf(label, `${where}.labels`, refuse),
      ),
      confidentiality:
        rule['confidentiality'] === undefined
          ? null
          : levelOf(rule['confidentiality'], `${where}.confidentiality`, refuse),
    }
    if (made.labels.length === 0 && made.confidentiality === null)
      refuse(where, 'says nothing: give labels or confidentiality')
    const codes = listOf(rule['codes'], `${where}.codes`, RULES_MAX, refuse)
    for (const [j, match] of codes.entries())
      addMatch(table, made, match, `${where}.codes[${j}]`, { systems, valueSets, refuse })
  }
  if (table.size > CODES_MAX) refuse('rules', `have more than ${CODES_MAX} codes`)
  const digest = digestOf(encode(base === null ? json : [json, base.digest]))
  return { id: texts[0] as string, version: texts[1] as string, digest, bySystem: table.bySystem, confidentiality }
}

const KNOWN = ['id', 'version', 'date', 'extends?', 'systems?', 'confidentiality?', 'valueSets?', 'rules']

/** The rules that one coding meets. */
export function rulesFor(rules: LabelRules, system: string, code: string): readonly LabelRule[] {
  const found = rules.bySystem.get(foldSystem(system))
  if (found === undefined) return []
  const folded = foldCode(code)
  const met = [...(found.exact.get(folded) ?? [])]
  for (const length of found.lengths)
    if (folded.length >= length) met.push(...(found.prefixes.get(folded.slice(0, length)) ?? []))
  return met
}

/** `http://loinc.org/` is written as well as `http://loinc.org`. */
const foldSystem = (system: string): string => (system.endsWith('/') ? system.slice(0, -1) : system)
/** ICD codes are written F10.2, F102 and f10.2. */
const foldCode = (code: string): string => code.replaceAll('.', '').trim().toUpperCase()

class RuleTable {
  readonly bySystem = new Map<string, SystemRules>()
  size = 0

  /** A copy of what stands there. */
  constructor(from: ReadonlyMap<string, SystemRules> = new Map()) {
    for (const [system, { exact, prefixes, lengths }] of from) {
      const copy = (map: Map<string, LabelRule[]>): Map<string, LabelRule[]> =>
        new Map([...map].map(([code, rules]) => [code, [...rules]]))
      this.bySystem.set(system, { exact: copy(exact), prefixes: copy(prefixes), lengths: new Set(lengths) })
    }
  }

  add(rule: LabelRule, system: string, code: string, isPrefix: boolean): void {
    const name = foldSystem(system)
    let found = this.bySystem.get(name)
    if (found === undefined) {
      found = { exact: new Map(), prefixes: new Map(), lengths: new Set() }
      this.bySystem.set(name, found)
    }
    const folded = foldCode(code)
    const map = isPrefix ? found.prefixes : found.exact
    map.set(folded, [...(map.get(folded) ?? []), rule])
    if (isPrefix) found.lengths.add(folded.length)
    this.size += 1
  }
}

type Refuse = (where: string, why: string) => never
type Names = {
  readonly systems: ReadonlyMap<string, readonly string[]>
  readonly valueSets: ReadonlyMap<string, readonly { readonly system: string; readonly code: string }[]>
  readonly refuse: Refuse
}

function addMatch(table: RuleTable, rule: LabelRule, json: unknown, where: string, names: Names): void {
  const { systems, valueSets, refuse } = names
  const match = fieldsOf(json, where, ['system?', 'codes?', 'prefixes?', 'valueSet?'], refuse)
  if (match['valueSet'] !== undefined) {
    const codes = valueSets.get(textOf(match['valueSet'], `${where}.valueSet`, refuse))
    if (codes === undefined || Object.keys(match).length > 1)
      return refuse(where, 'names no value set of this file, or more than one')
    for (const { system, code } of codes) table.add(rule, system, code, false)
    return
  }
  const name = textOf(match['system'], `${where}.system`, refuse)
  const addresses =
    systems.get(name) ??
    (name.includes(':') ? [name] : refuse(`${where}.system`, `is ${name}, which is not in systems`))
  const exact = match['codes'] === undefined ? [] : listOf(match['codes'], `${where}.codes`, CODES_MAX, refuse)
  const prefixes =
    match['prefixes'] === undefined ? [] : listOf(match['prefixes'], `${where}.prefixes`, CODES_MAX, refuse)
  if (exact.length + prefixes.length === 0) refuse(where, 'has neither codes nor prefixes')
  for (const [codes, isPrefix] of [
    [exact, false],
    [prefixes, true],
  ] as const)
    for (const code of codes) {
      const text = textOf(code, where, refuse)
      if (foldCode(text) === '') refuse(where, 'has an empty code')
      for (const system of addresses) table.add(rule, system, text, isPrefix)
    }
}

function systemsOf(base: object, own: unknown, refuse: Refuse): ReadonlyMap<string, readonly string[]> {
  const all = { ...base, ...objectOf(own, 'systems', refuse) }
  return new Map(
    Object.entries(all).map(([name, addresses]) => [
      name,
      listOf(addresses, `systems.${name}`, 100, refuse).map(address => textOf(address, `systems.${name}`, refuse)),
    ]),
  )
}

function valueSetsOf(json: unknown, refuse: Refuse): Names['valueSets'] {
  return new Map(
    listOf(json, 'valueSets', RULES_MAX, refuse).map((item, i) => {
      const found = codesOfValueSet(item)
      if (typeof found === 'string') return refuse(`valueSets[${i}]`, found)
      return [found.url, found.codes] as const
    }),
  )
}

/** A question mark behind a key: it may be absent. */
function fieldsOf(json: unknown, where: string, keys: readonly string[], refuse: Refuse): Fields {
  const object = objectOf(json, where, refuse)
  for (const key of Object.keys(object))
    if (!keys.includes(key) && !keys.includes(`${key}?`)) refuse(`${where}.${key}`, 'is unknown')
  for (const key of keys) if (!key.endsWith('?') && object[key] === undefined) refuse(`${where}.${key}`, 'is missing')
  return object
}
const objectOf = (json: unknown, where: string, refuse: Refuse): Fields =>
  typeof json === 'object' && json !== null && !Array.isArray(json)
    ? (json as Fields)
    : refuse(where, 'has to be an object')
const listOf = (json: unknown, where: string, max: number, refuse: Refuse): readonly unknown[] =>
  Array.isArray(json) && json.length <= max ? json : refuse(where, `has to be a list of at most ${max}`)
const textOf = (json: unknown, where: string, refuse: Refuse): string =>
  typeof json === 'string' && json !== '' && json.length <= 1_000 ? json : refuse(where, 'has to be a text')
const labelOf = (json: unknown, where: string, refuse: Refuse): string =>
  typeof json === 'string' && isSensitivity(json)
    ? json
    : refuse(where, `has ${json}, which is no HL7 sensitivity code`)
const levelOf = (json: unknown, where: string, refuse: Refuse): Confidentiality =>
  CONFIDENTIALITIES.find(level => level === json) ?? refuse(where, `has to be one of ${CONFIDENTIALITIES.join(', ')}`)

const refusing =
  (file: string): Refuse =>
  (where, why) => {
    throw new EmrmError(
      'label-rules-invalid',
      `${file} is refused: ${where} ${why}; mend it, or take "labels" out of config.json`,
      { file, where },
    )
  }
