// A permitting rule → policies: purposes, rights, window and ceiling narrowed to what may be said, exceptions for everyone taken out of
// it, data selectors turned into kinds, single records, or nothing.

import { CONFIDENTIALITIES, confidentialityRank } from '../../access/sets.ts'
import type { Confidentiality, Scope } from '../../model/operations.ts'
import { ANYONE, cut, EVERYTHING, lower, sortedRights, stamps } from './drafts.ts'
import { ceilingOf, kindOfClass, matchesRecord } from './known-records.ts'
import { hasLabels, type Reading, selectsData } from './provision.ts'
import { sharedPurposes, withoutPurposes } from './purpose-sets.ts'
import { refuse } from './read.ts'
import { resolveRecord } from './references.ts'
import { type ConsentRules, FOREVER, type PolicyDraft, type Rule } from './types.ts'

/** A permit within the bounds of its Consent; null: nothing is left. */
export function narrowPermit(rule: Rule, rules: ConsentRules, { notes }: Reading): Rule | null {
  const drop = (why: string): null => {
    notes.push(`${rule.where}: ${why}`)
    return null
  }
  if (rule.purposes === null) return drop('names no purpose; nothing named is not everything.')
  let purposes = rule.purposes
  if (rules.purposesMax !== null) {
    const within = sharedPurposes(purposes, rules.purposesMax)
    if (within.length === 0) return drop('permits only purposes that the overarching policy does not.')
    if (withoutPurposes(purposes, within).length > 0)
      notes.push(`${rule.where}: purposes cut to the overarching policy.`)
    purposes = within
  }
  if (rule.window !== null && rule.window.narrow === null) return drop('is never in force.')
  let rights = rule.rights
  if (rights === null && rules.rights === null)
    notes.push(`${rule.where}: names no action; reading is permitted, not sharing.`)
  rights = rights === null ? (rules.rights ?? ['read']) : rights.filter(right => rules.rights?.includes(right) ?? true)
  return rights.length === 0
    ? drop('permits only actions that the overarching policy does not.')
    : { ...rule, purposes, rights }
}

/** `taken`: exceptions for everyone, which no deny policy of its own can say. */
export function permitDrafts(
  permit: Rule | null,
  taken: readonly Rule[],
  rules: ConsentRules,
  reading: Reading,
): readonly PolicyDraft[] {
  let rule = permit
  let ceilingMax: Confidentiality = rules.ceilingMax ?? 'V'
  const byData: Rule[] = []
  for (const deny of taken) {
    if (rule === null) break
    if (!selectsData(deny)) rule = takeOut(rule, deny, reading)
    else if (isCeiling(deny)) {
      const below = belowLowest(deny.confidentialities)
      if (below === null) rule = null
      else ceilingMax = lower(ceilingMax, below)
    } else byData.push(deny)
  }
  if (rule === null) return []
  const { grantees, purposes, rights, window, anonymous } = rule
  const terms: Omit<PolicyDraft, 'scope' | 'grantee' | 'labelCeiling'> = {
    ...{ owner: rules.owner, effect: 'permit' as const, purposes: purposes ?? [], rights: sortedRights(rights ?? []) },
    ...{ ...stamps(window?.narrow ?? { from: 0, to: FOREVER }), anonymous },
  }
  const targets = targetsOf(rule, byData, ceilingMax, reading)
  return targets.flatMap(({ scope, labelCeiling }) =>
    (rule.actors === 'named' ? grantees : [ANYONE]).map(grantee => ({ ...terms, scope, grantee, labelCeiling })),
  )
}

/** An exception without data: its most telling condition is taken out, the others are not looked at, so it reaches further than it says. */
function takeOut(rule: Rule, deny: Rule, { notes }: Reading): Rule | null {
  const conditions = [deny.rights, deny.window, deny.purposes].filter(condition => condition !== null)
  if (conditions.length > 1)
    notes.push(`${deny.where}: one of its conditions is kept, so it reaches further than it says.`)
  if (deny.rights !== null && !deny.rights.includes('read')) {
    const rights = (rule.rights ?? []).filter(right => right !== 'share')
    return rights.length === 0 ? null : { ...rule, rights }
  }
  if (deny.window !== null) {
    const narrow = cut(rule.window?.narrow ?? { from: 0, to: FOREVER }, deny.window.wide)
    if (narrow !== null && deny.window.wide.from > 0) notes.push(`${deny.where}: the permit ends or begins there.`)
    return narrow === null ? null : { ...rule, window: { narrow, wide: narrow } }
  }
  if (deny.purposes === null) return null
  const purposes = withoutPurposes(rule.purposes ?? [], deny.purposes)
  return purposes.length === 0 ? null : { ...rule, purposes }
}

