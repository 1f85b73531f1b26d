// Cedar as an independent oracle for the ladder of P-47: random worlds, the same world written as Cedar policies and entities, and the
// question whether both say the same. Cedar knows neither precedence nor obligations, so each permit carries the negation of those that
// precede it; then at most one permit holds, and its id is compared with the policy that our evaluator names.
// Not here: break-the-glass without a policy (emergency.test.ts), the counts (oracle.test.ts, bench/oracle.ts).

import assert from 'node:assert/strict'
import type { CedarValueJson, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { type Decision, decide, type Question } from '../../src/access/decide.ts'
import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import type { Delegation } from '../../src/access/delegation.ts'
import { compilePolicy, type Policy, type RecordFacts } from '../../src/access/policy.ts'
import { parentPurpose } from '../../src/access/purposes.ts'
import { type CompiledRelations, compileRelations } from '../../src/access/relations.ts'
import type { Subject } from '../../src/access/session.ts'
import type { RequestId } from '../../src/model/ids.ts'
import type { Confidentiality, Grantee, RelationRow, Relations, Right, Scope } from '../../src/model/operations.ts'
import { makeRandom, type Random } from '../sim/random.ts'
import { at, id, recordId } from './questions.ts'

// Small sets, so that rules meet: most questions touch a window's edge, a neighbour in the tree, a second policy.
/** The patient first. */
const USERS = ['pat', 'ann', 'bob', 'eve']
const INSTITUTIONS = ['north', 'south']
const ROLES = ['attending', 'nurse', 'emergency', 'researcher', 'patient']
const GROUPS = ['cardiology', 'er']
const KINDS = ['fhir', 'dicom']
const RANKS: readonly Confidentiality[] = ['U', 'L', 'M', 'N', 'R', 'V']
const CODES = ['TREAT', 'COC', 'ETREAT', 'ERTREAT', 'BTG', 'HRESCH', 'CLINTRCH', 'PRECLINTRCH', 'PATRQT', 'HOPERAT']
const RIGHTS: readonly Right[] = ['read', 'share']
const TIMES = 8

export type World = {
  readonly users: readonly Subject[]
  readonly records: readonly RecordFacts[]
  readonly delegations: readonly Delegation[]
  readonly policies: readonly Policy[]
  readonly relations: Relations
  readonly compiled: CompiledRelations
}

export function randomWorld(dice: Random): World {
  const users = USERS.map(name => ({
    id: id(name),
    institution: id(dice.pick(INSTITUTIONS)),
    roles: some(dice, ROLES),
    groups: dice.some(GROUPS, 0.5),
    validUntil: at(dice.chance(0.9) ? 100 : dice.between(0, TIMES - 1)),
    revoked: dice.chance(0.03),
  }))
  const kind = dice.pick(KINDS)
  const confidentiality = dice.pick(RANKS)
  const original = { owner: id('pat'), kind, confidentiality, withdrawn: dice.chance(0.05), twinOf: null }
  const hasTwin = dice.chance(0.5)
  const records: RecordFacts[] = [
    { record: recordId('one'), ...original, twin: hasTwin ? recordId('twin') : null },
    { record: recordId('two'), ...original, kind: dice.pick(KINDS), confidentiality: dice.pick(RANKS), twin: null },
    { record: recordId('twin'), ...original, twinOf: recordId('one'), twin: null },
  ]
  const relations = dice.chance(0.5) ? DEFAULT_RELATIONS : randomRelations(dice)
  return {
    users,
    records,
    delegations: USERS.filter(() => dice.chance(0.15)).map(delegate => ({
      owner: id('pat'),
      delegate: id(delegate),
      kind: dice.pick(['delegate', 'guardian'] as const),
      scope: randomScope(dice),
      ...randomWindow(dice),
      timestamp: at(1),
    })),
    policies: Array.from({ length: dice.between(0, 7) }, (_, i) => randomPolicy(dice, i)),
    relations,
    compiled: compileRelations(relations),
  }
}

export function randomQuestion(dice: Random, world: World): Question {
  const user = dice.chance(0.02) ? null : dice.pick(dice.chance(0.9) ? world.users.slice(1) : world.users)
  const role = dice.pick(user === null || dice.chance(0.1) ? ROLES : user.roles)
  const inRow = world.relations.rolePurposes.find(({ key }) => key === role)?.values ?? []
  const asserted = dice.chance(0.3) || inRow.length === 0 ? CODES : inRow
  const record = dice.chance(0.03) ? null : dice.pick(world.records)
  return {
    user,
    credentials: Array.from({ length: dice.chance(0.4) ? dice.between(1, 2) : 0 }, () => ({
      roles: some(dice, ROLES),
      validUntil: at(dice.between(0, TIMES)),
      revoked: dice.chance(0.2),
    })),
    institutionActive: !dice.chance(0.05),
    emergencySuspended: dice.chance(0.3),
    role,
    purpose: dice.chance(0.05) ? dice.pick(['', 'treat', 'NOPE']) : dice.chance(0.1) ? 'BTG' : dice.pick(asserted),
    right: dice.chance(0.8) ? 'read' : 'share',
    time: at(dice.between(0, TIMES - 1)),
    record,
    delegation: world.delegations.find(({ delegate }) => delegate === user?.id) ?? null,
    policies: world.policies.map(compilePolicy),
    relations: world.compiled,
  }
}

/** At least one of them. */
function some<T>(dice: Random, list: readonly T[]): readonly T[] {
  const taken = dice.some(list, 0.5)
  return taken.length > 0 ? taken : [dice.pick(list)]
}

function randomPolicy(dice: Random, serial: number): Policy {
  return {
    id: `policy-${dice.between(0, 999)}-${serial}` as RequestId,
    owner: id('pat'),
    scope: randomScope(dice),
    grantee: randomGrantee(dice),
    effect: dice.chance(0.85) ? 'permit' : 'deny',
    purposes: some(dice, CODES),
    rights: some(dice, RIGHTS),
    ...randomWindow(dice),
    anonymous: dice.chance(0.2),
    labelCeiling: dice.pick(RANKS),
    timestamp: at(dice.between(0, 2)),
  }
}

function randomWindow(dice: Random): { from: Policy['from']; to: Policy['to'] } {
  const from = dice.chance(0.6) ? 0 : dice.between(0, TIMES - 1)
  return { from: at(from), to: at(dice.chance(0.6) ? 50 : from + 1 + dice.between(0, TIMES - 1)) }
}

function randomScope(dice: Random): Scope {
  const type = dice.pick(['all', 'kind', 'record'] as const)
  if (type === 'all') return { type }
  if (type === 'kind') return { type, kind: dice.pick(KINDS) }
  return { type, record: recordId(dice.pick(['one', 'two', 'twin'])) }
}

function randomGrantee(dice: Random): Grantee {
  const type = dice.pick(['anyone', 'institution', 'user', 'role', 'group'] as const)
  if (type === 'anyone') return { type }
  if (type === 'institution') return { type, institution: id(dice.pick(INSTITUTIONS)) }
  if (type === 'user') return { type, user: id(dice.pick(USERS)) }
  return type === 'role' ? { type, role: dice.pick(ROLES) } : { type, group: dice.pick(GROUPS) }
}

function randomRelations(dice: Random): Relations {
  const rows = (keys: readonly string[], values: readonly string[]): RelationRow[] =>
    some(dice, keys).map(key => ({ key, values: dice.chance(0.1) ? [] : some(dice, values) }))
  return {
    rolePurposes: rows(ROLES, CODES),
    rolePermissions: rows(ROLES, RIGHTS),
    purposePermissions: rows(CODES, RIGHTS),
  }
}

// ---- the same in Cedar ----

const OWN = '(principal == resource.owner || context.delegated)'
/** Rungs 3 to 6, and what stands against any release by policy. */
const LADDER = [
  'context.institutionActive',
  'context.purpose in context.role.purposes',
  '(context.role.rights.contains("share") || context.role.rights.contains(context.right))',
  '(context.purpose.rights.contains("share") || context.purpose.rights.contains(context.right))',
  '!(context.purpose == Purpose::"BTG" && context.suspended)',
  '!resource.withdrawn',
].join(' && ')

/** Loads the world's policies into the oracle; questions about it follow. */
export function loadWorld(world: World): void {
  const order = [...world.policies].sort(before)
  const permits = order.filter(({ effect }) => effect === 'permit')
  const text: Record<string, string> = {
    session: `forbid (principal, action, resource) unless { principal.registered && context.time < principal.validUntil && !principal.revoked && principal.roles.contains(context.role) };`,
    own: `permit (principal, action, resource) when { ${OWN} && !resource.withdrawn };`,
  }
  for (const [i, policy] of permits.entries()) {
    const preceding = permits.slice(0, i).map(other => `!(${matches(other)})`)
    const release = `resource.rank <= ${RANKS.indexOf(policy.labelCeiling)}${policy.anonymous ? ' && (resource.isTwin || resource.hasTwin)' : ''}`
    const conditions = [LADDER, `(${matches(policy)})`, ...preceding, `(${release})`]
    text[policy.id] = `permit (principal, action, resource) when { ${conditions.join(' && ')} };`
  }
  for (const policy of order)
    if (policy.effect === 'deny')
      text[policy.id] =
        `forbid (principal, action, resource) when { ${matches(policy)} } unless { ${OWN} && !resource.withdrawn };`
  const loaded = cedar.preparsePolicySet('oracle', { staticPolicies: text })
  assert.equal(loaded.type, 'success', JSON.stringify(loaded))
}

/** The paper's order, written a second time: record over kind over all, then user … anyone, then newest, then smallest id. */
function before(a: Policy, b: Policy): number {
  const scopes = ['record', 'kind', 'all']
  const grantees = ['user', 'group', 'role', 'institution', 'anyone']
  return (
    scopes.indexOf(a.scope.type) - scopes.indexOf(b.scope.type) ||
    grantees.indexOf(a.grantee.type) - grantees.indexOf(b.grantee.type) ||
    b.timestamp - a.timestamp ||
    (a.id < b.id ? -1 : 1)
  )
}

function matches(policy: Policy): string {
  const isDeny = policy.effect === 'deny'
  // A permit's tree has no way down to BTG; a deny's has.
  const purpose = isDeny ? 'context.reached' : 'context.purpose'
  const type = isDeny ? 'Reached' : 'Purpose'
  const purposes = policy.purposes.map(code => `${type}::"${code}"`).join(', ')
  const shares = policy.rights.includes('share')
  const reads = policy.rights.includes('read')
  // A permit to share includes reading; a denial of reading includes sharing.
  const rights = isDeny ? [reads, shares || reads] : [reads || shares, shares]
  const asked = RIGHTS.filter((_, i) => rights[i]).map(right => `context.right == "${right}"`)
  return [
    granteeText(policy.grantee),
    scopeText(policy.scope, isDeny),
    `${policy.from} <= context.time && context.time < ${policy.to}`,
    `(${asked.join(' || ')})`,
    `${purpose} in [${purposes}]`,
  ].join(' && ')
}

function granteeText(grantee: Grantee): string {
  switch (grantee.type) {
    case 'anyone':
      return 'true'
    case 'institution':
      return `principal in Institution::"${grantee.institution}"`
    case 'user':
      return `principal == User::"${grantee.user}"`
    case 'role':
      return `context.role == Role::"${grantee.role}"`
    case 'group':
      return `principal in Group::"${grantee.group}"`
  }
}

function scopeText(scope: Scope, isDeny: boolean): string {
  if (scope.type === 'all') return 'true'
  if (scope.type === 'kind') return `resource.kind == "${scope.kind}"`
  const record = `Record::"${scope.record}"`
  return isDeny ? `resource in ${record}` : `resource == ${record}`
}

const uid = (type: string, name: string): { type: string; id: string } => ({ type, id: name })
const ref = (type: string, name: string): CedarValueJson => ({ __entity: uid(type, name) })

function cedarCall(question: Question, relations: Relations): StatefulAuthorizationCall {
  const { user, role, purpose, right, time, record, delegation } = question
  const principal = uid('User', user?.id ?? 'nobody')
  const resource = uid('Record', record?.record ?? 'none')
  const rowOf = (rows: readonly RelationRow[], key: string): readonly string[] =>
    rows.find(row => row.key === key)?.values ?? []
  const delegated =
    record !== null &&
    delegation !== null &&
    delegation.from <= time &&
    time < delegation.to &&
    (delegation.kind === 'guardian' || right === 'read') &&
    (delegation.scope.type === 'all' ||
      (delegation.scope.type === 'kind' && delegation.scope.kind === record.kind) ||
      (delegation.scope.type === 'record' &&
        (delegation.scope.record === record.record || delegation.scope.record === record.twinOf)))
  const lent = question.credentials.flatMap(({ roles, validUntil, revoked }) =>
    revoked || validUntil <= time ? [] : roles,
  )
  const userParents = user === null ? [] : [uid('Institution', user.institution)]
  const entities = [
    {
      uid: principal,
      attrs: {
        registered: user !== null,
        validUntil: user?.validUntil ?? 0,
        revoked: user?.revoked ?? false,
        roles: [...(user?.roles ?? []), ...lent].map(name => ref('Role', name)),
      },
      parents: [...userParents, ...(user?.groups ?? []).map(name => uid('Group', name))],
    },
    {
      uid: resource,
      attrs: {
        // An unknown record belongs to nobody and is nowhere released.
        owner: record === null ? ref('User', '') : ref('User', record.owner),
        kind: record?.kind ?? '',
        rank: record === null ? 99 : RANKS.indexOf(record.confidentiality),
        withdrawn: record?.withdrawn ?? true,
        isTwin: record !== null && record.twinOf !== null,
        hasTwin: record !== null && record.twin !== null,
      },
      parents: record?.twinOf == null ? [] : [uid('Record', record.twinOf)],
    },
    {
      uid: uid('Role', role),
      attrs: {
        purposes: rowOf(relations.rolePurposes, role).map(code => ref('Purpose', code)),
        rights: [...rowOf(relations.rolePermissions, role)],
      },
      parents: [],
    },
    ...purposes(purpose, relations),
  ]
  const context: StatefulAuthorizationCall['context'] = {
    ...{ time, right, delegated, institutionActive: question.institutionActive },
    suspended: question.emergencySuspended,
    role: ref('Role', role),
    purpose: ref('Purpose', purpose),
    reached: ref('Reached', purpose),
  }
  const call = { principal, action: uid('Action', 'access'), resource, context, entities }
  return { ...call, preparsedPolicySetId: 'oracle' }
}

/** The chain up from a purpose, as a permit sees it (BTG stands alone) and as a deny does. PR: the nearest row up the chain. */
function purposes(purpose: string, relations: Relations): StatefulAuthorizationCall['entities'] {
  const chain: string[] = []
  for (let code: string | null = purpose; code !== null; code = parentPurpose(code)) chain.push(code)
  const permitted = purpose === 'BTG' ? [purpose] : chain
  const row = permitted.map(code => relations.purposePermissions.find(({ key }) => key === code)).find(Boolean)
  const up = (type: string, codes: readonly string[]): StatefulAuthorizationCall['entities'] =>
    codes.map((code, i) => ({
      uid: uid(type, code),
      attrs: type === 'Purpose' && i === 0 ? { rights: [...(row?.values ?? [])] } : {},
      parents: i + 1 < codes.length ? [uid(type, codes[i + 1] as string)] : [],
    }))
  return [...up('Purpose', permitted), ...up('Reached', chain)]
}

/** Throws when the two disagree, or when our answer hangs on the order of the policies. */
export function compare(question: Question, world: World, dice: Random): Decision {
  const ours = decide(question)
  const shown = (): string => JSON.stringify({ ours, question: { ...question, relations: world.relations } })
  assert.deepEqual(decide({ ...question, policies: dice.shuffle(question.policies) }), ours)
  const result = cedar.statefulIsAuthorized(cedarCall(question, world.relations))
  if (result.type === 'failure') throw new Error(`${result.errors[0]?.message} ${shown()}`)
  const { decision, diagnostics } = result.response
  assert.deepEqual(diagnostics.errors, [], shown())
  assert.equal(decision, ours.type === 'grant' ? 'allow' : 'deny', shown())
  // The same policy decided, not only the same word.
  if (ours.type === 'grant' && ours.policy !== null) assert.deepEqual(diagnostics.reason, [ours.policy.id], shown())
  if (ours.type === 'deny' && ours.reason === 'patient-denied')
    assert.ok(ours.policy !== null && diagnostics.reason.includes(ours.policy.id), shown())
  return ours
}

export type Tally = Readonly<Record<string, number>>

/** `pairs` questions in worlds of `each`; what the decisions were, by basis or reason. */
export function runOracle(options: { readonly seed: number; readonly pairs: number; readonly each: number }): Tally {
  const dice = makeRandom(options.seed)
  const tally: Record<string, number> = {}
  for (let done = 0; done < options.pairs; ) {
    const world = randomWorld(dice)
    loadWorld(world)
    for (let i = 0; i < options.each && done < options.pairs; i++, done++) {
      const decision = compare(randomQuestion(dice, world), world, dice)
      const key = decision.type === 'grant' ? `grant ${decision.basis} ${decision.variant}` : decision.reason
      tally[key] = (tally[key] ?? 0) + 1
    }
  }
  return tally
}
