// FHIR Consent → policies on small Consents of our own: what is refused, what becomes narrower, and that an R5 Consent is never read as
// "no restriction". Bad data first.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PURPOSES } from '../../src/access/purposes.ts'
import {
  type Asked,
  actions,
  actor,
  answer,
  CLERK,
  codeOf,
  consentR4,
  consentR5,
  DOCTOR,
  ELSEWHERE,
  HOSPITAL,
  knownRecord,
  labels,
  mapped,
  NOW,
  purposes,
  recordNamed,
} from './stage.ts'

const PCF = 'https://profiles.ihe.net/ITI/PCF/'
const treat = { type: 'permit', ...purposes('TREAT') }
const OBLIGATION = 'https://emrm.example/fhir/StructureDefinition/policy-obligation'
const obligation = (code: string): object => ({
  extension: [{ url: OBLIGATION, valueCoding: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code } }],
})

test('what is no Consent in force, or not ours to read, is refused with its code', () => {
  const table: readonly (readonly [string, unknown])[] = [
    ['not-a-consent', null],
    ['not-a-consent', 'Consent'],
    ['not-a-consent', [consentR4(treat)]],
    ['not-a-consent', { ...consentR4(treat), resourceType: 'Contract' }],
    ['not-active', consentR4(treat, { status: 'draft' })],
    ['not-active', consentR4(treat, { status: 'entered-in-error' })],
    ['not-active', consentR4(treat, { status: 'banana' })],
    ['not-active', consentR4(treat, { status: undefined })],
    ['scope-missing', consentR4(treat, { scope: undefined })],
    ['scope-unsupported', consentR4(treat, { scope: { text: 'privacy' } })],
    [
      'scope-unsupported',
      consentR4(treat, {
        scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'adr' }] },
      }),
    ],
    ['patient-missing', consentR4(treat, { patient: undefined })],
    ['patient-unknown', consentR4(treat, { patient: { reference: 'Patient/unknown' } })],
    ['patient-unknown', consentR4(treat, { patient: { reference: 'Organization/f001' } })],
    ['reference-contained', consentR4(treat, { patient: { reference: '#p' } })],
    ['not-verified', consentR4(treat, { verification: [{ verified: false }] })],
    ['modifier-unknown', consentR4(treat, { modifierExtension: [{ url: 'http://x', valueBoolean: true }] })],
    ['modifier-unknown', consentR4({ ...treat, modifierExtension: [{ url: 'http://x', valueBoolean: true }] })],
    ['modifier-unknown', consentR4(treat, { implicitRules: 'http://x' })],
    ['element-unknown', consentR4(treat, { except: [{ type: 'deny' }] })],
    ['element-unknown', consentR4({ ...treat, actr: [1] })],
    ['value-empty', consentR4({ ...treat, actor: [] })],
    ['value-empty', consentR4({ type: 'permit', purpose: [] })],
    ['value-empty', consentR4({ ...treat, period: null })],
    ['value-absent', consentR4({ ...treat, period: { start: '2020-01-01', _end: { id: 'x' } } })],
    ['value-invalid', consentR4({ ...treat, actor: 'anyone' })],
    ['value-invalid', consentR4({ ...treat, type: 'allow' })],
    ['base-decision-missing', consentR4(purposes('TREAT'))],
    ['base-decision-missing', consentR4(null)],
    ['purpose-unknown', consentR4({ type: 'permit', ...purposes('TREAT', 'FUN') })],
    ['purpose-unknown', consentR4({ type: 'permit', purpose: [{ system: 'http://x', code: 'TREAT' }] })],
    ['purpose-unknown', consentR4({ type: 'deny', ...purposes('FUN') })],
    ['action-unknown', consentR4({ ...treat, ...actions('read') })],
    ['obligation-unknown', consentR4({ ...treat, ...obligation('MASK') })],
    ['obligation-unknown', consentR4(treat, obligation('ANONY'))],
    ['period-invalid', consentR4({ ...treat, period: { start: '2022-02-30' } })],
    ['period-invalid', consentR4({ ...treat, period: { start: '2022-02-03T10:00:00' } })],
    ['period-invalid', consentR4({ ...treat, period: { id: 'x' } })],
    ['window-empty', consentR4({ ...treat, period: { start: '2023-01-01', end: '2022-01-01' } })],
    ['window-empty', consentR4({ ...treat, period: { end: '1969-01-01' } })],
    ['nesting-too-deep', consentR4({ ...treat, provision: [{ type: 'deny', provision: [{ type: 'permit' }] }] })],
    ['nested-type-missing', consentR4({ ...treat, provision: [purposes('COC')] })],
    ['nothing-permitted', consentR4({ type: 'permit' })],
    ['nothing-permitted', consentR4({ ...treat, actor: [actor('Practitioner/nobody')] })],
    ['nothing-permitted', consentR4({ ...treat, actor: [actor('Practitioner/ex-practitioner', 'AUT')] })],
    ['nothing-permitted', consentR4({ ...treat, ...actions('collect', 'correct') })],
    ['nothing-permitted', consentR4({ ...treat, ...labels('R') })],
    ['nothing-permitted', consentR4({ ...treat, ...labels('PSY') })],
    [
      'nothing-permitted',
      consentR4({ ...treat, class: [{ system: 'http://hl7.org/fhir/resource-types', code: 'Patient' }] }),
    ],
    ['nothing-permitted', consentR4({ ...treat, code: [{ coding: [{ system: 'http://loinc.org', code: '1' }] }] })],
    ['nothing-permitted', consentR4({ ...treat, dataPeriod: { start: '2022-01-01' } })],
    ['nothing-permitted', consentR4({ ...treat, provision: [{ type: 'deny' }] })],
    ['nothing-permitted', consentR4({ ...treat, provision: [{ type: 'deny', ...purposes('TREAT') }] })],
    ['exception-not-expressible', consentR4({ ...treat, provision: [{ type: 'deny', ...labels('PSY') }] })],
    [
      'exception-not-expressible',
      consentR4({ ...treat, provision: [{ type: 'deny', actor: [actor('Practitioner/nobody')] }] }),
    ],
    ['base-contradicts', consentR4(treat, { policy: [{ uri: `${PCF}Policy-deny` }] })],
    ['base-contradicts', consentR4(treat, { policy: [{ uri: `${PCF}Policy-break-glass-only` }] })],
    ['root-type-missing', consentR4(purposes('TREAT'), { policy: [{ uri: `${PCF}Policy-all-normal` }] })],
  ]
  for (const [code, resource] of table) assert.equal(codeOf(resource), code, JSON.stringify(resource))
})

