// The sets of P-40 that do not change: permissions (rights) and the two HL7 code systems that label a record. Integers and strings
// only, compared by code unit: the same answer on every machine, in every year.
// Not here: purposes (purposes.ts), users and roles (the ledger's registry).

import type { Confidentiality, Right } from '../model/operations.ts'

export const RIGHTS: readonly Right[] = ['read', 'share']

/** `share` includes `read`. */
export const rightIncludes = (held: Right, asked: Right): boolean => held === 'share' || asked === 'read'

/** HL7 v3 Confidentiality, from open to very restricted. */
export const CONFIDENTIALITIES: readonly Confidentiality[] = ['U', 'L', 'M', 'N', 'R', 'V']

/** Position in the order U < L < M < N < R < V. */
export const confidentialityRank = (code: Confidentiality): number => CONFIDENTIALITIES.indexOf(code)

/** HL7 v3 ActCode, information sensitivity: by what it says, whose it is, and who asked for it. */
const SENSITIVITIES: ReadonlySet<string> = new Set([
  ...['ETH', 'GDIS', 'HIV', 'MST', 'SCA', 'SDV', 'SEX', 'SPI', 'BH', 'COGN', 'DVD', 'EMOTDIS', 'MH', 'PSY', 'PSYTHPN'],
  ...['SUD', 'ETHUD', 'OPIOIDUD', 'STD', 'TBOO', 'VIO', 'SICKLE'],
  ...['DEMO', 'DOB', 'GENDER', 'LIVARG', 'MARST', 'RACE', 'REL', 'B', 'EMPL', 'LOCIS', 'SSP'],
  ...['ADOL', 'CEL', 'DIA', 'DRGIS', 'EMP', 'PDS', 'PHY', 'PRS'],
])

export const isSensitivity = (code: string): boolean => SENSITIVITIES.has(code)
export const sensitivities = (): readonly string[] => [...SENSITIVITIES].sort()
