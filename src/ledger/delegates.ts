// delegate.set and delegate.revoke (P-44). The patient names delegates and guardians; a guardian may name a delegate within their own
// scope, never another guardian; a delegate names nobody. Timestamps rise for each (owner, delegate) and outlive a revoke, as with policies.

import type { DelegateRevoke, DelegateSet, Outcome } from '../model/operations.ts'
import { type Context, DONE, refused } from './context.ts'
import { scopeFault, signerFault, timestampFault } from './policies.ts'
import { DELEGATES_MAX, isScope, isWhole } from './syntax.ts'

export function onDelegateSet(context: Context, operation: DelegateSet): Outcome {
  const { store, request } = context
  const { owner, delegate, scope } = operation
  const fault = signerFault(context, owner, scope)
  if (fault !== null) return fault
  if (operation.kind === 'guardian' && request.client !== owner) return refused('not-authorized')
  if (!isScope(scope) || delegate === owner) return refused('invalid-operation')
  if (!isWhole(operation.from) || !isWhole(operation.to)) return refused('invalid-operation')
  if (operation.from >= operation.to) return refused('window-empty')
  if (!store.users.has(delegate)) return refused('unknown-user')
  const unknown = scopeFault(store, owner, scope) ?? timestampFault(context, operation.timestamp)
  if (unknown !== null) return unknown
  const name = `${owner}/${delegate}`
  const before = store.delegates.get(name)
  if (before !== undefined && operation.timestamp <= before.timestamp) return refused('timestamp-not-above-last')
  // A guardian cannot replace what the patient gave: only the patient changes a guardian.
  if (before?.delegation?.kind === 'guardian' && request.client !== owner) return refused('not-authorized')
  if (before === undefined && store.state.countUnder(`delegate/${owner}`) >= DELEGATES_MAX)
    return refused('invalid-operation')
  const { type: _, ...delegation } = operation
  store.delegates.put(name, { timestamp: operation.timestamp, delegation })
  return DONE
}

export function onDelegateRevoke(context: Context, operation: DelegateRevoke): Outcome {
  const { store, request } = context
  const { owner, delegate } = operation
  const name = `${owner}/${delegate}`
  const before = store.delegates.get(name)
  const fault = signerFault(context, owner, before?.delegation?.scope ?? { type: 'all' })
  if (fault !== null) return fault
  if (before === undefined || before.delegation === null) return refused('unknown-user')
  if (before.delegation.kind === 'guardian' && request.client !== owner) return refused('not-authorized')
  const late = timestampFault(context, operation.timestamp)
  if (late !== null) return late
  if (operation.timestamp <= before.timestamp) return refused('timestamp-not-above-last')
  store.delegates.put(name, { timestamp: operation.timestamp, delegation: null })
  return DONE
}
