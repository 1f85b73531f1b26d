// This hospital's own rules about giving shares out: a JSON file of at most 200 rules, each of which can only withhold. It is read
// strictly: a misspelt key would be a rule that never fires, so it stops the peer instead. Not here: applying them (enforce.ts).
//
//   { "version": 1, "rules": [
//     { "name": "no-research-at-night", "effect": "withhold",
//       "when": { "purpose": ["HRESCH"], "hours": { "from": "20:00", "to": "06:00" } } } ] }

import { EmrmError } from '../model/errors.ts'
import { isHexadecimal } from '../model/ids.ts'
import type { Confidentiality } from '../model/operations.ts'

const RULES_MAX = 200
const VALUES_MAX = 100
const NAME_LENGTH_MAX = 100
const CONFIDENTIALITY: readonly Confidentiality[] = ['U', 'L', 'M', 'N', 'R', 'V']

/** All conditions that are given have to hold; within a list, one value has to. */
export type Condition = {
  readonly purpose?: readonly string[]
  readonly role?: readonly string[]
  /** Identifiers of requesting institutions. */
  readonly institution?: readonly string[]
  readonly kind?: readonly string[]
  /** Holds for records above this. */
  readonly confidentialityAbove?: Confidentiality
  /** Minutes of this hospital's day, from ≤ now < to; over midnight when from > to. */
  readonly hours?: { readonly fromMinute: number; readonly toMinute: number }
}

type Rule = { readonly name: string; readonly effect: 'withhold'; readonly when: Condition }
export type Rules = readonly Rule[]

export const NO_RULES: Rules = []

/** Throws EmrmError `rules-invalid`, which names the rule and the key. */
export function parseRules(json: unknown): Rules {
  const file = fieldsOf(json, 'the file', ['version', 'rules'])
  if (file['version'] !== 1) throw invalid('version', 'has to be 1')
  const list = file['rules']
  if (!Array.isArray(list) || list.length > RULES_MAX)
    throw invalid('rules', `has to be a list of at most ${RULES_MAX}`)
  const rules = list.map(parseRule)
  const names = new Set(rules.map(({ name }) => name))
  if (names.size !== rules.length) throw invalid('rules', 'has two rules of one name')
  return rules
}

function parseRule(json: unknown, index: number): Rule {
  const where = `rules[${index}]`
  const rule = fieldsOf(json, where, ['name', 'effect', 'when'])
  const { name, effect } = rule
  if (typeof name !== 'string' || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || name.length > NAME_LENGTH_MAX)
    throw invalid(`${where}.name`, 'has to be lower-case words with hyphens')
  if (effect !== 'withhold')
    throw invalid(`${where}.effect`, 'has to be "withhold"; a hospital can narrow a grant, never widen it')
  return { name, effect, when: parseCondition(rule['when'], `${where}.when`) }
}

function parseCondition(json: unknown, where: string): Condition {
  const known = ['purpose', 'role', 'institution', 'kind', 'confidentialityAbove', 'hours']
  const when = fieldsOf(json, where, [], known)
  const condition: { -readonly [K in keyof Condition]: Condition[K] } = {}
  for (const key of ['purpose', 'role', 'institution', 'kind'] as const)
    if (when[key] !== undefined) condition[key] = parseList(when[key], `${where}.${key}`)
  const bad = condition.institution?.find(id => !isHexadecimal(id, 32))
  if (bad !== undefined) throw invalid(`${where}.institution`, 'has to be identifiers of 32 hexadecimal digits')
  const above = when['confidentialityAbove']
  if (above !== undefined) {
    const level = CONFIDENTIALITY.find(known => known === above)
    if (level === undefined)
      throw invalid(`${where}.confidentialityAbove`, `has to be one of ${CONFIDENTIALITY.join(' ')}`)
    condition.confidentialityAbove = level
  }
  if (when['hours'] !== undefined) {
    const hours = fieldsOf(when['hours'], `${where}.hours`, ['from', 'to'])
    const fromMinute = parseTime(hours['from'], `${where}.hours.from`)
    const toMinute = parseTime(hours['to'], `${where}.hours.to`)
    if (fromMinute === toMinute)
      throw invalid(`${where}.hours`, 'has to span some time; leave it out for the whole day')
    condition.hours = { fromMinute, toMinute }
  }
  return condition
}

function parseList(json: unknown, where: string): readonly string[] {
  const isList = Array.isArray(json) && json.length > 0 && json.length <= VALUES_MAX
  if (!isList || !json.every(value => typeof value === 'string' && value.length > 0 && value.length <= NAME_LENGTH_MAX))
    throw invalid(where, `has to be a list of 1 to ${VALUES_MAX} words`)
  return json as readonly string[]
}

function parseTime(json: unknown, where: string): number {
  const match = typeof json === 'string' ? /^([01][0-9]|2[0-3]):([0-5][0-9])$/.exec(json) : null
  if (match === null) throw invalid(where, 'has to be a time of day like 20:00')
  return Number(match[1]) * 60 + Number(match[2])
}

/** Refuses what is missing and what is unknown. */
function fieldsOf(
  json: unknown,
  where: string,
  required: readonly string[],
  optional: readonly string[] = [],
): Record<string, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw invalid(where, 'has to be an object')
  const keys = Object.keys(json)
  const unknown = keys.find(key => !required.includes(key) && !optional.includes(key))
  if (unknown !== undefined) throw invalid(where, `has the unknown key "${unknown.slice(0, 50)}"`)
  const missing = required.find(key => !keys.includes(key))
  if (missing !== undefined) throw invalid(where, `lacks the key "${missing}"`)
  return json as Record<string, unknown>
}

const invalid = (where: string, why: string): EmrmError =>
  new EmrmError('rules-invalid', `the rules file is refused: ${where} ${why}`, { where })
