// Policy → Consent → policy gives the same policy; what is written keeps IHE PCF's shape; another reader sees no more than the policy says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Policy } from '../../src/access/policy.ts'
import { PURPOSES } from '../../src/access/purposes.ts'
import { consentFaults } from '../../src/interop/fhir/check.ts'
import { policyToConsent } from '../../src/interop/fhir/consent-export.ts'
import { consentToPolicies } from '../../src/interop/fhir/consent-import.ts'
import { FOREVER, type PolicyDraft } from '../../src/interop/fhir/types.ts'
import { asIdentifier, asRecordId, asRequestId, asTimestamp } from '../../src/model/ids.ts'
import type { Confidentiality, Grantee, Right, Scope } from '../../src/model/operations.ts'
import { HOSPITAL, OWNER } from './stage.ts'

const SEED = 77
const hex = (digits: number): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: digits, maxLength: digits }).map(list => list.join(''))
const identifier = hex(32).map(asIdentifier)
const name = fc.constantFrom('attending', 'emergency-room', 'a.b:c_d')

const scope: fc.Arbitrary<Scope> = fc.oneof(
  fc.constant<Scope>({ type: 'all' }),
  fc.constantFrom('fhir', 'dicom', 'pdf', 'text', 'other', 'x-kind').map((kind): Scope => ({ type: 'kind', kind })),
  hex(32).map((record): Scope => ({ type: 'record', record: asRecordId(record) })),
)
const grantee: fc.Arbitrary<Grantee> = fc.oneof(
  fc.constant<Grantee>({ type: 'anyone' }),
  identifier.map((institution): Grantee => ({ type: 'institution', institution })),
  identifier.map((user): Grantee => ({ type: 'user', user })),
  name.map((role): Grantee => ({ type: 'role', role })),
  name.map((group): Grantee => ({ type: 'group', group })),
)
const YEAR_10000 = Date.UTC(9999, 11, 31, 23, 59, 59, 999) + 1
const time = fc.integer({ min: 1, max: YEAR_10000 - 1 })
const window = fc.oneof(
  fc
    .tuple(time, time)
    .filter(([a, b]) => a !== b)
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
  time.map(to => [0, to] as const),
  time.map(from => [from, FOREVER] as const),
  fc.constant([0, FOREVER] as const),
)
const policies: fc.Arbitrary<Policy> = fc
  .record({
    ...{ owner: identifier, scope, grantee, window, anonymous: fc.boolean(), id: hex(64).map(asRequestId) },
    effect: fc.constantFrom<'permit' | 'deny'>('permit', 'deny'),
    purposes: fc.uniqueArray(fc.constantFrom(...PURPOSES), { minLength: 1, maxLength: 5 }).map(list => list.sort()),
    rights: fc.constantFrom<readonly Right[]>(['read'], ['share'], ['read', 'share']),
    labelCeiling: fc.constantFrom<Confidentiality>('U', 'L', 'M', 'N', 'R', 'V'),
    timestamp: time.map(asTimestamp),
  })
  .map(({ window: [from, to], ...terms }) => ({ ...terms, from: asTimestamp(from), to: asTimestamp(to) }))

/** Knows nobody: all that our own Consents name stands in them. */
const NOBODY = { resolver: { owner: () => null, grantee: () => null, record: () => null } }

const draftOf = ({ id: _, timestamp: __, ...draft }: Policy): PolicyDraft => draft

test('a policy that went out as a Consent comes back as it was', () => {
  const property = fc.property(policies, policy => {
    const consent = policyToConsent(policy, { organization: HOSPITAL })
    assert.deepEqual(consentFaults(consent), [])
    const read = consentToPolicies(JSON.parse(JSON.stringify(consent)), NOBODY)
    assert.equal(read.type, 'mapped', JSON.stringify(read))
    assert.deepEqual(read.type === 'mapped' ? read.policies : null, [draftOf(policy)])
    assert.equal(read.type === 'mapped' && read.replacesEarlier, false)
  })
  fc.assert(property, { seed: SEED, numRuns: 2000 })
})

const POLICY: Policy = {
  ...{ owner: OWNER, scope: { type: 'all' }, grantee: { type: 'role', role: 'attending' }, effect: 'permit' },
  ...{
    purposes: ['TREAT'],
    rights: ['read'],
    from: asTimestamp(1_700_000_000_000),
    to: asTimestamp(1_800_000_000_000),
  },
  ...{ anonymous: true, labelCeiling: 'N', timestamp: asTimestamp(1_650_000_000_000), id: asRequestId('5'.repeat(64)) },
}

test('a Consent of ours has the shape that IHE PCF asks for', () => {
  const consent = policyToConsent(POLICY, { organization: HOSPITAL })
  assert.deepEqual(JSON.parse(JSON.stringify(consent.provision)), {
    type: 'permit',
    period: { start: '2023-11-14T22:13:20.000Z', end: '2027-01-15T07:59:59.999Z' },
    actor: [
      {
        role: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code: 'IRCP' }] },
        reference: {
          type: 'PractitionerRole',
          identifier: { system: 'https://emrm.example/fhir/NamingSystem/role', value: 'attending' },
        },
      },
    ],
    securityLabel: ['U', 'L', 'M', 'N'].map(code => ({
      system: 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality',
      code,
    })),
    purpose: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActReason', code: 'TREAT' }],
  })
  assert.equal(consent.meta.versionId, '1650000000000')
  assert.deepEqual(consent.policy, [{ uri: 'https://emrm.example/policy/read-only' }])
  assert.equal(consent.extension[0]?.valueCoding?.code, 'DEID')
  assert.equal('action' in consent.provision, false)
  // A label would select what is denied: the denying Consent has none.
  const deny = policyToConsent({ ...POLICY, effect: 'deny' }, { organization: HOSPITAL })
  assert.equal(deny.provision.securityLabel, undefined)
})

test('a policy that begins after the year 9999 cannot be written, one that ends later is cut', () => {
  const late = { ...POLICY, from: asTimestamp(YEAR_10000), to: FOREVER }
  assert.throws(() => policyToConsent(late, { organization: HOSPITAL }), { code: 'policy-not-expressible' })
  const long = policyToConsent({ ...POLICY, to: asTimestamp(YEAR_10000 + 5) }, { organization: HOSPITAL })
  assert.equal(long.provision.period?.end, '9999-12-31T23:59:59.999Z')
})

test('the check of a Consent finds what is missing or not a code', () => {
  const good = policyToConsent(POLICY, { organization: HOSPITAL })
  const provision = (changes: object): typeof good => ({ ...good, provision: { ...good.provision, ...changes } })
  const table: readonly (readonly [string, typeof good])[] = [
    ['status is not a status', { ...good, status: 'banana' as 'active' }],
    ['id is not a FHIR id', { ...good, id: 'a'.repeat(65) }],
    ['patient is missing', { ...good, patient: {} }],
    ['performer is missing', { ...good, performer: [] }],
    ['policy names no rights', { ...good, policy: [{ uri: 'http://x' }] }],
    ['provision.purpose is not a purpose', provision({ purpose: [] })],
    ['provision.purpose is not a purpose', provision({ purpose: [{ system: 'http://x', code: 'TREAT' }] })],
    ['provision.securityLabel is not a confidentiality', provision({ securityLabel: undefined })],
    ['provision.period is not a period', provision({ period: { start: '2022' } })],
    ['dateTime is not a time', { ...good, dateTime: '2022-01-01' }],
  ]
  for (const [fault, consent] of table) assert.deepEqual(consentFaults(consent), [fault])
})
