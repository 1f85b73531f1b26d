// Structural checks of what we emit: required elements and codes as IHE PCF and BALP have them. Not a validator of other people's FHIR; a
// type checker of a FHIR library would let `status: "banana"` pass, so each code that matters is looked at here.

import { isPurpose } from '../../access/purposes.ts'
import { CONFIDENTIALITIES, isSensitivity } from '../../access/sets.ts'
import * as codes from './codes.ts'
import type { AuditAgent, AuditEvent, Coding, Consent, DocumentReference, Reference } from './shapes.ts'

/** What is wrong, by place; empty when nothing is. */
export function consentFaults(consent: Consent): readonly string[] {
  const { provision } = consent
  const labels = provision.securityLabel ?? []
  return faults({
    'id is not a FHIR id': isId(consent.id),
    'meta.versionId is not a FHIR id': isId(consent.meta.versionId ?? ''),
    'status is not a status': consent.status === 'active' || consent.status === 'inactive',
    'scope is not patient-privacy': only(consent.scope.coding, codes.CONSENT_SCOPE, ['patient-privacy']),
    'category is missing': consent.category.length > 0,
    'patient is missing': isReference(consent.patient),
    'dateTime is not a time': isTime(consent.dateTime),
    'performer is missing': consent.performer.length > 0 && consent.performer.every(isReference),
    'organization is missing': consent.organization.length > 0 && consent.organization.every(isReference),
    'source is missing': isReference(consent.sourceReference),
    'policy names no rights': consent.policy.length === 1 && codes.rightsOfUri(consent.policy[0]?.uri ?? '') !== null,
    'provision.type is not a decision': provision.type === 'permit' || provision.type === 'deny',
    'provision.purpose is not a purpose':
      provision.purpose.length > 0 && provision.purpose.every(c => c.system === codes.ACT_REASON && isPurpose(c.code)),
    'provision.securityLabel is not a confidentiality':
      (provision.type === 'deny' || labels.length > 0) && only(labels, codes.CONFIDENTIALITY, CONFIDENTIALITIES),
    'provision.period is not a period':
      provision.period === undefined || Object.values(provision.period).every(end => end !== undefined && isTime(end)),
    'provision.actor is not a recipient': (provision.actor ?? []).every(
      ({ role, reference }) => only(role.coding, codes.PARTICIPATION, ['IRCP']) && isReference(reference),
    ),
  })
}

/** DICOM or other code of each agent that a BALP profile requires. */
const AGENTS = {
  AuthZconsent: ['110150', 'IRCP', 'PROV', 'authserver'],
  'PrivacyDisclosure.Source': ['110153', '110152'],
  'PrivacyDisclosure.Recipient': ['110153', '110152'],
  PatientRead: ['110153', '110152', 'IRCP'],
} as const

const TYPES: Readonly<Record<keyof typeof AGENTS, string>> = {
  AuthZconsent: '110113 AuthZ-Consent E',
  'PrivacyDisclosure.Source': '110106 disclose R',
  'PrivacyDisclosure.Recipient': '110107 disclose C',
  PatientRead: 'rest read R',
}

export function auditEventFaults(event: AuditEvent): readonly string[] {
  const name = event.meta.profile?.[0]?.slice(codes.BALP_PROFILE.length) ?? ''
  if (!isProfile(name)) return ['meta.profile is not one that we write']
  const agents = (code: string): readonly AuditAgent[] =>
    event.agent.filter(({ type }) => type.coding.some(item => item.code === code))
  const { observer } = event.source
  const observed = OBSERVERS[name]
  return faults({
    'type, subtype and action do not go together':
      `${event.type.code} ${event.subtype[0]?.code} ${event.action}` === TYPES[name],
    'recorded is not a time': isTime(event.recorded),
    'outcome and its description do not go together': event.outcome === '0' || event.outcomeDesc !== undefined,
    'an agent is missing, or there twice': AGENTS[name].every(code => agents(code).length === 1),
    'an agent is nobody': event.agent.every(({ who }) => isReference(who)),
    'a machine has no network': ['110150', '110152', '110153']
      .flatMap(agents)
      .every(({ network }) => network !== undefined),
    'nobody, or more than one, made the request': event.agent.filter(({ requestor }) => requestor).length === 1,
    'the observer is not the agent whose event this is':
      isReference(observer) && agents(observed).every(({ who }) => who.display === observer.display),
    'the patient is missing': entities(event, codes.AUDIT_ENTITY_TYPE, '1') === 1,
    'the record is missing': entities(event, codes.AUDIT_ENTITY_TYPE, '2') === 1,
    'the request is missing': entities(event, codes.BALP_ENTITY, 'XrequestId') === 1,
    'the consent is missing': name !== 'AuthZconsent' || entities(event, codes.RESOURCE_TYPES, 'Consent') === 1,
    'an entity is nothing': event.entity.every(({ what }) => isReference(what)),
  })
}

const OBSERVERS: Readonly<Record<keyof typeof AGENTS, string>> = {
  AuthZconsent: 'authserver',
  'PrivacyDisclosure.Source': '110153',
  'PrivacyDisclosure.Recipient': '110152',
  PatientRead: '110153',
}

export const documentReferenceFaults = (document: DocumentReference): readonly string[] =>
  faults({
    'id is not a FHIR id': isId(document.id),
    'masterIdentifier is missing': document.masterIdentifier.value !== '',
    'status is not a status': ['current', 'superseded', 'entered-in-error'].includes(document.status),
    'subject is missing': isReference(document.subject),
    'custodian is missing': isReference(document.custodian),
    'date is not a time': isTime(document.date),
    'securityLabel has no single confidentiality':
      document.securityLabel.filter(({ coding }) => coding[0]?.system === codes.CONFIDENTIALITY).length === 1,
    'securityLabel has an unknown code': document.securityLabel.every(({ coding }) => isLabel(coding[0])),
    'attachment has a hash': document.content.every(({ attachment }) => !('hash' in attachment)),
    'attachment is missing': document.content.length > 0 && document.content.every(c => c.attachment.url !== ''),
  })

const faults = (rules: Readonly<Record<string, boolean>>): readonly string[] =>
  Object.keys(rules).filter(fault => rules[fault] !== true)

const isProfile = (name: string): name is keyof typeof AGENTS => Object.hasOwn(AGENTS, name)

const isId = (text: string): boolean => /^[A-Za-z0-9.-]{1,64}$/.test(text)
const isTime = (text: string): boolean => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text)
const isReference = ({ identifier, display }: Reference): boolean =>
  (identifier !== undefined && identifier.system !== '' && identifier.value !== '') ||
  (display !== undefined && display !== '')

const only = (codings: readonly Coding[], system: string, known: readonly string[]): boolean =>
  codings.every(coding => coding.system === system && known.includes(coding.code))

const entities = (event: AuditEvent, system: string, code: string): number =>
  event.entity.filter(({ type }) => type.system === system && type.code === code).length

const isLabel = (coding: Coding | undefined): boolean =>
  coding !== undefined &&
  (coding.system === codes.CONFIDENTIALITY
    ? CONFIDENTIALITIES.some(code => code === coding.code)
    : coding.system === codes.ACT_CODE && isSensitivity(coding.code))
