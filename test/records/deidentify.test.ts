// De-identified twins of FHIR records (P-42): deny by default on small records made to hurt, then whole patients of Synthea and the cases of
// Microsoft's tool. Not here: twins on a running network (e2e/ladder.test.ts).

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { dayNumber, shiftFhirDate } from '../../src/records/deidentify/dates.ts'
import { deidentifyFhir, type FhirTwin } from '../../src/records/deidentify/fhir.ts'
import type { Json, JsonObject } from '../../src/records/deidentify/json.ts'
import { makeExtractKeys } from '../../src/records/deidentify/keys.ts'
import { parseRuleSet, type RuleSet, standardRules } from '../../src/records/deidentify/rules.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')
const SYNTHEA = join(DATA, 'synthea-r4')
const PAIRS = join(DATA, 'fhir-deid-ms')

const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
const patientKey = key(200)
const bytesOf = (record: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(record))
const textOf = (twin: FhirTwin): string => new TextDecoder().decode(twin.bytes)

function twinOf(record: unknown, extract = 1, rules: RuleSet = standardRules()): JsonObject {
  const twin = deidentifyFhir({ bytes: bytesOf(record), rules, extractKey: key(extract), patientKey })
  return JSON.parse(textOf(twin)) as JsonObject
}

/** The values of a JSON tree with the way to each. */
function leaves(value: Json, at = '', found = new Map<string, Json>()): Map<string, Json> {
  if (Array.isArray(value)) value.forEach((item, i) => void leaves(item, `${at}[${i}]`, found))
  else if (typeof value === 'object' && value !== null)
    for (const [name, item] of Object.entries(value)) leaves(item as Json, `${at}.${name}`, found)
  else found.set(at, value)
  return found
}
const strings = (value: Json): Set<Json> =>
  new Set([...leaves(value).values()].filter(leaf => typeof leaf === 'string'))
const at = (value: Json, path: string): Json | undefined => leaves(value).get(path)

const PATIENT: JsonObject = {
  resourceType: 'Patient',
  id: 'p1',
  language: 'en',
  text: { status: 'generated', div: '<div>Ada Lovelace, born 1950-12-10</div>' },
  extension: [
    { url: 'http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName', valueString: 'Milbanke' },
    {
      url: 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex',
      valueCode: 'F',
    },
  ],
  identifier: [{ system: 'urn:mrn', value: 'MRN-4711', assigner: { display: 'St. Elsewhere' } }],
  active: true,
  name: [{ family: 'Lovelace', given: ['Ada'], _given: [{ extension: [{ url: 'urn:nick', valueString: 'Addie' }] }] }],
  telecom: [{ system: 'phone', value: '+1 555 010 1234' }],
  gender: 'female',
  birthDate: '1950-12-10',
  _birthDate: { extension: [{ url: 'urn:birth-time', valueDateTime: '1950-12-10T04:05:06Z' }] },
  address: [{ line: ['12 St James Sq'], city: 'Boston', state: 'MA', postalCode: '02139-0001', country: 'US' }],
  maritalStatus: {
    coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-MaritalStatus', code: 'M', display: 'with W. King' }],
    text: 'married to William King',
  },
  contact: [{ name: { family: 'King' } }],
  generalPractitioner: [{ reference: 'Practitioner/d9', display: 'Dr. Gull' }],
  nickname: 'Enchantress',
}
const OBSERVATION: JsonObject = {
  resourceType: 'Observation',
  id: 'o1',
  contained: [
    { resourceType: 'Practitioner', id: 'd1', name: [{ family: 'Gull' }], telecom: [{ value: 'gull@example.org' }] },
  ],
  status: 'final',
  code: {
    coding: [
      { system: 'http://loinc.org', code: '8867-4', display: 'Heart rate of Ada' },
      { system: 'urn:local', code: 'ada-lovelace' },
    ],
  },
  subject: { reference: 'Patient/p1', display: 'Ada Lovelace' },
  performer: [{ reference: '#d1' }, { reference: 'https://st-elsewhere.example/fhir/Organization/7' }],
  effectiveDateTime: '2019-03-01T10:11:12+01:00',
  issued: '2019-03-11T09:00:00.000Z',
  valueQuantity: { value: 72, unit: 'beats/minute', system: 'http://unitsofmeasure.org', code: '/min' },
  note: [{ authorString: 'Dr. Gull', time: '2019-03-02', text: 'Mrs Lovelace was nervous' }],
}
const BUNDLE: JsonObject = {
  resourceType: 'Bundle',
  type: 'transaction',
  entry: [
    { fullUrl: 'urn:uuid:p1', resource: PATIENT, request: { method: 'PUT', url: 'Patient?identifier=MRN-4711' } },
    { fullUrl: 'urn:uuid:o1', resource: OBSERVATION },
  ],
}
const SECRETS =
  /Lovelace|Ada|Milbanke|Addie|MRN-4711|Elsewhere|elsewhere|555|St James|Boston|02139|King|Gull|gull|Enchantress|nervous|ada-|1950-12|2019-03-0[12]|10:11/

