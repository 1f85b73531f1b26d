// FHIR R4 (4.0.1) Consent → rules. The base decision is `provision.type` (IHE PCF requires it there); nested provisions are its exceptions,
// one level deep. HL7's own examples leave it out and mean the opposite of each other by it: then only "no" is taken from them.

import { CONFIDENTIALITIES, RIGHTS } from '../../access/sets.ts'
import type { Confidentiality, Right } from '../../model/operations.ts'
import { ACT_CODE, CEILING_EXTENSION, CONSENT_SCOPE, PCF, RIGHT_EXTENSION, rightsOfUri } from './codes.ts'
import { emptyRule, type Reading, readObligations, readProvision } from './provision.ts'
import { ALL_PURPOSES, sharedPurposes } from './purpose-sets.ts'
import { concept, fields, type Json, object, objects, onlyKnown, refuse, text } from './read.ts'
import { readReference, resolveOwner } from './references.ts'
import type { ConsentRules, Rule } from './types.ts'

const RESOURCE = 'resourceType id meta language text contained extension'
const CONSENT_FIELDS = fields(
  `${RESOURCE} identifier status scope category patient dateTime performer organization sourceAttachment sourceReference policy policyRule verification provision`,
)
const PROVISION_FIELDS = fields(
  'id extension type period actor action securityLabel purpose class code dataPeriod data provision',
)
/** All others of a provision describe what it is about. */
const FRAME_FIELDS = fields('id extension type provision')

export function readConsentR4(consent: Json, reading: Reading): ConsentRules {
  onlyKnown(consent, CONSENT_FIELDS, 'Consent')
  if (text(consent['status'], 'status') !== 'active') refuse('not-active', 'Only an active Consent is in force.')
  const scope = readScope(consent)
  const owner = readOwner(consent['patient'], 'patient', reading)
  checkVerified(consent)
  notePerformer(consent['performer'], consent['patient'], reading)
  const overarching = readOverarching(consent)
  const { base, exceptions } = readRoot(consent, overarching, reading)
  const anonymous = readObligations(consent, 'Consent', reading)
  const bound = (rule: Rule): Rule => ({ ...rule, anonymous: rule.anonymous || anonymous })
  const purposes = base.purposes ?? overarching.purposes ?? (scope === 'patient-privacy' ? null : SCOPE_PURPOSES[scope])
  return {
    ...{ owner, exceptions: exceptions.map(bound), purposesMax: overarching.purposes, ceilingMax: overarching.ceiling },
    base: bound(base.effect === 'permit' ? { ...base, purposes } : base),
    ...{ rights: overarching.rights, denyCeiling: readDenyCeiling(consent) },
  }
}

const SCOPE_PURPOSES = { treatment: ['TREAT'], research: ['HRESCH'] } as const

function readScope(consent: Json): 'patient-privacy' | 'treatment' | 'research' {
  if (consent['scope'] === undefined) refuse('scope-missing', 'An R4 Consent says what it is about; this one does not.')
  const scopes = concept(consent['scope'], 'scope')
  const code = scopes[0]?.code
  if (scopes.length === 1 && scopes[0]?.system === CONSENT_SCOPE)
    if (code === 'patient-privacy' || code === 'treatment' || code === 'research') return code
  return refuse('scope-unsupported', 'Only Consents on privacy, treatment or research are policies.')
}

export function readOwner(value: unknown, where: string, { context }: Reading): ConsentRules['owner'] {
  if (value === undefined) refuse('patient-missing', 'The Consent names no patient.')
  const reference = readReference(value, where)
  if (reference.type !== null && reference.type !== 'Patient') refuse('patient-unknown', `${where} is not a patient.`)
  return (
    resolveOwner(reference, context.resolver) ?? refuse('patient-unknown', `${where} is not known in this network.`)
  )
}

export function checkVerified(consent: Json): void {
  for (const item of objects(consent['verification'], 'verification'))
    if (item['verified'] !== true) refuse('not-verified', 'The Consent says that the patient did not confirm it.')
}

export function notePerformer(performers: unknown, patient: unknown, { notes }: Reading): void {
  const patientName = text(object(patient, 'patient')['reference'], 'patient')
  if (patientName === null) return
  for (const performer of objects(performers, 'performer'))
    if (performer['reference'] !== patientName)
      notes.push('Given by another than the patient: only a guardian on the chain can sign these policies.')
}

type Overarching = {
  readonly decision: 'permit' | 'deny' | null
  readonly purposes: readonly string[] | null
  readonly ceiling: Confidentiality | null
  readonly rights: readonly Right[] | null
  /** Nothing is excepted from it. */
  readonly final: boolean
}

const NOTHING_SAID: Overarching = { decision: null, purposes: null, ceiling: null, rights: null, final: false }

const PCF_POLICIES: Readonly<Record<string, Overarching>> = {
  [`${PCF}Policy-basic-normal`]: { ...NOTHING_SAID, decision: 'permit', purposes: ['TREAT'], ceiling: 'N' },
  [`${PCF}Policy-all-normal`]: { ...NOTHING_SAID, decision: 'permit', purposes: ALL_PURPOSES, ceiling: 'N' },
  [`${PCF}Policy-break-glass-only`]: { ...NOTHING_SAID, decision: 'deny', purposes: ['BTG'] },
  [`${PCF}Policy-deny`]: { ...NOTHING_SAID, decision: 'deny', final: true },
}

