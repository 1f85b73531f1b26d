// Which codes make a record sensitive, and that nothing in a record makes it less so.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { CONFIDENTIALITIES, confidentialityRank, sensitivities } from '../../src/access/sets.ts'
import { type Derivation, deriveLabels, type Labels, labelSteps } from '../../src/records/labels/derive.ts'
import { type LabelRules, parseLabelRules, standardLabels } from '../../src/records/labels/rules.ts'
import { makeClinic, reasonOf, recordNamed, recordRegister } from '../ledger/world.ts'
import { coded } from './support.ts'

/** Without the pauses. */
function labelsOf(rules: LabelRules, resource: object, given: Labels): Derivation {
  const steps = labelSteps(rules, resource, given)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

const NORMAL: Labels = { confidentiality: 'N', labels: [] }
const ICD = 'http://hl7.org/fhir/sid/icd-10'
const SNOMED = 'http://snomed.info/sct'
const LOINC = 'http://loinc.org'
const ACT = 'http://terminology.hl7.org/CodeSystem/v3-ActCode'
const LEVEL = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality'
const condition = (system: string, code: string): object => ({
  resourceType: 'Condition',
  code: { coding: [{ system, code }] },
})
const saying = (system: string, code: string): object => ({
  resourceType: 'Observation',
  meta: { security: [{ system, code }] },
})
/** `R ETH SUD`. */
const derived = (resource: object, given = NORMAL, rules = standardLabels()): string => {
  const { confidentiality, labels } = labelsOf(rules, resource, given)
  return [confidentiality, ...labels].join(' ')
}

const codes: readonly (readonly [what: string, system: string, code: string, labels: string])[] = [
  ['HIV disease', ICD, 'B20', 'R HIV'],
  ['the same in ICD-10-CM', 'http://hl7.org/fhir/sid/icd-10-cm', 'B20', 'R HIV'],
  ['the same by OID', 'urn:oid:2.16.840.1.113883.6.90', 'B20', 'R HIV'],
  ['HIV with a place behind the dot', ICD, 'B23.8', 'R HIV'],
  ['asymptomatic HIV status', ICD, 'Z21', 'R HIV'],
  ['an HIV test in SNOMED', SNOMED, '31676001', 'R HIV'],
  ['a viral load', LOINC, '25836-8', 'R HIV'],
  ['a viral load with a slash too many', 'http://loinc.org/', '25836-8', 'R HIV'],
  ['integrase and others, combined', 'http://www.whocc.no/atc', 'J05AR10', 'R HIV'],
  ['alcohol dependence', ICD, 'F10.2', 'R ETH ETHUD SUD'],
  ['alcohol dependence without the dot', ICD, 'F102', 'R ETH ETHUD SUD'],
  ['alcohol dependence in small letters', ICD, 'f10.2', 'R ETH ETHUD SUD'],
  ['alcoholic cirrhosis', ICD, 'K70.3', 'R ETH ETHUD SUD'],
  ['opioid dependence', SNOMED, '75544000', 'R ETH OPIOIDUD SUD'],
  ['cocaine', ICD, 'F14.1', 'R ETH SUD'],
  ['an overdose', SNOMED, '55680006', 'R ETH'],
  ['schizophrenia', ICD, 'F20.0', 'R MH PSY'],
  ['major depression', SNOMED, '370143000', 'R MH PSY'],
  ['a mental health note', LOINC, '75443-2', 'R MH PSY'],
  ['a suicide attempt', ICD, 'X78', 'R MH PSY'],
  ['syphilis', ICD, 'A51.0', 'R STD'],
  ['a termination of pregnancy', SNOMED, '714812005', 'R SEX'],
  ['a victim of partner abuse', SNOMED, '706893006', 'R SDV'],
  ['maltreatment', ICD, 'T74.1', 'R SDV'],
  ['an assault', ICD, 'Y04', 'R VIO'],
  ['a gene test', LOINC, '59041-4', 'R GDIS'],
  ['sickle cell disease', ICD, 'D57.1', 'R SCA SICKLE'],
  ['a cold', ICD, 'J00', 'N'],
  ['tobacco', ICD, 'F17.2', 'N'],
  ['a code that begins like one of another system', LOINC, 'B20', 'N'],
  ['a code whose beginning is not a whole prefix', ICD, 'B2', 'N'],
  ['a system that nobody listed', 'https://hospital.example/codes', 'B20', 'N'],
]
for (const [what, system, code, labels] of codes)
  test(`${what} (${code}) → ${labels}`, () => assert.equal(derived(condition(system, code)), labels))

const own: readonly (readonly [what: string, resource: object, labels: string])[] = [
  ['R', saying(LEVEL, 'R'), 'R'],
  ['V', saying(LEVEL, 'V'), 'V'],
  ['L, which lowers nothing', saying(LEVEL, 'L'), 'N'],
  ['R in the system of STU3', saying('http://hl7.org/fhir/v3/Confidentiality', 'R'), 'R'],
  ['a level that nobody knows, which restricts', saying(LEVEL, 'X'), 'R'],
  ['HIV in the old way', saying(LEVEL, 'HIV'), 'R HIV'],
  ['a psychotherapy note', saying(ACT, 'PSYTHPN'), 'V PSYTHPN'],
  ['an obligation, which says nothing of sensitivity', saying(ACT, 'NORDSCLCD'), 'N'],
  ['a sensitivity without a level of its own', saying(ACT, 'CEL'), 'N CEL'],
  ['a Composition', { resourceType: 'Composition', confidentiality: 'V' }, 'V'],
  [
    'a DocumentReference',
    { resourceType: 'DocumentReference', securityLabel: [{ coding: [{ system: LEVEL, code: 'R' }] }] },
    'R',
  ],
  [
    'a Consent about restricted data, which is not restricted itself',
    {
      resourceType: 'Consent',
      provision: { securityLabel: [{ system: LEVEL, code: 'R', coding: [{ system: LEVEL, code: 'R' }] }] },
    },
    'N',
  ],
  ['what is no list', { resourceType: 'Observation', meta: { security: 'R' } }, 'N'],
]
for (const [what, resource, labels] of own)
  test(`a resource says of itself: ${what} → ${labels}`, () => assert.equal(derived(resource), labels))

test('a code counts wherever it stands: in an entry, a contained resource, a component, an extension', () => {
  const hiv = { coding: [{ system: ICD, code: 'B20' }] }
  for (const resource of [
    { resourceType: 'Bundle', entry: [{ resource: { resourceType: 'Patient' } }, { resource: condition(ICD, 'B20') }] },
    { resourceType: 'MedicationRequest', contained: [{ resourceType: 'Medication', code: hiv }] },
    { resourceType: 'Observation', component: [{ code: {} }, { valueCodeableConcept: hiv }] },
    { resourceType: 'Observation', extension: [{ extension: [{ valueCoding: hiv.coding[0] }] }] },
    {
      resourceType: 'Bundle',
      entry: [{ resource: { resourceType: 'Observation', meta: { security: [{ system: ACT, code: 'HIV' }] } } }],
    },
  ])
    assert.equal(derived(resource), 'R HIV', JSON.stringify(resource))
})

test('several rules add up, and are named', () => {
  const bundle = {
    resourceType: 'Bundle',
    entry: [condition(ICD, 'F11.2'), condition(ICD, 'B20'), saying(LEVEL, 'V')].map(resource => ({ resource })),
  }
  assert.deepEqual(labelsOf(standardLabels(), bundle, NORMAL), {
    confidentiality: 'V',
    labels: ['ETH', 'HIV', 'OPIOIDUD', 'SUD'],
    rules: ['hiv-infection', 'meta.security', 'opioid-use-disorder'],
  })
})

test('whatever a resource holds, the custodian’s labels stay and the level never falls', () => {
  const level = fc.constantFrom(...CONFIDENTIALITIES)
  const label = fc.constantFrom(...sensitivities())
  const coding = fc.record({
    system: fc.constantFrom(ICD, SNOMED, LOINC, ACT, LEVEL),
    code: fc.oneof(level, label, fc.constantFrom('B20', 'F10.2', '75443-2', '31676001'), fc.string()),
  })
  const resource = fc.record({
    resourceType: fc.constantFrom('Observation', 'Composition', 'DocumentReference'),
    confidentiality: fc.oneof(level, fc.anything()),
    meta: fc.oneof(fc.record({ security: fc.array(coding) }), fc.anything()),
    code: fc.record({ coding: fc.array(coding) }),
    securityLabel: fc.anything(),
  })
  fc.assert(
    fc.property(resource, level, fc.uniqueArray(label), (made, confidentiality, labels) => {
      const result = labelsOf(standardLabels(), made, { confidentiality, labels })
      assert.ok(confidentialityRank(result.confidentiality) >= confidentialityRank(confidentiality))
      assert.ok(labels.every(each => result.labels.includes(each)))
      assert.ok(result.labels.every(each => sensitivities().includes(each)))
    }),
    { numRuns: 500, seed: 20261127 },
  )
})

test('a long record is read in steps, between which the peer goes on', async () => {
  const entry = Array.from({ length: 30_000 }, (_, i) => ({ resource: condition(ICD, i === 29_999 ? 'B20' : 'J00') }))
  let turns = 0
  let over = false
  const count = (): void => {
    turns += 1
    if (!over) setImmediate(count)
  }
  setImmediate(count)
  const { labels } = await deriveLabels(standardLabels(), { resourceType: 'Bundle', entry }, NORMAL)
  over = true
  assert.deepEqual(labels, ['HIV'])
  assert.ok(turns >= 5, `${turns} turns of the loop`)
})

test('a record that is nested a million deep is read', () => {
  const deep = JSON.parse(
    `${'{"a":'.repeat(1_000_000)}{"system":"${ICD}","code":"B20"}${'}'.repeat(1_000_000)}`,
  ) as object
  assert.equal(derived(deep), 'R HIV')
})

test('a record that is derived as restricted is withheld under a policy whose ceiling is normal, and released under one that reaches it', () => {
  const { confidentiality, labels } = labelsOf(standardLabels(), condition(ICD, 'B20'), NORMAL)
  const world = makeClinic()
  const record = recordNamed('derived')
  assert.equal(reasonOf(world.do('north', recordRegister('derived', { confidentiality, labels }))), 'done')
  world.policy('patient', { labelCeiling: 'N' })
  assert.equal(reasonOf(world.ask('doctor', { record })), 'denied: label-withheld')
  assert.equal(reasonOf(world.ask('doctor')), 'granted')
  world.policy('patient', { labelCeiling: 'R' })
  assert.equal(reasonOf(world.ask('doctor', { record })), 'granted')
})

// ---- a hospital's own rules ----

const RULES = {
  id: 'ward-7',
  version: '2',
  date: '2027-01-31',
  systems: { local: ['https://hospital.example/codes'] },
  valueSets: [
    {
      resourceType: 'ValueSet',
      url: 'https://hospital.example/ValueSet/taboo',
      compose: { include: [{ system: SNOMED, concept: [{ code: '111' }, { code: '222' }] }] },
    },
    {
      resourceType: 'ValueSet',
      url: 'https://hospital.example/ValueSet/vip',
      expansion: { contains: [{ system: LOINC, code: 'x-1', contains: [{ system: LOINC, code: 'x-2' }] }] },
    },
  ],
  rules: [
    { name: 'ward-7', labels: ['PSY'], confidentiality: 'V', codes: [{ system: 'local', prefixes: ['W7-'] }] },
    { name: 'taboo', labels: ['TBOO'], codes: [{ valueSet: 'https://hospital.example/ValueSet/taboo' }] },
    { name: 'vip', labels: ['CEL'], codes: [{ valueSet: 'https://hospital.example/ValueSet/vip' }] },
    {
      name: 'restricted',
      labels: [],
      confidentiality: 'R',
      codes: [{ system: 'https://other.example', codes: ['1'] }],
    },
  ],
}

test('a hospital’s own rules apply alone, or beside the standard ones when they say so', () => {
  const alone = parseLabelRules(RULES, 'labels.json')
  const beside = parseLabelRules(
    { ...RULES, extends: 'standard', confidentiality: { CEL: 'R', HIV: 'V' } },
    'labels.json',
  )
  const local = condition('https://hospital.example/codes', 'w7-12')
  const rows: readonly (readonly [resource: object, alone: string, beside: string])[] = [
    [local, 'V PSY', 'V PSY'],
    [condition(SNOMED, '222'), 'N TBOO', 'R TBOO'],
    [condition(LOINC, 'x-2'), 'N CEL', 'R CEL'],
    [condition('https://other.example', '1'), 'R', 'R'],
    [condition('https://other.example', '12'), 'N', 'N'],
    [condition(ICD, 'B20'), 'N', 'V HIV'],
    [condition(ICD, 'F20'), 'N', 'R MH PSY'],
  ]
  for (const [resource, one, both] of rows)
    assert.deepEqual([derived(resource, NORMAL, alone), derived(resource, NORMAL, beside)], [one, both])
  assert.notEqual(alone.digest, beside.digest)
  assert.notEqual(alone.digest, parseLabelRules({ ...RULES, version: '3' }, 'x').digest)
  // The rules of the release are as they were.
  assert.equal(derived(local), 'N')
  assert.equal(derived(condition(SNOMED, '222')), 'N')
})

test('a rules file that would not do what it seems to is refused, and the place is named', async () => {
  const rule = { name: 'a', labels: ['PSY'], codes: [{ system: SNOMED, codes: ['1'] }] }
  const base = { id: 'i', version: '1', date: '2027-01-31', rules: [rule] }
  const broken: readonly (readonly [change: object, where: string])[] = [
    [{ rulez: [] }, 'the file.rulez'],
    [{ version: undefined }, 'the file.version'],
    [{ extends: 'other' }, 'extends'],
    [{ rules: [rule, rule] }, 'rules[1].name'],
    [{ rules: [{ ...rule, labels: ['PSYCH'] }] }, 'rules[0].labels'],
    [{ rules: [{ ...rule, labels: [] }] }, 'rules[0]'],
    [{ rules: [{ ...rule, confidentiality: 'X' }] }, 'rules[0].confidentiality'],
    [{ rules: [{ ...rule, code: [] }] }, 'rules[0].code'],
    [{ rules: [{ ...rule, codes: [{ system: 'icd-10', codes: ['1'] }] }] }, 'rules[0].codes[0].system'],
    [{ rules: [{ ...rule, codes: [{ system: SNOMED }] }] }, 'rules[0].codes[0]'],
    [{ rules: [{ ...rule, codes: [{ system: SNOMED, prefixes: ['.'] }] }] }, 'rules[0].codes[0]'],
    [{ rules: [{ ...rule, codes: [{ valueSet: 'unknown' }] }] }, 'rules[0].codes[0]'],
    [{ confidentiality: { HIVV: 'R' } }, 'confidentiality'],
    [
      { valueSets: [{ resourceType: 'ValueSet', url: 'u', compose: { include: [{ system: SNOMED, filter: [] }] } }] },
      'valueSets[0]',
    ],
    [
      {
        valueSets: [
          {
            resourceType: 'ValueSet',
            url: 'u',
            compose: { include: [{ system: SNOMED }, { system: ICD, concept: [{ code: '1' }] }] },
          },
        ],
      },
      'valueSets[0]',
    ],
    [
      {
        valueSets: [
          {
            resourceType: 'ValueSet',
            url: 'u',
            compose: { include: [{ system: SNOMED, concept: [{ code: '1' }] }], exclude: [] },
          },
        ],
      },
      'valueSets[0]',
    ],
  ]
  for (const [change, where] of broken)
    assert.throws(
      () => parseLabelRules(JSON.parse(JSON.stringify({ ...base, ...change })), 'labels.json'),
      error => coded('label-rules-invalid')(error) && (error as { facts?: { where?: string } }).facts?.where === where,
      JSON.stringify(change),
    )
})

// ---- published records ----

const DATA = join(import.meta.dirname, '../../../shared/data')
const skip = existsSync(DATA) ? false : 'needs the test data beside the repository'

test('in published synthetic histories, exactly those with a sensitive code are restricted', { skip }, async t => {
  const folder = join(DATA, 'synthea-r4/bundles')
  const tally = new Map<string, number>()
  for (const name of await readdir(folder)) {
    const text = gunzipSync(await readFile(join(folder, name))).toString()
    const { confidentiality, labels, rules } = labelsOf(standardLabels(), JSON.parse(text) as object, NORMAL)
    // Said a second way: by the words beside the codes.
    const words =
      /HIV|[Mm]ajor depress|Termination|terminat|[Cc]ontracepti|Gonorrh|Syphilis|Chlamydia|overdose|[Pp]sychiatr|Mental health|Etonogestrel/
    assert.equal(confidentiality === 'R', words.test(text), `${name} ${confidentiality} ${rules}`)
    for (const label of labels) tally.set(label, (tally.get(label) ?? 0) + 1)
  }
  t.diagnostic(JSON.stringify(Object.fromEntries([...tally].sort())))
  assert.ok((tally.get('PSY') ?? 0) > 0 && (tally.get('SEX') ?? 0) > 0)
})

test('what HL7’s examples say of themselves is taken', { skip }, async () => {
  const example = async (path: string): Promise<string> =>
    derived(JSON.parse(await readFile(join(DATA, 'hl7-fhir-examples/r4', path), 'utf8')) as object)
  assert.equal(await example('Condition/Condition-f202.json'), 'R TBOO')
  assert.equal(await example('DocumentReference/DocumentReference-example.json'), 'V')
  assert.equal(await example('Composition/Composition-example-mixed.json'), 'N')
})
