// `emrm policy …`: the patient's own rules (P-42): who may read or share which records, for which purposes, in which window.
// A wrong purpose or an empty window is refused here, before anything is signed; the contract checks again.

import type { Command } from 'commander'

import { submitOperation } from '../api/operations.ts'
import type { Identifier, RequestId, Timestamp } from '../model/ids.ts'
import type { Confidentiality, PolicySet, Right, Scope } from '../model/operations.ts'
import { addConsentCommand } from './consents.ts'
import { granteeOf } from './grantee.ts'
import { type Acting, homeCommand, type KeyOption, withKey } from './home.ts'
import { type Answer, handle, type Session } from './session.ts'
import {
  type GranteeText,
  readChoice,
  readGrantee,
  readRequestId,
  readScope,
  readTime,
  readUserId,
  requirePurposes,
  requireWindow,
  type ScopeText,
  TIME_MAX,
} from './values.ts'

type SetOptions = KeyOption & {
  readonly home: string
  readonly owner?: string
  readonly scope: ScopeText
  readonly grantee: GranteeText
  readonly deny?: boolean
  readonly purpose: readonly string[]
  readonly right?: readonly string[]
  readonly from: Timestamp
  readonly to: Timestamp
  readonly anonymous?: boolean
  readonly labelCeiling: Confidentiality
  readonly timestamp?: Timestamp
}

export function addPolicyCommands(session: Session, program: Command): void {
  const policy = program.command('policy').description("a patient's rules for their records")

  const set = policyOptions(
    policy,
    'set',
    'permit or deny; one value for each owner, scope and grantee, the newest timestamp wins',
    'emrm policy set --home ./net/hospital-1 --key ./patient.key --grantee role:attending --purpose TREAT --right read --to 2027-12-31',
  )
  handle<SetOptions>(session, set, options =>
    withKey(session, options, async acting => {
      const operation = await policyOf(options, acting)
      const { key, chainId, api } = acting
      const signing = { key, chainId, timestamp: operation.timestamp }
      const { request, height } = await submitOperation(api, { ...signing, timestamp: now() }, operation)
      const document = { policy: request, timestamp: operation.timestamp, height }
      return { document, lines: [`policy ${request} at height ${height}`] }
    }),
  )

  const preview = policyOptions(
    policy,
    'preview',
    'say who would gain or lose what; signs and sends nothing',
    'emrm policy preview --home ./net/hospital-1 --key ./patient.key --grantee anyone --purpose TREAT --right read',
  )
  handle<SetOptions>(session, preview, options =>
    withKey(session, options, async acting => {
      const { api, key, chainId } = acting
      const body = await policyOf(options, acting)
      const document = await api.call('POST', '/v1/policies/preview', { body, as: { signer: key, chainId } })
      return previewAnswer(document as Preview)
    }),
  )

  addConsentCommand(session, policy)

  const list = homeCommand(
    policy,
    'list',
    "show a patient's policies",
    'emrm policy list --home ./net/hospital-1 --key ./patient.key',
  )
    .requiredOption('--key <file>', "the patient's or a guardian's key")
    .option('--owner <id>', "the patient, when the key is a guardian's", readUserId)
  handle<KeyOption & { readonly home: string; readonly owner?: string }>(session, list, options =>
    withKey(session, options, async ({ api, key, chainId }) => {
      const query = { owner: options.owner ?? key.identifier }
      const document = await api.call('GET', '/v1/policies', { query, as: { signer: key, chainId } })
      const { policies } = document as { policies: readonly (PolicySet & { id: string })[] }
      return {
        document,
        lines: policies.length === 0 ? ['no policies: nobody but the owner'] : policies.map(policyLine),
      }
    }),
  )

  const revoke = homeCommand(
    policy,
    'revoke <policy>',
    'take a policy back',
    'emrm policy revoke 9d1e… --home ./net/hospital-1 --key ./patient.key',
  )
    .requiredOption('--key <file>', "the patient's or a guardian's key")
    .option('--owner <id>', "the patient, when the key is a guardian's", readUserId)
    .option('--timestamp <time>', 'default: now', readTime)
  type RevokeOptions = KeyOption & { readonly home: string; readonly owner?: string; readonly timestamp?: Timestamp }
  handle<RevokeOptions>(session, revoke, (options, id = '') => {
    const target = readRequestId(id) as RequestId
    return withKey(session, options, async ({ api, key, chainId }) => {
      const timestamp = options.timestamp ?? now()
      const owner = (options.owner ?? key.identifier) as Identifier
      const signing = { key, chainId, timestamp: now() }
      const { height } = await submitOperation(api, signing, {
        type: 'policy.revoke',
        owner,
        policy: target,
        timestamp,
      })
      return { document: { policy: target, timestamp, height }, lines: [`revoked ${target} at height ${height}`] }
    })
  })
}

