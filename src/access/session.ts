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
  /** The registration holds while block time < validUntil. */
  readonly validUntil: Timestamp
  readonly revoked: boolean
}

/** What a CA vouched for, for a while, beside the registration. */
export type RoleCredential = {
  readonly roles: readonly Role[]
  /** Holds while block time < validUntil. */
  readonly validUntil: Timestamp
  readonly revoked: boolean
}

export type Session =
  /** `until`: what is granted in it must not outlive this. */
  | { readonly type: 'open'; readonly user: Subject; readonly role: Role; readonly until: Timestamp }
  | { readonly type: 'closed'; readonly reason: DenialReason }

/** A role is held by the registration, or by a credential that holds now; without the registration no credential counts. */
export function openSession(
  user: Subject | null,
  role: Role,
  time: Timestamp,
  credentials: readonly RoleCredential[],
): Session {
  if (user === null) return closed('requester-unknown')
  if (time >= user.validUntil) return closed('credential-expired')
  if (user.revoked) return closed('credential-revoked')
  if (user.roles.includes(role)) return { type: 'open', user, role, until: user.validUntil }
  const naming = credentials.filter(({ roles }) => roles.includes(role))
  const unexpired = naming.filter(({ validUntil }) => time < validUntil)
  const ends = unexpired.filter(({ revoked }) => !revoked).map(({ validUntil }) => validUntil)
  // The one that lasts longest, whatever the order of the list.
  if (ends.length > 0)
    return { type: 'open', user, role, until: Math.min(user.validUntil, Math.max(...ends)) as Timestamp }
  if (unexpired.length > 0) return closed('credential-revoked')
  return closed(naming.length > 0 ? 'credential-expired' : 'role-not-held')
}

const closed = (reason: DenialReason): Session => ({ type: 'closed', reason })
