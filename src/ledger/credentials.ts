// credential.issue, credential.revoke (P-44): a CA vouches for a while for attributes and roles of a user, bound to the user's key. What
// stands here is what the CA signed as a REQUEST, beside the digest of the JWS that says the same to other systems; no decision ever
// parses a JWS. Besides: which of them count now. Not here: the JWS (identity/credential.ts), what a role may do (access/).

import type { RoleCredential } from '../access/session.ts'
import { openSession } from '../access/session.ts'
import { type Identifier, isHexadecimal, type Timestamp } from '../model/ids.ts'
import type { AttributeRow, CredentialIssue, CredentialRevoke, Outcome, Role } from '../model/operations.ts'
import { actingCa } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'
import type { CredentialEntry, User } from './entries.ts'
import type { Store } from './store.ts'
import { areAttributes, areNames, CREDENTIALS_MAX, isWhole, ROLES_MAX, sortedSet } from './syntax.ts'

export function onCredentialIssue(context: Context, operation: CredentialIssue): Outcome {
  const { store, height, time } = context
  const ca = actingCa(context)
  if (ca === null) return refused('not-authorized')
  const user = store.users.get(operation.user)
  if (user === undefined) return refused('unknown-user')
  if (!ca.institutions.includes(user.institution)) return refused('not-authorized')
  if (store.institutions.get(user.institution)?.removed !== false) return refused('unknown-institution')
  if (user.revoked || time >= user.validUntil) return refused('not-authorized')
  const { credential, publicKey, roles, attributes, validUntil } = operation
  if (!isHexadecimal(credential, 64) || publicKey !== user.publicKey || !isWhole(validUntil))
    return refused('invalid-operation')
  if (!areNames(roles, ROLES_MAX) || !areAttributes(attributes) || roles.length + attributes.length === 0)
    return refused('invalid-operation')
  if (validUntil <= time) return refused('window-empty')
  const name = `${user.id}/${credential}`
  if (store.credentials.has(name)) return refused('already-exists')
  if (!madeRoom(store, user.id, time)) return refused('invalid-operation')
  store.credentials.put(name, {
    ...{ credential, user: user.id, publicKey, roles: sortedSet(roles), attributes: inOrder(attributes), validUntil },
    ...{ issuer: ca.id, height, issued: time, revoked: false },
  })
  return DONE
}

/** Final. By any CA of the user's institution: the one that issued it may be gone. */
export function onCredentialRevoke(context: Context, operation: CredentialRevoke): Outcome {
  const { store } = context
  const ca = actingCa(context)
  if (ca === null) return refused('not-authorized')
  const user = store.users.get(operation.user)
  if (user === undefined) return refused('unknown-user')
  if (!ca.institutions.includes(user.institution)) return refused('not-authorized')
  const name = `${user.id}/${operation.credential}`
  const credential = store.credentials.get(name)
  if (credential === undefined) return refused('unknown-credential')
  if (credential.revoked) return refused('already-exists')
  store.credentials.put(name, { ...credential, revoked: true })
  return DONE
}

/** What a session may be opened by. One counts as revoked also when its key is no longer the user's, or its CA no longer that hospital's. */
export const roleCredentials = (store: Store, user: User | null): readonly RoleCredential[] =>
  user === null
    ? []
    : store.credentials.under(user.id).map(credential => {
        const { roles, validUntil } = credential
        return { roles, validUntil, revoked: !stands(store, user, credential) }
      })

/** Whether the registration or a credential gives the user this role now. */
export const holdsRole = (store: Store, user: User, role: Role, time: Timestamp): boolean =>
  openSession(user, role, time, roleCredentials(store, user)).type === 'open'

/** By registration and by credentials that hold now, sorted. */
export const rolesNow = (store: Store, user: User, time: Timestamp): readonly Role[] =>
  sortedSet([...user.roles, ...credentialsNow(store, user, time).flatMap(({ roles }) => roles)])

/** Att_u: the union of what the credentials say that hold now, sorted. No decision of the contract looks at it; house rules may. */
export function attributesNow(store: Store, user: User, time: Timestamp): readonly AttributeRow[] {
  const values = new Map<string, string[]>()
  for (const { attributes } of credentialsNow(store, user, time))
    for (const row of attributes) values.set(row.key, [...(values.get(row.key) ?? []), ...row.values])
  return inOrder([...values].map(([key, all]) => ({ key, values: all })))
}

const credentialsNow = (store: Store, user: User, time: Timestamp): readonly CredentialEntry[] =>
  store.credentials.under(user.id).filter(credential => time < credential.validUntil && stands(store, user, credential))

export function stands(store: Store, user: User, credential: CredentialEntry): boolean {
  const ca = store.cas.get(credential.issuer)
  const vouched = ca !== undefined && !ca.revoked && ca.institutions.includes(user.institution)
  return !credential.revoked && credential.publicKey === user.publicKey && vouched
}

const inOrder = (rows: readonly AttributeRow[]): readonly AttributeRow[] =>
  rows
    .map(({ key, values }) => ({ key, values: sortedSet(values) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))

/** Forgets the one that has been over the longest when there are too many. False: all of them still hold. */
function madeRoom(store: Store, user: Identifier, time: Timestamp): boolean {
  const held = store.credentials.under(user)
  if (held.length < CREDENTIALS_MAX) return true
  const [oldest] = [...held].sort((a, b) => a.validUntil - b.validUntil || (a.credential < b.credential ? -1 : 1))
  if (oldest === undefined || time < oldest.validUntil) return false
  store.credentials.delete(`${user}/${oldest.credential}`)
  return true
}