test('a resource of hostile size is refused before it is read', () => {
  const wide = consentR4({
    ...treat,
    actor: Array.from({ length: 30_000 }, () => actor('Practitioner/ex-practitioner')),
  })
  assert.equal(codeOf(wide), 'too-large')
  let deep: object = { type: 'deny' }
  for (let level = 0; level < 1000; level++) deep = { type: 'deny', provision: [deep] }
  assert.equal(codeOf(consentR4(deep)), 'too-large')
})

test('an R5 Consent is told apart by its elements and never read as "no restriction"', () => {
  const noRestriction = (resource: unknown): boolean =>
    codeOf(resource) === 'mapped' && answer(mapped(resource).policies, { purpose: 'TREAT' }) === 'grant'
  const table: readonly (readonly [string, unknown])[] = [
    ['consent-r5-nothing-permitted', consentR5('permit', null)],
    ['consent-r5-nothing-permitted', consentR5('permit', [{ period: { start: '2015-01-01', end: '2015-02-01' } }])],
    ['consent-r5-decision-missing', consentR5('maybe', null)],
    ['consent-r5-decision-missing', consentR5('permit', null, { decision: undefined })],
    ['consent-r5-not-active', consentR5('deny', null, { status: 'not-done' })],
    ['consent-r5-category-unsupported', consentR5('permit', null, { category: [{ text: 'dnr' }] })],
    ['consent-r5-patient-missing', consentR5('deny', null, { subject: undefined })],
    ['consent-r5-expression', consentR5('deny', [{ expression: { language: 'text/cql' } }])],
    ['consent-r5-element-unknown', consentR5('deny', [{ type: 'permit' }])],
    ['consent-version-mixed', consentR4(treat, { decision: 'permit' })],
    ['consent-version-mixed', consentR4(null, { provision: [treat] })],
    ['consent-version-mixed', consentR5('permit', null, { scope: {} })],
    ['consent-version-mixed', consentR5('permit', null, { _dateTime: { id: 'x' } })],
    // Nothing but what both versions have.
    ['scope-missing', { resourceType: 'Consent', status: 'active' }],
  ]
  for (const [code, resource] of table) {
    assert.equal(codeOf(resource), code, JSON.stringify(resource))
    assert.equal(noRestriction(resource), false)
  }
})

