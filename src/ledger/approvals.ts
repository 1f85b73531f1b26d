// m of n: an operation of the authority takes effect when `threshold` distinct keys have submitted an equal one. Until then the state
// holds who has. An approval that stays alone for a week no longer counts: nobody should complete a forgotten wish years later.

import { encode } from '../model/dag-cbor.ts'
import { digestOf } from '../model/hash.ts'
import type { Operation, Outcome } from '../model/operations.ts'
import { actingAuthority } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'

export const APPROVAL_MS: number = 7 * 24 * 60 * 60 * 1000

/** The caller has checked the operation against the present state. `done` with fewer than `threshold` keys means: the approval is recorded. */
export function authorityAgrees(context: Context, operation: Operation, effect: () => void): Outcome {
  const { store, request, time } = context
  const authority = actingAuthority(context)
  if (authority === null) return refused('not-authorized')
  const name = digestOf(encode(operation))
  const before = store.approvals.get(name)?.approvals ?? []
  const counting = before.filter(
    approval =>
      approval.time + APPROVAL_MS > time && approval.key !== request.publicKey && authority.keys.includes(approval.key),
  )
  const approvals = [...counting, { key: request.publicKey, time }]
  if (approvals.length < authority.threshold) {
    store.approvals.put(name, { operation: operation.type, approvals })
    return DONE
  }
  store.approvals.delete(name)
  effect()
  return DONE
}
