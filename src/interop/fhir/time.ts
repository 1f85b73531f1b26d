// FHIR's dates as milliseconds. A date without time is a day somewhere on earth: a permit gets the part that all zones share, a deny
// the part that any has, unless the caller says which zone is meant. Both ends of a Period are inclusive, to their own precision.

import { type Json, refuse, text } from './read.ts'
import { type Bounds, FOREVER, type Window } from './types.ts'

const MINUTE_MS = 60_000
/** Zones in use reach from UTC-12 to UTC+14. */
const WEST_MS = 12 * 60 * MINUTE_MS
const EAST_MS = 14 * 60 * MINUTE_MS

const DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?$/
const INSTANT = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/

/** Earliest and latest that the text's first and last moment can be; `last` is exclusive. */
type Reach = { readonly first: Window; readonly last: Window }

export function periodBounds(value: Json, where: string, utcOffsetMinutes: number | undefined): Bounds {
  const start = text(value['start'], where)
  const end = text(value['end'], where)
  if (start === null && end === null) refuse('period-invalid', `${where} has neither start nor end.`)
  const first = start === null ? null : reach(start, where, utcOffsetMinutes).first
  const last = end === null ? null : reach(end, where, utcOffsetMinutes).last
  const wide = { from: Math.max(0, first?.from ?? 0), to: Math.max(0, last?.to ?? FOREVER) }
  const narrow = { from: Math.max(0, first?.to ?? 0), to: Math.max(0, last?.from ?? FOREVER) }
  if (wide.from >= wide.to) refuse('window-empty', `${where} ends before it starts, or before 1970.`)
  return { wide, narrow: narrow.from < narrow.to ? narrow : null }
}

function reach(value: string, where: string, utcOffsetMinutes: number | undefined): Reach {
  const instant = INSTANT.exec(value)
  if (instant !== null) return instantReach(instant, where)
  const date = DATE.exec(value)
  if (date === null) return refuse('period-invalid', `${where} is not a date, or a time without its zone.`)
  const [year, month, day] = [Number(date[1]), Number(date[2] ?? 1), Number(date[3] ?? 1)]
  const first = midnight(year, month, day, where)
  const last =
    date[3] !== undefined
      ? first + 24 * 60 * MINUTE_MS
      : date[2] !== undefined
        ? midnight(month === 12 ? year + 1 : year, month === 12 ? 1 : month + 1, 1, where)
        : midnight(year + 1, 1, 1, where)
  if (utcOffsetMinutes === undefined)
    return {
      first: { from: first - EAST_MS, to: first + WEST_MS },
      last: { from: last - EAST_MS, to: last + WEST_MS },
    }
  const shift = utcOffsetMinutes * MINUTE_MS
  return { first: { from: first - shift, to: first - shift }, last: { from: last - shift, to: last - shift } }
}

function instantReach(parts: RegExpExecArray, where: string): Reach {
  const [hour, minute, second] = [Number(parts[4]), Number(parts[5]), Number(parts[6])]
  const zone = parts[8] as string
  const [zoneHours, zoneMinutes] = zone === 'Z' ? [0, 0] : [Number(zone.slice(1, 3)), Number(zone.slice(4))]
  if (hour > 23 || minute > 59 || second > 59 || zoneHours > 14 || zoneMinutes > 59)
    refuse('period-invalid', `${where} is not a time of day.`)
  const fraction = parts[7] ?? ''
  const day = midnight(Number(parts[1]), Number(parts[2]), Number(parts[3]), where)
  const offset = (zone.startsWith('-') ? -1 : 1) * (zoneHours * 60 + zoneMinutes) * MINUTE_MS
  const ms = Number(fraction.slice(0, 3).padEnd(3, '0'))
  const at = day + (hour * 3600 + minute * 60 + second) * 1000 + ms - offset
  // Below a millisecond the first moment is at most one later, and the last at most one earlier.
  const rest = Number(fraction.slice(3) || '0') > 0 ? 1 : 0
  const end = at + 10 ** Math.max(0, 3 - fraction.length)
  return { first: { from: at, to: at + rest }, last: { from: end - rest, to: end } }
}

/** UTC midnight of a day that exists. */
function midnight(year: number, month: number, day: number, where: string): number {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day)
    refuse('period-invalid', `${where} is a day that does not exist.`)
  return date.getTime()
}

/** Last moment that FHIR can write. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/** null for a window without ends. `from` 0 and `to` for ever are left out; later than FHIR's last year is cut there. */
export function periodOf(from: number, to: number): { start?: string; end?: string } | null {
  if (from > LAST_MS) return null
  const start = from === 0 ? {} : { start: new Date(from).toISOString() }
  const end = to === FOREVER ? {} : { end: new Date(Math.min(to - 1, LAST_MS)).toISOString() }
  return { ...start, ...end }
}

export const isoTime = (ms: number): string => new Date(ms).toISOString()
