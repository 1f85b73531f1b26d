// One provision of a Consent, R4 or R5, read into a Rule: whom, what for, when, which data. What a permit cannot say exactly is left out
// of it; what a deny cannot say exactly is marked, and made wider in compile.ts.

import { isPurpose } from '../../access/purposes.ts'
import { CONFIDENTIALITIES, isSensitivity, RIGHTS } from '../../access/sets.ts'
import type { Confidentiality, Grantee, Right } from '../../model/operations.ts'
import {
  ACT_CODE,
  ACT_REASON,
  CONFIDENTIALITY,
  CONSENT_ACTION,
  OBLIGATION_EXTENSION,
  OUR_EXTENSIONS,
  PARTICIPATION,
  RECIPIENT_ROLES,
} from './codes.ts'
import { coding, concept, type Json, object, objects, refuse, text } from './read.ts'
import { readReference, resolveGrantee } from './references.ts'
import { periodBounds } from './time.ts'
import type { Coded, ConsentContext, DataReference, Rule } from './types.ts'

export type Reading = { readonly context: ConsentContext; readonly notes: string[] }

/** Says nothing: reaches everything. */
export const emptyRule = (effect: Rule['effect'], where: string): Rule => ({
  ...{ effect, where, grantees: [], actors: 'anyone', purposes: null, rights: null, window: null },
  ...{ confidentialities: [], sensitivities: [], otherLabels: false },
  ...{ dataPeriod: null, data: [], classes: [], codes: [], anonymous: false },
})

/** `classes`: `class` of R4, `documentType` and `resourceType` of R5. null: a permit that reaches nobody, or allows nothing we know. */
export function readProvision(
  provision: Json,
  effect: Rule['effect'],
  where: string,
  classes: readonly string[],
  reading: Reading,
): Rule | null {
  const { utcOffsetMinutes } = reading.context
  const period = (name: string): Rule['window'] =>
    provision[name] === undefined
      ? null
      : periodBounds(object(provision[name], `${where}.${name}`), `${where}.${name}`, utcOffsetMinutes)
  const codings = (name: string): readonly Coded[] =>
    objects(provision[name], `${where}.${name}`).map(item => coding(item, `${where}.${name}`))
  const actors = readActors(provision, effect, where, reading)
  const rights = readActions(provision, effect, where, reading)
  const rule = {
    ...{ effect, where, ...readLabels(codings('securityLabel'), where, reading), window: period('period') },
    ...{ purposes: readPurposes(codings('purpose'), where), dataPeriod: period('dataPeriod') },
    ...{ data: readData(provision, where), classes: classes.flatMap(codings) },
    ...{ codes: readCodes(provision, where), anonymous: readObligations(provision, where, reading) },
  }
  if (actors === null || rights === 'none') return null
  return { ...rule, ...actors, rights }
}

/** Whether anything but the decision itself is said. */
export const hasConditions = (rule: Rule): boolean =>
  rule.actors !== 'anyone' ||
  rule.purposes !== null ||
  rule.rights !== null ||
  rule.window !== null ||
  selectsData(rule)

export const selectsData = (rule: Rule): boolean =>
  hasLabels(rule) || rule.dataPeriod !== null || rule.data.length + rule.classes.length + rule.codes.length > 0

export const hasLabels = (rule: Rule): boolean =>
  rule.confidentialities.length + rule.sensitivities.length > 0 || rule.otherLabels

function readPurposes(codings: readonly Coded[], where: string): readonly string[] | null {
  for (const { system, code } of codings)
    if (system !== ACT_REASON || !isPurpose(code))
      refuse('purpose-unknown', `${where}.purpose has a code that is not an HL7 PurposeOfUse.`)
  return codings.length === 0 ? null : [...new Set(codings.map(({ code }) => code))].sort()
}

type Actors = Pick<Rule, 'actors' | 'grantees'>

function readActors(provision: Json, effect: Rule['effect'], where: string, reading: Reading): Actors | null {
  const named = objects(provision['actor'], `${where}.actor`)
  if (named.length === 0) return { actors: 'anyone', grantees: [] }
  const grantees = named.map((actor, index) => readActor(actor, `${where}.actor[${index}]`, reading))
  const known = grantees.filter(grantee => grantee !== null)
  if (known.length === grantees.length) return { actors: 'named', grantees: known }
  if (effect === 'deny') return { actors: 'unclear', grantees: known }
  return known.length === 0 ? null : { actors: 'named', grantees: known }
}

