// The ladder of P-47 as decision tables: each rung has rows for match, mismatch and nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Decision, decide, type Question } from '../../src/access/decide.ts'
import type { Delegation } from '../../src/access/delegation.ts'
import type { Policy } from '../../src/access/policy.ts'
import type { RoleCredential } from '../../src/access/session.ts'
import { at, doctor, id, policy, question, record, recordId } from './questions.ts'

/** `grant`, or the reason of the denial. */
const say = (decision: Decision): string => (decision.type === 'grant' ? 'grant' : decision.reason)

type Row = readonly [what: string, change: Partial<Question>, answer: string]

const table = (name: string, rows: readonly Row[]): void => {
  for (const [what, change, answer] of rows)
    test(`${name}: ${what} → ${answer}`, () => assert.equal(say(decide(question(change))), answer))
}

const delegation = (change: Partial<Delegation> = {}): Delegation => ({
  owner: id('patient'),
  delegate: id('doctor'),
  kind: 'delegate',
  scope: { type: 'all' },
  from: at(500),
  to: at(2000),
  timestamp: at(1),
  ...change,
})
const alone = { policies: [], purpose: '' }

table('1 authenticate', [
  ['registered, valid, role held', {}, 'grant'],
  ['nobody', { user: null }, 'requester-unknown'],
  ['one ms before the credential ends', { user: doctor({ validUntil: at(1001) }) }, 'grant'],
  ['at the credential’s end', { user: doctor({ validUntil: at(1000) }) }, 'credential-expired'],
  ['revoked', { user: doctor({ revoked: true }) }, 'credential-revoked'],
  ['expired and revoked', { user: doctor({ validUntil: at(1), revoked: true }) }, 'credential-expired'],
  ['another’s role', { role: 'pharmacist' }, 'role-not-held'],
  ['no role', { role: '' }, 'role-not-held'],
  ['no roles at all', { user: doctor({ roles: [] }) }, 'role-not-held'],
  ['the hospital was removed', { institutionActive: false }, 'credential-revoked'],
])

const lent = (validUntil: number, revoked = false, role = 'pharmacist'): RoleCredential => ({
  roles: [role],
  validUntil: at(validUntil),
  revoked,
})
const byCredential = { user: doctor({ roles: [] }), role: 'attending' }
table('1 a role by credential', [
  ['none', { ...byCredential }, 'role-not-held'],
  ['one that lasts beyond now', { ...byCredential, credentials: [lent(1001, false, 'attending')] }, 'grant'],
  ['one that ends now', { ...byCredential, credentials: [lent(1000, false, 'attending')] }, 'credential-expired'],
  ['one that is revoked', { ...byCredential, credentials: [lent(1001, true, 'attending')] }, 'credential-revoked'],
  [
    'one that is over and was revoked',
    { ...byCredential, credentials: [lent(1000, true, 'attending')] },
    'credential-expired',
  ],
  [
    'one revoked, another over',
    { ...byCredential, credentials: [lent(1000, false, 'attending'), lent(1001, true, 'attending')] },
    'credential-revoked',
  ],
  [
    'one revoked, another not',
    { ...byCredential, credentials: [lent(2000, true, 'attending'), lent(1001, false, 'attending')] },
    'grant',
  ],
  ['of another role', { ...byCredential, credentials: [lent(2000)] }, 'role-not-held'],
  [
    'a revoked one of a role that the registration gives',
    { user: doctor(), credentials: [lent(2000, true, 'attending')] },
    'grant',
  ],
  [
    'after the registration is over',
    { user: doctor({ roles: [], validUntil: at(1000) }), credentials: [lent(2000, false, 'attending')] },
    'credential-expired',
  ],
])

