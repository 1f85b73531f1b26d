// The state at height 0: what the genesis file says, so that everything a decision hangs on is under the state digest from the start.

import { EmrmError } from '../model/errors.ts'
import type { Genesis } from '../model/genesis.ts'
import { identifierOf } from '../model/hash.ts'
import { parametersAreSound } from './parameters.ts'
import type { Store } from './store.ts'
import { areRelations, sortedSet } from './syntax.ts'

/** Throws EmrmError `genesis-invalid`. Field by field wire/codec has checked the file; here is checked what hangs together. */
export function writeGenesis(store: Store, genesis: Genesis): void {
  const { authority, institutions, relations, parameters, validatorCount, f, p } = genesis
  const fail = (what: string): never => {
    throw new EmrmError(
      'genesis-invalid',
      `genesis: ${what}; make the file again or ask the authority for the right one`,
    )
  }
  const keys = new Set(authority.keys)
  if (keys.size !== authority.keys.length) fail('an authority key stands twice')
  if (authority.threshold < 1 || authority.threshold > keys.size)
    fail('the authority’s threshold does not fit its keys')
  if (!areRelations(relations)) fail('a relation names an unknown or repeated code')
  if (!parametersAreSound(parameters, { n: validatorCount, f })) fail('a chain parameter is out of bounds')
  store.authority.put('set', authority)
  store.settings.put('now', { validatorCount, f, p, parameters, relations })
  for (const institution of institutions) {
    const id = identifierOf(institution.publicKey)
    if (store.institutions.has(id)) fail('an institution’s key stands twice')
    store.institutions.put(id, { ...institution, id, removed: false, faults: 0 })
  }
  for (const ca of genesis.cas) {
    const id = identifierOf(ca.publicKey)
    if (!ca.institutions.every(institution => store.institutions.has(institution)))
      fail('a CA names an unknown institution')
    store.cas.put(id, { id, publicKey: ca.publicKey, institutions: sortedSet(ca.institutions), revoked: false })
  }
}
