// FHIR Consent → policies: what a patient signed elsewhere becomes what the chain decides by (P-42), equal or stricter, never looser. What
// cannot be kept exactly is narrowed, with its reason in `notes`, or the whole is refused with a code. Not here: signing and submitting,
// the other way round (consent-export.ts).

import { compileConsent } from './compile.ts'
import { readConsentR4 } from './consent-r4.ts'
import { consentVersion, readConsentR5 } from './consent-r5.ts'
import type { Reading } from './provision.ts'
import { checkWhole, isObject, type Json, Refused, refuse } from './read.ts'
import type { ConsentContext, ConsentMapping, ConsentOutcome } from './types.ts'

/** `resource`: parsed JSON of anyone's. Throws only what the resolver throws. */
export function consentToPolicies(resource: unknown, context: ConsentContext): ConsentOutcome {
  try {
    return mapConsent(resource, { context, notes: [] })
  } catch (fault) {
    if (fault instanceof Refused) return { type: 'refused', code: fault.code, reason: fault.reason }
    throw fault
  }
}

function mapConsent(resource: unknown, reading: Reading): ConsentMapping {
  if (!isObject(resource) || resource['resourceType'] !== 'Consent')
    return refuse('not-a-consent', 'This is not a FHIR Consent in JSON.')
  const version = consentVersion(resource)
  if (version === 'mixed') refuse('consent-version-mixed', 'The Consent has elements of R4 and of R5.')
  if (version === 'r4') return mapR4(resource, reading)
  try {
    checkWhole(resource)
    return compileConsent(readConsentR5(resource, reading), reading)
  } catch (fault) {
    if (!(fault instanceof Refused) || fault.code.startsWith('consent-r5-')) throw fault
    throw new Refused(`consent-r5-${fault.code}`, fault.reason)
  }
}

function mapR4(resource: Json, reading: Reading): ConsentMapping {
  checkWhole(resource)
  return compileConsent(readConsentR4(resource, reading), reading)
}