function policyOptions(parent: Command, name: string, description: string, example: string): Command {
  return homeCommand(parent, name, description, example)
    .requiredOption('--key <file>', "the patient's or a guardian's key")
    .option('--owner <id>', "the patient, when the key is a guardian's", readUserId)
    .option('--scope <scope>', 'all, kind:K or record:R', readScope, { type: 'all' })
    .requiredOption('--grantee <grantee>', 'anyone, institution:I, user:U, role:R or group:G', readGrantee)
    .option('--deny', 'deny instead of permit; a deny in force always wins')
    .requiredOption('--purpose <code...>', 'HL7 PurposeOfUse codes; each covers those below it, BTG only itself')
    .option('--right <right...>', 'read or share (share includes read)', readChoice('a right', ['read', 'share']))
    .option('--from <time>', 'ISO 8601 or ms (default: always)', readTime, 0 as Timestamp)
    .option('--to <time>', 'ISO 8601 or ms, not included (default: for ever)', readTime, TIME_MAX as Timestamp)
    .option('--anonymous', 'release the de-identified form only')
    .option('--label-ceiling <level>', 'withhold what is more confidential: N, R or V', readLevel, 'N')
    .option('--timestamp <time>', 'default: now; must be above the last for this owner, scope and grantee', readTime)
}

const readLevel = (text: string): string => readChoice('a level', ['U', 'L', 'M', 'N', 'R', 'V'])(text)[0] ?? 'N'

async function policyOf(options: SetOptions, { api, key }: Acting): Promise<PolicySet> {
  requirePurposes(options.purpose)
  requireWindow(options.from, options.to)
  return {
    type: 'policy.set',
    owner: (options.owner ?? key.identifier) as Identifier,
    scope: options.scope as Scope,
    grantee: await granteeOf(options.grantee, api),
    effect: options.deny ? 'deny' : 'permit',
    purposes: [...new Set(options.purpose)].sort(),
    rights: [...new Set(options.right ?? ['read'])].sort() as Right[],
    from: options.from,
    to: options.to,
    anonymous: options.anonymous ?? false,
    labelCeiling: options.labelCeiling,
    timestamp: options.timestamp ?? now(),
  }
}

const now = (): Timestamp => Date.now() as Timestamp

function policyLine(policy: PolicySet & { readonly id: string }): string {
  const { effect, grantee, scope, purposes, rights, from, to } = policy
  const value = (part: object): string => Object.values(part).join(':')
  const until = to >= TIME_MAX ? 'for ever' : new Date(to).toISOString()
  const since = from === 0 ? 'always' : new Date(from).toISOString()
  return `${policy.id}  ${effect} ${value(grantee)} on ${value(scope)} for ${purposes.join(',')} to ${rights.join(',')}, ${since} … ${until}`
}

type Change = {
  user: string
  role: string
  purpose: string
  right: string
  record: string
  before: string
  after: string
}
type Preview = { gain: readonly Change[]; lose: readonly Change[]; truncated: boolean }

function previewAnswer(document: Preview): Answer {
  const line =
    (sign: string) =>
    (change: Change): string =>
      `${sign} ${change.user} as ${change.role} for ${change.purpose} to ${change.right} ${change.record} (${change.before} → ${change.after})`
  const lines = [...document.gain.map(line('+')), ...document.lose.map(line('-'))]
  return { document, lines: lines.length === 0 ? ['nothing would change for anyone who is registered'] : lines }
}
