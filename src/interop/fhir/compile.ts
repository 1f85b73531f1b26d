// A Consent's base and exceptions → our policies. One rule over all: a permit that cannot be said exactly becomes narrower or nothing, a
// deny that cannot be said exactly becomes wider; when a wider deny would leave nothing of the Consent, the Consent is refused.
// Not here: reading (consent-r4.ts, consent-r5.ts) and permits (compile-permit.ts).

import { CONFIDENTIALITIES, RIGHTS } from '../../access/sets.ts'
import type { Grantee, Scope } from '../../model/operations.ts'
import { narrowPermit, permitDrafts } from './compile-permit.ts'
import { ANYONE, EVERYTHING, keyOf, onePerKey, shared, sortedRights, stamps } from './drafts.ts'
import { kindOfClass } from './known-records.ts'
import { hasConditions, hasLabels, type Reading, selectsData } from './provision.ts'
import { ALL_PURPOSES, denyBeside } from './purpose-sets.ts'
import { Refused, refuse } from './read.ts'
import { resolveRecord } from './references.ts'
import { type ConsentMapping, type ConsentRules, FOREVER, type PolicyDraft, type Rule, type Window } from './types.ts'

/** Far below what the ledger keeps for one patient: one Consent does not fill it. */
const DRAFTS_MAX = 500

export function compileConsent(rules: ConsentRules, reading: Reading): ConsentMapping {
  const { notes } = reading
  const mapping = rules.base.effect === 'permit' ? compilePermitting(rules, reading) : compileDenying(rules, reading)
  const policies = onePerKey(mapping.policies, notes)
  if (policies.length > DRAFTS_MAX)
    refuse('too-many-policies', `The Consent would become more than ${DRAFTS_MAX} policies.`)
  return { type: 'mapped', policies, notes, replacesEarlier: mapping.replacesEarlier }
}

type Compiled = Pick<ConsentMapping, 'policies' | 'replacesEarlier'>

function compilePermitting(rules: ConsentRules, reading: Reading): Compiled {
  const { base, exceptions } = rules
  const permits = [base, ...exceptions.filter(rule => rule.effect === 'permit').map(rule => inherit(rule, base))]
  const denies = exceptions.filter(rule => rule.effect === 'deny')
  const policies = withDenies(permits, denies, rules, reading)
  if (!policies.some(policy => policy.effect === 'permit'))
    refuse(
      'nothing-permitted',
      ['Nothing of what the Consent permits can be said exactly.', ...reading.notes].join(' '),
    )
  return { policies, replacesEarlier: false }
}

function compileDenying(rules: ConsentRules, reading: Reading): Compiled {
  const { base, exceptions, owner } = rules
  const { notes } = reading
  const permits = exceptions.filter(rule => rule.effect === 'permit').map(rule => within(rule, base))
  const denies = exceptions.filter(rule => rule.effect === 'deny')
  const plain = !hasConditions({ ...base, purposes: null, window: null })
  if (permits.length > 0 && !plain)
    notes.push(`${base.where}: a deny with conditions; a deny beats its exceptions, so they are left out.`)
  const drafts = permits.length === 0 || !plain ? [] : exceptionsOf(permits, denies, rules, reading)
  const purposes = base.purposes ?? ALL_PURPOSES
  const permitted = drafts.filter(policy => policy.effect === 'permit')
  if (permitted.length === 0) {
    if (base.purposes === null || !base.purposes.includes('BTG'))
      notes.push('Break-the-glass stays under the rule of the network: a deny must name it to close it.')
    const further = denies.flatMap(rule => denyDrafts(rule, rules, reading))
    const whole = { ...base, purposes, rights: base.rights ?? rules.rights }
    return { policies: [...denyDrafts(whole, rules, reading), ...further], replacesEarlier: false }
  }
  notes.push(`${base.where}: "no, except …": the no is the default and holds once earlier permits are revoked.`)
  const closed = denyBeside(
    purposes,
    permitted.flatMap(policy => policy.purposes),
  )
  const terms = { purposes: closed, window: base.window?.wide, denyCeiling: rules.denyCeiling }
  const deny = draft(owner, 'deny', EVERYTHING, ANYONE, terms)
  const clashes = drafts.some(policy => keyOf(policy) === keyOf(deny))
  return { policies: closed.length === 0 || clashes ? drafts : [...drafts, deny], replacesEarlier: true }
}

/** An exception that cannot be kept takes the others along: what is left is the deny. */
function exceptionsOf(
  permits: readonly Rule[],
  denies: readonly Rule[],
  rules: ConsentRules,
  reading: Reading,
): PolicyDraft[] {
  try {
    return withDenies(permits, denies, rules, reading)
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault
    reading.notes.push(fault.reason, 'The exceptions to the deny are left out.')
    return []
  }
}

