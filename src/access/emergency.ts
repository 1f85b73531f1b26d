// Break-the-glass: access without the patient's policy, for a role that is provisioned for it, with a reason, for a short time, and
// under review afterwards (contract.md, access.emergency). It overrides consent, so two doors stay shut: a deny in force that names
// BTG itself, and the label ceiling (very restricted records stay withheld unless a BTG permit of the patient says otherwise).

import type { Confidentiality } from '../model/operations.ts'
import type { Decision, Question } from './decide.ts'
import { choosePolicy } from './policy.ts'
import { BREAK_THE_GLASS, purposeIndex } from './purposes.ts'
import { purposeHasRight, roleHasPurpose, roleHasRight } from './relations.ts'
import { openSession } from './session.ts'
import { confidentialityRank } from './sets.ts'

/** Records above this stay withheld when the patient said nothing about break-the-glass. */
export const EMERGENCY_CEILING: Confidentiality = 'R'

const BTG_INDEX = purposeIndex(BREAK_THE_GLASS)

/** `question.purpose` and `question.right` are not looked at: an emergency is BTG and reads. */
export function decideEmergency(question: Question): Decision {
  const { role, record, relations, time } = question
  const session = openSession(question.user, role, time, question.credentials)
  if (session.type === 'closed') return deny(session.reason)
  if (!question.institutionActive) return deny('credential-revoked')
  const provisioned =
    roleHasPurpose(relations, role, BTG_INDEX) &&
    roleHasRight(relations, role, 'read') &&
    purposeHasRight(relations, BTG_INDEX, 'read')
  if (!provisioned) return deny('emergency-not-provisioned')
  if (question.emergencySuspended) return deny('emergency-suspended')
  if (record === null) return deny('no-policy')
  const naming = question.policies.filter(({ policy }) => policy.purposes.includes(BREAK_THE_GLASS))
  const answer = choosePolicy(naming, { user: session.user, role, record, purpose: BTG_INDEX, right: 'read', time })
  if (answer.type === 'deny' && answer.policy !== null) return { ...deny(answer.reason), policy: answer.policy }
  const permit = answer.type === 'permit' ? answer.policy : null
  const ceiling = permit === null ? EMERGENCY_CEILING : permit.labelCeiling
  if (confidentialityRank(record.confidentiality) > confidentialityRank(ceiling)) return deny('label-withheld')
  if (record.withdrawn) return deny('record-withdrawn')
  const variant = record.twinOf === null ? 'original' : 'deidentified'
  const until = session.until
  return { type: 'grant', record: record.record, variant, basis: 'emergency', policy: permit, until }
}

const deny = (reason: Extract<Decision, { type: 'deny' }>['reason']): Extract<Decision, { type: 'deny' }> => ({
  type: 'deny',
  reason,
  policy: null,
})
