// Names of the code systems, profiles and extensions that cross this door, and the few code tables that are ours to read. The purposes
// and confidentialities themselves stand in access/ (one table for the decision and for the import).

import { RIGHTS } from '../../access/sets.ts'
import type { Right } from '../../model/operations.ts'

export const ACT_REASON: string = 'http://terminology.hl7.org/CodeSystem/v3-ActReason'
export const ACT_CODE: string = 'http://terminology.hl7.org/CodeSystem/v3-ActCode'
export const CONFIDENTIALITY: string = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality'
export const PARTICIPATION: string = 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType'
export const ROLE_CLASS: string = 'http://terminology.hl7.org/CodeSystem/v3-RoleClass'
export const CONSENT_SCOPE: string = 'http://terminology.hl7.org/CodeSystem/consentscope'
export const CONSENT_ACTION: string = 'http://terminology.hl7.org/CodeSystem/consentaction'
export const CONSENT_CATEGORY: string = 'http://terminology.hl7.org/CodeSystem/consentcategorycodes'
export const LIFECYCLE: string = 'http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle'
export const AUDIT_EVENT_TYPE: string = 'http://terminology.hl7.org/CodeSystem/audit-event-type'
export const AUDIT_ENTITY_TYPE: string = 'http://terminology.hl7.org/CodeSystem/audit-entity-type'
export const OBJECT_ROLE: string = 'http://terminology.hl7.org/CodeSystem/object-role'
export const SECURITY_SOURCE: string = 'http://terminology.hl7.org/CodeSystem/security-source-type'
export const SECURITY_ROLE: string = 'http://terminology.hl7.org/CodeSystem/extra-security-role-type'
export const RESTFUL_INTERACTION: string = 'http://hl7.org/fhir/restful-interaction'
export const RESOURCE_TYPES: string = 'http://hl7.org/fhir/resource-types'
export const MIME_TYPES: string = 'urn:ietf:bcp:13'
export const LOINC: string = 'http://loinc.org'
export const SNOMED: string = 'http://snomed.info/sct'
export const DICOM: string = 'http://dicom.nema.org/resources/ontology/DCM'
export const BALP_AUTHZ: string = 'https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType'
export const BALP_ENTITY: string = 'https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType'
export const BALP_PROFILE: string = 'https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.'
export const PCF: string = 'https://profiles.ihe.net/ITI/PCF/'

const EMRM = 'https://emrm.example/fhir'
/** Identifier systems of what the chain names itself. A reference that carries one needs no resolver. */
export const OUR_USER: string = `${EMRM}/NamingSystem/user`
export const OUR_INSTITUTION: string = `${EMRM}/NamingSystem/institution`
export const OUR_ROLE: string = `${EMRM}/NamingSystem/role`
export const OUR_GROUP: string = `${EMRM}/NamingSystem/group`
export const OUR_RECORD: string = `${EMRM}/NamingSystem/record`
export const OUR_REQUEST: string = `${EMRM}/NamingSystem/request`
export const OUR_KIND: string = `${EMRM}/CodeSystem/record-kind`
/** DEID when the policy is anonymous. A `securityLabel` selects data; an obligation needs this. */
export const OBLIGATION_EXTENSION: string = `${EMRM}/StructureDefinition/policy-obligation`
/** `read` or `share`, beside the overarching policy of the rights. */
export const RIGHT_EXTENSION: string = `${EMRM}/StructureDefinition/policy-right`
/** The ceiling that a deny carries without using it; a permit's ceiling stands in `securityLabel`. */
export const CEILING_EXTENSION: string = `${EMRM}/StructureDefinition/policy-label-ceiling`
export const ANCHOR_EXTENSION: string = `${EMRM}/StructureDefinition/ledger-anchor`
export const DIGEST_EXTENSION: string = `${EMRM}/StructureDefinition/digest-sha256`

export const OUR_EXTENSIONS: readonly string[] = [
  OBLIGATION_EXTENSION,
  RIGHT_EXTENSION,
  CEILING_EXTENSION,
  ANCHOR_EXTENSION,
  DIGEST_EXTENSION,
]

/** The rights as an overarching policy, because IHE PCF forbids `provision.action`. */
const RIGHT_URIS: readonly (readonly [string, readonly Right[]])[] = [
  ['https://emrm.example/policy/read-only', ['read']],
  ['https://emrm.example/policy/share-only', ['share']],
  ['https://emrm.example/policy/read-share', RIGHTS],
]
export const rightsOfUri = (uri: string): readonly Right[] | null =>
  RIGHT_URIS.find(([known]) => known === uri)?.[1] ?? null
export const uriOfRights = (rights: readonly Right[]): string =>
  (RIGHT_URIS.find(([, known]) => known.length === rights.length && known.every(right => rights.includes(right))) ??
    RIGHT_URIS[0])![0]

/** Our record kinds (records detect them) as media types. `fhir` and `text` are more than the one written here. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  ...{ fhir: 'application/fhir+json', dicom: 'application/dicom', pdf: 'application/pdf', text: 'text/plain' },
}
export const mediaTypeOfKind = (kind: string): string => MEDIA_TYPES[kind] ?? 'application/octet-stream'

/** Only where kind and media type are the same set, so that a permit for one is not one for more. */
export const kindOfMediaType = (media: string): string | null =>
  ['dicom', 'pdf'].find(kind => MEDIA_TYPES[kind] === media) ?? null

/** Participation types that mean "who receives": IHE PCF fixes the first, HL7's examples use the second. */
export const RECIPIENT_ROLES: readonly string[] = ['IRCP', 'PRCP']

/** v3 ActCode, special information: code → the one above it. A deny of one above reaches those below. */
const ABOVE: Readonly<Record<string, string>> = {
  ...{ BH: 'SPI', MH: 'SPI', PSY: 'SPI', PSYTHPN: 'SPI', SUD: 'SPI' },
  ...{ COGN: 'BH', DVD: 'BH', EMOTDIS: 'BH', ETHUD: 'SUD', OPIOIDUD: 'SUD' },
}
export function sensitivityReaches(above: string, code: string): boolean {
  for (let at: string | undefined = code; at !== undefined; at = ABOVE[at]) if (at === above) return true
  return false
}
