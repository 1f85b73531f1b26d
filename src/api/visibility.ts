// What a caller may see (P-44, P-47): a user sees their own records, those of patients for whom they are delegate or guardian, and those for
// which they hold a grant that still runs; the hospital without a user's key sees records that it keeps and decisions about them.
// To anyone else "not allowed" and "does not exist" are the same answer. Not here: the contract's decisions, which no view can change.

import { type Delegation, delegationCovers, delegationInTime } from '../access/delegation.ts'
import type { RecordFacts } from '../access/policy.ts'
import type { RecordEntry } from '../ledger/entries.ts'
import type { Views } from '../ledger/views.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, RecordId, Timestamp } from '../model/ids.ts'
import type { Caller } from './auth.ts'

export type Sight = {
  readonly views: Views
  readonly caller: Caller
  /** The institution that runs this peer. */
  readonly institution: Identifier
  /** Block time of the head. */
  readonly time: Timestamp
}

/** Throws EmrmError `record-unknown`, for a record that is not there as for one that this caller may not see. */
export function requireRecord(sight: Sight, id: RecordId): RecordEntry {
  // Both questions are asked whatever the answers, of a record that does not exist too: the time would tell (test/bench/sight.ts).
  const holds = holdsGrant(sight, id)
  const { entry, keeps } = keptRecord(sight, id)
  if (entry === null || !(keeps || holds)) throw recordUnknown(id)
  return entry
}

/** Owner, guardian, delegate or custodian: those who may also see who else can see it. Throws EmrmError `record-unknown`. */
export function requireRecordAsKeeper(sight: Sight, id: RecordId): RecordEntry {
  const { entry, keeps } = keptRecord(sight, id)
  if (entry === null || !keeps) throw recordUnknown(id)
  return entry
}

/** Where there is no record, the same is looked up for a record of nobody. */
function keptRecord(sight: Sight, id: RecordId): { readonly entry: RecordEntry | null; readonly keeps: boolean } {
  const entry = sight.views.record(id)
  const keeps = seesAsKeeper(sight, entry ?? ({ owner: NOBODY, custodian: NOBODY } as RecordEntry))
  return { entry, keeps: keeps && entry !== null }
}

/** No key's identifier: SHA-256 begins with sixteen zero bytes for nothing that anyone can find. */
const NOBODY = '0'.repeat(32) as Identifier

const recordUnknown = (record: RecordId): EmrmError =>
  new EmrmError('record-unknown', `there is no record ${record} that this caller may see; check the id and the key`, {
    record,
  })

export function seesAsKeeper(sight: Sight, record: RecordEntry): boolean {
  const { caller } = sight
  if (caller.type === 'hospital') return record.custodian === sight.institution
  if (!isActive(sight, caller.user)) return false
  if (record.owner === caller.user) return true
  const delegation = delegationOf(sight, record.owner)
  return delegation !== null && delegationCovers(delegation, factsOf(record), sight.time)
}

/** The owner, or whoever stands wholly in the owner's place: may see and set policies. */
export function isOwnerOrGuardian(sight: Sight, owner: Identifier): boolean {
  const { caller } = sight
  if (caller.type === 'hospital' || !isActive(sight, caller.user)) return false
  if (caller.user === owner) return true
  const delegation = delegationOf(sight, owner)
  return delegation?.kind === 'guardian' && delegation.scope.type === 'all' && delegationInTime(delegation, sight.time)
}

function delegationOf({ views, caller }: Sight, owner: Identifier): Delegation | null {
  return caller.type === 'user' ? delegationFor(views, owner, caller.user) : null
}

/** What the owner delegated to this user, whether or not its window is open. */
export const delegationFor = (views: Views, owner: Identifier, user: Identifier): Delegation | null =>
  views.delegatesOf(owner).find(({ delegate }) => delegate === user) ?? null

function holdsGrant(sight: Sight, record: RecordId): boolean {
  const { views, caller, time } = sight
  if (caller.type === 'hospital' || !isActive(sight, caller.user)) return false
  return views
    .decisionsOf({ user: caller.user })
    .some(decision => decision.result === 'granted' && grantRuns(views, decision.request, record, time))
}

function grantRuns(views: Views, request: Parameters<Views['grant']>[0], record: RecordId, time: Timestamp): boolean {
  const grant = views.grant(request)
  return grant !== null && grant.record === record && time < grant.expires
}

/** Registered, not revoked, not expired, and asking with the key that acts for the user now. */
export function isActive({ views, caller, time }: Sight, id: Identifier): boolean {
  const user = views.user(id)
  return (
    caller.type === 'user' &&
    user !== null &&
    !user.revoked &&
    time < user.validUntil &&
    user.publicKey === caller.publicKey
  )
}

export const factsOf = (record: RecordEntry): RecordFacts => ({
  record: record.record,
  owner: record.owner,
  kind: record.kind,
  confidentiality: record.confidentiality,
  withdrawn: record.withdrawn,
  twinOf: record.twinOf,
  twin: record.twin,
})
