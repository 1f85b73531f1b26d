// access.review: the verdict on a break-the-glass access (contract.md). Who judges: the record's custodian or the requester's hospital,
// by the institution's key or by a user of it in role `quality`; never the requester. An overdue or rejected review takes the user's BTG right
// until a verdict `justified` stands; a rejection is lifted only by the custodian's own key.

import type { Identifier, Timestamp } from '../model/ids.ts'
import type { AccessReview, Outcome } from '../model/operations.ts'
import { actingInstitution, actingUser } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'
import { holdsRole } from './credentials.ts'
import type { Emergency } from './entries.ts'
import type { Store } from './store.ts'
import { TEXT_LENGTH_MAX } from './syntax.ts'

/** The role whose holders judge for their hospital. */
export const REVIEWER_ROLE = 'quality'

export function onAccessReview(context: Context, operation: AccessReview): Outcome {
  const { store, request } = context
  const grant = store.grants.get(operation.grant)
  const institution = actingInstitution(context)
  const user = institution === null ? actingUser(context) : null
  const judge =
    institution?.id ?? (user !== null && holdsRole(store, user, REVIEWER_ROLE, context.time) ? user.institution : null)
  if (judge === null) return refused('not-authorized')
  const emergency = grant === undefined ? undefined : store.emergencies.get(`${grant.requester}/${grant.grant}`)
  if (grant === undefined || emergency === undefined) return refused('unknown-grant')
  if (operation.note.length > TEXT_LENGTH_MAX) return refused('invalid-operation')
  if (operation.verdict !== 'justified' && operation.verdict !== 'rejected') return refused('unknown-code')
  const custodian = store.records.get(grant.record)?.custodian
  if (judge !== custodian && judge !== emergency.institution) return refused('not-authorized')
  if (request.client === emergency.user) return refused('not-authorized')
  if (emergency.verdict === 'justified' || emergency.verdict === operation.verdict) return refused('review-closed')
  if (emergency.verdict === 'rejected' && institution?.id !== custodian) return refused('not-authorized')
  const { verdict, note } = operation
  store.emergencies.put(`${emergency.user}/${emergency.grant}`, {
    ...emergency,
    verdict,
    reviewer: request.client,
    note,
  })
  return DONE
}

/** Whether a review of this user's is overdue or was rejected. */
export const emergencySuspended = (store: Store, user: Identifier, time: Timestamp): boolean =>
  store.emergencies.under(user).some(emergency => suspends(emergency, time))

const suspends = (emergency: Emergency, time: Timestamp): boolean =>
  emergency.verdict === 'rejected' || (emergency.verdict === null && time >= emergency.deadline)
