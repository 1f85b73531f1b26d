// What each method does with one value of a FHIR record. A value for which a method has no answer (a date shift of a text) falls to the
// rule set's `otherwise`, and so does a value of the wrong JSON type. Not here: which rule applies (paths.ts), objects and lists (fhir.ts).

import { shiftFhirDate, yearOf } from './dates.ts'
import { RuleFault, truth } from './expression.ts'
import { isObject, type Json, type JsonObject, numberOf } from './json.ts'
import type { ExtractKeys } from './keys.ts'
import type { Place } from './paths.ts'
import { isResourceType, requiredCodes } from './r4-schema.ts'
import { NUMBER_MAX, type Rule, type RuleSet } from './rules.ts'

/** How often each thing happened; the receipt shows it. `unknown`: elements that R4 does not define, dropped. `aged`: dates and ages beyond the limit. */
export type FhirCounts = {
  kept: number
  redacted: number
  hashed: number
  shifted: number
  generalized: number
  substituted: number
  perturbed: number
  scrubbed: number
  unknown: number
  aged: number
}

export type ValueContext = {
  readonly rules: RuleSet
  readonly keys: ExtractKeys
  readonly counts: FhirCounts
  /** Dates that begin before this year are not released. */
  readonly firstYear: number
  /** Takes names out of free text; null drops the text. Without a scrubber all free text goes. */
  readonly scrub: ((text: string) => string | null) | null
}