/** v3 ActCode consent directives, as `policyRule` or category. */
const DIRECTIVES: Readonly<Record<string, Overarching>> = {
  OPTIN: { ...NOTHING_SAID, decision: 'permit' },
  OPTINR: { ...NOTHING_SAID, decision: 'permit' },
  OPTOUT: { ...NOTHING_SAID, decision: 'deny' },
  OPTOUTE: { ...NOTHING_SAID, decision: 'deny' },
  NOCONSENT: { ...NOTHING_SAID, decision: 'deny', final: true },
  NOPP: { ...NOTHING_SAID, decision: 'deny', final: true },
  EMRGONLY: { ...NOTHING_SAID, purposes: ['ETREAT', 'BTG'] },
}

/** All that frames the provision, together: the strictest of each. */
function readOverarching(consent: Json): Overarching {
  let whole = NOTHING_SAID
  for (const policy of objects(consent['policy'], 'policy')) {
    const uri = text(policy['uri'], 'policy.uri') ?? ''
    const rights = rightsOfUri(uri)
    whole = strictest(whole, PCF_POLICIES[uri] ?? (rights === null ? NOTHING_SAID : { ...NOTHING_SAID, rights }))
  }
  for (const extension of objects(consent['extension'], 'extension'))
    if (extension['url'] === RIGHT_EXTENSION) {
      const right = RIGHTS.find(known => known === extension['valueCode'])
      if (right === undefined) return refuse('value-invalid', 'The policy right is neither read nor share.')
      whole = strictest(whole, { ...NOTHING_SAID, rights: right === 'share' ? RIGHTS : [right] })
    }
  const directives = [
    ...concept(consent['policyRule'], 'policyRule'),
    ...objects(consent['category'], 'category').flatMap(item => concept(item, 'category')),
  ]
  for (const { system, code } of directives)
    if (system === ACT_CODE) whole = strictest(whole, DIRECTIVES[code] ?? NOTHING_SAID)
  return whole
}

const strictest = (a: Overarching, b: Overarching): Overarching => ({
  decision: a.decision === 'deny' || b.decision === 'deny' ? 'deny' : (a.decision ?? b.decision),
  purposes:
    a.purposes === null || b.purposes === null ? (a.purposes ?? b.purposes) : sharedPurposes(a.purposes, b.purposes),
  ceiling: a.ceiling ?? b.ceiling,
  rights: a.rights === null || b.rights === null ? (a.rights ?? b.rights) : a.rights.filter(r => b.rights?.includes(r)),
  final: a.final || b.final,
})

function readRoot(
  consent: Json,
  overarching: Overarching,
  reading: Reading,
): Pick<ConsentRules, 'base' | 'exceptions'> {
  const { notes } = reading
  const root = consent['provision'] === undefined ? null : object(consent['provision'], 'provision')
  const said = root === null ? null : readType(root, 'provision')
  const effect = said ?? overarching.decision
  if (effect === null) return refuse('base-decision-missing', 'The Consent says neither permit nor deny.')
  if (effect === 'permit' && overarching.decision === 'deny')
    refuse('base-contradicts', 'The provision permits what its overarching policy denies.')
  if (root === null) return { base: emptyRule(effect, 'provision'), exceptions: [] }
  onlyKnown(root, PROVISION_FIELDS, 'provision')
  const exceptions = readNested(root, reading)
  if (said === null && Object.keys(root).some(name => !FRAME_FIELDS.has(name))) {
    if (effect === 'permit')
      refuse('root-type-missing', 'Whether the provision permits what it describes, or excepts it, is not said.')
    notes.push('provision.type is missing: what it describes could be denied or excepted, so all is denied.')
    return { base: emptyRule('deny', 'provision'), exceptions: exceptions.filter(rule => rule.effect === 'deny') }
  }
  const base = readProvision(root, effect, 'provision', ['class'], reading)
  if (base === null) return refuse('nothing-permitted', ['Nothing of it can be said exactly.', ...notes].join(' '))
  if (!overarching.final) return { base, exceptions }
  notes.push('The overarching policy denies all; exceptions to it are left out.')
  return { base: emptyRule('deny', 'provision'), exceptions: [] }
}

function readNested(root: Json, reading: Reading): readonly Rule[] {
  return objects(root['provision'], 'provision.provision').flatMap((nested, index) => {
    const where = `provision.provision[${index}]`
    onlyKnown(nested, PROVISION_FIELDS, where)
    if (nested['provision'] !== undefined)
      refuse('nesting-too-deep', `${where}: exceptions to exceptions are not read.`)
    const effect = readType(nested, where)
    if (effect === null) return refuse('nested-type-missing', `${where} says neither permit nor deny.`)
    const rule = readProvision(nested, effect, where, ['class'], reading)
    return rule === null ? [] : [rule]
  })
}

function readType(provision: Json, where: string): 'permit' | 'deny' | null {
  const type = text(provision['type'], `${where}.type`)
  if (type === null || type === 'permit' || type === 'deny') return type
  return refuse('value-invalid', `${where}.type is neither permit nor deny.`)
}

function readDenyCeiling(consent: Json): Confidentiality {
  for (const extension of objects(consent['extension'], 'extension'))
    if (extension['url'] === CEILING_EXTENSION) {
      const code = text(extension['valueCode'], 'extension')
      const known = CONFIDENTIALITIES.find(ceiling => ceiling === code)
      return known ?? refuse('value-invalid', 'The label ceiling is not a confidentiality.')
    }
  return 'V'
}
