// policy.set and policy.revoke (P-42): signed by the patient or a guardian. For one (owner, scope, grantee) there is one permission value,
// the newest; the timestamp of the last accepted one stays after a revoke, so an older signed policy can never come back.

import { delegationInTime, scopeIncludes } from '../access/delegation.ts'
import { isPurpose } from '../access/purposes.ts'
import { CONFIDENTIALITIES, RIGHTS } from '../access/sets.ts'
import type { Identifier } from '../model/ids.ts'
import type { Grantee, Outcome, PolicyRevoke, PolicySet, Scope } from '../model/operations.ts'
import { actingUser } from './actors.ts'
import { type Context, DONE, type Refused, refused } from './context.ts'
import type { Store } from './store.ts'
import { isGrantee, isScope, isWhole, POLICIES_MAX, PURPOSES_MAX, sortedSet } from './syntax.ts'

export function onPolicySet(context: Context, operation: PolicySet): Outcome {
  const { store, request } = context
  const { owner, scope, grantee } = operation
  const fault =
    signerFault(context, owner, scope) ?? policyFault(store, operation) ?? timestampFault(context, operation.timestamp)
  if (fault !== null) return fault
  const key = policyKey(scope, grantee)
  const before = store.policies.get(`${owner}/${key}`)
  if (before !== undefined && operation.timestamp <= before.timestamp) return refused('timestamp-not-above-last')
  if (before === undefined && store.policyCount(owner) >= POLICIES_MAX) return refused('invalid-operation')
  const { type: _, ...terms } = operation
  const policy = { ...terms, purposes: sortedSet(terms.purposes), rights: sortedSet(terms.rights), id: request.id }
  store.changePolicy(owner, key, { timestamp: operation.timestamp, policy })
  return DONE
}

export function onPolicyRevoke(context: Context, operation: PolicyRevoke): Outcome {
  const { store } = context
  const found = store.policiesOf(operation.owner).find(({ policy }) => policy.id === operation.policy)
  const fault = signerFault(context, operation.owner, found?.policy.scope ?? { type: 'all' })
  if (fault !== null) return fault
  if (found === undefined) return refused('unknown-policy')
  const late = timestampFault(context, operation.timestamp)
  if (late !== null) return late
  if (operation.timestamp <= found.policy.timestamp) return refused('timestamp-not-above-last')
  const key = policyKey(found.policy.scope, found.policy.grantee)
  store.changePolicy(operation.owner, key, { timestamp: operation.timestamp, policy: null })
  return DONE
}

/** The (scope, grantee) part of a policy's name. Names hold no bar. */
export const policyKey = (scope: Scope, grantee: Grantee): string => `${scopeKey(scope)}|${granteeKey(grantee)}`

/** Patient, or guardian whose scope includes this one. */
export function signerFault(context: Context, owner: Identifier, scope: Scope): Refused | null {
  const { store, time } = context
  if (!store.users.has(owner)) return refused('unknown-user')
  const user = actingUser(context)
  if (user === null) return refused('not-authorized')
  if (user.id === owner) return null
  const delegation = store.delegates.get(`${owner}/${user.id}`)?.delegation ?? null
  if (delegation === null || delegation.kind !== 'guardian' || !delegationInTime(delegation, time))
    return refused('not-authorized')
  const kindOf = (record: string): string | null => store.records.get(record)?.kind ?? null
  return scopeIncludes(delegation.scope, scope, kindOf) ? null : refused('not-authorized')
}

/** A claimed time far ahead would close the key for ever. */
export function timestampFault({ store, time }: Context, timestamp: number): Refused | null {
  if (!isWhole(timestamp)) return refused('invalid-operation')
  return timestamp > time + store.now().parameters.requestWindowFutureMs ? refused('future') : null
}

function policyFault(store: Store, operation: PolicySet): Refused | null {
  const { scope, grantee, purposes, rights } = operation
  if (!isScope(scope) || !isGrantee(grantee)) return refused('invalid-operation')
  // Nothing named is not everything: never a wildcard.
  if (purposes.length === 0 || purposes.length > PURPOSES_MAX || rights.length === 0)
    return refused('invalid-operation')
  if (!purposes.every(isPurpose) || !rights.every(right => RIGHTS.includes(right))) return refused('unknown-code')
  if (!CONFIDENTIALITIES.includes(operation.labelCeiling)) return refused('unknown-code')
  if (!isWhole(operation.from) || !isWhole(operation.to)) return refused('invalid-operation')
  if (operation.from >= operation.to) return refused('window-empty')
  return scopeFault(store, operation.owner, scope) ?? granteeFault(store, grantee)
}

/** A policy for a record names one of the patient's own; another patient's looks as if it did not exist. */
export const scopeFault = (store: Store, owner: Identifier, scope: Scope): Refused | null =>
  scope.type === 'record' && store.records.get(scope.record)?.owner !== owner ? refused('unknown-record') : null

function granteeFault(store: Store, grantee: Grantee): Refused | null {
  if (grantee.type === 'institution' && !store.institutions.has(grantee.institution))
    return refused('unknown-institution')
  if (grantee.type === 'user' && !store.users.has(grantee.user)) return refused('unknown-user')
  return null
}

function scopeKey(scope: Scope): string {
  switch (scope.type) {
    case 'all':
      return 'all'
    case 'kind':
      return `kind:${scope.kind}`
    case 'record':
      return `record:${scope.record}`
  }
}

function granteeKey(grantee: Grantee): string {
  switch (grantee.type) {
    case 'anyone':
      return 'anyone'
    case 'institution':
      return `institution:${grantee.institution}`
    case 'user':
      return `user:${grantee.user}`
    case 'role':
      return `role:${grantee.role}`
    case 'group':
      return `group:${grantee.group}`
  }
}
