// Whom a patient lets act in their place (P-44: "only the user, or a delegate whom the user authorised"). A delegate reads; a guardian
// also sets policies, within the same scope and time. Nobody passes a delegation on.

import type { RecordId, Timestamp } from '../model/ids.ts'
import type { DelegateSet, Scope } from '../model/operations.ts'
import type { RecordFacts } from './policy.ts'

export type Delegation = Omit<DelegateSet, 'type'>

export const delegationInTime = (delegation: Delegation, time: Timestamp): boolean =>
  delegation.from <= time && time < delegation.to

/** In time, and the record in scope. The twin of a record in scope is in scope. */
export function delegationCovers(delegation: Delegation, record: RecordFacts, time: Timestamp): boolean {
  if (!delegationInTime(delegation, time)) return false
  const scope = delegation.scope
  switch (scope.type) {
    case 'all':
      return true
    case 'kind':
      return scope.kind === record.kind
    case 'record':
      return scope.record === record.record || scope.record === record.twinOf
  }
}

/** Whether a guardian for `outer` may set a policy for `inner`. `recordKind`: the kind of a record, null when unknown. */
export function scopeIncludes(outer: Scope, inner: Scope, recordKind: (record: RecordId) => string | null): boolean {
  if (outer.type === 'all') return true
  if (outer.type === 'record') return inner.type === 'record' && inner.record === outer.record
  if (inner.type === 'kind') return inner.kind === outer.kind
  return inner.type === 'record' && recordKind(inner.record) === outer.kind
}
