// The decision of P-47: a ladder in the paper's order; the first failing rung names the denial. Pure: the answer hangs on the question
// alone, so that anyone can recompute it from the chain for ever. No answer is a Deny.
// Not here: break-the-glass without a policy (emergency.ts); where the facts come from (ledger).

import type { Identifier, RecordId, Timestamp } from '../model/ids.ts'
import type { DenialReason, Purpose, Right, Role } from '../model/operations.ts'
import { type Delegation, delegationCovers } from './delegation.ts'
import { type CompiledPolicy, choosePolicy, type Policy, type RecordFacts } from './policy.ts'
import { BREAK_THE_GLASS, purposeIndex } from './purposes.ts'
import { type CompiledRelations, purposeHasRight, roleHasPurpose, roleHasRight } from './relations.ts'
import { openSession, type RoleCredential, type Session, type Subject } from './session.ts'
import { confidentialityRank } from './sets.ts'

/** Version of these rules; it stands in every block header. A change of meaning is a new number beside the old code. */
export const RULES_VERSION = 1

export type Question = {
  /** null when nobody is registered under the requester's identifier. */
  readonly user: Subject | null
  /** All that the state holds of the user's, in any order. */
  readonly credentials: readonly RoleCredential[]
  /** Whether the user's institution is still in the consortium. */
  readonly institutionActive: boolean
  /** An overdue or rejected review takes the user's BTG right away until it is resolved. */
  readonly emergencySuspended: boolean
  readonly role: Role
  readonly purpose: Purpose
  readonly right: Right
  /** Block time. */
  readonly time: Timestamp
  /** null when the record does not exist: the answer is that of a record without a policy. */
  readonly record: RecordFacts | null
  /** The owner's delegation to this user, if any. */
  readonly delegation: Delegation | null
  /** All policies of the record's owner, in any order. */
  readonly policies: readonly CompiledPolicy[]
  readonly relations: CompiledRelations
}

export type Decision =
  | {
      readonly type: 'grant'
      /** What may be released: the record that was asked for, or its de-identified twin. */
      readonly record: RecordId
      readonly variant: 'original' | 'deidentified'
      readonly basis: 'owner' | 'delegate' | 'policy' | 'emergency'
      readonly policy: Policy | null
      /** The grant must not outlive this: end of the window, the delegation or the credential. */
      readonly until: Timestamp
    }
  | { readonly type: 'deny'; readonly reason: DenialReason; readonly policy: Policy | null }

export function decide(question: Question): Decision {
  const { role, right, record, relations } = question
  // 1. Authenticate.
  const session = openSession(question.user, role, question.time, question.credentials)
  if (session.type === 'closed') return deny(session.reason)
  // 2. The owner, or a delegate in scope and time.
  const own = ownDecision(question, session)
  if (own !== null) return own
  if (!question.institutionActive) return deny('credential-revoked')
  // 3. A purpose, and one that is known.
  const purpose = purposeIndex(question.purpose)
  if (purpose < 0) return deny('purpose-required')
  // 4. 5. 6. The relations of P-41.
  if (!roleHasPurpose(relations, role, purpose)) return deny('role-purpose')
  if (!roleHasRight(relations, role, right)) return deny('role-permission')
  if (!purposeHasRight(relations, purpose, right)) return deny('purpose-permission')
  if (question.purpose === BREAK_THE_GLASS && question.emergencySuspended) return deny('emergency-suspended')
  // 7. The patient's policy.
  if (record === null) return deny('no-policy')
  const answer = choosePolicy(question.policies, {
    user: session.user,
    role,
    record,
    purpose,
    right,
    time: question.time,
  })
  if (answer.type === 'deny') return deny(answer.reason, answer.policy)
  return permitted(answer.policy, record, session.until)
}

/** Applies the winner's obligations. Only who would have been granted learns that a record was withdrawn. */
function permitted(policy: Policy, record: RecordFacts, sessionEnd: Timestamp): Decision {
  if (confidentialityRank(record.confidentiality) > confidentialityRank(policy.labelCeiling))
    return deny('label-withheld', policy)
  if (record.withdrawn) return deny('record-withdrawn', policy)
  const until = Math.min(policy.to, sessionEnd) as Timestamp
  const grant = { type: 'grant', basis: 'policy', policy, until } as const
  if (record.twinOf !== null) return { ...grant, record: record.record, variant: 'deidentified' }
  if (!policy.anonymous) return { ...grant, record: record.record, variant: 'original' }
  // The identified form is withheld; without a twin there is nothing that may be released.
  if (record.twin === null) return deny('label-withheld', policy)
  return { ...grant, record: record.twin, variant: 'deidentified' }
}

function ownDecision(question: Question, session: Extract<Session, { type: 'open' }>): Decision | null {
  const { record, delegation } = question
  if (record === null) return null
  const basis = ownBasis(record.owner, session.user.id, question)
  if (basis === null) return null
  // Withdrawn may mean "registered under the wrong patient": nobody gets it, not even its owner.
  if (record.withdrawn) return deny('record-withdrawn')
  const end = basis === 'delegate' && delegation !== null ? delegation.to : session.until
  const until = Math.min(end, session.until) as Timestamp
  const variant = record.twinOf === null ? 'original' : 'deidentified'
  return { type: 'grant', record: record.record, variant, basis, policy: null, until }
}

function ownBasis(owner: Identifier, user: Identifier, question: Question): 'owner' | 'delegate' | null {
  if (user === owner) return 'owner'
  const { record, delegation } = question
  if (record === null || delegation === null || !delegationCovers(delegation, record, question.time)) return null
  // A delegate reads; only a guardian stands wholly in the patient's place.
  return delegation.kind === 'guardian' || question.right === 'read' ? 'delegate' : null
}

const deny = (reason: DenialReason, policy: Policy | null = null): Decision => ({ type: 'deny', reason, policy })