table('2 the owner or a delegate', [
  ['the owner, without policy or purpose', { user: doctor({ id: id('patient') }), ...alone }, 'grant'],
  [
    'the owner of a removed hospital',
    { user: doctor({ id: id('patient') }), institutionActive: false, ...alone },
    'grant',
  ],
  ['the owner, in a role not held', { user: doctor({ id: id('patient') }), role: 'nurse', ...alone }, 'role-not-held'],
  [
    'the owner of a withdrawn record',
    { user: doctor({ id: id('patient') }), record: record({ withdrawn: true }) },
    'record-withdrawn',
  ],
  ['a delegate reads', { delegation: delegation(), ...alone }, 'grant'],
  ['a delegate does not share', { delegation: delegation(), right: 'share', ...alone }, 'purpose-required'],
  ['a guardian shares', { delegation: delegation({ kind: 'guardian' }), right: 'share', ...alone }, 'grant'],
  [
    'a delegate of another record',
    { delegation: delegation({ scope: { type: 'record', record: recordId('mri') } }), ...alone },
    'purpose-required',
  ],
  [
    'a delegate of this record',
    { delegation: delegation({ scope: { type: 'record', record: recordId('x-ray') } }), ...alone },
    'grant',
  ],
  [
    'a delegate of another kind',
    { delegation: delegation({ scope: { type: 'kind', kind: 'fhir' } }), ...alone },
    'purpose-required',
  ],
  [
    'a delegate of this kind',
    { delegation: delegation({ scope: { type: 'kind', kind: 'dicom' } }), ...alone },
    'grant',
  ],
  ['a delegate from now on', { delegation: delegation({ from: at(1000) }), ...alone }, 'grant'],
  ['a delegate from the next ms on', { delegation: delegation({ from: at(1001) }), ...alone }, 'purpose-required'],
  ['a delegate until now', { delegation: delegation({ to: at(1000) }), ...alone }, 'purpose-required'],
  ['nobody’s delegate', { delegation: null, ...alone }, 'purpose-required'],
])

table('3 purpose', [
  ['none', { purpose: '' }, 'purpose-required'],
  ['unknown', { purpose: 'CURIOSITY' }, 'purpose-required'],
  ['the root of the tree', { purpose: 'PurposeOfUse' }, 'purpose-required'],
  ['another’s spelling', { purpose: 'treat' }, 'purpose-required'],
])

table('4 (role, AP) in Rpu', [
  ['a purpose of the role', { purpose: 'TREAT' }, 'grant'],
  ['one below it', { purpose: 'COC' }, 'grant'],
  ['one beside it', { purpose: 'HRESCH' }, 'role-purpose'],
  ['one above it', { purpose: 'HOPERAT' }, 'role-purpose'],
  ['BTG below TREAT, not named for the role', { purpose: 'BTG' }, 'role-purpose'],
  ['a role without a row', { user: doctor({ roles: ['visitor'] }), role: 'visitor' }, 'role-purpose'],
])

table('5 (role, right) in Rpe', [
  ['a right of the role', { right: 'share' }, 'grant'],
  ['one that it lacks', { role: 'emergency', right: 'share' }, 'role-permission'],
])

const researcher = {
  user: doctor({ roles: ['attending', 'researcher'] }),
  policies: [policy({ purposes: ['HRESCH', 'CAREMGT'] })],
}
table('6 (AP, right) in PR', [
  ['a right of the purpose', { ...researcher, purpose: 'CAREMGT', right: 'read' }, 'grant'],
  ['one that it lacks', { ...researcher, purpose: 'CAREMGT', right: 'share' }, 'purpose-permission'],
])

const emergency = { role: 'emergency', purpose: 'BTG' } as const
table('break-the-glass by policy', [
  ['a permit on TREAT', emergency, 'purpose-mismatch'],
  ['a permit on ETREAT', { ...emergency, policies: [policy({ purposes: ['ETREAT'] })] }, 'purpose-mismatch'],
  ['its own permit', { ...emergency, policies: [policy({ purposes: ['BTG'] })] }, 'grant'],
  [
    'suspended',
    { ...emergency, policies: [policy({ purposes: ['BTG'] })], emergencySuspended: true },
    'emergency-suspended',
  ],
  ['suspended, for another purpose', { role: 'emergency', emergencySuspended: true }, 'grant'],
  ['no policy', { ...emergency, policies: [] }, 'no-policy'],
  [
    'its own permit and a deny on TREAT',
    { ...emergency, policies: [policy({ purposes: ['BTG'] }), policy({ effect: 'deny', rights: ['read'] })] },
    'patient-denied',
  ],
])

