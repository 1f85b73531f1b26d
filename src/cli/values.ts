// How the command line reads values: times, numbers, identifiers, scopes, grantees. A value that cannot be read is wrong usage (exit 2);
// one that reads well but means nothing here (an unknown purpose, an empty window) is an EmrmError before anything is signed.

import { InvalidArgumentError } from 'commander'

import { isPurpose } from '../access/purposes.ts'
import { EmrmError } from '../model/errors.ts'
import { isHexadecimal, type Timestamp } from '../model/ids.ts'

/** The last instant of the year 9999: "no end". */
export const TIME_MAX = 253_402_300_799_999

const ISO = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?(Z|[+-]\d{2}:\d{2})?)?$/

/** ISO 8601 or milliseconds since 1970. A date alone is its midnight, a time without a zone is UTC: a script means the same anywhere. */
export function readTime(text: string): Timestamp {
  if (/^\d{1,15}$/.test(text)) return inRange(Number(text))
  const [, date, minutes = '00:00', seconds = '00', fraction = '0', zone = 'Z'] = ISO.exec(text) ?? []
  if (date === undefined) throw notATime()
  const time = Date.parse(`${date}T${minutes}:${seconds}.${fraction.padEnd(3, '0')}${zone}`)
  // 30 February reads as 2 March: refused.
  if (Number.isNaN(time) || new Date(`${date}T00:00:00Z`).toISOString().slice(0, 10) !== date) throw notATime()
  return inRange(time)
}

function inRange(time: number): Timestamp {
  if (time < 0 || time > TIME_MAX) throw notATime()
  return time as Timestamp
}

const notATime = (): InvalidArgumentError =>
  new InvalidArgumentError('a time is ISO 8601 (2027-01-31T08:00:00Z) or milliseconds since 1970.')

export const readWhole =
  (min: number, max: number) =>
  (text: string): number => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max)
      throw new InvalidArgumentError(`a whole number from ${min} to ${max} is needed.`)
    return Number(text)
  }

/** Hexadecimal digits, either case, as ids are printed. */
const readId =
  (digits: number, what: string) =>
  (text: string): string => {
    const id = text.toLowerCase()
    if (!isHexadecimal(id, digits)) throw new InvalidArgumentError(`${what} has ${digits} hexadecimal digits.`)
    return id
  }

export const readRecordId: (text: string) => string = readId(32, 'a record id')
export const readUserId: (text: string) => string = readId(32, 'an identifier')
export const readRequestId: (text: string) => string = readId(64, 'an id')

/** Collects an option that may be given several times. */
export const collect = (text: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  text,
]

/** Throws EmrmError `purpose-unknown`: a code that nobody knows is never a wildcard. */
export function requirePurposes(codes: readonly string[]): void {
  for (const purpose of codes)
    if (!isPurpose(purpose))
      throw new EmrmError(
        'purpose-unknown',
        `${purpose} is not an HL7 PurposeOfUse code; TREAT, HRESCH, HPAYMT, PUBHLTH, PATRQT are some`,
        { purpose },
      )
}

/** Throws EmrmError `role-unknown`. */
export function requireRoles(roles: readonly string[], known: readonly string[]): void {
  for (const role of roles)
    if (!known.includes(role))
      throw new EmrmError('role-unknown', `${role} is not a role of this network; it has ${known.join(', ')}`, { role })
}

/** Throws EmrmError `window-empty` when no time lies in from … to. */
export function requireWindow(from: number, to: number): void {
  if (from >= to)
    throw new EmrmError(
      'window-empty',
      '--from is not before --to, so nothing would ever be permitted; swap or correct them',
      {
        from,
        to,
      },
    )
}

/** `all`, `kind:K` or `record:R`, as the operation carries it. */
export function readScope(text: string): ScopeText {
  const { type, value } = split(text)
  if (type === 'all' && value === null) return { type: 'all' }
  if (type === 'kind' && value) return { type: 'kind', kind: value }
  if (type === 'record' && value) return { type: 'record', record: readRecordId(value) }
  throw new InvalidArgumentError('a scope is all, kind:KIND or record:RECORD.')
}

export type ScopeText =
  | { readonly type: 'all' }
  | { readonly type: 'kind'; readonly kind: string }
  | { readonly type: 'record'; readonly record: string }

/** `anyone`, `institution:I` (id or name), `user:U`, `role:R` or `group:G`. */
export function readGrantee(text: string): GranteeText {
  const { type, value } = split(text)
  if (type === 'anyone' && value === null) return { type: 'anyone' }
  if (type === 'institution' && value) return { type, value }
  if (type === 'user' && value) return { type, value: readUserId(value) }
  if ((type === 'role' || type === 'group') && value) return { type, value }
  throw new InvalidArgumentError('a grantee is anyone, institution:I, user:U, role:R or group:G.')
}

export type GranteeText =
  | { readonly type: 'anyone' }
  | { readonly type: 'institution' | 'user' | 'role' | 'group'; readonly value: string }

function split(text: string): { readonly type: string; readonly value: string | null } {
  const colon = text.indexOf(':')
  return colon < 0 ? { type: text, value: null } : { type: text.slice(0, colon), value: text.slice(colon + 1) }
}

/** One of a few words, collected: the option may be given several times. */
export const readChoice =
  (what: string, choices: readonly string[]) =>
  (text: string, earlier?: readonly string[]): readonly string[] => {
    if (!choices.includes(text)) throw new InvalidArgumentError(`${what} is ${choices.join(' or ')}.`)
    return [...(earlier ?? []), text]
  }
