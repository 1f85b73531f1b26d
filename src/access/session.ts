// SESSION of P-40: a registered user in one role at one time. Opening it is rung 1 of the ladder (P-47: authenticate).
// Not here: the signature (wire/verify) and whether the key is the user's present one (ledger/actors.ts).

import type { Identifier, Timestamp } from '../model/ids.ts'
import type { DenialReason, Role } from '../model/operations.ts'

/** What the registry knows of a user (P-44). */
export type Subject = {
  readonly id: Identifier
  readonly institution: Identifier
  readonly roles: readonly Role[]
  readonly groups: readonly string[]
  /** The credential holds while block time < validUntil. */
  readonly validUntil: Timestamp
  readonly revoked: boolean
}

export type Session =
  | { readonly type: 'open'; readonly user: Subject; readonly role: Role }
  | { readonly type: 'closed'; readonly reason: DenialReason }

export function openSession(user: Subject | null, role: Role, time: Timestamp): Session {
  if (user === null) return { type: 'closed', reason: 'requester-unknown' }
  if (time >= user.validUntil) return { type: 'closed', reason: 'credential-expired' }
  if (user.revoked) return { type: 'closed', reason: 'credential-revoked' }
  if (!user.roles.includes(role)) return { type: 'closed', reason: 'role-not-held' }
  return { type: 'open', user, role }
}
