// The rules by version. Replaying an old chain uses the rules of its time: a change of meaning adds a number here and leaves the old
// code where it is.

import { type Decision, decide, type Question, RULES_VERSION } from './decide.ts'
import { decideEmergency } from './emergency.ts'

export type Rules = {
  readonly decide: (question: Question) => Decision
  readonly decideEmergency: (question: Question) => Decision
}

const VERSIONS: ReadonlyMap<number, Rules> = new Map([[RULES_VERSION, { decide, decideEmergency }]])

/** null for a version that this peer does not know: it must not guess. */
export const rulesOf = (version: number): Rules | null => VERSIONS.get(version) ?? null