test('in R5 each level negates the one above: exceptions to a deny are permits', () => {
  const { policies, replacesEarlier } = mapped(
    consentR5('deny', [{ ...purposes('TREAT'), actor: [actor('Practitioner/ex-practitioner')] }]),
  )
  assert.equal(replacesEarlier, true)
  assert.equal(answer(policies, { purpose: 'TREAT' }), 'grant')
  assert.equal(answer(policies, { purpose: 'TREAT', user: CLERK }), 'no-policy')
  assert.equal(answer(policies, { purpose: 'HRESCH' }), 'patient-denied')
  // The exception to the exception would be lost, so the exception is.
  const nested = mapped(consentR5('deny', [{ ...purposes('TREAT'), provision: [purposes('COC')] }]))
  assert.equal(answer(nested.policies, { purpose: 'TREAT' }), 'patient-denied')
  const ended = mapped(consentR5('deny', [purposes('TREAT')], { period: { end: '2023-12-31' } }))
  assert.equal(answer(ended.policies, { purpose: 'TREAT' }), 'window-closed')
  const hidden = mapped(consentR5('deny', [purposes('TREAT')], obligation('DEID')))
  assert.deepEqual(
    hidden.policies.filter(p => p.effect === 'permit').map(p => p.anonymous),
    [true],
  )
})

const rows = (provision: object, changes: object, table: readonly (readonly [string, Asked])[]): void => {
  const { policies } = mapped(consentR4(provision, changes))
  for (const [expected, asked] of table)
    assert.equal(answer(policies, asked), expected, JSON.stringify([provision, asked]))
}

test('purposes: what stands below is covered, break-the-glass only by name, nothing else', () => {
  rows(treat, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['grant', { purpose: 'COC' }],
    ['purpose-mismatch', { purpose: 'BTG' }],
    ['purpose-mismatch', { purpose: 'HRESCH' }],
    ['purpose-required', { purpose: '' }],
    ['no-right', { purpose: 'TREAT', right: 'share' }],
    ['label-withheld', { purpose: 'TREAT', confidentiality: 'R' }],
  ])
  rows(
    { type: 'permit' },
    { scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'research' }] } },
    [
      ['grant', { purpose: 'CLINTRCH' }],
      ['purpose-mismatch', { purpose: 'TREAT' }],
    ],
  )
})

test('actions: access reads, disclose shares; use and correct are no rights, denied they deny reading', () => {
  const shared: Asked = { purpose: 'TREAT', right: 'share' }
  rows({ ...treat, ...actions('access', 'correct') }, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['no-right', shared],
  ])
  rows({ ...treat, ...actions('disclose') }, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['grant', shared],
  ])
  const noShare = { ...treat, ...actions('disclose'), provision: [{ type: 'deny', ...actions('disclose') }] }
  rows(noShare, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['no-right', shared],
  ])
  const notHim = (...codes: readonly string[]): object => ({
    ...{ ...treat, ...actions('disclose') },
    provision: [{ type: 'deny', actor: [actor('Practitioner/ex-practitioner')], ...actions(...codes) }],
  })
  rows(notHim('disclose'), {}, [
    ['grant', { purpose: 'TREAT' }],
    ['patient-denied', shared],
  ])
  rows(notHim('use'), {}, [
    ['patient-denied', { purpose: 'TREAT' }],
    ['grant', { ...shared, user: CLERK }],
  ])
  rows(notHim('access', 'disclose'), {}, [['patient-denied', { purpose: 'TREAT' }]])
})

