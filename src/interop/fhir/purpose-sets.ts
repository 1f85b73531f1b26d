// Sets of purposes as a policy can write them: a few codes, each of which brings those below it. Taking one purpose out of a set, or
// keeping what two sets share, gives the largest set that a policy can still write: never more.

import { PURPOSES, parentPurpose, purposeCovers, standsAbove } from '../../access/purposes.ts'

/** Every purpose but break-the-glass, which stands only where it is named. */
export const ALL_PURPOSES: readonly string[] = PURPOSES.filter(code => parentPurpose(code) === null).sort()

/** What `permitted` reaches and a deny of `denied` does not. */
export const withoutPurposes = (permitted: readonly string[], denied: readonly string[]): readonly string[] =>
  writable(code => covered(permitted, code) && !denied.some(above => standsAbove(above, code)), purposeCovers)

/** What both reach. */
export const sharedPurposes = (first: readonly string[], second: readonly string[]): readonly string[] =>
  writable(code => covered(first, code) && covered(second, code), purposeCovers)

/** What a deny of `denied` reaches and no permit of `permitted` does; written as a deny, which takes break-the-glass along. */
export const denyBeside = (denied: readonly string[], permitted: readonly string[]): readonly string[] =>
  writable(code => denied.some(above => standsAbove(above, code)) && !covered(permitted, code), standsAbove)

const covered = (permitted: readonly string[], code: string): boolean =>
  permitted.some(above => purposeCovers(above, code))

export const unionPurposes = (first: readonly string[], second: readonly string[]): readonly string[] =>
  [...new Set([...first, ...second])].sort()

/** The topmost codes all of whose reach is allowed. */
function writable(allowed: (code: string) => boolean, reaches: (above: string, code: string) => boolean): string[] {
  const whole = PURPOSES.filter(code => PURPOSES.every(below => !reaches(code, below) || allowed(below)))
  return whole.filter(code => !whole.some(above => above !== code && reaches(above, code))).sort()
}
