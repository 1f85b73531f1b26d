// The stage of these tests: a patient, who else is known to the resolver, and the contract's own evaluator asked about mapped policies with
// every role and relation open, so that only the patient's word decides.

import { decide } from '../../src/access/decide.ts'
import { decideEmergency } from '../../src/access/emergency.ts'
import { compilePolicy } from '../../src/access/policy.ts'
import { PURPOSES } from '../../src/access/purposes.ts'
import { compileRelations } from '../../src/access/relations.ts'
import { consentToPolicies } from '../../src/interop/fhir/consent-import.ts'
import type { ConsentContext, ConsentMapping, KnownRecord, PolicyDraft } from '../../src/interop/fhir/types.ts'
import {
  asIdentifier,
  asRecordId,
  asRequestId,
  asTimestamp,
  type Identifier,
  type RecordId,
} from '../../src/model/ids.ts'
import type { Confidentiality, Grantee } from '../../src/model/operations.ts'

const id = (digit: string): Identifier => asIdentifier(digit.repeat(32))
export const OWNER: Identifier = id('1')
export const DOCTOR: Identifier = id('2')
export const CLERK: Identifier = id('3')
export const HOSPITAL: Identifier = id('a')
export const ELSEWHERE: Identifier = id('b')
export const NOW: number = Date.UTC(2024, 0, 1)

/** References that the resolver knows; all patients are the one patient. */
const GRANTEES: Readonly<Record<string, Grantee>> = {
  'Practitioner/ex-practitioner': { type: 'user', user: DOCTOR },
  'Practitioner/f204': { type: 'user', user: DOCTOR },
  'Practitioner/ex-clerk': { type: 'user', user: CLERK },
  'Organization/ex-organization': { type: 'institution', institution: HOSPITAL },
  'Organization/f001': { type: 'institution', institution: HOSPITAL },
  'Organization/f201': { type: 'institution', institution: HOSPITAL },
  'Group/ex-privilegedUsers': { type: 'group', group: 'privileged' },
}

export const recordNamed = (literal: string): RecordId => {
  let hash = 7
  for (const letter of literal) hash = (hash * 31 + letter.charCodeAt(0)) % 0xffffffff
  return asRecordId(hash.toString(16).padStart(32, '0'))
}

export const context = (options: Omit<ConsentContext, 'resolver'> = {}): ConsentContext => ({
  resolver: {
    owner: reference => (reference.literal === 'Patient/unknown' ? null : OWNER),
    grantee: reference => GRANTEES[reference.literal] ?? null,
    record: reference => (reference.literal.startsWith('Observation/') ? recordNamed(reference.literal) : null),
  },
  ...options,
})

export const knownRecord = (record: RecordId, facts: Partial<KnownRecord> = {}): KnownRecord => ({
  ...{ record, kind: 'fhir', confidentiality: 'N', labels: [], authored: null, authors: null },
  ...{ related: null, resourceType: null, codes: null, ...facts },
})

export type Asked = {
  readonly purpose: string
  readonly user?: Identifier
  readonly groups?: readonly string[]
  readonly institution?: Identifier
  readonly right?: 'read' | 'share'
  readonly record?: RecordId
  readonly kind?: string
  readonly confidentiality?: Confidentiality
  readonly time?: number
  readonly emergency?: boolean
}

const RELATIONS = compileRelations({
  rolePurposes: [{ key: 'any', values: PURPOSES }],
  rolePermissions: [{ key: 'any', values: ['share'] }],
  purposePermissions: PURPOSES.map(key => ({ key, values: ['share'] })),
})

/** `grant`, or the reason of the denial. */
export function answer(policies: readonly PolicyDraft[], asked: Asked): string {
  const compiled = policies.map((policy, index) =>
    compilePolicy({ ...policy, timestamp: asTimestamp(1), id: asRequestId(index.toString(16).padStart(64, '0')) }),
  )
  const question = {
    user: {
      id: asked.user ?? DOCTOR,
      institution: asked.institution ?? HOSPITAL,
      ...{
        roles: ['any'],
        groups: asked.groups ?? [],
        validUntil: asTimestamp(Number.MAX_SAFE_INTEGER),
        revoked: false,
      },
    },
    ...{ credentials: [], institutionActive: true, emergencySuspended: false, role: 'any', purpose: asked.purpose },
    ...({ right: asked.right ?? 'read', time: asTimestamp(asked.time ?? NOW), delegation: null } as const),
    record: {
      ...{ record: asked.record ?? recordNamed('Observation/any'), owner: OWNER, kind: asked.kind ?? 'fhir' },
      ...({ confidentiality: asked.confidentiality ?? 'N', withdrawn: false, twinOf: null, twin: null } as const),
    },
    ...{ policies: compiled, relations: RELATIONS },
  }
  const decision = asked.emergency === true ? decideEmergency(question) : decide(question)
  return decision.type === 'grant' ? 'grant' : decision.reason
}

export function mapped(resource: unknown, options: Omit<ConsentContext, 'resolver'> = {}): ConsentMapping {
  const outcome = consentToPolicies(resource, context(options))
  if (outcome.type === 'refused') throw new Error(`refused: ${outcome.code}: ${outcome.reason}`)
  return outcome
}

/** `mapped`, or the code of the refusal. */
export const codeOf = (resource: unknown, options: Omit<ConsentContext, 'resolver'> = {}): string => {
  const outcome = consentToPolicies(resource, context(options))
  return outcome.type === 'refused' ? outcome.code : 'mapped'
}

const ACT_REASON = 'http://terminology.hl7.org/CodeSystem/v3-ActReason'
export const purposes = (...codes: readonly string[]): { purpose: readonly object[] } => ({
  purpose: codes.map(code => ({ system: ACT_REASON, code })),
})
export const labels = (...codes: readonly string[]): { securityLabel: readonly object[] } => ({
  securityLabel: codes.map(code => ({
    system: `http://terminology.hl7.org/CodeSystem/v3-${code.length === 1 ? 'Confidentiality' : 'ActCode'}`,
    code,
  })),
})
export const actor = (reference: string, role = 'IRCP'): object => ({
  role: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code: role }] },
  reference: { reference },
})
export const actions = (...codes: readonly string[]): { action: readonly object[] } => ({
  action: codes.map(code => ({
    coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentaction', code }],
  })),
})

/** An R4 Consent as IHE PCF has it, with this provision. */
export const consentR4 = (provision: object | null, changes: object = {}): Record<string, unknown> => ({
  resourceType: 'Consent',
  status: 'active',
  scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'patient-privacy' }] },
  category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }] }],
  patient: { reference: 'Patient/p1' },
  dateTime: '2023-05-01',
  performer: [{ reference: 'Patient/p1' }],
  organization: [{ reference: 'Organization/ex-organization' }],
  policy: [{ uri: 'http://example.org/policies/base.txt' }],
  ...(provision === null ? {} : { provision }),
  ...changes,
})

export const consentR5 = (decision: string, provision: readonly object[] | null, changes: object = {}): object => ({
  resourceType: 'Consent',
  status: 'active',
  category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }] }],
  subject: { reference: 'Patient/p1' },
  date: '2023-05-01',
  decision,
  ...(provision === null ? {} : { provision }),
  ...changes,
})
