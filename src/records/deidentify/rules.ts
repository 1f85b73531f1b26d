// A rule set for FHIR: data in the shape of Microsoft's anonymizer (`fhirPathRules`, first match wins) with what ours adds: an id, a
// version, a date, and `otherwise`, which says what becomes of an element that no rule names. Without `otherwise` it is redacted.
// The digest of a rule set goes into the receipt of a twin. P-42. Not here: what the methods do (fhir-values.ts).

import { EmrmError } from '../../model/errors.ts'
import { digestOf } from '../../model/hash.ts'
import type { Digest } from '../../model/ids.ts'
import { type CodeSystems, codeSystemsOf } from './code-systems.ts'
import type { TimeOfDay } from './dates.ts'
import { type Expression, parseExpression, RuleFault } from './expression.ts'
import { isObject, type Json, type JsonObject, numberOf } from './json.ts'
import { PathAutomaton, parsePath } from './paths.ts'
import { isResourceType, requiredCodes } from './r4-schema.ts'
import standard from './rules-r4.json' with { type: 'json' }

/** What a kept value must be; anything else is redacted. */
type Only = (value: Json) => boolean

export type Rule = { readonly path: string } & (
  | { readonly method: 'keep'; readonly only: Only | null }
  | { readonly method: 'redact' | 'birthYear' | 'cryptoHash' | 'uid' | 'coding' | 'quantity' | 'zip3' | 'scrub' }
  | { readonly method: 'dateShift'; readonly time: TimeOfDay }
  | { readonly method: 'substitute'; readonly replaceWith: Json }
  | { readonly method: 'perturb'; readonly span: number; readonly proportional: boolean; readonly digits: number }
  | {
      readonly method: 'generalize'
      readonly cases: readonly { readonly when: Expression; readonly give: Expression }[]
      readonly others: 'keep' | 'redact'
    }
)

export type RuleSet = {
  readonly id: string
  readonly version: string
  /** The day from which it holds, `YYYY-MM-DD`. */
  readonly date: string
  /** SHA-256 of the canonical bytes. */
  readonly digest: Digest
  readonly rules: readonly Rule[]
  readonly automaton: PathAutomaton
  readonly otherwise: 'keep' | 'redact'
  /** When a rule meets data for which it has no answer: refuse the record, or leave nothing of it. */
  readonly onFault: 'raise' | 'skip'
  /** Codes of v3-ObservationValue that the twin carries in meta.security. */
  readonly labels: readonly string[]
  /** Dates and ages beyond so many years are not released; Infinity for no limit. */
  readonly oldestYears: number
  readonly restrictedZips: ReadonlySet<string>
  /** Redaction leaves the year of a date, the first three digits of a postcode, an age up to 89. */
  readonly partial: { readonly dates: boolean; readonly zips: boolean; readonly ages: boolean }
  /** May this code of this system leave? A system nobody listed is local and may hold anything. */
  knowsCode(system: Json | undefined, code: Json | undefined): boolean
  readonly units: ReadonlySet<Json>
  readonly usCountries: ReadonlySet<Json>
}

let parsed: RuleSet | null = null

/** The rule set of this release: deny by default, after HIPAA Safe Harbor. */
export function standardRules(): RuleSet {
  parsed ??= parseRuleSet(standard as unknown as Json)
  return parsed
}

/** What the digest is taken of: the rule set as JSON with sorted keys and no spaces. */
export function canonicalRules(value: Json): Uint8Array {
  return new TextEncoder().encode(canonical(value))
}

/** Throws EmrmError `deidentify-rules-invalid`. */
export function parseRuleSet(value: Json): RuleSet {
  if (!isObject(value)) throw invalid('a rule set is an object')
  const given = value['fhirPathRules']
  if (!Array.isArray(given) || given.length === 0 || given.length > 5000)
    throw invalid('fhirPathRules is a list of rules')
  const parameters = isObject(value['parameters']) ? value['parameters'] : {}
  const checks = checksOf(value)
  const rules = given.map(rule => ruleOf(rule, checks))
  const systems = systemsOf(value['codeSystems'])
  const zips = isObject(parameters['restrictedZipCodes'])
    ? parameters['restrictedZipCodes']['prefixes']
    : parameters['restrictedZipCodeTabulationAreas']
  const lists = isObject(value['lists']) ? value['lists'] : {}
  return {
    id: textOr(value['id'], 'unnamed'),
    version: textOr(value['version'], '0'),
    date: textOr(value['date'], '1970-01-01'),
    digest: digestOf(canonicalRules(value)),
    rules,
    automaton: automatonOf(rules),
    otherwise: choiceOr(value['otherwise'], ['keep', 'redact'], 'redact'),
    onFault: choiceOr(value['processingErrors'], ['raise', 'skip'], 'raise'),
    labels: textsOf(value['labels'] ?? ['PSEUDED']),
    oldestYears: typeof parameters['oldestYears'] === 'number' ? parameters['oldestYears'] : Infinity,
    restrictedZips: new Set(textsOf(zips ?? [])),
    partial: {
      dates: parameters['enablePartialDatesForRedact'] === true,
      zips: parameters['enablePartialZipCodesForRedact'] === true,
      ages: parameters['enablePartialAgesForRedact'] === true,
    },
    knowsCode: (system, code) => typeof code === 'string' && (systems.get(system ?? null)?.(code) ?? false),
    units: new Set(textsOf(lists['units'] ?? [])),
    usCountries: new Set(textsOf(lists['usCountries'] ?? [])),
  }
}