test('nothing that names the patient, a relative or a clinician is left, however it was nested', () => {
  for (const record of [PATIENT, OBSERVATION, BUNDLE, { ...OBSERVATION, contained: [PATIENT] }]) {
    const text = JSON.stringify(twinOf(record))
    assert.doesNotMatch(text, SECRETS)
    assert.doesNotMatch(text, /"(p1|o1|d1|#d1)"/)
  }
})

test('what a researcher needs is left: codes, values, sex, state, the first three digits of the postcode, the year of birth', () => {
  const twin = twinOf(BUNDLE)
  assert.equal(twin['type'], 'collection')
  const left = {
    gender: at(twin, '.entry[0].resource.gender'),
    state: at(twin, '.entry[0].resource.address[0].state'),
    zip: at(twin, '.entry[0].resource.address[0].postalCode'),
    birthSex: at(twin, '.entry[0].resource.extension[0].valueCode'),
    code: at(twin, '.entry[1].resource.code.coding[0].code'),
    value: at(twin, '.entry[1].resource.valueQuantity.value'),
    unit: at(twin, '.entry[1].resource.valueQuantity.code'),
  }
  assert.deepEqual(left, {
    gender: 'female',
    state: 'MA',
    zip: '021',
    birthSex: 'F',
    code: '8867-4',
    value: 72,
    unit: '/min',
  })
  assert.match(String(at(twin, '.entry[0].resource.birthDate')), /^(1949|1950)$/)
})

test('references still meet: subject and patient, performer and contained practitioner', () => {
  const twin = twinOf(BUNDLE)
  assert.equal(at(twin, '.entry[1].resource.subject.reference'), `Patient/${at(twin, '.entry[0].resource.id')}`)
  assert.equal(
    at(twin, '.entry[1].resource.performer[0].reference'),
    `#${at(twin, '.entry[1].resource.contained[0].id')}`,
  )
  assert.equal(at(twin, '.entry[0].fullUrl'), `urn:uuid:${at(twin, '.entry[0].resource.id')}`)
})

test('the twin says what it is: a label on every resource that may carry one', () => {
  const twin = twinOf({ resourceType: 'Bundle', type: 'collection', entry: [{ resource: OBSERVATION }] })
  assert.equal(at(twin, '.meta.security[0].code'), 'PSEUDED')
  assert.equal(at(twin, '.entry[0].resource.meta.security[0].code'), 'PSEUDED')
  assert.equal(at(twin, '.entry[0].resource.contained[0].meta.security[0].code'), undefined)
})

test('a text put anywhere, into a value or into the name of an element, never reaches the twin', () => {
  const secret = 'Zeb Quinn'
  const ways = [...leaves(BUNDLE).keys()].filter(way => !way.endsWith('.resourceType'))
  const pick = fc.constantFrom(...ways)
  fc.assert(
    fc.property(pick, fc.constantFrom('value', 'name', 'object', 'list'), (way, how) => {
      const record = structuredClone(BUNDLE)
      const steps = way.match(/[^.[\]]+/g) as string[]
      const last = steps.pop() as string
      const parent = steps.reduce<Json>((node, step) => (node as JsonObject)[step] as Json, record) as JsonObject
      if (how === 'name') parent[secret] = parent[last] as Json
      else parent[last] = how === 'value' ? secret : how === 'object' ? { value: secret, text: secret } : [[secret]]
      assert.ok(!JSON.stringify(twinOf(record)).includes('Quinn'), `${way} as ${how}`)
    }),
    { numRuns: 400 },
  )
})