/** What an exception does not say is as in the rule that it is an exception to; it never reaches beyond that rule's period. */
function inherit(rule: Rule, base: Rule): Rule {
  const selects = <K extends keyof Rule>(key: K, said: boolean): Rule[K] => (said ? rule : base)[key]
  const joined =
    hasLabels(rule) && hasLabels(base) && adds(rule, base)
      ? CONFIDENTIALITIES.filter(c => rule.confidentialities.includes(c) || base.confidentialities.includes(c))
      : null
  const labels = hasLabels(rule)
  return {
    ...within(rule, base),
    ...{ grantees: selects('grantees', rule.actors !== 'anyone'), actors: selects('actors', rule.actors !== 'anyone') },
    ...{ purposes: rule.purposes ?? base.purposes, rights: rule.rights ?? base.rights },
    confidentialities: joined ?? selects('confidentialities', labels),
    ...{ sensitivities: selects('sensitivities', labels), otherLabels: selects('otherLabels', labels) },
    dataPeriod: rule.dataPeriod ?? base.dataPeriod,
    ...{ data: selects('data', rule.data.length > 0), classes: selects('classes', rule.classes.length > 0) },
    ...{ codes: selects('codes', rule.codes.length > 0), anonymous: rule.anonymous || base.anonymous },
  }
}

/** Whether the base permits all that the exception does but for its labels: then the exception's labels come on top of the base's. */
const adds = (rule: Rule, base: Rule): boolean =>
  base.actors === 'anyone' &&
  rule.purposes === null &&
  rule.rights === null &&
  rule.dataPeriod === null &&
  rule.data.length + rule.classes.length + rule.codes.length === 0

function within(rule: Rule, base: Rule): Rule {
  if (base.window === null) return rule
  if (rule.window === null) return { ...rule, window: base.window }
  const [own, outer] = [rule.window.narrow, base.window.narrow]
  return {
    ...rule,
    window: { narrow: own === null || outer === null ? null : shared(own, outer), wide: rule.window.wide },
  }
}

/** Permits with the exceptions taken out, where that can be, and the exceptions that stand for themselves. */
function withDenies(
  permits: readonly Rule[],
  denies: readonly Rule[],
  rules: ConsentRules,
  reading: Reading,
): PolicyDraft[] {
  const standing: PolicyDraft[] = []
  const taken: Rule[] = []
  for (const deny of denies) {
    if (deny.actors === 'unclear')
      refuse('exception-not-expressible', `${deny.where}: somebody is excepted whom a policy cannot name.`)
    if (deny.actors === 'named' || namesRecords(deny, reading)) standing.push(...denyDrafts(deny, rules, reading))
    else taken.push(deny)
  }
  const narrowed = permits.flatMap(rule => permitDrafts(narrowPermit(rule, rules, reading), taken, rules, reading))
  return [...standing, ...narrowed]
}

/** Selects by `instance` alone, and every one is a record that we know. */
const namesRecords = (rule: Rule, { context }: Reading): boolean =>
  rule.data.length > 0 &&
  !selectsData({ ...rule, data: [] }) &&
  rule.data.every(item => item.meaning === 'instance' && resolveRecord(item.reference, context.resolver) !== null)

/** A deny as policies: for everyone or those named, for all data or those records and kinds; never for less than it says. */
function denyDrafts(rule: Rule, rules: ConsentRules, reading: Reading): readonly PolicyDraft[] {
  const { context, notes } = reading
  let scopes: readonly Scope[] = [EVERYTHING]
  const rest = { ...rule, classes: [] }
  if (namesRecords(rule, reading))
    scopes = rule.data.flatMap(({ reference }): Scope[] => {
      const record = resolveRecord(reference, context.resolver)
      return record === null ? [] : [{ type: 'record', record }]
    })
  else if (rule.classes.length > 0 && !selectsData(rest) && rule.classes.every(item => kindOfClass(item) !== null))
    scopes = rule.classes.map(item => ({ type: 'kind', kind: kindOfClass(item) ?? '' }))
  else if (selectsData(rule)) notes.push(`${rule.where}: a policy cannot select this data; all data is denied.`)
  if (rule.actors === 'unclear')
    notes.push(`${rule.where}: a policy cannot name all of these recipients; all are denied.`)
  const grantees = rule.actors === 'named' ? rule.grantees : [ANYONE]
  const { denyCeiling, owner } = rules
  // Not the overarching rights: sharing includes reading, so an exception to it takes both.
  const rights = rule.rights ?? RIGHTS
  const window = rule.window?.wide ?? { from: 0, to: FOREVER }
  const terms = { purposes: rule.purposes ?? ALL_PURPOSES, rights, window, denyCeiling, anonymous: rule.anonymous }
  return scopes.flatMap(scope => grantees.map(grantee => draft(owner, 'deny', scope, grantee, terms)))
}

type Terms = {
  readonly purposes: readonly string[]
  readonly rights?: PolicyDraft['rights']
  readonly window?: Window | undefined
  readonly denyCeiling: PolicyDraft['labelCeiling']
  readonly anonymous?: boolean
}

const draft = (
  owner: PolicyDraft['owner'],
  effect: PolicyDraft['effect'],
  scope: Scope,
  grantee: Grantee,
  terms: Terms,
): PolicyDraft => ({
  ...{ owner, scope, grantee, effect, purposes: terms.purposes, rights: sortedRights(terms.rights ?? RIGHTS) },
  ...stamps(terms.window ?? { from: 0, to: FOREVER }),
  ...{ anonymous: terms.anonymous ?? false, labelCeiling: terms.denyCeiling },
})