function ruleOf(value: Json, checks: ReadonlyMap<string, Only>): Rule {
  if (!isObject(value) || typeof value['path'] !== 'string' || typeof value['method'] !== 'string')
    throw invalid('a rule has a path and a method')
  const path = value['path']
  switch (value['method'].toLowerCase()) {
    case 'keep': {
      const name = value['only']
      const only = name === undefined ? null : checks.get(String(name))
      if (only === undefined) throw invalid(`nothing is called ${String(name)}`, path)
      return { path, method: 'keep', only }
    }
    case 'redact':
      return { path, method: 'redact' }
    case 'birthyear':
      return { path, method: 'birthYear' }
    case 'cryptohash':
      return { path, method: 'cryptoHash' }
    case 'uid':
      return { path, method: 'uid' }
    case 'coding':
      return { path, method: 'coding' }
    case 'quantity':
      return { path, method: 'quantity' }
    case 'zip3':
      return { path, method: 'zip3' }
    case 'scrub':
      return { path, method: 'scrub' }
    case 'dateshift':
      return { path, method: 'dateShift', time: choiceOr(value['time'], ['keep', 'drop'], 'drop') }
    case 'substitute':
      if (value['replaceWith'] === undefined) throw invalid('substitute needs replaceWith', path)
      return { path, method: 'substitute', replaceWith: value['replaceWith'] }
    case 'perturb': {
      const [span, digits] = [value['span'], value['roundTo'] ?? 2]
      if (typeof span !== 'number' || typeof digits !== 'number' || !(span > 0) || digits < 0 || digits > 15)
        throw invalid('perturb needs a span above 0 and roundTo of 0 to 15', path)
      return { path, method: 'perturb', span, digits, proportional: value['rangeType'] === 'proportional' }
    }
    case 'generalize': {
      if (!isObject(value['cases'])) throw invalid('generalize needs cases', path)
      const others = choiceOr(value['otherValues'], ['keep', 'redact'], 'redact')
      return { path, method: 'generalize', others, cases: casesOf(value['cases'], path) }
    }
    default:
      throw invalid(`there is no method ${value['method']}; use one of the listed methods`, path)
  }
}

function casesOf(cases: JsonObject, path: string): { when: Expression; give: Expression }[] {
  return readable(path, () =>
    Object.entries(cases).map(([when, give]) => ({ when: parseExpression(when), give: parseExpression(String(give)) })),
  )
}

function automatonOf(rules: readonly Rule[]): PathAutomaton {
  return new PathAutomaton(rules.map(rule => readable(rule.path, () => parsePath(rule.path))))
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (fault) {
    if (fault instanceof RuleFault) throw invalid(fault.message, path)
    throw fault
  }
}

/** The checks that `only` may name: lists, patterns and prefixes of the file, and three that come with R4. */
function checksOf(value: JsonObject): ReadonlyMap<string, Only> {
  const checks = new Map<string, Only>([
    ['requiredCodes', code => requiredCodes.has(code as string)],
    ['resourceTypes', name => typeof name === 'string' && isResourceType(name)],
    // A telephone or social security number fits into an integer; a count or a measure seldom needs eight digits.
    ['smallNumber', number => Math.abs(numberOf(number) ?? Infinity) < NUMBER_MAX],
  ])
  for (const [name, texts] of Object.entries(isObject(value['lists']) ? value['lists'] : {})) {
    const allowed = new Set<Json>(textsOf(texts))
    checks.set(name, text => allowed.has(text))
  }
  for (const [name, source] of Object.entries(isObject(value['patterns']) ? value['patterns'] : {})) {
    const pattern = patternOf(source)
    checks.set(name, text => typeof text === 'string' && pattern.test(text))
  }
  for (const [name, prefixes] of Object.entries(isObject(value['prefixes']) ? value['prefixes'] : {})) {
    const allowed = textsOf(prefixes)
    checks.set(
      name,
      text => typeof text === 'string' && URI.test(text) && allowed.some(prefix => text.startsWith(prefix)),
    )
  }
  return checks
}

/** Numbers of this size and more may be identifiers. */
export const NUMBER_MAX = 1e7
const URI = /^[\w:/.#|-]{1,200}$/

function systemsOf(value: Json | undefined): CodeSystems {
  try {
    const systems = codeSystemsOf(value)
    if (systems !== null) return systems
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw invalid('a code system has a system and a pattern, or a system and the list of HL7')
}

function patternOf(value: Json | undefined): RegExp {
  if (typeof value !== 'string') throw invalid('a pattern is a text')
  try {
    return new RegExp(value)
  } catch {
    throw invalid('a pattern cannot be read')
  }
}

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const keys = Object.keys(value).sort()
  return `{${keys.map(key => `${JSON.stringify(key)}:${canonical(value[key] as Json)}`).join(',')}}`
}

function textOr(value: Json | undefined, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}

function choiceOr<T extends string>(value: Json | undefined, choices: readonly T[], otherwise: T): T {
  if (value === undefined) return otherwise
  const choice = choices.find(one => one === value)
  if (choice === undefined) throw invalid(`one of ${choices.join(', ')} is needed`)
  return choice
}

function textsOf(value: Json): string[] {
  if (!Array.isArray(value) || value.some(text => typeof text !== 'string')) throw invalid('a list of texts is needed')
  return value as string[]
}

function invalid(what: string, path = ''): EmrmError {
  return new EmrmError('deidentify-rules-invalid', `the de-identification rules cannot be used: ${what}`, { path })
}