test('numbers that could be a telephone or social security number are dropped, measures stay as they were written', () => {
  const quantity = (value: string): Uint8Array =>
    new TextEncoder().encode(`{"resourceType":"Observation","valueQuantity":{"value":${value},"unit":"of Ada"}}`)
  const twin = (value: string): string =>
    textOf(deidentifyFhir({ bytes: quantity(value), rules: standardRules(), extractKey: key(1), patientKey }))
  assert.match(twin('1.50'), /"value":1\.50/)
  assert.doesNotMatch(twin('999488934'), /999488934/)
  const coded = { value: 999488934, system: 'http://unitsofmeasure.org', code: '/min' }
  assert.doesNotMatch(JSON.stringify(twinOf({ ...OBSERVATION, valueQuantity: coded })), /999488934/)
})

test('a code is no place for a name: units, codes of HL7 and question numbers are words of their systems or go', () => {
  const coded = (system: string, code: string): Json | undefined =>
    at(twinOf({ ...OBSERVATION, code: { coding: [{ system, code }] } }), '.code.coding[0].code')
  const unit = (code: string): Json | undefined =>
    at(
      twinOf({ ...OBSERVATION, valueQuantity: { value: 1, system: 'http://unitsofmeasure.org', code } }),
      '.valueQuantity.code',
    )
  const actCode = 'http://terminology.hl7.org/CodeSystem/v3-ActCode'
  for (const [system, code] of [
    [actCode, 'AMB'],
    ['http://terminology.hl7.org/CodeSystem/condition-clinical', 'active'],
    ['http://snomed.info/sct', '44054006'],
  ] as const)
    assert.equal(coded(system, code), code)
  for (const [system, code] of [
    [actCode, 'Lovelace'],
    [actCode, '555-12-3456'],
    [actCode, 'active'],
    ['http://terminology.hl7.org/CodeSystem/Lovelace', 'AMB'],
    ['http://hl7.org/fhir/Lovelace', 'final'],
    ['http://snomed.info/sct', 'Lovelace'],
    ['constructor', 'name'],
  ] as const)
    assert.equal(coded(system, code), undefined, `${system} ${code}`)
  for (const code of ['mg/dL', 'mm[Hg]', '10*3/uL', 'mL/min/{1.73_m2}', '{score}', 'm[IU]/mL', '/min', '%'])
    assert.equal(unit(code), code)
  for (const code of ['Lovelace', '{Ada Lovelace}', '{Lovelace}', 'mg{Ada}', '[Ada]', '555-12-3456'])
    assert.equal(unit(code), undefined, code)
  const linkId = (text: string): Json | undefined =>
    at(twinOf({ resourceType: 'QuestionnaireResponse', item: [{ linkId: text }] }), '.item[0].linkId')
  assert.equal(linkId('2.1.16'), '2.1.16')
  assert.equal(linkId('/54114-4/54117-7'), '/54114-4/54117-7')
  assert.equal(linkId('555-12-3456'), undefined)
})

