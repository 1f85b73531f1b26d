// What the chain decided and what was released, as IHE BALP AuditEvents (FHIR R4): for a patient's report and for the hospital's audit
// repository. The chain stays the record; these are copies in the words that other systems read.
// Not here: which decisions exist (ledger), and the proof that none is missing.

import { isPurpose } from '../../access/purposes.ts'
import { EmrmError } from '../../model/errors.ts'
import type { Identifier, RecordId, RequestId, Timestamp } from '../../model/ids.ts'
import type { Confidentiality, DenialReason, Grant, Purpose, Right, Role } from '../../model/operations.ts'
import * as codes from './codes.ts'
import { type AuditAgent, type AuditEntity, type AuditEvent, coding, concept, named, type Reference } from './shapes.ts'
import { isoTime } from './time.ts'

/** A decision as the ledger stores it, with its owner. */
export type AuditedDecision = {
  readonly request: RequestId
  readonly owner: Identifier
  readonly record: RecordId
  readonly requester: Identifier
  /** Empty when the requester is not registered. */
  readonly institution: Identifier | ''
  readonly role: Role
  readonly purpose: Purpose
  readonly right: Right
  readonly result: 'granted' | DenialReason
  /** The policy's id, `owner`, `delegate`, `emergency`, or empty. */
  readonly basis: string
  readonly height: number
  /** Block time. */
  readonly time: Timestamp
}

/** A machine that took part. `address`: host name, IP address or URI. */
type AuditParty = { readonly name: string; readonly address: string }

/** `recorded`: when the release happened, by the peer that saw it; a decision is recorded at its block's time. */
export type AuditContext =
  | { readonly event: 'decision'; readonly client: AuditParty; readonly observer: AuditParty }
  | {
      readonly event: 'disclosure-source' | 'disclosure-recipient' | 'patient-read'
      readonly source: AuditParty
      readonly recipient: AuditParty
      readonly custodian: Identifier
      readonly confidentiality: Confidentiality
      readonly recorded: Timestamp
    }

/** Throws EmrmError `audit-nothing-released` when a release is to be written of a denial. */
export function auditEventFor(decision: AuditedDecision, context: AuditContext): AuditEvent {
  if (context.event === 'decision') return decisionEvent(decision, context.client, context.observer)
  if (decision.result !== 'granted')
    throw new EmrmError('audit-nothing-released', 'A denial releases nothing; export it as a decision.', {
      request: decision.request,
    })
  return context.event === 'patient-read' ? readEvent(decision, context) : disclosureEvent(decision, context)
}

export const auditedGrant = (grant: Grant): AuditedDecision => {
  const { owner, record, requester, institution, role, purpose, right, basis, height, time } = grant
  const terms = { owner, record, requester, institution, role, purpose, right, basis, height, time }
  return { ...terms, request: grant.grant, result: 'granted' }
}

function decisionEvent(decision: AuditedDecision, client: AuditParty, observer: AuditParty): AuditEvent {
  const granted = decision.result === 'granted'
  return {
    ...{ resourceType: 'AuditEvent', meta: profile('AuthZconsent') },
    type: coding(codes.DICOM, '110113', 'Security Alert'),
    subtype: [coding(codes.BALP_AUTHZ, 'AuthZ-Consent')],
    ...{ action: 'E', recorded: isoTime(decision.time), outcome: granted ? '0' : '8' },
    outcomeDesc: granted ? `granted by ${basisKind(decision.basis)}` : `denied: ${decision.result}`,
    ...purposeOfEvent(decision),
    agent: [
      { ...machine('110150', 'Application', client), requestor: false },
      userAgent(decision),
      {
        type: concept(codes.ROLE_CLASS, 'PROV'),
        who: organization(decision.institution),
        requestor: false,
      },
      { type: concept(codes.SECURITY_ROLE, 'authserver'), who: { display: observer.name }, requestor: false },
    ],
    source: { observer: { display: observer.name }, type: [coding(codes.SECURITY_SOURCE, '6', 'Security Server')] },
    entity: [patientEntity(decision), consentEntity(decision), recordEntity(decision, null), requestEntity(decision)],
  }
}

type Release = Extract<AuditContext, { recorded: Timestamp }>

function disclosureEvent(decision: AuditedDecision, release: Release): AuditEvent {
  const atSource = release.event === 'disclosure-source'
  return {
    resourceType: 'AuditEvent',
    meta: profile(atSource ? 'PrivacyDisclosure.Source' : 'PrivacyDisclosure.Recipient'),
    type: atSource ? coding(codes.DICOM, '110106', 'Export') : coding(codes.DICOM, '110107', 'Import'),
    subtype: [coding(codes.LIFECYCLE, 'disclose', 'Disclose Record Lifecycle Event')],
    ...{ action: atSource ? 'R' : 'C', recorded: isoTime(release.recorded), outcome: '0' },
    ...purposeOfEvent(decision),
    agent: [
      { ...machine('110153', 'Source Role ID', release.source), requestor: false },
      { ...machine('110152', 'Destination Role ID', release.recipient), requestor: false },
      userAgent(decision),
      {
        type: concept(codes.SNOMED, '159541003', 'Record keeping/library clerk'),
        who: organization(release.custodian),
        requestor: false,
      },
      ...authorizer(decision),
    ],
    // BALP: the observer is the side whose event this is, named as its agent is.
    source: observerOf(atSource ? release.source : release.recipient),
    entity: [patientEntity(decision), recordEntity(decision, release.confidentiality), requestEntity(decision)],
  }
}