test('actors: users, institutions and groups; one who is not known gets nothing', () => {
  rows({ ...treat, actor: [actor('Organization/ex-organization'), actor('Practitioner/nobody')] }, {}, [
    ['grant', { purpose: 'TREAT', institution: HOSPITAL }],
    ['no-policy', { purpose: 'TREAT', institution: ELSEWHERE }],
  ])
  rows({ ...treat, provision: [{ type: 'deny', actor: [actor('Organization/ex-organization')] }] }, {}, [
    ['patient-denied', { purpose: 'TREAT' }],
    ['grant', { purpose: 'TREAT', institution: ELSEWHERE }],
  ])
  // The same person permitted and excepted: the ledger has one policy for him, and the exception stands.
  const exception = { type: 'deny', actor: [actor('Practitioner/f204')], ...purposes('COC') }
  rows({ ...treat, actor: [actor('Practitioner/f204')], provision: [exception] }, {}, [
    ['patient-denied', { purpose: 'COC' }],
    ['no-policy', { purpose: 'TREAT' }],
  ])
})

test('periods: a day of unknown zone is narrow for a permit and wide for a deny, both ends inclusive', () => {
  const at = (text: string): number => Date.parse(text)
  const permit = { ...treat, period: { start: '2022-01-01', end: '2022-12-31' } }
  rows(permit, {}, [
    ['window-not-open', { purpose: 'TREAT', time: at('2022-01-01T11:59:59.999Z') }],
    ['grant', { purpose: 'TREAT', time: at('2022-01-01T12:00:00Z') }],
    ['grant', { purpose: 'TREAT', time: at('2022-12-31T09:59:59.999Z') }],
    ['window-closed', { purpose: 'TREAT', time: at('2022-12-31T10:00:00Z') }],
    ['window-closed', { purpose: 'TREAT', time: NOW }],
  ])
  rows({ ...permit, type: 'deny' }, {}, [
    ['no-policy', { purpose: 'TREAT', time: at('2021-12-31T09:59:59.999Z') }],
    ['patient-denied', { purpose: 'TREAT', time: at('2021-12-31T10:00:00Z') }],
    ['patient-denied', { purpose: 'TREAT', time: at('2023-01-01T11:59:59.999Z') }],
    ['no-policy', { purpose: 'TREAT', time: at('2023-01-01T12:00:00Z') }],
  ])
  const { policies } = mapped(consentR4(permit), { utcOffsetMinutes: 480 })
  assert.equal(policies[0]?.from, at('2022-01-01T00:00:00+08:00'))
  assert.equal(policies[0]?.to, at('2023-01-01T00:00:00+08:00'))
  const exact = mapped(consentR4({ ...treat, period: { start: '2022', end: '2022-05-06T10:00:00.123456+02:00' } }))
  assert.equal(exact.policies[0]?.to, at('2022-05-06T08:00:00.123Z'))
  const month = mapped(consentR4({ ...treat, period: { end: '2022-12' } }), { utcOffsetMinutes: 0 })
  assert.equal(month.policies[0]?.to, at('2023-01-01T00:00:00Z'))
  // An exception in time cuts the permit.
  rows({ ...treat, provision: [{ type: 'deny', period: { start: '2023-06-01' } }] }, {}, [
    ['grant', { purpose: 'TREAT', time: at('2023-05-31T09:59:59Z') }],
    ['window-closed', { purpose: 'TREAT', time: at('2023-05-31T10:00:00Z') }],
  ])
})