test('beyond 89 years nothing tells the age', () => {
  const old = twinOf({
    resourceType: 'Bundle',
    type: 'collection',
    entry: [
      { resource: { resourceType: 'Patient', birthDate: '1920-02-03' } },
      {
        resource: {
          resourceType: 'Condition',
          onsetAge: { value: 93, unit: 'a', system: 'http://unitsofmeasure.org', code: 'a' },
        },
      },
      { resource: { resourceType: 'Condition', onsetDateTime: '1925-01-01' } },
    ],
  })
  assert.equal(at(old, '.entry[0].resource.birthDate'), undefined)
  assert.equal(at(old, '.entry[0].resource._birthDate.extension[0].valueCode'), 'masked')
  assert.equal(at(old, '.entry[1].resource.onsetAge.value'), 89)
  assert.equal(at(old, '.entry[1].resource.onsetAge.comparator'), '>')
  assert.equal(at(old, '.entry[2].resource.onsetDateTime'), undefined)
  const onset = (value: number, code: string): Json[] => {
    const onsetAge = { value, unit: 'of Ada', system: 'http://unitsofmeasure.org', code }
    const twin = twinOf({ resourceType: 'Condition', onsetAge })
    return [at(twin, '.onsetAge.value') ?? null, at(twin, '.onsetAge.comparator') ?? null]
  }
  assert.deepEqual(onset(89, 'a'), [89, null])
  assert.deepEqual(onset(1_100, 'mo'), [1_068, '>'])
  assert.deepEqual(onset(1_000, 'mo'), [1_000, null])
  assert.deepEqual(onset(34_000, 'd'), [32_485, '>'])
  assert.deepEqual(onset(93, 'of Ada'), [89, '>'], 'an age of no known unit')
})

test('a postcode of few inhabitants or of another country does not become three digits', () => {
  const zip = (postalCode: string, country: string): Json | undefined =>
    at(twinOf({ resourceType: 'Patient', address: [{ postalCode, country }] }), '.address[0].postalCode')
  assert.equal(zip('02139', 'US'), '021')
  assert.equal(zip('03601', 'US'), '000')
  assert.equal(zip('02139', 'DE'), undefined)
})

test('intervals between dates are kept to the day, over leap years and the ends of months', () => {
  const day = fc.date({ min: new Date('1900-01-01'), max: new Date('2100-12-31'), noInvalidDate: true })
  const number = (text: string): number => {
    const [year, month, date] = text.split('-').map(Number)
    return dayNumber(year as number, month as number, date as number)
  }
  fc.assert(
    fc.property(day, day, fc.integer({ min: -365, max: -1 }), (one, other, shift) => {
      const [a, b] = [one, other].map(date => date.toISOString().slice(0, 10)) as [string, string]
      const [movedA, movedB] = [a, b].map(text => shiftFhirDate(text, shift, 'drop', false)) as [string, string]
      assert.equal(number(movedA) - number(movedB), number(a) - number(b))
      assert.equal((Date.parse(movedA) - Date.parse(a)) / 86_400_000, shift)
    }),
  )
  const twin = twinOf(OBSERVATION)
  const effective = String(at(twin, '.effectiveDateTime'))
  assert.equal(number(String(at(twin, '.issued')).slice(0, 10)) - number(effective), 10)
  assert.notEqual(effective, '2019-03-01')
})

test('what is no date is not moved, and not released', () => {
  for (const text of ['2019-02-29', '2019-13-01', '2019-00-10', '19-1-1', 'Ada', '2019-03-01T10:11:12+01:00 Ada'])
    assert.equal(at(twinOf({ ...OBSERVATION, effectiveDateTime: text }), '.effectiveDateTime'), undefined, text)
})

test('two extracts of one record share no pseudonym and no shift; one extract is the same bytes again', () => {
  const shifts = new Set(Array.from({ length: 60 }, (_, i) => makeExtractKeys(key(i), patientKey).shiftDays))
  assert.ok(shifts.size > 45 && !shifts.has(0), `${shifts.size} shifts`)
  const marks = (extract: number): string[] => [
    ...new Set(JSON.stringify(twinOf(BUNDLE, extract)).match(/[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d/g)),
  ]
  const [first, second] = [marks(1), marks(2)]
  assert.ok(first.length > 6)
  assert.deepEqual(
    first.filter(mark => second.includes(mark)),
    [],
  )
  assert.deepEqual(twinOf(BUNDLE, 1), twinOf(BUNDLE, 1))
})

const refusal = (bytes: Uint8Array | string, code: string): void => {
  const record = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes
  const make = (): FhirTwin => deidentifyFhir({ bytes: record, rules: standardRules(), extractKey: key(1), patientKey })
  assert.throws(make, { code }, String(bytes).slice(0, 60))
}

test('opaque records are refused with the reason, not emptied', () => {
  refusal('{"resourceType":"Binary","contentType":"application/pdf","data":"JVBERi0="}', 'deidentify-unsupported')
  refusal('<Patient xmlns="http://hl7.org/fhir"/>', 'deidentify-unsupported')
})

test('malformed records are refused, two keys of one name among them', () => {
  const deep = `{"resourceType":"Patient","name":${'['.repeat(200)}${']'.repeat(200)}}`
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '{}',
    '{"resourceType":"Patience"}',
    '{"resourceType":"Patient"} {"resourceType":"Patient"}',
    '{"resourceType":"Patient","gender":"male","gender":"female"}',
    '{"resourceType":"Patient","__proto__":{"gender":"male"}}',
    '{"resourceType":"Patient","gender":"ma\nle"}',
    '{"resourceType":"Patient","multipleBirthInteger":01}',
    deep,
  ])
    refusal(text, 'record-malformed')
  refusal(new Uint8Array([0x7b, 0xff, 0x7d]), 'record-malformed')
})

