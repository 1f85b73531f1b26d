// Which of the patient's known records a provision's data selectors reach. Three answers: a permit takes what surely matches, an exception
// leaves what surely does not; a record of which the fact is not known gets nothing.

import { CONFIDENTIALITIES, confidentialityRank } from '../../access/sets.ts'
import type { Confidentiality } from '../../model/operations.ts'
import { kindOfMediaType, MIME_TYPES, OUR_KIND, RESOURCE_TYPES, sensitivityReaches } from './codes.ts'
import { hasLabels } from './provision.ts'
import { nameOf, resolveRecord } from './references.ts'
import type { Coded, DataReference, KnownRecord, Resolver, Rule } from './types.ts'

export type Match = 'yes' | 'no' | 'unknown'

/** `dataPeriod`, `data`, `class`, `code` and `securityLabel` together: all that are given must match. */
export function matchesRecord(rule: Rule, record: KnownRecord, resolver: Resolver): Match {
  return all([
    hasLabels(rule) ? matchesLabels(rule, record) : 'yes',
    rule.dataPeriod === null ? 'yes' : matchesPeriod(rule.dataPeriod, record),
    rule.data.length === 0 ? 'yes' : any(rule.data.map(item => matchesData(item, record, resolver))),
    rule.classes.length === 0 ? 'yes' : any(rule.classes.map(item => matchesClass(item, record))),
    rule.codes.length === 0 ? 'yes' : any(rule.codes.map(item => matchesCode(item, record))),
  ])
}

/** A permit names labels one by one, and a ceiling as far as its confidentialities have no gap; a deny reaches what stands below as well. */
function matchesLabels(rule: Rule, record: KnownRecord): Match {
  if (rule.confidentialities.includes(record.confidentiality)) return 'yes'
  if (rule.effect === 'permit') {
    const ceiling = ceilingOf(rule.confidentialities)
    const below = ceiling !== null && confidentialityRank(record.confidentiality) <= confidentialityRank(ceiling)
    return below || record.labels.some(label => rule.sensitivities.includes(label)) ? 'yes' : 'no'
  }
  const reaches = (pairs: (denied: string, label: string) => boolean): boolean =>
    record.labels.some(label => rule.sensitivities.some(denied => pairs(denied, label)))
  if (reaches(sensitivityReaches)) return 'yes'
  // Labelled with the wider code: the denied one may be what was meant.
  if (reaches((denied, label) => sensitivityReaches(label, denied))) return 'unknown'
  return rule.otherLabels ? 'unknown' : 'no'
}

/**
 * The highest confidentiality up to which a list has no gap, counted from N: {N, R} is R, {N, V} is N, {R} alone is none.
 * U, L and M are less than normal; a list that goes no further has its highest.
 */
export function ceilingOf(codes: readonly Confidentiality[]): Confidentiality | null {
  const normal = confidentialityRank('N')
  let ceiling: Confidentiality | null = null
  for (const [rank, code] of CONFIDENTIALITIES.entries()) {
    if (codes.includes(code)) ceiling = code
    else if (rank >= normal) break
  }
  return ceiling
}

function matchesPeriod(period: NonNullable<Rule['dataPeriod']>, { authored }: KnownRecord): Match {
  if (authored === null) return 'unknown'
  const { narrow, wide } = period
  if (narrow !== null && narrow.from <= authored.from && authored.to <= narrow.to) return 'yes'
  return authored.to <= wide.from || wide.to <= authored.from ? 'no' : 'unknown'
}

function matchesData({ meaning, reference }: DataReference, record: KnownRecord, resolver: Resolver): Match {
  if (meaning === 'dependents') return 'unknown'
  if (meaning === 'instance' || meaning === 'related') {
    const target = resolveRecord(reference, resolver)
    if (target === record.record) return 'yes'
    if (meaning === 'instance') return target === null ? 'unknown' : 'no'
  }
  const names = meaning === 'related' ? record.related : record.authors
  const name = nameOf(reference)
  if (names === null || name === null) return 'unknown'
  return names.includes(name) ? 'yes' : 'no'
}

function matchesClass(item: Coded, record: KnownRecord): Match {
  const kind = kindOfClass(item)
  if (kind !== null) return kind === record.kind ? 'yes' : 'no'
  if (item.system !== RESOURCE_TYPES || record.resourceType === null) return 'unknown'
  return item.code === record.resourceType ? 'yes' : 'no'
}

function matchesCode(item: Coded, record: KnownRecord): Match {
  if (record.codes === null || item.system === '' || item.code === '') return 'unknown'
  return record.codes.some(({ system, code }) => system === item.system && code === item.code) ? 'yes' : 'no'
}

/** A class that is one of our record kinds exactly. */
export function kindOfClass({ system, code }: Coded): string | null {
  if (system === OUR_KIND) return code === '' ? null : code
  return system === MIME_TYPES ? kindOfMediaType(code) : null
}

const all = (matches: readonly Match[]): Match =>
  matches.includes('no') ? 'no' : matches.includes('unknown') ? 'unknown' : 'yes'

const any = (matches: readonly Match[]): Match =>
  matches.includes('yes') ? 'yes' : matches.includes('unknown') ? 'unknown' : 'no'