test('labels: a ceiling without gaps, a gap ends it, an exception lowers it', () => {
  const reach = (provision: object): string =>
    (['U', 'M', 'N', 'R', 'V'] as const)
      .filter(
        confidentiality =>
          answer(mapped(consentR4(provision)).policies, { purpose: 'TREAT', confidentiality }) === 'grant',
      )
      .join('')
  assert.equal(reach({ ...treat, ...labels('N') }), 'UMN')
  assert.equal(reach({ ...treat, ...labels('N', 'R') }), 'UMNR')
  assert.equal(reach({ ...treat, ...labels('N', 'V') }), 'UMN')
  assert.equal(reach({ ...treat, ...labels('M') }), 'UM')
  assert.equal(reach({ ...treat, ...labels('N', 'PSY') }), 'UMN')
  assert.equal(reach({ ...treat, ...labels('N', 'R', 'V'), provision: [{ type: 'deny', ...labels('R') }] }), 'UMN')
  assert.equal(reach({ ...treat, ...labels('N'), provision: [{ type: 'permit', ...labels('R') }] }), 'UMN')
  const focused = {
    ...treat,
    ...labels('N'),
    provision: [{ type: 'permit', ...labels('R'), actor: [actor('Practitioner/f204')] }],
  }
  assert.equal(reach(focused), 'UMNR')
  // Restricted data for another purpose alone does not bring normal data along.
  const apart = mapped(
    consentR4({ ...treat, ...labels('N'), provision: [{ type: 'permit', ...labels('R'), ...purposes('BTG') }] }),
  )
  assert.equal(answer(apart.policies, { purpose: 'BTG' }), 'purpose-mismatch')
})

test('data: single records and kinds as they are, other selectors only over the records that are known', () => {
  const sugar = recordNamed('Observation/sugar')
  const instance = [{ meaning: 'instance', reference: { reference: 'Observation/sugar' } }]
  rows({ ...treat, data: instance }, {}, [
    ['grant', { purpose: 'TREAT', record: sugar }],
    ['no-policy', { purpose: 'TREAT' }],
  ])
  rows({ ...treat, provision: [{ type: 'deny', data: instance }] }, {}, [
    ['patient-denied', { purpose: 'TREAT', record: sugar }],
    ['grant', { purpose: 'TREAT' }],
  ])
  const pdf = { class: [{ system: 'urn:ietf:bcp:13', code: 'application/pdf' }] }
  rows({ ...treat, ...pdf }, {}, [
    ['grant', { purpose: 'TREAT', kind: 'pdf' }],
    ['no-policy', { purpose: 'TREAT', kind: 'fhir' }],
  ])
  rows({ type: 'deny', ...pdf }, {}, [
    ['patient-denied', { purpose: 'TREAT', kind: 'pdf' }],
    ['no-policy', { purpose: 'TREAT', kind: 'fhir' }],
  ])
  const loinc = { code: [{ coding: [{ system: 'http://loinc.org', code: '1' }] }] }
  const [coded, other, unsaid] = [recordNamed('a'), recordNamed('b'), recordNamed('c')]
  const records = [
    knownRecord(coded, { codes: [{ system: 'http://loinc.org', code: '1' }] }),
    knownRecord(other, { codes: [{ system: 'http://loinc.org', code: '2' }] }),
    knownRecord(unsaid),
  ]
  const granted = (provision: object): readonly boolean[] => {
    const { policies } = mapped(consentR4(provision), { records })
    return [coded, other, unsaid].map(record => answer(policies, { purpose: 'TREAT', record: record }) === 'grant')
  }
  assert.deepEqual(granted({ ...treat, ...loinc }), [true, false, false])
  assert.deepEqual(granted({ ...treat, provision: [{ type: 'deny', ...loinc }] }), [false, true, false])
  // A deny of data that a policy cannot select is a deny of all.
  rows({ type: 'deny', ...loinc }, {}, [['patient-denied', { purpose: 'TREAT', record: other }]])
})