test('an extract key that could be guessed is refused', () => {
  const make = (): FhirTwin =>
    deidentifyFhir({ bytes: bytesOf(PATIENT), rules: standardRules(), extractKey: new Uint8Array(8), patientKey })
  assert.throws(make, { code: 'deidentify-key-invalid' })
})

test('a rule set is named by its digest: the order of keys is nothing, any other change is', () => {
  const given = { id: 'a', fhirPathRules: [{ path: 'Patient.gender', method: 'keep' }] }
  const turned = { fhirPathRules: [{ method: 'keep', path: 'Patient.gender' }], id: 'a' }
  assert.equal(parseRuleSet(given).digest, parseRuleSet(turned).digest)
  assert.notEqual(parseRuleSet(given).digest, parseRuleSet({ ...given, otherwise: 'keep' }).digest)
  const twin = deidentifyFhir({ bytes: bytesOf(PATIENT), rules: parseRuleSet(given), extractKey: key(1), patientKey })
  assert.equal(twin.ruleDigest, parseRuleSet(given).digest)
  const { meta: _, ...rest } = JSON.parse(textOf(twin)) as JsonObject
  assert.deepEqual(rest, { resourceType: 'Patient', gender: 'female' })
})

test('a rule set that cannot be followed is refused before any record is touched', () => {
  const rules: Json[] = [
    { path: 'Patient.name', method: 'shred' },
    { path: 'Patient.name.where(', method: 'redact' },
    { path: '', method: 'redact' },
    { path: 'Patient.name', method: 'keep', only: 'nobody' },
    { path: 'Patient.name', method: 'perturb', span: -1 },
    { path: "Patient.where(name.matches('x'))", method: 'redact' },
    'Patient.name',
  ]
  for (const rule of rules)
    assert.throws(
      () => parseRuleSet({ fhirPathRules: [rule] }),
      { code: 'deidentify-rules-invalid' },
      JSON.stringify(rule),
    )
  for (const set of [null, {}, { fhirPathRules: [] }] as Json[])
    assert.throws(() => parseRuleSet(set), { code: 'deidentify-rules-invalid' })
})

test('whole patients of Synthea: no direct identifier is left anywhere, and the resources are all there', t => {
  if (!existsSync(SYNTHEA)) return t.skip('../shared/data/synthea-r4 is absent')
  const patients = readJson(join(SYNTHEA, 'phi-literals.json')) as { file: string; literals: string[] }[]
  assert.ok(patients.length >= 19)
  for (const { file, literals } of patients) {
    const bytes = gunzipSync(readFileSync(join(SYNTHEA, file)))
    const original = JSON.parse(bytes.toString()) as { entry: { resource: JsonObject }[] }
    const text = textOf(deidentifyFhir({ bytes, rules: standardRules(), extractKey: key(1), patientKey }))
    assert.deepEqual(
      literals.filter(literal => text.includes(literal)),
      [],
      file,
    )
    assert.doesNotMatch(text, /"(?:div|display|family|given|line|city|data)":/, file)
    const twin = JSON.parse(text) as { entry: { resource: JsonObject }[] }
    const types = (bundle: typeof twin): Json[] => bundle.entry.map(({ resource }) => resource['resourceType'] as Json)
    assert.deepEqual(types(twin), types(original), file)
    assert.ok(movedDates(original, twin) > 50, file)
  }
})