function readActor(actor: Json, where: string, { context, notes }: Reading): Grantee | null {
  const roles = concept(actor['role'], `${where}.role`)
  const receives = roles.some(({ system, code }) => system === PARTICIPATION && RECIPIENT_ROLES.includes(code))
  if (!receives || roles.length !== 1) {
    notes.push(`${where}: takes part in another way than receiving, which a policy cannot say.`)
    return null
  }
  const reference = readReference(actor['reference'], `${where}.reference`)
  const grantee = resolveGrantee(reference, context.resolver)
  if (grantee === null) notes.push(`${where}: is not known in this network.`)
  return grantee
}

/** null: nothing said. `none`: a permit of what is no right here. */
function readActions(
  provision: Json,
  effect: Rule['effect'],
  where: string,
  { notes }: Reading,
): readonly Right[] | null | 'none' {
  const actions = objects(provision['action'], `${where}.action`).flatMap(item => concept(item, `${where}.action`))
  if (actions.length === 0) {
    if (provision['action'] !== undefined) refuse('action-unknown', `${where}.action has no code.`)
    return null
  }
  const codes = new Set<string>()
  for (const { system, code } of actions) {
    if (system !== CONSENT_ACTION || !['collect', 'access', 'use', 'disclose', 'correct'].includes(code))
      refuse('action-unknown', `${where}.action has a code that is not an HL7 consent action.`)
    codes.add(code)
  }
  // Denying collection, use or correction is kept by denying to read, which denies to share with it.
  if (effect === 'deny') return [...codes].every(code => code === 'disclose') ? ['share'] : RIGHTS
  const rest = [...codes].filter(code => code !== 'access' && code !== 'disclose')
  if (rest.length > 0) notes.push(`${where}.action: ${rest.sort().join(', ')} is no right of ours and not permitted.`)
  if (codes.has('disclose')) return RIGHTS
  return codes.has('access') ? ['read'] : 'none'
}

type Labels = Pick<Rule, 'confidentialities' | 'sensitivities' | 'otherLabels'>

/** The codes of v3-Confidentiality that say what a record is about (ETH, HIV) were moved to ActCode; here they are unknown. */
function readLabels(codings: readonly Coded[], where: string, { notes }: Reading): Labels {
  const confidentialities = CONFIDENTIALITIES.filter(code => has(codings, CONFIDENTIALITY, code))
  const sensitivities = codings.filter(item => item.system === ACT_CODE && isSensitivity(item.code)).map(i => i.code)
  const otherLabels = confidentialities.length + sensitivities.length < codings.length
  if (otherLabels) notes.push(`${where}.securityLabel: has a label that records here do not carry.`)
  return { confidentialities, sensitivities, otherLabels }
}

function readData(provision: Json, where: string): readonly DataReference[] {
  return objects(provision['data'], `${where}.data`).map((item, index) => {
    const at = `${where}.data[${index}]`
    const meaning = text(item['meaning'], `${at}.meaning`)
    if (meaning !== 'instance' && meaning !== 'related' && meaning !== 'dependents' && meaning !== 'authoredby')
      return refuse('value-invalid', `${at}.meaning is not one of FHIR's.`)
    return { meaning, reference: readReference(item['reference'], `${at}.reference`) }
  })
}

function readCodes(provision: Json, where: string): readonly Coded[] {
  const given = objects(provision['code'], `${where}.code`)
  const codes = given.flatMap(item => concept(item, `${where}.code`))
  if (given.length > 0 && codes.length === 0) refuse('code-unknown', `${where}.code has no code.`)
  return codes
}

/** FHIR lets extensions be ignored, so ours alone are read; an obligation that a policy cannot carry is refused. */
export function readObligations(element: Json, where: string, { notes }: Reading): boolean {
  let anonymous = false
  for (const extension of objects(element['extension'], `${where}.extension`)) {
    const url = text(extension['url'], `${where}.extension.url`) ?? ''
    if (url !== OBLIGATION_EXTENSION) {
      if (!OUR_EXTENSIONS.includes(url)) notes.push(`${where}.extension: one that is not ours was not read.`)
      continue
    }
    const { system, code } = coding(object(extension['valueCoding'], where), where)
    // Not ANONY: a release of one patient's record is pseudonymised at best.
    if (system !== ACT_CODE || (code !== 'DEID' && code !== 'PSEUD'))
      refuse('obligation-unknown', `${where}.extension asks for an obligation that a policy cannot carry.`)
    anonymous = true
  }
  return anonymous
}

const has = (codings: readonly Coded[], system: string, code: Confidentiality): boolean =>
  codings.some(item => item.system === system && item.code === code)
