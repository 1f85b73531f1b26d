// access.request and access.emergency: the ladder is asked, and its answer stands on the chain either way (P-03, P-47), under the
// patient, with everything that it was made from. access.receipt: the requester opened what was granted.

import type { Decision, Question } from '../access/decide.ts'
import type { RecordFacts } from '../access/policy.ts'
import { BREAK_THE_GLASS } from '../access/purposes.ts'
import { type Identifier, isHexadecimal, type RecordId, type Timestamp } from '../model/ids.ts'
import type {
  AccessEmergency,
  AccessReceipt,
  AccessRequest,
  Grant,
  Outcome,
  Purpose,
  Right,
} from '../model/operations.ts'
import { speaksForClient } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'
import { roleCredentials } from './credentials.ts'
import type { DecisionEntry } from './entries.ts'
import { emergencySuspended } from './reviews.ts'
import type { Store } from './store.ts'
import { isText, NAME_LENGTH_MAX } from './syntax.ts'

type Asked = {
  readonly operation: DecisionEntry['operation']
  readonly record: RecordId
  readonly role: string
  readonly purpose: Purpose
  readonly right: Right
}

export function onAccessRequest(context: Context, operation: AccessRequest): Outcome {
  if (!speaksForClient(context)) return refused('not-authorized')
  const { record, role, purpose, right, recipient } = operation
  if (!isHexadecimal(record, 32) || !isHexadecimal(recipient, 64)) return refused('invalid-operation')
  if (role.length > NAME_LENGTH_MAX || purpose.length > NAME_LENGTH_MAX || (right !== 'read' && right !== 'share'))
    return refused('invalid-operation')
  const asked: Asked = { operation: 'access.request', record, role, purpose, right }
  const decision = context.rules.decide(questionOf(context.store, context.request.client, asked, context.time))
  return conclude(context, asked, decision, operation.recipient, context.store.now().parameters.grantMs)
}

export function onAccessEmergency(context: Context, operation: AccessEmergency): Outcome {
  const { store, request, time } = context
  if (!speaksForClient(context)) return refused('not-authorized')
  const { record, role, reason, recipient } = operation
  if (!isHexadecimal(record, 32) || !isHexadecimal(recipient, 64)) return refused('invalid-operation')
  if (role.length > NAME_LENGTH_MAX || !isText(reason)) return refused('invalid-operation')
  const asked: Asked = { operation: 'access.emergency', record, role, purpose: BREAK_THE_GLASS, right: 'read' }
  const decision = context.rules.decideEmergency(questionOf(store, request.client, asked, time))
  const { emergencyGrantMs, emergencyReviewMs } = store.now().parameters
  const outcome = conclude(context, asked, decision, recipient, emergencyGrantMs)
  if (outcome.type !== 'granted') return outcome
  const { owner, institution, requester: user } = outcome.grant
  store.emergencies.put(`${user}/${request.id}`, {
    ...{ grant: request.id, user, institution, record, owner, reason, time },
    ...{ deadline: (time + emergencyReviewMs) as Timestamp, verdict: null, reviewer: null, note: '' },
  })
  return outcome
}

/** Once for each grant, by its requester. The commitment is what the reader checked; the audit compares it with the record's. */
export function onAccessReceipt(context: Context, operation: AccessReceipt): Outcome {
  const { store, request, height, time } = context
  if (!speaksForClient(context)) return refused('not-authorized')
  const grant = store.grants.get(operation.grant)
  // Another's grant looks as if it did not exist.
  if (grant === undefined || grant.requester !== request.client) return refused('unknown-grant')
  if (!isHexadecimal(operation.sha256Commitment, 64)) return refused('invalid-operation')
  if (store.receipts.has(operation.grant)) return refused('already-exists')
  const { client: requester } = request
  store.receipts.put(operation.grant, {
    grant: operation.grant,
    requester,
    commitment: operation.sha256Commitment,
    height,
    time,
  })
  return DONE
}

/** All that a decision is made from, as the state holds it now. */
export function questionOf(
  store: Store,
  requester: Identifier,
  asked: Omit<Asked, 'operation'>,
  time: Timestamp,
): Question {
  const user = store.users.get(requester) ?? null
  const record = recordFacts(store, asked.record)
  return {
    user,
    credentials: roleCredentials(store, user),
    institutionActive: user !== null && store.institutions.get(user.institution)?.removed === false,
    emergencySuspended: asked.purpose === BREAK_THE_GLASS && emergencySuspended(store, requester, time),
    ...{ role: asked.role, purpose: asked.purpose, right: asked.right, time, record },
    delegation: record === null ? null : (store.delegates.get(`${record.owner}/${requester}`)?.delegation ?? null),
    policies: record === null ? [] : store.policiesOf(record.owner),
    relations: store.relations(),
  }
}

/** A twin of a withdrawn original is withdrawn with it (records.ts), so one flag says it all. */
export const recordFacts = (store: Store, record: RecordId): RecordFacts | null => store.records.get(record) ?? null

function conclude(
  context: Context,
  asked: Asked,
  decision: Decision,
  recipient: Grant['recipient'],
  grantMs: number,
): Outcome {
  const { store, request, height, time, rulesVersion } = context
  const requester = request.client
  // What nobody owns is noted under who asked for it, so that probing leaves a trace as well.
  const owner = store.records.get(asked.record)?.owner ?? requester
  const institution = store.users.get(requester)?.institution ?? ''
  const { operation, record, role, purpose, right } = asked
  const policy = decision.policy
  const basis = decision.type === 'grant' && decision.basis !== 'policy' ? decision.basis : (policy?.id ?? '')
  const count = store.decisionCounts.get(owner)?.count ?? 0
  store.decisionCounts.put(owner, { count: count + 1 })
  store.decisions.put(decisionName(owner, count), {
    ...{ request: request.id, operation, requester, institution, role, purpose, right, record, height, time },
    ...{ result: decision.type === 'grant' ? 'granted' : decision.reason, basis },
    ...{ policyTimestamp: policy?.timestamp ?? (0 as Timestamp), rulesVersion },
  })
  if (decision.type === 'deny' || institution === '') return deniedOutcome(decision)
  const expires = Math.min(time + grantMs, decision.until) as Timestamp
  const grant: Grant = {
    ...{ grant: request.id, record: decision.record, owner, requester, institution, role, purpose, right },
    ...{ variant: decision.variant, recipient, height, time, expires, basis, rulesVersion },
  }
  store.grants.put(request.id, grant)
  if (right === 'share') store.sharers.put(`${grant.record}/${institution}`, { institution })
  return { type: 'granted', grant }
}

/** Numbers begin at 0 and have no gaps: with the count, an audit knows that it has all. */
export const decisionName = (owner: Identifier, number: number): string =>
  `${owner}/${String(number).padStart(10, '0')}`

const deniedOutcome = (decision: Decision): Outcome => ({
  type: 'denied',
  reason: decision.type === 'deny' ? decision.reason : 'requester-unknown',
})