test('providers of the same run: no name, telephone or address line of theirs', t => {
  const folder = join(SYNTHEA, 'providers')
  if (!existsSync(folder)) return t.skip('../shared/data/synthea-r4 is absent')
  for (const name of readdirSync(folder)) {
    const record = JSON.parse(gunzipSync(readFileSync(join(folder, name))).toString()) as JsonObject
    const texts = strings(twinOf(record))
    const left = [...leaves(record)]
      .filter(([way]) => /\.(name|telecom|identifier|line|city)\b/.test(way) && !/\.(system|use|code)$/.test(way))
      .filter(([, value]) => texts.has(value))
    assert.deepEqual(left, [], name)
  }
})

type Case = { config: string; input: string; expected: string; resourceType: string; mustVanish: string[] }

test("Microsoft's cases: under their rules nothing of mustVanish is left, and with their default our twin has their elements", t => {
  if (!existsSync(PAIRS)) return t.skip('../shared/data/fhir-deid-ms is absent')
  const cases = readJson(join(PAIRS, 'manifest.json')) as Case[]
  assert.ok(cases.length >= 15)
  for (const { config, input, expected, resourceType, mustVanish } of cases) {
    const given = readJson(join(PAIRS, config)) as JsonObject
    const bytes = readFileSync(join(PAIRS, input))
    const make = (rules: Json): JsonObject => {
      const twin = deidentifyFhir({ bytes, rules: parseRuleSet(rules), extractKey: key(1), patientKey })
      return JSON.parse(textOf(twin)) as JsonObject
    }
    const said = `${config} ${input}`
    for (const twin of [make(given), make({ ...given, otherwise: 'keep' })]) {
      assert.equal(twin['resourceType'], resourceType, said)
      const texts = strings(twin)
      assert.deepEqual(
        mustVanish.filter(text => texts.has(text)),
        [],
        said,
      )
    }
    assert.deepEqual(ways(make({ ...given, otherwise: 'keep' })), ways(readJson(join(PAIRS, expected))), said)
  }
})

test("Microsoft's inputs under our rules: what is left of mustVanish are codes of published systems", t => {
  if (!existsSync(PAIRS)) return t.skip('../shared/data/fhir-deid-ms is absent')
  const codes = ['15074-8', 'collection', 'final', 'PBILLACCT', '408443003', 'provider']
  for (const { input, mustVanish } of readJson(join(PAIRS, 'manifest.json')) as Case[]) {
    const texts = strings(twinOf(readJson(join(PAIRS, input))))
    assert.deepEqual(
      mustVanish.filter(text => texts.has(text) && !codes.includes(text)),
      [],
      input,
    )
  }
})

/** How many full dates were moved, all by one shift; fails when two dates of the patient moved by different amounts. */
function movedDates(original: unknown, twin: unknown): number {
  const moved = leaves(twin as Json)
  const shifts: number[] = []
  for (const [way, value] of leaves(original as Json)) {
    const after = moved.get(way)
    if (typeof value !== 'string' || typeof after !== 'string') continue
    if (!/^\d{4}-\d\d-\d\d/.test(value) || !/^\d{4}-\d\d-\d\d/.test(after)) continue
    shifts.push((Date.parse(after.slice(0, 10)) - Date.parse(value.slice(0, 10))) / 86_400_000)
  }
  assert.equal(new Set(shifts).size, 1)
  return shifts.length
}

/** The elements of a record; the labels in meta differ by design, an empty resource keeps its type with us, and lists that hold one value are written as given. */
function ways(record: Json): string[] {
  const names = [...leaves(record).keys()].map(way => way.replace(/\[\d+\]/g, ''))
  return [...new Set(names)].filter(way => !way.includes('.meta') && !way.endsWith('.resourceType')).sort()
}

function readJson(file: string): Json {
  return JSON.parse(readFileSync(file, 'utf8').replace(/^\ufeff/, '')) as Json
}
