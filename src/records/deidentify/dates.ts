// Dates moved by whole days, as FHIR and DICOM write them. Whole days keep every interval between dates of one patient; the time of day
// goes unless a rule keeps it, because a second-exact time would join two extracts. No clock: a date is text and a day number.

const DAYS_TO_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
const FHIR_DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(Z|[+-]\d\d:\d\d)?)?)?)?$/
/** A day alone with a zone, as some senders write it. */
const ZONED_DAY = /^(\d{4}-\d\d-\d\d)(?:Z|[+-]\d\d:\d\d)$/

/** How much of the time of day is left. */
export type TimeOfDay = 'keep' | 'drop'

/**
 * A FHIR date, dateTime or instant, moved; null when it is none. A year or a month alone becomes the year in which its middle lands.
 * `instant` must have a time by its type: a dropped one is written as midnight UTC.
 */
export function shiftFhirDate(text: string, days: number, time: TimeOfDay, instant: boolean): string | null {
  const match = FHIR_DATE.exec(ZONED_DAY.exec(text)?.[1] ?? text)
  if (match === null) return null
  const [, year, month, day, clock, zone] = match
  if (month === undefined) return yearText(yearOfDay(dayNumber(Number(year), 7, 1) + days))
  const first = Number(month)
  if (first < 1 || first > 12) return null
  if (day === undefined) return yearText(yearOfDay(dayNumber(Number(year), first, 15) + days))
  if (Number(day) < 1 || Number(day) > daysInMonth(Number(year), first)) return null
  const moved = dayText(dayNumber(Number(year), first, Number(day)) + days, '-')
  if (clock === undefined || time === 'drop') return instant ? `${moved}T00:00:00Z` : moved
  return `${moved}T${clock}${zone ?? 'Z'}`
}

/** A DICOM DA or the date part of a DT, `YYYYMMDD` or the old `YYYY.MM.DD`; null when it is none. The time part of a DT is always dropped. */
export function shiftDicomDate(text: string, days: number): string | null {
  const match = /^(\d{4})\.?(\d\d)\.?(\d\d)(?:\d{2,6}(?:\.\d{1,6})?)?(?:[+-]\d{4})?$/.exec(text.trim())
  if (match === null) return null
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null
  return dayText(dayNumber(year, month, day) + days, '')
}

/** The year in which a FHIR date begins; null when it is none. */
export function yearOf(text: string): number | null {
  return FHIR_DATE.test(text) || ZONED_DAY.test(text) ? Number(text.slice(0, 4)) : null
}

/** The latest year that begins a date in JSON text, up to `max`; 0 when there is none. A sentinel such as 9999-12-31 is no year of a life. */
export function latestYear(json: string, max: number): number {
  let latest = 0
  for (const [, digits] of json.matchAll(/"(\d{4})-\d\d/g)) {
    const year = Number(digits)
    if (year > latest && year <= max) latest = year
  }
  return latest
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** A count of days in the proleptic Gregorian calendar, 1 on the first of January of year 1. */
export function dayNumber(year: number, month: number, day: number): number {
  const before = year - 1
  const leaps = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400)
  return before * 365 + leaps + (DAYS_TO_MONTH[month - 1] as number) + (month > 2 && isLeap(year) ? 1 : 0) + day
}

function isLeap(year: number): boolean {
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
}

function yearOfDay(number: number): number {
  let year = Math.floor(number / 365.2425) + 1
  while (dayNumber(year, 1, 1) > number) year--
  while (dayNumber(year + 1, 1, 1) <= number) year++
  return year
}

function yearText(year: number): string {
  return String(Math.max(1, year)).padStart(4, '0')
}

function dayText(number: number, separator: string): string {
  const year = yearOfDay(Math.max(1, number))
  let rest = Math.max(1, number) - dayNumber(year, 1, 1)
  let month = 1
  while (rest >= daysInMonth(year, month)) rest -= daysInMonth(year, month++)
  return [yearText(year), String(month).padStart(2, '0'), String(rest + 1).padStart(2, '0')].join(separator)
}
