// FHIR R5 Consent → rules. R5 is another resource under the same name: `decision` stands at the top, provisions have no type, each level is
// the negation of the one above. Read by R4's eyes it says nothing, which is why it is told apart first and never falls through.
// Every refusal gets `consent-r5-` before its code (consent-import.ts).

import { ACT_CODE, CONSENT_CATEGORY, LOINC } from './codes.ts'
import { checkVerified, notePerformer, readOwner } from './consent-r4.ts'
import { emptyRule, type Reading, readObligations, readProvision } from './provision.ts'
import { concept, fields, type Json, object, objects, onlyKnown, refuse, text } from './read.ts'
import { periodBounds } from './time.ts'
import type { ConsentRules, Rule } from './types.ts'

const R5_ONLY =
  'subject date period grantor grantee manager controller regulatoryBasis policyBasis policyText decision'.split(' ')
const R4_ONLY = 'scope patient dateTime performer organization policy policyRule'.split(' ')
const CONSENT_FIELDS = fields(
  `resourceType id meta language text contained extension identifier status category sourceAttachment sourceReference verification provision ${R5_ONLY.join(' ')}`,
)
const PROVISION_FIELDS = fields(
  'id extension period actor action securityLabel purpose documentType resourceType code dataPeriod data expression provision',
)

/** By its elements, since a resource does not say its version. `mixed` has those of both. */
export function consentVersion(consent: Json): 'r4' | 'r5' | 'mixed' {
  const r4 = R4_ONLY.some(name => consent[name] !== undefined || consent[`_${name}`] !== undefined)
  const listed = ['provision', 'sourceAttachment', 'sourceReference'].some(name => Array.isArray(consent[name]))
  const r5 = listed || R5_ONLY.some(name => consent[name] !== undefined || consent[`_${name}`] !== undefined)
  return r5 ? (r4 ? 'mixed' : 'r5') : 'r4'
}

export function readConsentR5(consent: Json, reading: Reading): ConsentRules {
  onlyKnown(consent, CONSENT_FIELDS, 'Consent')
  if (text(consent['status'], 'status') !== 'active') refuse('not-active', 'Only an active Consent is in force.')
  const decision = text(consent['decision'], 'decision')
  if (decision !== 'permit' && decision !== 'deny')
    return refuse('decision-missing', 'The Consent says neither permit nor deny.')
  if (decision === 'permit' && !isOnPrivacy(consent))
    refuse('category-unsupported', 'No category says that this Consent is on privacy.')
  const owner = readOwner(consent['subject'], 'subject', reading)
  checkVerified(consent)
  notePerformer(consent['grantor'], consent['subject'], reading)
  const { utcOffsetMinutes } = reading.context
  const period = consent['period'] === undefined ? null : object(consent['period'], 'period')
  const window = period === null ? null : periodBounds(period, 'period', utcOffsetMinutes)
  const anonymous = readObligations(consent, 'Consent', reading)
  const exceptions = readExceptions(consent, decision === 'permit' ? 'deny' : 'permit', reading)
  return {
    ...{ owner, base: { ...emptyRule(decision, 'decision'), window } },
    exceptions: exceptions.map(rule => ({ ...rule, anonymous: rule.anonymous || anonymous })),
    ...{ purposesMax: null, ceilingMax: null, rights: null, denyCeiling: 'V' },
  }
}

const PRIVACY: readonly string[] = [
  ...[`${LOINC}|59284-0`, `${LOINC}|57016-8`, `${LOINC}|57017-6`, `${LOINC}|64292-6`],
  ...['npp', 'research', 'rsdid', 'rsreid'].map(code => `${CONSENT_CATEGORY}|${code}`),
  ...['ICOL', 'IDSCL', 'INFA', 'INFAO', 'INFASO', 'IRDSCL', 'RESEARCH', 'RSDID', 'RSREID'].map(c => `${ACT_CODE}|${c}`),
]

/** R5 has no scope: an advance directive is told from a privacy consent by its category alone. */
const isOnPrivacy = (consent: Json): boolean =>
  objects(consent['category'], 'category')
    .flatMap(item => concept(item, 'category'))
    .some(({ system, code }) => PRIVACY.includes(`${system}|${code}`))

function readExceptions(consent: Json, effect: Rule['effect'], reading: Reading): readonly Rule[] {
  return objects(consent['provision'], 'provision').flatMap((provision, index) => {
    const where = `provision[${index}]`
    onlyKnown(provision, PROVISION_FIELDS, where)
    if (provision['expression'] !== undefined) refuse('expression', `${where} is a program, which is not run.`)
    const nested = objects(provision['provision'], `${where}.provision`)
    if (nested.length > 0) {
      // An exception to a permitting exception takes something back; one to a denying exception would open something.
      if (effect === 'permit') reading.notes.push(`${where}: has exceptions of its own, so it is left out.`)
      else reading.notes.push(`${where}: exceptions to what is denied are left out.`)
      if (effect === 'permit') return []
    }
    const rule = readProvision(provision, effect, where, ['documentType', 'resourceType'], reading)
    return rule === null ? [] : [rule]
  })
}