table('7 a policy in force', [
  ['none', { policies: [] }, 'no-policy'],
  ['none for this grantee', { policies: [policy({ grantee: { type: 'user', user: id('other') } })] }, 'no-policy'],
  ['the record does not exist', { record: null, policies: [] }, 'no-policy'],
  ['it opens now', { policies: [policy({ from: at(1000) })] }, 'grant'],
  ['it opens in a ms', { policies: [policy({ from: at(1001) })] }, 'window-not-open'],
  ['it closes in a ms', { policies: [policy({ to: at(1001) })] }, 'grant'],
  ['it closes now', { policies: [policy({ to: at(1000) })] }, 'window-closed'],
  ['one closed, one not open', { policies: [policy({ to: at(900) }), policy({ from: at(1001) })] }, 'window-not-open'],
  ['share asked, read permitted', { right: 'share', policies: [policy({ rights: ['read'] })] }, 'no-right'],
  ['read asked, share permitted', { right: 'read', policies: [policy({ rights: ['share'] })] }, 'grant'],
  ['another purpose', { policies: [policy({ purposes: ['HRESCH'] })] }, 'purpose-mismatch'],
  ['the purpose above is asked', { policies: [policy({ purposes: ['COC'] })] }, 'purpose-mismatch'],
  ['the purpose below is asked', { purpose: 'COC' }, 'grant'],
  [
    'right in one, purpose in another',
    { right: 'share', policies: [policy({ rights: ['read'] }), policy({ purposes: ['HRESCH'] })] },
    'purpose-mismatch',
  ],
  ['at the ceiling', { record: record({ confidentiality: 'R' }) }, 'grant'],
  ['above the ceiling', { record: record({ confidentiality: 'V' }) }, 'label-withheld'],
  ['withdrawn', { record: record({ withdrawn: true }) }, 'record-withdrawn'],
  ['withdrawn, and not permitted anyway', { record: record({ withdrawn: true }), policies: [] }, 'no-policy'],
  ['anonymous, without a twin', { policies: [policy({ anonymous: true })] }, 'label-withheld'],
])

const deny = (change: Parameters<typeof policy>[0] = {}) => policy({ effect: 'deny', rights: ['read'], ...change })
table('7 deny', [
  ['in force', { policies: [policy(), deny()] }, 'patient-denied'],
  ['alone', { policies: [deny()] }, 'patient-denied'],
  ['not open yet', { policies: [policy(), deny({ from: at(1001) })] }, 'grant'],
  ['closed', { policies: [policy(), deny({ to: at(1000) })] }, 'grant'],
  ['closed and alone is no permit', { policies: [deny({ to: at(1000) })] }, 'no-policy'],
  ['of another purpose', { policies: [policy(), deny({ purposes: ['HRESCH'] })] }, 'grant'],
  ['of the purpose above', { purpose: 'COC', policies: [policy(), deny()] }, 'patient-denied'],
  ['of sharing, reading asked', { policies: [policy(), deny({ rights: ['share'] })] }, 'grant'],
  [
    'of sharing, sharing asked',
    { right: 'share', policies: [policy(), deny({ rights: ['share'] })] },
    'patient-denied',
  ],
  ['of reading, sharing asked', { right: 'share', policies: [policy(), deny()] }, 'patient-denied'],
  [
    'of another grantee',
    { policies: [policy(), deny({ grantee: { type: 'institution', institution: id('north') } })] },
    'grant',
  ],
  [
    'less specific than the permit',
    { policies: [policy({ grantee: { type: 'user', user: id('doctor') } }), deny()] },
    'patient-denied',
  ],
  [
    'of the original, for its twin',
    {
      record: record({ record: recordId('twin'), twinOf: recordId('x-ray') }),
      policies: [policy(), deny({ scope: { type: 'record', record: recordId('x-ray') } })],
    },
    'patient-denied',
  ],
  [
    'above its ceiling too',
    { record: record({ confidentiality: 'R' }), policies: [policy(), deny({ labelCeiling: 'U' })] },
    'patient-denied',
  ],
])

test('a permit of the original is not one of its twin', () => {
  const twin = record({ record: recordId('twin'), twinOf: recordId('x-ray') })
  const policies = [policy({ scope: { type: 'record', record: recordId('x-ray') } })]
  assert.equal(say(decide(question({ record: twin, policies }))), 'no-policy')
})

test('the first failing rung names the denial: mending one finding after the other climbs the ladder', () => {
  const everythingWrong = question({
    user: null,
    purpose: '',
    role: 'nobody',
    right: 'share',
    record: null,
    policies: [],
    institutionActive: false,
  })
  const mended = [
    everythingWrong,
    { ...everythingWrong, user: doctor() },
    { ...everythingWrong, user: doctor(), role: 'emergency' },
    { ...everythingWrong, user: doctor(), role: 'emergency', institutionActive: true },
    { ...everythingWrong, user: doctor(), role: 'emergency', institutionActive: true, purpose: 'HRESCH' },
    { ...everythingWrong, user: doctor(), role: 'emergency', institutionActive: true, purpose: 'TREAT' },
    {
      ...everythingWrong,
      user: doctor(),
      role: 'emergency',
      institutionActive: true,
      purpose: 'TREAT',
      right: 'read' as const,
    },
  ]
  assert.deepEqual(
    mended.map(asked => say(decide(asked))),
    [
      'requester-unknown',
      'role-not-held',
      'credential-revoked',
      'purpose-required',
      'role-purpose',
      'role-permission',
      'no-policy',
    ],
  )
})

