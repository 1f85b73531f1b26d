// `emrm policy import`: a FHIR Consent (R4, or R5) that a patient signed elsewhere, as policies of this network, equal or stricter. What
// would be signed, and where it is stricter than the Consent, is shown first; only --sign signs. Names of other systems mean nothing
// here until the caller says who they are. Not here: the mapping (interop/fhir/consent-import.ts).

import { type Command, InvalidArgumentError } from 'commander'
import type { Line } from '../api/client.ts'
import { refusedError } from '../api/operations.ts'
import { makeAgent } from '../client/agent.ts'
import { consentToPolicies } from '../interop/fhir/consent-import.ts'
import type { FhirReference, KnownRecord, PolicyDraft, Resolver } from '../interop/fhir/types.ts'
import type { Request } from '../model/block.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, RequestId } from '../model/ids.ts'
import type { Grantee, Outcome } from '../model/operations.ts'
import { readJsonFile } from '../shape.ts'
import { granteeOf } from './grantee.ts'
import { type Acting, homeCommand, type KeyOption, withKey } from './home.ts'
import { type Answer, handle, type Session } from './session.ts'
import { type GranteeText, readGrantee, readUserId } from './values.ts'

type Mapped = { readonly reference: string; readonly grantee: GranteeText }

type ImportOptions = KeyOption & {
  readonly home: string
  readonly owner?: string
  readonly patient?: string
  readonly map?: readonly Mapped[]
  readonly sign?: boolean
}

export function addConsentCommand(session: Session, policy: Command): void {
  const consent = homeCommand(
    policy,
    'import <file>',
    'show what a FHIR Consent means as policies, and sign them with --sign',
    'emrm policy import ./consent.json --home ./net/hospital-1 --key ./patient.key --patient Patient/17 --map Organization/9=institution:hospital-2',
  )
    .requiredOption('--key <file>', "the patient's or a guardian's key")
    .option('--owner <id>', "the patient, when the key is a guardian's", readUserId)
    .option('--patient <reference>', 'the patient, as the Consent names them')
    .option('--map <reference=grantee>', 'who a reference is: user:U, institution:I, role:R or group:G', readMapped)
    .option('--sign', 'sign and submit; without it nothing is changed')
  handle<ImportOptions>(session, consent, async (options, file = '') => {
    const resource = await readJsonFile(file)
    return withKey(session, options, acting => importConsent(resource, options, acting))
  })
}

async function importConsent(resource: unknown, options: ImportOptions, acting: Acting): Promise<Answer> {
  const { api, key, chainId } = acting
  const owner = (options.owner ?? key.identifier) as Identifier
  const as = { signer: key, chainId }
  const { records } = (await api.call('GET', '/v1/records', { query: { owner }, as })) as { records: readonly Line[] }
  const outcome = consentToPolicies(resource, {
    resolver: await resolverOf(options, owner, acting),
    records: records.map(knownRecord),
  })
  if (outcome.type === 'refused')
    throw new EmrmError(
      outcome.code.startsWith('consent-') ? outcome.code : `consent-${outcome.code}`,
      `the Consent is refused: ${outcome.reason} Nothing was signed; correct it, or set policies by hand`,
      {},
    )
  const other = outcome.policies.find(draft => draft.owner !== owner)
  if (other !== undefined)
    throw new EmrmError('consent-of-another', 'the Consent is of another patient; use the key of that one', {})
  const { policies } = (await api.call('GET', '/v1/policies', { query: { owner }, as })) as {
    policies: readonly { readonly id: RequestId; readonly effect: string }[]
  }
  const revoked = outcome.replacesEarlier
    ? policies.filter(({ effect }) => effect === 'permit').map(({ id }) => id)
    : []
  const signed = options.sign === true ? await sign(acting, owner, revoked, outcome.policies) : []
  const document = {
    signed: options.sign === true,
    notes: outcome.notes,
    revokes: revoked,
    policies: outcome.policies,
    ids: signed,
  }
  return {
    document,
    lines: [
      ...outcome.notes.map(note => `note: ${note}`),
      ...revoked.map(id => `revoke ${id}`),
      ...outcome.policies.map(draftLine),
      options.sign === true ? `signed ${signed.length} policies` : 'nothing was signed; add --sign to sign this',
    ],
  }
}

/** Stricter things first, so that what fails half-way leaves less open, not more. */
async function sign(
  { api, key, chainId }: Acting,
  owner: Identifier,
  revoked: readonly RequestId[],
  drafts: readonly PolicyDraft[],
): Promise<readonly RequestId[]> {
  const agent = makeAgent({ network: chainId, key, now: Date.now })
  const submit = async (request: Request): Promise<RequestId> => {
    const { outcome, height } = (await api.submit(request.bytes)) as unknown as { outcome: Outcome; height: number }
    if (outcome.type === 'refused') throw refusedError(outcome.reason, request.operation.type, request.id, height)
    return request.id
  }
  for (const id of revoked) await submit(agent.revokePolicy(id, owner))
  const ids: RequestId[] = []
  for (const effect of ['deny', 'permit'])
    for (const draft of drafts) if (draft.effect === effect) ids.push(await submit(agent.setPolicy(draft)))
  return ids
}

/** Only what the caller named: a guess about who somebody is would be a policy for the wrong one. */
async function resolverOf(options: ImportOptions, owner: Identifier, { api }: Acting): Promise<Resolver> {
  const grantees = new Map<string, Grantee>()
  for (const { reference, grantee } of options.map ?? []) grantees.set(reference, await granteeOf(grantee, api))
  const named = ({ literal }: FhirReference): string => literal.replace(/\/_history\/.*$/, '')
  return {
    owner: reference => (options.patient !== undefined && named(reference) === options.patient ? owner : null),
    grantee: reference => grantees.get(named(reference)) ?? null,
    record: () => null,
  }
}

function readMapped(text: string, earlier: readonly Mapped[] = []): readonly Mapped[] {
  const at = text.lastIndexOf('=')
  if (at < 1)
    throw new InvalidArgumentError('a mapping is REFERENCE=GRANTEE, like Organization/9=institution:hospital-2.')
  return [...earlier, { reference: text.slice(0, at), grantee: readGrantee(text.slice(at + 1)) }]
}

const knownRecord = (record: Line): KnownRecord =>
  ({
    ...{ record: record['record'], kind: record['kind'], confidentiality: record['confidentiality'] },
    ...{ labels: record['labels'], authored: null, authors: null, related: null, resourceType: null, codes: null },
  }) as KnownRecord

function draftLine({ effect, grantee, scope, purposes, rights, anonymous, labelCeiling }: PolicyDraft): string {
  const value = (part: object): string => Object.values(part).join(':')
  const form = anonymous ? ', de-identified only' : ''
  return `${effect} ${value(grantee)} on ${value(scope)} up to ${labelCeiling} for ${purposes.join(',')} to ${rights.join(',')}${form}`
}
