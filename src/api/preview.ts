// What a policy would change if it were set now: every registered user, in each of their roles, for each purpose that the role may assert,
// decided with and without it by the contract's own rules. Nothing is signed or sent (P-04: the patient takes part knowingly).

import { type Decision, decide } from '../access/decide.ts'
import { type CompiledPolicy, compilePolicy, type Policy } from '../access/policy.ts'
import { PURPOSES, purposeIndex } from '../access/purposes.ts'
import { type CompiledRelations, roleHasPurpose } from '../access/relations.ts'
import { RIGHTS } from '../access/sets.ts'
import type { RecordEntry, User } from '../ledger/entries.ts'
import type { RequestId } from '../model/ids.ts'
import type { PolicySet, Right } from '../model/operations.ts'
import { delegationFor, factsOf, type Sight } from './visibility.ts'

/** About a second of one core; a larger network gets a part of the answer, marked `truncated`. */
const DECISIONS_MAX = 200_000
const CHANGES_MAX = 1_000

export type Change = {
  readonly user: string
  readonly institution: string
  readonly role: string
  readonly purpose: string
  readonly right: Right
  readonly record: string
  readonly before: string
  readonly after: string
}
export type Preview = {
  readonly gain: readonly Change[]
  readonly lose: readonly Change[]
  readonly truncated: boolean
}

export function previewPolicy(sight: Sight, proposed: PolicySet): Preview {
  const { views } = sight
  const current = views.policiesOf(proposed.owner)
  const { type: _, ...fields } = proposed
  const candidate: Policy = { ...fields, id: 'f'.repeat(64) as RequestId }
  const before = current.map(compilePolicy)
  // One value for each owner, scope and grantee: the proposed one replaces the one that stands there.
  const after = [...current.filter(policy => slotOf(policy) !== slotOf(candidate)), candidate].map(compilePolicy)
  const relations = views.compiledRelations()
  const gain: Change[] = []
  const lose: Change[] = []
  let decisions = 0
  for (const asked of questions(sight, proposed, relations)) {
    decisions += 2
    if (decisions > DECISIONS_MAX || gain.length + lose.length >= CHANGES_MAX) return { gain, lose, truncated: true }
    const was = answer(sight, relations, asked, before)
    const will = answer(sight, relations, asked, after)
    if (was === will) continue
    const change = changeOf(asked, was, will)
    if (will.startsWith('grant') && !was.startsWith('grant')) gain.push(change)
    else if (was.startsWith('grant')) lose.push(change)
  }
  return { gain, lose, truncated: false }
}

type Asked = {
  readonly user: User
  readonly role: string
  readonly purpose: string
  readonly right: Right
  readonly record: RecordEntry
}

function* questions({ views }: Sight, { owner }: PolicySet, relations: CompiledRelations): Generator<Asked> {
  const records = views.recordsOf(owner).filter(record => !record.withdrawn)
  for (const { id } of views.institutions())
    for (const user of views.usersOf(id))
      for (const role of user.id === owner ? [] : views.rolesNow(user))
        for (const purpose of PURPOSES.filter(code => roleHasPurpose(relations, role, purposeIndex(code))))
          for (const right of RIGHTS) for (const record of records) yield { user, role, purpose, right, record }
}

function answer(
  { views, time }: Sight,
  relations: CompiledRelations,
  { user, role, purpose, right, record }: Asked,
  policies: readonly CompiledPolicy[],
): string {
  const delegation = delegationFor(views, record.owner, user.id)
  const decision = decide({
    ...{ user, role, purpose, right, time, policies, relations, delegation },
    credentials: views.roleCredentials(user),
    institutionActive: true,
    emergencySuspended: false,
    record: factsOf(record),
  })
  return decision.type === 'deny' ? decision.reason : `grant ${variantOf(decision)}`
}

const variantOf = (decision: Extract<Decision, { type: 'grant' }>): string => decision.variant

const changeOf = ({ user, role, purpose, right, record }: Asked, before: string, after: string): Change => ({
  user: user.id,
  institution: user.institution,
  ...{ role, purpose, right, before, after },
  record: record.record,
})

const slotOf = ({ scope, grantee }: Policy): string => JSON.stringify([Object.entries(scope), Object.entries(grantee)])
