// Break-the-glass without a policy: for a provisioned role, and with two doors that stay shut.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Question } from '../../src/access/decide.ts'
import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import { decideEmergency } from '../../src/access/emergency.ts'
import { compileRelations, relationsAreKnown } from '../../src/access/relations.ts'
import { rulesOf } from '../../src/access/rules.ts'
import { at, doctor, policy, question, record } from './questions.ts'

const ask = (change: Partial<Question> = {}): string => {
  const decision = decideEmergency(question({ role: 'emergency', policies: [], ...change }))
  return decision.type === 'grant' ? `${decision.basis} ${decision.variant}` : decision.reason
}
const deny = (purposes: string[]) => policy({ effect: 'deny', rights: ['read'], purposes })
const withoutPr = compileRelations({
  ...DEFAULT_RELATIONS,
  purposePermissions: DEFAULT_RELATIONS.purposePermissions.filter(row => row.key !== 'BTG'),
})

const rows: readonly (readonly [what: string, change: Partial<Question>, answer: string])[] = [
  ['no policy at all', {}, 'emergency original'],
  ['nobody', { user: null }, 'requester-unknown'],
  ['expired', { user: doctor({ validUntil: at(1) }) }, 'credential-expired'],
  ['a role not held', { role: 'nurse' }, 'role-not-held'],
  ['a role that is not provisioned', { role: 'attending' }, 'emergency-not-provisioned'],
  ['no row for BTG in PR', { relations: withoutPr }, 'emergency-not-provisioned'],
  ['a removed hospital', { institutionActive: false }, 'credential-revoked'],
  ['suspended', { emergencySuspended: true }, 'emergency-suspended'],
  ['no such record', { record: null }, 'no-policy'],
  ['a withdrawn record', { record: record({ withdrawn: true }) }, 'record-withdrawn'],
  ['the patient denies TREAT', { policies: [deny(['TREAT'])] }, 'emergency original'],
  ['the patient denies BTG by name', { policies: [deny(['BTG'])] }, 'patient-denied'],
  [
    'the patient denied BTG until now',
    { policies: [policy({ effect: 'deny', rights: ['read'], purposes: ['BTG'], to: at(1000) })] },
    'emergency original',
  ],
  ['restricted', { record: record({ confidentiality: 'R' }) }, 'emergency original'],
  ['very restricted', { record: record({ confidentiality: 'V' }) }, 'label-withheld'],
  [
    'very restricted, with a permit for BTG up to V',
    { record: record({ confidentiality: 'V' }), policies: [policy({ purposes: ['BTG'], labelCeiling: 'V' })] },
    'emergency original',
  ],
  ['a permit for BTG up to L', { policies: [policy({ purposes: ['BTG'], labelCeiling: 'L' })] }, 'label-withheld'],
]
for (const [what, change, answer] of rows)
  test(`emergency: ${what} → ${answer}`, () => assert.equal(ask(change), answer))

test('relations with an unknown code are not known', () => {
  assert.equal(relationsAreKnown(DEFAULT_RELATIONS), true)
  const wrong = [
    { ...DEFAULT_RELATIONS, rolePurposes: [{ key: 'nurse', values: ['HEAL'] }] },
    { ...DEFAULT_RELATIONS, rolePermissions: [{ key: 'nurse', values: ['write'] }] },
    { ...DEFAULT_RELATIONS, purposePermissions: [{ key: 'HEAL', values: ['read'] }] },
  ]
  for (const relations of wrong) assert.equal(relationsAreKnown(relations), false)
})

test('a row of its own takes a right away that the purpose above has', () => {
  const { purposePermissions } = compileRelations({
    ...DEFAULT_RELATIONS,
    purposePermissions: [...DEFAULT_RELATIONS.purposePermissions, { key: 'COC', values: ['read'] }],
  })
  const rights = purposePermissions.map(set => [...set].join(' '))
  assert.equal(rights.filter(text => text === 'read share').length > 5, true)
  const decision = rulesOf(1)?.decide(
    question({
      purpose: 'COC',
      right: 'share',
      relations: compileRelations({
        ...DEFAULT_RELATIONS,
        purposePermissions: [
          { key: 'TREAT', values: ['share'] },
          { key: 'COC', values: ['read'] },
        ],
      }),
    }),
  )
  assert.equal(decision?.type === 'deny' && decision.reason, 'purpose-permission')
})

test('a version of the rules that is not known is not guessed', () => {
  assert.equal(rulesOf(0), null)
  assert.equal(rulesOf(2), null)
})