test('a deny of a sensitivity reaches what stands below it, and what may stand for it', () => {
  const [alcohol, substance, heart] = [recordNamed('a'), recordNamed('s'), recordNamed('h')]
  const records = [
    knownRecord(alcohol, { labels: ['ETHUD'] }),
    knownRecord(substance, { labels: ['SUD'] }),
    knownRecord(heart),
  ]
  const left = (code: string): number =>
    mapped(consentR4({ ...treat, provision: [{ type: 'deny', ...labels(code) }] }), { records }).policies.length
  assert.equal(left('SUD'), 1)
  assert.equal(left('ETHUD'), 1)
  assert.equal(left('OPIOIDUD'), 2)
})

test('overarching policies of IHE PCF and consent directives frame the provision', () => {
  const uri = (name: string): object => ({ policy: [{ uri: `${PCF}Policy-${name}` }] })
  rows({ type: 'permit', ...purposes('TREAT', 'HPAYMT'), ...labels('N', 'R') }, uri('basic-normal'), [
    ['grant', { purpose: 'COC' }],
    ['purpose-mismatch', { purpose: 'HPAYMT' }],
    ['label-withheld', { purpose: 'TREAT', confidentiality: 'R' }],
  ])
  const bare = (changes: object): ((asked: Asked) => string) => {
    const { policies } = mapped(consentR4(null, changes))
    return asked => answer(policies, asked)
  }
  const all = bare(uri('all-normal'))
  assert.deepEqual(new Set(PURPOSES.filter(purpose => all({ purpose }) !== 'grant')), new Set(['BTG']))
  for (const changes of [
    uri('deny'),
    uri('break-glass-only'),
    { policyRule: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'OPTOUT' }] } },
  ])
    for (const purpose of PURPOSES) assert.equal(bare(changes)({ purpose }), 'patient-denied')
  // A deny that does not name break-the-glass leaves the network's rule for emergencies, one that names it does not.
  assert.equal(bare(uri('deny'))({ purpose: 'BTG', emergency: true }), 'grant')
  const named = mapped(consentR4({ type: 'deny', ...purposes('BTG', 'TREAT') }))
  assert.equal(answer(named.policies, { purpose: 'BTG', emergency: true }), 'patient-denied')
  const exception = { type: 'deny', provision: [{ type: 'permit', ...purposes('TREAT') }] }
  assert.equal(answer(mapped(consentR4(exception, uri('deny'))).policies, { purpose: 'TREAT' }), 'patient-denied')
  assert.equal(answer(mapped(consentR4(exception)).policies, { purpose: 'TREAT' }), 'grant')
  const emergency = {
    category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'EMRGONLY' }] }],
  }
  rows(treat, emergency, [
    ['grant', { purpose: 'ETREAT' }],
    ['purpose-mismatch', { purpose: 'TREAT' }],
  ])
})

test('a deny with exceptions opens only those, and says that earlier permits must go', () => {
  const provision = {
    type: 'deny',
    provision: [{ type: 'permit', ...purposes('BTG'), actor: [actor('Group/ex-privilegedUsers')] }],
  }
  const { policies, replacesEarlier } = mapped(consentR4(provision))
  assert.equal(replacesEarlier, true)
  assert.equal(answer(policies, { purpose: 'BTG', groups: ['privileged'] }), 'grant')
  for (const purpose of PURPOSES.filter(code => code !== 'BTG'))
    assert.notEqual(answer(policies, { purpose, groups: ['privileged'] }), 'grant', purpose)
  assert.equal(answer(policies, { purpose: 'HRESCH' }), 'patient-denied')
  // A deny for some, with exceptions, cannot be said: the deny stands alone.
  const some = { ...provision, actor: [actor('Organization/ex-organization')] }
  const closed = mapped(consentR4(some))
  assert.equal(answer(closed.policies, { purpose: 'BTG', groups: ['privileged'] }), 'patient-denied')
  assert.equal(closed.replacesEarlier, false)
})

