// Does a grant still stand? The ladder of P-47 is asked again at the head, with the question that led to the grant: whoever lost a role, a
// policy or a window since then gets no more shares. Not here: expiry and freshness (records), the hospital's own rules (enforcer).

import { rulesOf } from '../access/rules.ts'
import type { DenialReason, Grant } from '../model/operations.ts'
import { questionOf } from './access.ts'
import type { Views } from './views.ts'

/** Null while it would be granted again, to the same variant; else the reason of the denial. */
export function standing(views: Views, grant: Grant): DenialReason | null {
  const held = views.record(grant.record)
  const rules = rulesOf(grant.rulesVersion)
  if (held === null || rules === null) return 'no-policy'
  const { requester, role, purpose, right } = grant
  // A twin was asked for under its own id, or came in place of its original; either question may still be answered with it.
  const asked = held.twinOf === null ? [held.record] : [held.twinOf, held.record]
  let reason: DenialReason = 'no-policy'
  for (const record of asked) {
    const question = questionOf(views.store, requester, { record, role, purpose, right }, views.head().timestamp)
    const decision = grant.basis === 'emergency' ? rules.decideEmergency(question) : rules.decide(question)
    if (decision.type === 'grant' && decision.record === grant.record) return null
    if (decision.type === 'deny') reason = decision.reason
  }
  return reason
}