/** Stands where a birth date was, of a person beyond the age limit. */
export const MASKED: unique symbol = Symbol('masked')
/** Absolute references lose their server, which names a hospital, and keep their shape. */
const NO_SERVER = 'https://deidentified.invalid/'
const RESTFUL = /^(https?:\/\/.*?\/)?([A-Z][A-Za-z]+)\/([A-Za-z0-9\-.]{1,64})(?:\/_history\/[^/#]+)?$/
const DATES = ['date', 'dateTime', 'instant']
const TYPES_OF_NUMBERS = ['decimal', 'integer', 'positiveInt', 'unsignedInt']
export const QUANTITIES: readonly string[] = ['Quantity', 'Age', 'Count', 'Distance', 'Duration']
const YEAR_UNITS: readonly Json[] = ['a', 'year', 'years', 'yr', 'yrs']
/** So many make a year at least; an age in any other unit counts as years. */
const PER_YEAR: ReadonlyMap<Json, number> = new Map([
  ['mo', 12],
  ['wk', 52],
  ['d', 365],
  ['h', 8_760],
])
const AGE_MAX = 89

/** `parent`: the object that holds the value. */
export function deidentifyValue(
  value: Json,
  place: Place,
  parent: JsonObject,
  rule: Rule | undefined,
  context: ValueContext,
): Json | typeof MASKED | undefined {
  const { rules, keys, counts } = context
  if (!fits(value, place.type)) return drop(counts, 'unknown')
  if (rule === undefined) return otherwise(value, context)
  switch (rule.method) {
    case 'keep':
      return rule.only === null || rule.only(value) ? keep(value, counts) : drop(counts)
    case 'redact':
      return redacted(value, place, parent, context)
    case 'dateShift': {
      if (!DATES.includes(place.type)) return otherwise(value, context)
      return shifted(
        value as string,
        context,
        shiftFhirDate(value as string, keys.shiftDays, rule.time, place.type === 'instant'),
      )
    }
    case 'birthYear': {
      if (!DATES.includes(place.type)) return otherwise(value, context)
      const moved = shiftFhirDate(value as string, keys.shiftDays, 'drop', false)
      return (
        shifted(value as string, context, moved?.slice(0, 4) ?? null) ??
        (yearOf(value as string) === null ? undefined : MASKED)
      )
    }
    case 'cryptoHash':
      return typeof value === 'string' ? count(counts, 'hashed', hashed(value, place, keys)) : otherwise(value, context)
    case 'uid':
      return typeof value === 'string'
        ? count(counts, 'hashed', keys.uid(value.replace(/^urn:oid:/, '')))
        : drop(counts)
    case 'coding':
      return codingValue(value, place, parent, rules) ? keep(value, counts) : drop(counts)
    case 'quantity':
      return quantityValue(value, place, parent, rules) ? keep(value, counts) : drop(counts)
    case 'zip3':
      return zip3(value, parent, rules, counts)
    case 'scrub': {
      const clean = typeof value === 'string' ? (context.scrub?.(value) ?? null) : null
      return clean === null ? drop(counts) : count(counts, 'scrubbed', clean)
    }
    case 'substitute':
      return count(counts, 'substituted', rule.replaceWith)
    case 'perturb':
      return perturbed(value, place, rule, context)
    case 'generalize':
      return generalized(value, rule, context)
  }
}

/** The id part of a reference is replaced, its shape stays: fragment, urn, relative, absolute. A conditional reference is all id. */
export function hashReference(reference: string, keys: ExtractKeys): string {
  if (reference.startsWith('#')) return reference === '#' ? '#' : `#${keys.pseudonym(reference.slice(1))}`
  const urn = /^urn:(?:uuid|oid):(.+)$/.exec(reference)
  if (urn !== null) return `urn:uuid:${keys.pseudonym(urn[1] as string)}`
  const [, server, type, id] = RESTFUL.exec(reference) ?? []
  if (type !== undefined && isResourceType(type))
    return `${server === undefined ? '' : NO_SERVER}${type}/${keys.pseudonym(id as string)}`
  const conditional = /^([A-Z][A-Za-z]+)\?/.exec(reference)?.[1]
  if (conditional !== undefined && isResourceType(conditional)) return `${conditional}/${keys.pseudonym(reference)}`
  return `urn:uuid:${keys.pseudonym(reference)}`
}

/**
 * The limit that this age exceeds, in its own unit; null when it is within it or is no age. So many years are an age anywhere; months, weeks
 * and days only where R4 says so.
 */
export function exceededAge(quantity: JsonObject, type: string): number | null {
  const value = numberOf(quantity['value']) ?? 0
  const said = [quantity['code'] ?? null, quantity['unit'] ?? null]
  if (type !== 'Age' && !said.some(unit => YEAR_UNITS.includes(unit))) return null
  const limit = AGE_MAX * (said.some(unit => YEAR_UNITS.includes(unit)) ? 1 : Math.max(1, ...said.map(perYear)))
  return value > limit ? limit : null
}

const perYear = (unit: Json): number => PER_YEAR.get(unit) ?? 1

function fits(value: Json, type: string): boolean {
  if (type === 'boolean') return typeof value === 'boolean'
  if (TYPES_OF_NUMBERS.includes(type)) return numberOf(value) !== null
  return typeof value === 'string'
}

function hashed(value: string, place: Place, keys: ExtractKeys): string {
  if (place.type === 'id') return keys.pseudonym(value)
  const refers = place.name === 'reference' || ['uri', 'url', 'canonical', 'oid', 'uuid'].includes(place.type)
  return refers ? hashReference(value, keys) : keys.hash(value)
}

function shifted(text: string, context: ValueContext, moved: string | null): string | undefined {
  if (moved === null) return drop(context.counts)
  if ((yearOf(text) ?? 0) < context.firstYear) return drop(context.counts, 'aged')
  return count(context.counts, 'shifted', moved)
}

function redacted(value: Json, place: Place, parent: JsonObject, context: ValueContext): Json | undefined {
  const { partial, restrictedZips } = context.rules
  if (partial.dates && DATES.includes(place.type)) {
    const year = yearOf(value as string)
    if (year !== null && year >= context.firstYear)
      return count(context.counts, 'generalized', String(year).padStart(4, '0'))
  }
  if (partial.zips && place.name === 'postalCode' && typeof value === 'string' && /^\d{5}/.test(value))
    return count(
      context.counts,
      'generalized',
      restrictedZips.has(value.slice(0, 3)) ? '00000' : `${value.slice(0, 3)}00`,
    )
  if (
    partial.ages &&
    place.name === 'value' &&
    place.type === 'decimal' &&
    'code' in parent &&
    YEAR_UNITS.includes(parent['code'] ?? null)
  )
    if ((numberOf(value) ?? Infinity) <= AGE_MAX) return keep(value, context.counts)
  return drop(context.counts)
}

function codingValue(value: Json, place: Place, coding: JsonObject, rules: RuleSet): boolean {
  const system = coding['system']
  if (place.name === 'code') return rules.knowsCode(system, value)
  if (place.name === 'system') return rules.knowsCode(system, coding['code'])
  return place.name === 'userSelected' && rules.knowsCode(system, coding['code'])
}

function quantityValue(value: Json, place: Place, quantity: JsonObject, rules: RuleSet): boolean {
  const coded = rules.knowsCode(quantity['system'], quantity['code'])
  if (place.name === 'value') return Math.abs(numberOf(value) ?? Infinity) < NUMBER_MAX
  if (place.name === 'comparator') return requiredCodes.has(value as string)
  if (place.name === 'unit') return rules.units.has(value)
  return (place.name === 'code' || place.name === 'system') && coded
}

/** Only of a postcode of the United States: elsewhere three digits may name a village. */
function zip3(value: Json, address: JsonObject, rules: RuleSet, counts: FhirCounts): Json | undefined {
  if (typeof value !== 'string' || !/^\d{5}(?:-\d{4})?$/.test(value)) return drop(counts)
  if (!rules.usCountries.has(address['country'] ?? null)) return drop(counts)
  return count(counts, 'generalized', rules.restrictedZips.has(value.slice(0, 3)) ? '000' : value.slice(0, 3))
}

function perturbed(
  value: Json,
  place: Place,
  rule: Rule & { method: 'perturb' },
  context: ValueContext,
): Json | undefined {
  const number = numberOf(value)
  if (number === null || place.name === 'rank') return otherwise(value, context)
  const width = rule.proportional ? Math.abs(number) * rule.span : rule.span
  const noisy = number + (context.keys.fraction(`${place.type}/${number}`) - 0.5) * width
  return count(context.counts, 'perturbed', Number(noisy.toFixed(place.type === 'decimal' ? rule.digits : 0)))
}

function generalized(value: Json, rule: Rule & { method: 'generalize' }, context: ValueContext): Json | undefined {
  for (const { when, give } of rule.cases)
    if (truth(when(value))) {
      const [item] = give(value)
      if (item === undefined) return drop(context.counts)
      if (isObject(item as Json)) {
        const date = (item as { date?: Json }).date
        if (typeof date !== 'string') throw new RuleFault('a case gives a text, a number, a truth value or a date')
        return count(context.counts, 'generalized', date)
      }
      return count(context.counts, 'generalized', item as Json)
    }
  return rule.others === 'keep' ? keep(value, context.counts) : drop(context.counts)
}

function otherwise(value: Json, context: ValueContext): Json | undefined {
  return context.rules.otherwise === 'keep' ? keep(value, context.counts) : drop(context.counts)
}

function keep(value: Json, counts: FhirCounts): Json {
  counts.kept++
  return value
}

function count<T extends Json>(counts: FhirCounts, what: keyof FhirCounts, value: T): T {
  counts[what]++
  return value
}

function drop(counts: FhirCounts, what: 'redacted' | 'unknown' | 'aged' = 'redacted'): undefined {
  counts[what]++
  return undefined
}
