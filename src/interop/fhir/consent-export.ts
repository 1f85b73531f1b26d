// Policy → FHIR R4 Consent, in the shape of IHE PCF where PCF has one: rights as an overarching policy (PCF forbids `provision.action`),
// anonymity as an obligation extension, role and group as logical references. Another reader's Consent never says more than the policy:
// a permit's ceiling is spelled out label by label. consent-import.ts reads it back to the same policy.

import type { Policy } from '../../access/policy.ts'
import { CONFIDENTIALITIES, confidentialityRank } from '../../access/sets.ts'
import { EmrmError } from '../../model/errors.ts'
import type { Identifier } from '../../model/ids.ts'
import type { Grantee, Scope } from '../../model/operations.ts'
import * as codes from './codes.ts'
import { type Consent, coding, concept, type Extension, named, type Reference } from './shapes.ts'
import { isoTime, periodOf } from './time.ts'

export type ExportContext = {
  /** The institution that keeps the policy's form. */
  readonly organization: Identifier
  /** Who signed: the patient, unless a guardian did. */
  readonly performer?: Identifier
  /** `inactive` once it was revoked. */
  readonly status?: 'active' | 'inactive'
}

/** Throws EmrmError `policy-not-expressible` for a window that begins after FHIR's last year, 9999. */
export function policyToConsent(policy: Policy, context: ExportContext): Consent {
  const { owner, effect, purposes, rights, scope } = policy
  const period = periodOf(policy.from, policy.to)
  if (period === null)
    throw new EmrmError('policy-not-expressible', 'FHIR has no years after 9999; set an earlier window.', {
      policy: policy.id,
    })
  const permits = effect === 'permit'
  // PCF's profiles have labels and single records, but no classes.
  const profiled = scope.type === 'kind' ? {} : { profile: [`${codes.PCF}StructureDefinition/IHE.PCF.consentAdvanced`] }
  return {
    resourceType: 'Consent',
    id: policy.id,
    // The version is the chain-enforced Timestamp: versions are compared, never clocks.
    meta: { versionId: String(policy.timestamp), ...profiled },
    extension: extensionsOf(policy),
    status: context.status ?? 'active',
    scope: concept(codes.CONSENT_SCOPE, 'patient-privacy'),
    category: [concept(codes.LOINC, '59284-0', 'Consent')],
    patient: named(codes.OUR_USER, owner, 'Patient'),
    dateTime: isoTime(policy.timestamp),
    performer: [named(codes.OUR_USER, context.performer ?? owner)],
    organization: [named(codes.OUR_INSTITUTION, context.organization, 'Organization')],
    sourceReference: named(codes.OUR_REQUEST, policy.id, 'DocumentReference'),
    policy: [{ uri: codes.uriOfRights(rights) }],
    provision: {
      type: effect,
      ...(period.start === undefined && period.end === undefined ? {} : { period }),
      ...actorsOf(policy.grantee),
      ...(permits ? { securityLabel: labelsUpTo(policy.labelCeiling) } : {}),
      purpose: purposes.map(code => coding(codes.ACT_REASON, code)),
      ...dataOf(scope),
    },
  }
}

function extensionsOf(policy: Policy): readonly Extension[] {
  const { anonymous, effect, labelCeiling, id } = policy
  const obligation = { url: codes.OBLIGATION_EXTENSION, valueCoding: coding(codes.ACT_CODE, 'DEID', 'deidentify') }
  return [
    ...(anonymous ? [obligation] : []),
    // A label in a denying provision would select what is denied, so the ceiling that a deny carries stands apart.
    ...(effect === 'deny' ? [{ url: codes.CEILING_EXTENSION, valueCode: labelCeiling }] : []),
    { url: codes.ANCHOR_EXTENSION, valueUri: `urn:emrm:request:${id}` },
  ]
}

const labelsUpTo = (ceiling: Policy['labelCeiling']): Consent['provision']['securityLabel'] & object =>
  CONFIDENTIALITIES.filter(code => confidentialityRank(code) <= confidentialityRank(ceiling)).map(code =>
    coding(codes.CONFIDENTIALITY, code),
  )

function actorsOf(grantee: Grantee): Pick<Consent['provision'], 'actor'> {
  if (grantee.type === 'anyone') return {}
  // `role` is how somebody takes part, which PCF fixes; the role of P-40 is what the reference names.
  return { actor: [{ role: concept(codes.PARTICIPATION, 'IRCP'), reference: referenceOf(grantee) }] }
}

function referenceOf(grantee: Exclude<Grantee, { type: 'anyone' }>): Reference {
  switch (grantee.type) {
    case 'user':
      return named(codes.OUR_USER, grantee.user)
    case 'institution':
      return named(codes.OUR_INSTITUTION, grantee.institution, 'Organization')
    case 'role':
      return named(codes.OUR_ROLE, grantee.role, 'PractitionerRole')
    case 'group':
      return named(codes.OUR_GROUP, grantee.group, 'Group')
  }
}

function dataOf(scope: Scope): Pick<Consent['provision'], 'class' | 'data'> {
  switch (scope.type) {
    case 'all':
      return {}
    case 'kind':
      return { class: [coding(codes.OUR_KIND, scope.kind)] }
    case 'record':
      return { data: [{ meaning: 'instance', reference: named(codes.OUR_RECORD, scope.record, 'DocumentReference') }] }
  }
}