test('obligations and rights of our own extensions are kept', () => {
  assert.equal(mapped(consentR4({ ...treat, ...obligation('DEID') })).policies[0]?.anonymous, true)
  assert.equal(mapped(consentR4(treat, obligation('PSEUD'))).policies[0]?.anonymous, true)
  assert.equal(mapped(consentR4(treat)).policies[0]?.anonymous, false)
  const right = (code: string): object => ({
    extension: [{ url: 'https://emrm.example/fhir/StructureDefinition/policy-right', valueCode: code }],
  })
  assert.deepEqual(mapped(consentR4(treat, right('share'))).policies[0]?.rights, ['read', 'share'])
  assert.deepEqual(mapped(consentR4({ ...treat, ...actions('disclose') }, right('read'))).policies[0]?.rights, ['read'])
  assert.equal(codeOf(consentR4(treat, right('all'))), 'value-invalid')
})

test('an exception never brings more than its Consent: neither labels, nor time, nor rights', () => {
  // Normal data for the practitioner, restricted data for the clerk: the clerk gets no normal data by that.
  const provision = {
    ...{ ...treat, ...labels('N'), actor: [actor('Practitioner/f204')] },
    provision: [{ type: 'permit', ...labels('R'), actor: [actor('Practitioner/ex-clerk')] }],
  }
  rows(provision, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['no-policy', { purpose: 'TREAT', user: CLERK }],
    ['no-policy', { purpose: 'TREAT', user: CLERK, confidentiality: 'R' }],
  ])
  const longer = { type: 'permit', ...purposes('TREAT'), period: { start: '2020-01-01', end: '2030-12-31' } }
  rows({ type: 'deny', period: { start: '2020-01-01', end: '2022-12-31' }, provision: [longer] }, {}, [
    ['grant', { purpose: 'TREAT', time: Date.UTC(2022, 0, 1) }],
    ['window-closed', { purpose: 'TREAT', time: NOW }],
  ])
  // Sharing includes reading, so who is excepted from sharing altogether does not read.
  const excepted = { ...treat, provision: [{ type: 'deny', actor: [actor('Practitioner/ex-clerk')] }] }
  rows(excepted, { policy: [{ uri: 'https://emrm.example/policy/share-only' }] }, [
    ['grant', { purpose: 'TREAT' }],
    ['patient-denied', { purpose: 'TREAT', user: CLERK }],
  ])
  // Data that a policy cannot select, excepted for one: all data for that one, nothing for the others.
  const dated = { type: 'deny', actor: [actor('Practitioner/ex-clerk')], dataPeriod: { start: '2022-01-01' } }
  rows({ ...treat, provision: [dated] }, {}, [
    ['grant', { purpose: 'TREAT' }],
    ['patient-denied', { purpose: 'TREAT', user: CLERK }],
  ])
})

test('each (scope, grantee) gets one policy, and notes name nobody', () => {
  const provision = {
    ...{ ...treat, ...labels('N') },
    provision: [
      { type: 'permit', actor: [actor('Practitioner/f204')], ...purposes('HRESCH') },
      { type: 'permit', actor: [actor('Practitioner/f204')], ...purposes('HPAYMT'), period: { end: '2030-01-01' } },
      { type: 'deny', actor: [actor('Practitioner/ex-clerk')] },
    ],
  }
  const { policies, notes } = mapped(consentR4(provision, { performer: [{ reference: 'RelatedPerson/mother' }] }))
  assert.equal(policies.length, 3)
  assert.equal(new Set(policies.map(p => JSON.stringify([p.scope, p.grantee]))).size, 3)
  const his = policies.find(p => p.grantee.type === 'user' && p.grantee.user === DOCTOR)
  assert.deepEqual(his?.purposes, ['HPAYMT', 'HRESCH'])
  assert.ok((his?.to ?? 0) < Date.UTC(2031, 0, 1))
  assert.ok(notes.some(note => note.includes('guardian')))
  assert.ok(notes.every(note => !/f204|ex-clerk|mother|p1/.test(note)))
  assert.equal(answer(policies, { purpose: 'TREAT', user: CLERK }), 'patient-denied')
})
