// Who broke the glass, told to those whom it concerns: the patient or a guardian, and the two hospitals whose task the review is, the record's
// custodian and the requester's own, with the deadline. Not here: the verdict (ledger/reviews.ts).

import type { Emergency } from '../ledger/entries.ts'
import type { Timestamp } from '../model/ids.ts'
import { isOwnerOrGuardian, type Sight } from './visibility.ts'

export type EmergencyShown = Emergency & {
  /** Overdue and rejected ones suspend the user's right until they are resolved. */
  readonly state: 'open' | 'overdue' | 'justified' | 'rejected'
  /** By name; the id when it is no longer registered. */
  readonly hospital: string
}

/** Oldest first. */
export function emergenciesFor(sight: Sight): readonly EmergencyShown[] {
  const { views, time } = sight
  return views
    .emergencies()
    .filter(emergency => concerns(sight, emergency))
    .map(emergency => ({
      ...emergency,
      state: stateOf(emergency, time),
      hospital: views.institution(emergency.institution)?.name ?? emergency.institution,
    }))
    .sort((a, b) => a.time - b.time)
}

function stateOf({ verdict, deadline }: Emergency, time: Timestamp): EmergencyShown['state'] {
  if (verdict === null) return time >= deadline ? 'overdue' : 'open'
  return verdict === 'justified' ? 'justified' : 'rejected'
}

function concerns(sight: Sight, { owner, record, institution }: Emergency): boolean {
  if (sight.caller.type === 'user') return isOwnerOrGuardian(sight, owner)
  return institution === sight.institution || sight.views.record(record)?.custodian === sight.institution
}
