// A committed grant against this hospital's own rules: release, or withhold with the name of the rule. It can only narrow: there is no
// input with which it releases what the chain has not granted, because it is asked about grants alone.
// Not here: the grant's own limits (records/share-server.ts), the clock (the caller gives the minute of the day).

import type { Confidentiality, Grant } from '../model/operations.ts'
import type { Condition, Rules } from './rules.ts'

export type Enforcement = { readonly type: 'release' } | { readonly type: 'withhold'; readonly rule: string }

/** What the rules can ask about, beside the grant. */
export type LocalFacts = {
  readonly kind: string
  readonly confidentiality: Confidentiality
  /** 0 … 1439, this hospital's local time. */
  readonly minuteOfDay: number
}

type GrantFacts = Pick<Grant, 'purpose' | 'role' | 'institution'>

/** The first rule that holds decides. A rule without conditions withholds everything. */
export function enforce(rules: Rules, grant: GrantFacts, facts: LocalFacts): Enforcement {
  for (const rule of rules) if (holds(rule.when, grant, facts)) return { type: 'withhold', rule: rule.name }
  return { type: 'release' }
}

/** For the composition root, which alone knows the zone that the machine is set to. */
export function localMinuteOfDay(ms: number): number {
  const date = new Date(ms)
  return date.getHours() * 60 + date.getMinutes()
}

/** Monday 1 … Sunday 7, in the same zone. */
export const localWeekday = (ms: number): number => new Date(ms).getDay() || 7

const RANK = 'ULMNRV'

function holds(when: Condition, grant: GrantFacts, facts: LocalFacts): boolean {
  if (!among(when.purpose, grant.purpose) || !among(when.role, grant.role)) return false
  if (!among(when.institution, grant.institution) || !among(when.kind, facts.kind)) return false
  const above = when.confidentialityAbove
  if (above !== undefined && RANK.indexOf(facts.confidentiality) <= RANK.indexOf(above)) return false
  return when.hours === undefined || within(when.hours, facts.minuteOfDay)
}

const among = (values: readonly string[] | undefined, value: string): boolean =>
  values === undefined || values.includes(value)

const within = ({ fromMinute, toMinute }: NonNullable<Condition['hours']>, minute: number): boolean =>
  fromMinute < toMinute ? minute >= fromMinute && minute < toMinute : minute >= fromMinute || minute < toMinute
