// Who can see this record, for which purposes, by which policy: the patient's question (P-03), answered from the policies in the state,
// in the order in which the contract weighs them. Not here: the decision itself (access/decide).

import { delegationCovers } from '../access/delegation.ts'
import { type CompiledPolicy, compilePolicy, type Policy, type RecordFacts } from '../access/policy.ts'
import { PURPOSES } from '../access/purposes.ts'
import { confidentialityRank } from '../access/sets.ts'
import type { RecordEntry } from '../ledger/entries.ts'
import { factsOf, type Sight } from './visibility.ts'

export type Explanation = {
  readonly record: string
  readonly owner: string
  readonly custodian: string
  readonly confidentiality: string
  /** Block time of this answer. */
  readonly time: number
  /** May read without a policy, within scope and time. */
  readonly delegates: readonly object[]
  /** What weighs most comes first: denies in force, then permits from the most to the least specific, then those out of their window. */
  readonly rules: readonly Rule[]
}

type Rule = {
  readonly policy: string
  readonly effect: 'permit' | 'deny'
  readonly grantee: object
  readonly scope: object
  /** As set. */
  readonly purposes: readonly string[]
  /** With those that each covers. */
  readonly covers: readonly string[]
  readonly rights: readonly string[]
  readonly from: number
  readonly to: number
  readonly window: 'open' | 'not-open' | 'closed'
  /** The de-identified form only. */
  readonly anonymous: boolean
  /** The record is more confidential than the policy's ceiling: nothing is released by it. */
  readonly withheld: boolean
}

export function explainRecord({ views, time }: Sight, record: RecordEntry): Explanation {
  const facts = factsOf(record)
  const compiled = views
    .policiesOf(record.owner)
    .filter(policy => inScope(policy, facts))
    .map(policy => compilePolicy(policy))
    .sort((a, b) => weight(b, time) - weight(a, time) || b.policy.timestamp - a.policy.timestamp)
  return {
    record: record.record,
    owner: record.owner,
    custodian: record.custodian,
    confidentiality: record.confidentiality,
    time,
    delegates: views
      .delegatesOf(record.owner)
      .filter(delegation => delegationCovers(delegation, facts, time))
      .map(({ delegate, kind, from, to }) => ({ delegate, kind, from, to })),
    rules: compiled.map(rule => ruleOf(rule, facts, time)),
  }
}

/** As access/policy matches scopes: a deny of the original reaches its twin. */
function inScope({ scope, effect }: Policy, record: RecordFacts): boolean {
  if (scope.type === 'all') return true
  if (scope.type === 'kind') return scope.kind === record.kind
  return scope.record === record.record || (effect === 'deny' && scope.record === record.twinOf)
}

function weight({ policy, specificity }: CompiledPolicy, time: number): number {
  if (windowOf(policy, time) !== 'open') return specificity - 1000
  return policy.effect === 'deny' ? specificity + 1000 : specificity
}

const windowOf = (policy: Policy, time: number): Rule['window'] =>
  time < policy.from ? 'not-open' : time < policy.to ? 'open' : 'closed'

function ruleOf({ policy, purposes }: CompiledPolicy, record: RecordFacts, time: number): Rule {
  const { id, effect, grantee, scope, rights, from, to, anonymous, labelCeiling } = policy
  return {
    policy: id,
    ...{ effect, grantee, scope, rights, from, to, anonymous },
    purposes: policy.purposes,
    covers: PURPOSES.filter((_, index) => purposes[index] === 1),
    window: windowOf(policy, time),
    withheld: effect === 'permit' && confidentialityRank(record.confidentiality) > confidentialityRank(labelCeiling),
  }
}