const isCeiling = (rule: Rule): boolean =>
  rule.confidentialities.length > 0 &&
  rule.sensitivities.length === 0 &&
  !rule.otherLabels &&
  !selectsData({ ...rule, confidentialities: [] })

function belowLowest(codes: readonly Confidentiality[]): Confidentiality | null {
  const lowest = Math.min(...codes.map(confidentialityRank))
  return CONFIDENTIALITIES[lowest - 1] ?? null
}

type Target = { readonly scope: Scope; readonly labelCeiling: Confidentiality }

function targetsOf(rule: Rule, denies: readonly Rule[], max: Confidentiality, reading: Reading): readonly Target[] {
  const direct = denies.length === 0 ? directTargets(rule, max, reading) : null
  if (direct !== null) return direct
  const { context, notes } = reading
  const { records, resolver } = context
  if (records === undefined) {
    const first = denies[0]
    if (first !== undefined)
      return refuse('exception-not-expressible', `${first.where}: excepts data that a policy cannot select.`)
    notes.push(`${rule.where}: selects data that a policy cannot; nothing of it is permitted.`)
    return []
  }
  notes.push(`${rule.where}: permitted for the records known today that surely match; not for later ones.`)
  const fallback = ceilingWithoutLabels(rule, reading)
  return records
    .filter(record => matchesRecord(rule, record, resolver) === 'yes')
    .filter(record => denies.every(deny => matchesRecord(deny, record, resolver) === 'no'))
    .map(record => ({
      scope: { type: 'record', record: record.record },
      labelCeiling: lower(max, hasLabels(rule) ? record.confidentiality : fallback),
    }))
}

/** null: needs to know the records. */
function directTargets(rule: Rule, max: Confidentiality, reading: Reading): readonly Target[] | null {
  const { context, notes } = reading
  const kinds = rule.classes.map(kindOfClass)
  if (rule.dataPeriod !== null || rule.codes.length > 0 || kinds.includes(null)) return null
  if (rule.data.length > 0 && kinds.length > 0) return null
  if (rule.data.some(({ meaning }) => meaning !== 'instance') && context.records !== undefined) return null
  let ceiling: Confidentiality | null
  if (hasLabels(rule)) {
    ceiling = ceilingOf(rule.confidentialities)
    const beyond = rule.confidentialities.some(
      c => ceiling === null || confidentialityRank(c) > confidentialityRank(ceiling),
    )
    if ((beyond || rule.sensitivities.length > 0) && context.records !== undefined) return null
    if (beyond) notes.push(`${rule.where}.securityLabel: what is permitted above a gap is not; a policy has a ceiling.`)
    if (rule.sensitivities.length > 0)
      notes.push(`${rule.where}.securityLabel: a policy cannot select by sensitivity; that part is not permitted.`)
    if (ceiling === null) return []
  } else ceiling = ceilingWithoutLabels(rule, reading)
  const labelCeiling = lower(max, ceiling)
  if (lower(max, ceiling) !== ceiling) notes.push(`${rule.where}: labels above ${labelCeiling} are withheld.`)
  return scopesOf(rule, kinds, reading).map(scope => ({ scope, labelCeiling }))
}

function ceilingWithoutLabels(rule: Rule, { context, notes }: Reading): Confidentiality {
  const ceiling = context.defaultCeiling ?? 'N'
  if (ceiling !== 'V') notes.push(`${rule.where}: names no label; records above ${ceiling} are withheld.`)
  return ceiling
}

function scopesOf(rule: Rule, kinds: readonly (string | null)[], { context, notes }: Reading): readonly Scope[] {
  if (kinds.length > 0) return kinds.flatMap(kind => (kind === null ? [] : [{ type: 'kind', kind } as const]))
  if (rule.data.length === 0) return [EVERYTHING]
  const records = rule.data.map(({ meaning, reference }) =>
    meaning === 'instance' ? resolveRecord(reference, context.resolver) : null,
  )
  if (records.includes(null)) notes.push(`${rule.where}.data: what is not a record of ours is not permitted.`)
  return records.flatMap(record => (record === null ? [] : [{ type: 'record', record } as const]))
}