test('precedence: record over kind over all; user over group over role over institution over anyone; newest; smallest id', () => {
  const scopes = [
    { type: 'record', record: recordId('x-ray') },
    { type: 'kind', kind: 'dicom' },
    { type: 'all' },
  ] as const
  const grantees = [
    { type: 'user', user: id('doctor') },
    { type: 'group', group: 'oncology' },
    { type: 'role', role: 'attending' },
    { type: 'institution', institution: id('south') },
    { type: 'anyone' },
  ] as const
  const ranked = scopes.flatMap(scope =>
    grantees.flatMap(grantee =>
      [3, 2].flatMap(time =>
        ['a', 'b'].map(name => policy({ scope, grantee, timestamp: at(time), id: name as never })),
      ),
    ),
  )
  assert.equal(ranked.length, 60)
  for (const [place, winner] of ranked.entries()) {
    const decision = decide(question({ policies: ranked.slice(place).reverse() }))
    assert.equal(decision.policy, winner.policy, `place ${place}`)
  }
})

test('the winner’s obligations apply, not a loser’s', () => {
  const twin = record({ twin: recordId('twin') })
  const mine = policy({ grantee: { type: 'user', user: id('doctor') }, anonymous: true })
  const decision = decide(question({ record: twin, policies: [policy(), mine] }))
  assert.ok(decision.type === 'grant')
  assert.deepEqual([decision.record, decision.variant], ['twin', 'deidentified'])
  const narrow = policy({ grantee: { type: 'user', user: id('doctor') }, labelCeiling: 'L' })
  assert.equal(say(decide(question({ policies: [policy(), narrow] }))), 'label-withheld')
})

test('a grant ends with the policy or the credential, whichever is first', () => {
  const until = (change: Partial<Question>): number => {
    const decision = decide(question(change))
    return decision.type === 'grant' ? decision.until : -1
  }
  assert.equal(until({}), 2000)
  assert.equal(until({ user: doctor({ validUntil: at(1500) }) }), 1500)
  const credentials = [lent(1200, false, 'attending'), lent(1500, false, 'attending'), lent(1900, true, 'attending')]
  assert.equal(until({ ...byCredential, credentials }), 1500)
  assert.equal(until({ delegation: delegation({ to: at(1200) }) }), 1200)
  assert.equal(until({ user: doctor({ id: id('patient') }) }), 10_000)
})

const anyPolicy = fc
  .record({
    scope: fc.constantFrom(
      { type: 'all' },
      { type: 'kind', kind: 'dicom' },
      { type: 'record', record: recordId('x-ray') },
    ),
    grantee: fc.constantFrom(
      { type: 'anyone' },
      { type: 'role', role: 'attending' },
      { type: 'group', group: 'cardiology' },
      { type: 'user', user: id('other') },
    ),
    effect: fc.constantFrom('permit', 'permit', 'permit', 'deny'),
    purposes: fc.constantFrom(['TREAT'], ['HRESCH'], ['COC', 'HRESCH']),
    rights: fc.constantFrom(['read'], ['share']),
    from: fc.constantFrom(0, 1000, 1001),
    to: fc.constantFrom(1000, 1001, 3000),
    anonymous: fc.boolean(),
    labelCeiling: fc.constantFrom('L', 'N', 'R'),
    timestamp: fc.constantFrom(1, 2),
  })
  .map(fields => policy(fields as unknown as Partial<Policy>))

test('the order in which policies came never changes the answer', () => {
  fc.assert(
    fc.property(
      fc
        .array(anyPolicy, { maxLength: 8 })
        .chain(list => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
      fc.constantFrom('TREAT', 'COC'),
      ([list, shuffled], purpose) => {
        const asked = { purpose, record: record({ twin: recordId('twin') }) }
        assert.deepEqual(
          decide(question({ ...asked, policies: list })),
          decide(question({ ...asked, policies: shuffled })),
        )
      },
    ),
  )
})

test('no set of policies without a matching permit in force ever grants', () => {
  fc.assert(
    fc.property(fc.array(anyPolicy, { maxLength: 8 }), policies => {
      const decision = decide(question({ policies }))
      if (decision.type === 'deny') return
      const winner = decision.policy
      assert.ok(winner !== null && winner.effect === 'permit')
      assert.ok(winner.from <= 1000 && 1000 < winner.to)
      assert.ok(winner.purposes.includes('TREAT'))
      const denied = policies.some(
        ({ policy: p }) =>
          p.effect === 'deny' &&
          p.from <= 1000 &&
          1000 < p.to &&
          p.purposes.includes('TREAT') &&
          p.rights.includes('read') &&
          !(p.grantee.type === 'user' && p.grantee.user === id('other')),
      )
      assert.equal(denied, false)
    }),
  )
})
