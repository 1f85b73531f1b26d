// Who acts. wire/verify has checked that the request's key signed it; whether that key may act for `client`, the registry decides: a
// user's present key, or a key whose identifier `client` is (P-32). null is "nobody who may do this".

import type { Request } from '../model/block.ts'
import { identifierOf } from '../model/hash.ts'
import type { Identifier, PublicKey } from '../model/ids.ts'
import type { Context } from './context.ts'
import type { Authority, Ca, Institution, User } from './entries.ts'

/** Identifiers remembered, since computing one costs as much as deciding; changes no answer. */
const REMEMBERED_MAX = 20_000
const remembered = new Map<PublicKey, Identifier>()

export function identifierOfKey(key: PublicKey): Identifier {
  let id = remembered.get(key)
  if (id === undefined) {
    id = identifierOf(key)
    if (remembered.size >= REMEMBERED_MAX) remembered.clear()
    remembered.set(key, id)
  }
  return id
}

/** The client is the key itself: institutions, CAs, the authority, and users that nobody has registered. */
export const actsForItself = (request: Request): boolean =>
  request.scheme === 1 && identifierOfKey(request.publicKey) === request.client

/** Whether the key may speak for `client` at all. A request that fails this is somebody else's, and is refused without a trace. */
export function speaksForClient({ store, request }: Context): boolean {
  const user = store.users.get(request.client)
  if (user === undefined) return identifierOfKey(request.publicKey) === request.client
  return user.publicKey === request.publicKey && user.scheme === request.scheme
}

/** A registered user with a valid credential. */
export function actingUser(context: Context): User | null {
  const user = context.store.users.get(context.request.client)
  if (user === undefined || user.revoked || context.time >= user.validUntil) return null
  return speaksForClient(context) ? user : null
}

/** An institution of the consortium. */
export function actingInstitution({ store, request }: Context): Institution | null {
  const institution = store.institutions.get(request.client)
  return institution !== undefined && !institution.removed && actsForItself(request) ? institution : null
}

export function actingCa({ store, request }: Context): Ca | null {
  const ca = store.cas.get(request.client)
  return ca !== undefined && !ca.revoked && actsForItself(request) ? ca : null
}

/** The authority's set, when one of its keys signed. */
export function actingAuthority({ store, request }: Context): Authority | null {
  const authority = store.authority.get('set')
  if (authority === undefined || !actsForItself(request)) return null
  return authority.keys.includes(request.publicKey) ? authority : null
}
