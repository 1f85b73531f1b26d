// Why a record cannot be erased yet, in words: the rule, whose visit it counts from, and the date. One text for the hospital and the patient.

import type { Retention } from '../ledger/erasure.ts'
import { EmrmError } from '../model/errors.ts'

export type { Retention } from '../ledger/erasure.ts'

/** Years as the parameter's default counts them: of 366 days, never shorter than the calendar's. */
const DAY_MS = 24 * 60 * 60 * 1000
const YEAR_MS = 366 * DAY_MS

export function retentionNotOver(retention: Retention, facts: Readonly<Record<string, string | number>>): EmrmError {
  const { encounter, periodMs, since, until } = retention
  const [event, parameter] =
    encounter === 'inpatient' ? ['discharge', 'retentionInpatientMs'] : ['visit', 'retentionOutpatientMs']
  return new EmrmError(
    'retention-not-over',
    `the network refused the erasure: the retention rule ${parameter} keeps ${encounter} records for ${period(periodMs)} after the patient's last ${event} at the hospital that keeps them, which was on ${date(since)}; this one until ${date(until)}: ask again then, or withdraw it, which stops all sharing now`,
    { ...facts, encounter, rule: parameter, periodMs, since, until },
  )
}

function period(ms: number): string {
  if (ms % YEAR_MS === 0) return `${ms / YEAR_MS} years`
  return ms % DAY_MS === 0 ? `${ms / DAY_MS} days` : `${ms} ms`
}

const date = (ms: number): string => new Date(ms).toISOString()
