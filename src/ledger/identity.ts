// user.register, user.revoke, user.rotate-key (P-44): a CA vouches for the users of the institutions that it is authorized for, and no
// others. A user's identity is the first key, so a patient registered at one hospital is the same at all.

import { isHexadecimal, type PublicKey, type SignatureScheme } from '../model/ids.ts'
import type { Outcome, UserRegister, UserRevoke, UserRotateKey } from '../model/operations.ts'
import { actingCa, actingUser, identifierOfKey } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'
import { areNames, GROUPS_MAX, isWhole, ROLES_MAX, sortedSet } from './syntax.ts'

/**
 * Registers, or renews: the same key and institution with a later end (and whatever roles hold from now on). The long-lived identity; it may
 * come without a role, for a user whose roles credentials give (credentials.ts).
 */
export function onUserRegister(context: Context, operation: UserRegister): Outcome {
  const { store, height } = context
  const ca = actingCa(context)
  if (ca === null) return refused('not-authorized')
  const institution = store.institutions.get(operation.institution)
  if (institution === undefined || institution.removed) return refused('unknown-institution')
  if (!ca.institutions.includes(operation.institution)) return refused('not-authorized')
  if (!isKey(operation.publicKey, operation.scheme) || !isWhole(operation.validUntil))
    return refused('invalid-operation')
  if (!areNames(operation.roles, ROLES_MAX) || !areNames(operation.groups, GROUPS_MAX))
    return refused('invalid-operation')
  if (operation.validUntil <= context.time) return refused('window-empty')
  const id = identifierOfKey(operation.publicKey)
  const before = store.users.get(id)
  const renews =
    before === undefined ||
    (!before.revoked && before.institution === operation.institution && operation.validUntil > before.validUntil)
  if (!renews) return refused('already-exists')
  store.users.put(id, {
    ...{ id, publicKey: before?.publicKey ?? operation.publicKey, scheme: before?.scheme ?? operation.scheme },
    ...{ roles: sortedSet(operation.roles), groups: sortedSet(operation.groups), institution: operation.institution },
    ...{ validUntil: operation.validUntil, revoked: false, registeredBy: ca.id, height: before?.height ?? height },
  })
  return DONE
}

/** Final: a revoked user stays revoked, so that an old registration cannot bring the key back. */
export function onUserRevoke(context: Context, operation: UserRevoke): Outcome {
  const { store } = context
  const ca = actingCa(context)
  if (ca === null) return refused('not-authorized')
  const user = store.users.get(operation.user)
  if (user === undefined) return refused('unknown-user')
  if (!ca.institutions.includes(user.institution)) return refused('not-authorized')
  if (user.revoked) return refused('already-exists')
  store.users.put(user.id, { ...user, revoked: true })
  return DONE
}

export function onUserRotateKey(context: Context, operation: UserRotateKey): Outcome {
  const { store } = context
  const user = store.users.get(operation.user)
  const self = actingUser(context)
  const ca = actingCa(context)
  if (self === null && ca === null) return refused('not-authorized')
  if (user === undefined) return refused('unknown-user')
  if (self?.id !== user.id && !(ca?.institutions.includes(user.institution) ?? false)) return refused('not-authorized')
  if (user.revoked) return refused('not-authorized')
  if (!isKey(operation.publicKey, operation.scheme)) return refused('invalid-operation')
  if (operation.publicKey === user.publicKey) return refused('already-exists')
  store.users.put(user.id, { ...user, publicKey: operation.publicKey, scheme: operation.scheme })
  return DONE
}

const isKey = (key: PublicKey, scheme: SignatureScheme): boolean =>
  (scheme === 1 && isHexadecimal(key, 64)) || (scheme === 2 && isHexadecimal(key, 66))
