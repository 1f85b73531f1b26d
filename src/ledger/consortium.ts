// The authority's operations (P-30): institutions, CAs, chain parameters, relations. Each takes effect when enough authority keys have
// submitted an equal one (approvals.ts). The state is checked at each submission, the last one included.

import { type Identifier, isHexadecimal } from '../model/ids.ts'
import type {
  CaAuthorize,
  CaRevoke,
  InstitutionAdmit,
  InstitutionRate,
  InstitutionRemove,
  Outcome,
  RelationsSet,
  ValidatorsSet,
} from '../model/operations.ts'
import { actingAuthority, identifierOfKey } from './actors.ts'
import { authorityAgrees } from './approvals.ts'
import { ranking } from './committee.ts'
import { type Context, refused } from './context.ts'
import { parametersAreSound } from './parameters.ts'
import {
  areRelations,
  INSTITUTIONS_MAX,
  isName,
  isText,
  isWhole,
  NAME_LENGTH_MAX,
  SCORE_MAX,
  SEAL_KEY_DIGITS,
  sortedSet,
} from './syntax.ts'

const PEER_ID_LENGTH_MAX = 128

/** Admits, or takes back one that was removed. */
export function onInstitutionAdmit(context: Context, operation: InstitutionAdmit): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  if (!isInstitutionShape(operation)) return refused('invalid-operation')
  const id = identifierOfKey(operation.publicKey)
  const before = store.institutions.get(id)
  if (before !== undefined && !before.removed) return refused('already-exists')
  if (before === undefined && store.state.countUnder('institution') >= INSTITUTIONS_MAX)
    return refused('invalid-operation')
  return authorityAgrees(context, operation, () => {
    const { type: _, ...terms } = operation
    store.institutions.put(id, { ...terms, id, removed: false, faults: before?.faults ?? 0 })
  })
}

export function onInstitutionRate(context: Context, operation: InstitutionRate): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  const before = store.institutions.get(operation.institution)
  if (before === undefined || before.removed) return refused('unknown-institution')
  if (!isWhole(operation.score, SCORE_MAX)) return refused('invalid-operation')
  return authorityAgrees(context, operation, () =>
    store.institutions.put(before.id, { ...before, score: operation.score }),
  )
}

/** It validates until its epoch ends; its users are refused from now on, but patients keep what is theirs. */
export function onInstitutionRemove(context: Context, operation: InstitutionRemove): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  const before = store.institutions.get(operation.institution)
  if (before === undefined || before.removed) return refused('unknown-institution')
  return authorityAgrees(context, operation, () => store.institutions.put(before.id, { ...before, removed: true }))
}

/** Parameters hold from the next request on; f and p from the next epoch on. */
export function onValidatorsSet(context: Context, operation: ValidatorsSet): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  const { f, p, parameters } = operation
  const n = Math.min(store.now().validatorCount, ranking(store).length)
  if (!isWhole(f) || !isWhole(p) || f < 1 || p > f || n < 3 * f + 2 * p + 1) return refused('invalid-operation')
  if (!parametersAreSound(parameters, { n, f })) return refused('invalid-operation')
  return authorityAgrees(context, operation, () => store.changeSettings({ ...store.now(), f, p, parameters }))
}

/** Names a CA, or replaces the list of institutions that it may register users for. */
export function onCaAuthorize(context: Context, operation: CaAuthorize): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  const { publicKey, institutions } = operation
  if (!isHexadecimal(publicKey, 64) || institutions.length === 0 || institutions.length > INSTITUTIONS_MAX)
    return refused('invalid-operation')
  const known = (id: Identifier): boolean => store.institutions.get(id)?.removed === false
  if (!institutions.every(known)) return refused('unknown-institution')
  const id = identifierOfKey(publicKey)
  return authorityAgrees(context, operation, () =>
    store.cas.put(id, { id, publicKey, institutions: sortedSet(institutions), revoked: false }),
  )
}

/** The users that it registered stay; each can be revoked by another CA of the institution. */
export function onCaRevoke(context: Context, operation: CaRevoke): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  const ca = store.cas.get(operation.ca)
  if (ca === undefined || ca.revoked) return refused('unknown-user')
  return authorityAgrees(context, operation, () => store.cas.put(ca.id, { ...ca, revoked: true }))
}

export function onRelationsSet(context: Context, operation: RelationsSet): Outcome {
  const { store } = context
  if (actingAuthority(context) === null) return refused('not-authorized')
  if (!areRelations(operation.relations)) return refused('unknown-code')
  return authorityAgrees(context, operation, () =>
    store.changeSettings({ ...store.now(), relations: operation.relations }),
  )
}

const isInstitutionShape = (operation: InstitutionAdmit): boolean =>
  isText(operation.name) &&
  operation.name.length <= 2 * NAME_LENGTH_MAX &&
  isHexadecimal(operation.publicKey, 64) &&
  isName(operation.peerId.slice(0, NAME_LENGTH_MAX)) &&
  operation.peerId.length <= PEER_ID_LENGTH_MAX &&
  isHexadecimal(operation.sealKey, SEAL_KEY_DIGITS) &&
  operation.region.length <= NAME_LENGTH_MAX &&
  isWhole(operation.score, SCORE_MAX)
