// A patient's policy (P-42) and which of several decides. Total order of precedence: any deny in force that covers the request wins;
// else the most specific permit that covers it (record over kind over all; user over group over role over institution over anyone),
// then the newest timestamp, then the smallest id. Nothing matched is a denial. The answer does not depend on the list's order.

import type { Identifier, RecordId, RequestId, Timestamp } from '../model/ids.ts'
import type {
  Confidentiality,
  DenialReason,
  Grantee,
  PolicySet,
  RecordKind,
  Right,
  Scope,
} from '../model/operations.ts'
import { purposeCovers, purposeMask, standsAbove } from './purposes.ts'
import type { Subject } from './session.ts'
import { rightIncludes } from './sets.ts'

/** As the patient set it; `id` is the request that did. */
export type Policy = Omit<PolicySet, 'type'> & { readonly id: RequestId }

/** With what a decision needs at hand. */
export type CompiledPolicy = {
  readonly policy: Policy
  readonly specificity: number
  /** By purpose index: what a permit covers, or what a deny reaches (BTG below TREAT included: the exception only narrows permits). */
  readonly purposes: Uint8Array
}

/** What the index knows of a record. */
export type RecordFacts = {
  readonly record: RecordId
  readonly owner: Identifier
  readonly kind: RecordKind
  readonly confidentiality: Confidentiality
  readonly withdrawn: boolean
  /** The original of which this is the de-identified twin. */
  readonly twinOf: RecordId | null
  /** Its own de-identified twin that can be served, if any. */
  readonly twin: RecordId | null
}

const SCOPES: Readonly<Record<Scope['type'], number>> = { all: 0, kind: 1, record: 2 }
const GRANTEES: Readonly<Record<Grantee['type'], number>> = { anyone: 0, institution: 1, role: 2, group: 3, user: 4 }

export const compilePolicy = (policy: Policy): CompiledPolicy => ({
  policy,
  specificity: SCOPES[policy.scope.type] * 8 + GRANTEES[policy.grantee.type],
  purposes: purposeMask(policy.purposes, policy.effect === 'permit' ? purposeCovers : standsAbove),
})

/** What is asked of a patient's policies, once the requester's own rights are clear. */
export type PolicyQuestion = {
  readonly user: Subject
  readonly role: string
  readonly record: RecordFacts
  /** Index of purposes.ts. */
  readonly purpose: number
  readonly right: Right
  readonly time: Timestamp
}

export type PolicyAnswer =
  | { readonly type: 'permit'; readonly policy: Policy }
  /** `policy`: the deny that decided; null when no policy did. */
  | { readonly type: 'deny'; readonly reason: DenialReason; readonly policy: Policy | null }

/** Rung 7 up to the label ceiling, which is the winner's to apply (decide.ts). */
export function choosePolicy(policies: readonly CompiledPolicy[], question: PolicyQuestion): PolicyAnswer {
  const { time, right, purpose } = question
  let deny: CompiledPolicy | null = null
  let permit: CompiledPolicy | null = null
  // How far any permit came: the first step at which all have failed names the denial.
  let notOpen = false
  let closed = false
  let inForce = false
  let withRight = false
  for (const compiled of policies) {
    const policy = compiled.policy
    if (!granteeMatches(policy.grantee, question) || !scopeMatches(policy, question.record)) continue
    const open = policy.from <= time
    const over = time >= policy.to
    if (policy.effect === 'deny') {
      if (!open || over || !denyReaches(policy, right) || compiled.purposes[purpose] !== 1) continue
      if (deny === null || precedes(compiled, deny)) deny = compiled
    } else if (!open) notOpen = true
    else if (over) closed = true
    else {
      inForce = true
      if (!policy.rights.some(held => rightIncludes(held, right))) continue
      withRight = true
      if (compiled.purposes[purpose] !== 1) continue
      if (permit === null || precedes(compiled, permit)) permit = compiled
    }
  }
  if (deny !== null) return { type: 'deny', reason: 'patient-denied', policy: deny.policy }
  if (permit !== null) return { type: 'permit', policy: permit.policy }
  return { type: 'deny', reason: failedStep(inForce, notOpen, closed, withRight), policy: null }
}

function failedStep(inForce: boolean, notOpen: boolean, closed: boolean, withRight: boolean): DenialReason {
  if (inForce) return withRight ? 'purpose-mismatch' : 'no-right'
  if (notOpen) return 'window-not-open'
  return closed ? 'window-closed' : 'no-policy'
}

/** Denying `read` denies `share` with it, since sharing includes reading; denying `share` leaves `read`. */
const denyReaches = (policy: Policy, right: Right): boolean =>
  policy.rights.some(denied => rightIncludes(right, denied))

function granteeMatches(grantee: Grantee, question: PolicyQuestion): boolean {
  switch (grantee.type) {
    case 'anyone':
      return true
    case 'institution':
      return grantee.institution === question.user.institution
    case 'user':
      return grantee.user === question.user.id
    case 'role':
      return grantee.role === question.role
    case 'group':
      return question.user.groups.includes(grantee.group)
  }
}

function scopeMatches(policy: Policy, record: RecordFacts): boolean {
  const scope = policy.scope
  switch (scope.type) {
    case 'all':
      return true
    case 'kind':
      return scope.kind === record.kind
    case 'record':
      // A deny of the original holds for its twin as well; a permit of the original is not one of the twin.
      return scope.record === record.record || (policy.effect === 'deny' && scope.record === record.twinOf)
  }
}

function precedes(a: CompiledPolicy, b: CompiledPolicy): boolean {
  if (a.specificity !== b.specificity) return a.specificity > b.specificity
  if (a.policy.timestamp !== b.policy.timestamp) return a.policy.timestamp > b.policy.timestamp
  return a.policy.id < b.policy.id
}
