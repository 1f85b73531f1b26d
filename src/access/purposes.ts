// Purpose (P-40, P-41): HL7 v3 PurposeOfUse of FHIR R4 as a tree. A purpose covers those below it (TREAT covers COC), except that
// break-the-glass is never implied: it stands below TREAT in HL7's tree, yet overrides the patient's consent, so only its own name
// permits it. A purpose is an index into this table while a decision is made. The order of the table is for ever: add at the end.

import type { Purpose } from '../model/operations.ts'

export const BREAK_THE_GLASS: Purpose = 'BTG'

/** Each purpose with those directly below it; the first column has no parent or was listed above. */
const TREE: readonly (readonly [parent: string, children: string])[] = [
  ['', 'TREAT HPAYMT HOPERAT HRESCH PATRQT PUBHLTH HMARKT'],
  ['TREAT', 'CLINTRL COC ETREAT POPHLTH'],
  ['ETREAT', 'BTG ERTREAT'],
  ['HPAYMT', 'CLMATTCH COVAUTH COVERAGE REMITADV'],
  ['COVERAGE', 'ELIGDTRM ELIGVER ENROLLM MILDCRG'],
  ['HOPERAT', 'CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN'],
  ['HOPERAT', 'MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN'],
  ['HSYSADMIN', 'LABELING METAMGT'],
  ['SYSDEV', 'HTEST'],
  ['HRESCH', 'BIORCH CLINTRCH DSRCH POARCH TRANSRCH'],
  ['CLINTRCH', 'CLINTRCHNPC CLINTRCHPC PRECLINTRCH'],
  ['PATRQT', 'FAMRQT PWATRNY SUPNWK'],
  ['PUBHLTH', 'DISASTER THREAT'],
]

/** Every code, parents before children; the position is the purpose's index. */
export const PURPOSES: readonly Purpose[] = TREE.flatMap(([, children]) => children.split(' '))

const INDEXES: ReadonlyMap<Purpose, number> = new Map(PURPOSES.map((code, index) => [code, index]))
const PARENTS: ReadonlyMap<Purpose, Purpose> = new Map(
  TREE.flatMap(([parent, children]) =>
    parent === '' ? [] : children.split(' ').map(child => [child, parent] as const),
  ),
)

/** -1 for a missing or unknown purpose: refused, never a wildcard. */
export const purposeIndex = (code: Purpose): number => INDEXES.get(code) ?? -1

export const isPurpose = (code: Purpose): boolean => INDEXES.has(code)

/** null at the top of the tree. */
export const parentPurpose = (code: Purpose): Purpose | null => PARENTS.get(code) ?? null

/** Whether `above` is `code` or stands above it in HL7's tree, with no exception: what a *deny* of `above` reaches. */
export function standsAbove(above: Purpose, code: Purpose): boolean {
  for (let at: Purpose | null = code; at !== null; at = parentPurpose(at)) if (at === above) return true
  return false
}

/** Whether a *permit* of `permitted` covers `asked`: downward along the tree, break-the-glass only by its own name. */
export const purposeCovers = (permitted: Purpose, asked: Purpose): boolean =>
  asked === BREAK_THE_GLASS ? permitted === BREAK_THE_GLASS : standsAbove(permitted, asked)

/** One byte for each purpose, 1 where any of `codes` reaches it by `reaches`. Unknown codes reach nothing. */
export function purposeMask(
  codes: readonly Purpose[],
  reaches: (above: Purpose, code: Purpose) => boolean = purposeCovers,
): Uint8Array {
  const mask = new Uint8Array(PURPOSES.length)
  const known = codes.filter(isPurpose)
  for (const [index, asked] of PURPOSES.entries()) if (known.some(code => reaches(code, asked))) mask[index] = 1
  return mask
}