function readEvent(decision: AuditedDecision, release: Release): AuditEvent {
  return {
    ...{ resourceType: 'AuditEvent', meta: profile('PatientRead') },
    type: coding(codes.AUDIT_EVENT_TYPE, 'rest', 'Restful Operation'),
    subtype: [coding(codes.RESTFUL_INTERACTION, 'read', 'read')],
    ...{ action: 'R', recorded: isoTime(release.recorded), outcome: '0' },
    ...purposeOfEvent(decision),
    agent: [
      { ...machine('110153', 'Source Role ID', release.source), requestor: false },
      { ...machine('110152', 'Destination Role ID', release.recipient), requestor: false },
      userAgent(decision),
    ],
    source: observerOf(release.source),
    entity: [patientEntity(decision), dataEntity(decision, release.confidentiality), requestEntity(decision)],
  }
}

const profile = (name: string): AuditEvent['meta'] => ({ profile: [`${codes.BALP_PROFILE}${name}`] })

const observerOf = (party: AuditParty): AuditEvent['source'] => ({
  observer: { display: party.name },
  type: [coding(codes.SECURITY_SOURCE, '4', 'Application Server')],
})

/** FHIR's network types: 1 machine name, 2 IP address, 5 URI. */
export function networkOf(address: string): NonNullable<AuditAgent['network']> {
  if (address.includes('://')) return { address, type: '5' }
  const isAddress = /^\d{1,3}(\.\d{1,3}){3}$/.test(address) || /^[0-9a-fA-F:]*:[0-9a-fA-F:.]*$/.test(address)
  return { address, type: isAddress ? '2' : '1' }
}

const machine = (code: string, display: string, party: AuditParty): Omit<AuditAgent, 'requestor'> => ({
  type: concept(codes.DICOM, code, display),
  who: { display: party.name },
  network: networkOf(party.address),
})

function userAgent(decision: AuditedDecision): AuditAgent {
  const purposes = purposeOfEvent(decision).purposeOfEvent
  return {
    type: concept(codes.PARTICIPATION, 'IRCP', 'information recipient'),
    ...(decision.role === '' ? {} : { role: [concept(codes.OUR_ROLE, decision.role)] }),
    who: named(codes.OUR_USER, decision.requester),
    requestor: true,
    ...(purposes === undefined ? {} : { purposeOfUse: purposes }),
  }
}

/** Whose word opened the record: the patient's, unless the rule for emergencies did. */
function authorizer(decision: AuditedDecision): readonly AuditAgent[] {
  if (decision.basis === 'emergency') return []
  const who = named(codes.OUR_USER, decision.owner, 'Patient')
  return [{ type: concept(codes.SNOMED, '429577009', 'Patient Advocate'), who, requestor: false }]
}

/** None when none was given, or what was given is no purpose: the denial's reason says so. */
const purposeOfEvent = ({ purpose }: AuditedDecision): Pick<AuditEvent, 'purposeOfEvent'> =>
  isPurpose(purpose) ? { purposeOfEvent: [concept(codes.ACT_REASON, purpose)] } : {}

const organization = (institution: Identifier | ''): Reference =>
  institution === '' ? { display: 'not registered' } : named(codes.OUR_INSTITUTION, institution, 'Organization')

const patientEntity = ({ owner }: AuditedDecision): AuditEntity => ({
  what: named(codes.OUR_USER, owner, 'Patient'),
  type: coding(codes.AUDIT_ENTITY_TYPE, '1', 'Person'),
  role: coding(codes.OBJECT_ROLE, '1', 'Patient'),
})

const BASES: readonly string[] = ['owner', 'delegate', 'emergency', '']
const basisKind = (basis: string): string => (BASES.includes(basis) ? basis || 'nothing' : 'policy')

const consentEntity = ({ basis }: AuditedDecision): AuditEntity => ({
  what: BASES.includes(basis)
    ? { display: basis === '' ? 'no policy of the patient decided' : `no policy: ${basis}` }
    : named(codes.OUR_REQUEST, basis, 'Consent'),
  type: coding(codes.RESOURCE_TYPES, 'Consent'),
})

const recordEntity = (decision: AuditedDecision, confidentiality: Confidentiality | null): AuditEntity => ({
  ...dataEntity(decision, confidentiality),
  role: coding(codes.OBJECT_ROLE, '3', 'Report'),
})

const dataEntity = ({ record }: AuditedDecision, confidentiality: Confidentiality | null): AuditEntity => ({
  what: named(codes.OUR_RECORD, record, 'DocumentReference'),
  type: coding(codes.AUDIT_ENTITY_TYPE, '2', 'System Object'),
  role: coding(codes.OBJECT_ROLE, '4', 'Domain Resource'),
  ...(confidentiality === null ? {} : { securityLabel: [coding(codes.CONFIDENTIALITY, confidentiality)] }),
})

const requestEntity = ({ request, height, right }: AuditedDecision): AuditEntity => ({
  what: named(codes.OUR_REQUEST, request),
  type: coding(codes.BALP_ENTITY, 'XrequestId'),
  detail: [
    { type: 'height', valueString: String(height) },
    { type: 'right', valueString: right },
  ],
})
