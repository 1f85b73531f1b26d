// What a custodian notes of a record for itself, and that nobody else can read it.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { FhirResource } from '../../src/records/kind.ts'
import { findingsOf, localIndexKey, readEntry, sealEntry } from '../../src/records/local-index.ts'
import { operationToJson } from '../../src/wire/codec.ts'
import { requestOf } from '../wire/samples.ts'
import { coded, fill, newRecordId } from './support.ts'
import { makeWorld, never } from './world.ts'

const loinc = (code: string): object => ({ coding: [{ system: 'http://loinc.org', code }] })
const resource = (fields: object): FhirResource => fields as FhirResource

test('what a record is, its LOINC codes and its date are taken from the resource itself', () => {
  const rows: readonly (readonly [resource: object, type: string, codes: readonly string[], date: string | null])[] = [
    [
      {
        resourceType: 'Observation',
        code: loinc('85354-9'),
        effectiveDateTime: '2026-03-04T10:00:00+01:00',
        issued: '2026-03-05T08:00:00Z',
        // What it mentions is not what it is.
        component: [{ code: loinc('8480-6') }],
      },
      'Observation',
      ['85354-9'],
      '2026-03-04T10:00:00+01:00',
    ],
    [
      { resourceType: 'DocumentReference', type: loinc('34108-1'), date: '2025' },
      'DocumentReference',
      ['34108-1'],
      '2025',
    ],
    [{ resourceType: 'Encounter', period: { start: '2024-01' } }, 'Encounter', [], '2024-01'],
    [{ resourceType: 'Patient', birthDate: '1950-01-01' }, 'Patient', [], null],
    [{ resourceType: 'Condition', onsetString: 'last year', recordedDate: 'soon' }, 'Condition', [], null],
    [
      {
        resourceType: 'Bundle',
        type: 'document',
        timestamp: '2026-06-01T00:00:00Z',
        entry: [
          { resource: { resourceType: 'Composition', type: loinc('18842-5'), date: '2026-05-31' } },
          { resource: { resourceType: 'Observation', code: loinc('718-7') } },
        ],
      },
      'Bundle',
      ['18842-5', '718-7'],
      '2026-05-31',
    ],
  ]
  for (const [made, type, codes, date] of rows)
    assert.deepEqual(findingsOf(resource(made)), { type, loinc: codes, date })
  assert.deepEqual(findingsOf(null), { type: null, loinc: [], date: null })
})

test('what is hostile in a resource leaves its findings short and well-formed', () => {
  const entry = Array.from({ length: 1000 }, (_, i) => ({
    resource: { code: loinc(`${i}-0`), resourceType: 'Observation' },
  }))
  assert.equal(findingsOf(resource({ resourceType: 'Bundle', entry })).loinc.length, 16)
  const odd = { resourceType: 'Observation', code: [loinc('1-2')], effectiveDateTime: `2026-01-01T${'0'.repeat(100)}` }
  assert.deepEqual(findingsOf(resource(odd)), { type: 'Observation', loinc: [], date: null })
  assert.deepEqual(findingsOf(resource({ resourceType: 'Bundle', entry: 'none' })).loinc, [])
})

const MARKS = ['DiagnosticReport', '24323-8', '1987-06-05', 'opioid-use-disorder']
const report = JSON.stringify({
  resourceType: 'DiagnosticReport',
  status: 'final',
  code: loinc('24323-8'),
  effectiveDateTime: '1987-06-05',
  conclusionCode: [{ coding: [{ system: 'http://snomed.info/sct', code: '75544000' }] }],
})

test('neither the registration nor any vault, the custodian’s own included, holds a word of it in the clear', async () => {
  const world = await makeWorld(4)
  const [custodian] = world.hospitals
  assert.ok(custodian)
  const entry = await world.add(custodian, Buffer.from(report))
  await custodian.depositor.deliver(entry.record, never)
  await custodian.depositor.replicate(entry.record, never)

  const noted = await readEntry(custodian.vault, new Uint8Array(32), entry.record)
  assert.deepEqual(
    [noted?.type, noted?.loinc, noted?.date, noted?.size],
    [MARKS[0], [MARKS[1]], MARKS[2], report.length],
  )
  assert.deepEqual(noted?.labelling.rules, [MARKS[3]])
  assert.deepEqual([entry.confidentiality, ...entry.labels], ['R', 'ETH', 'OPIOIDUD', 'SUD'])

  const { height, time, withdrawn, ...fields } = entry
  assert.deepEqual([height, typeof time, withdrawn], [5, 'number', false])
  const request = requestOf({ type: 'record.register', ...fields })
  const seen: [string, Uint8Array][] = [['the request', request.bytes]]
  seen.push(['the operation', Buffer.from(JSON.stringify(operationToJson({ type: 'record.register', ...fields })))])
  for (const { vault, facts } of world.hospitals) {
    for (const item of await vault.items(entry.record))
      seen.push([`${facts.name}: ${item}`, (await vault.item(entry.record, item)) as Uint8Array])
    if (facts.id !== custodian.facts.id) assert.ok(!(await vault.items(entry.record)).includes('facts'), facts.name)
    const cipher = await vault.entry(entry.record)
    for (let i = 0; i < (cipher?.leaves.length ?? 0); i++) seen.push([facts.name, await vault.piece(entry.record, i)])
  }
  assert.ok(seen.length > 8)
  for (const [where, bytes] of seen)
    for (const mark of MARKS) assert.equal(Buffer.from(bytes).includes(mark), false, `${mark} in ${where}`)
})

test('an entry opens with the institution’s key alone, for its own record alone, and unchanged alone', async () => {
  const world = await makeWorld(4)
  const [custodian] = world.hospitals
  assert.ok(custodian)
  const { vault } = custodian
  const key = localIndexKey(fill(32))
  const [record, other] = [newRecordId(), newRecordId()]
  const entry = { type: 'Observation', loinc: [], date: null, size: 1, labelling: {} } as unknown as Parameters<
    typeof sealEntry
  >[2]
  const sealed = sealEntry(key, record, entry)
  await vault.putItem(record, 'facts', sealed)
  await vault.putItem(other, 'facts', sealed)
  assert.deepEqual(await readEntry(vault, key, record), entry)
  assert.equal(await readEntry(vault, key, newRecordId()), null)
  const refused = coded('local-index-corrupt')
  await assert.rejects(readEntry(vault, localIndexKey(fill(32, 2)), record), refused)
  await assert.rejects(readEntry(vault, key, other), refused)
  for (const bytes of [
    sealed.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
    sealed.subarray(0, 20),
    new Uint8Array(0),
  ]) {
    await vault.putItem(record, 'facts', bytes)
    await assert.rejects(readEntry(vault, key, record), refused)
  }
})

test('a record that is no FHIR keeps the given labels and says so', async () => {
  const world = await makeWorld(4)
  const [custodian] = world.hospitals
  assert.ok(custodian)
  const { record, confidentiality, labels } = await world.add(custodian, Buffer.from('HIV, in words'))
  assert.deepEqual([confidentiality, labels], ['N', []])
  const noted = await readEntry(custodian.vault, new Uint8Array(32), record)
  assert.deepEqual([noted?.type, noted?.labelling.unread, noted?.labelling.rules], [null, 'not-fhir', []])
})

const DATA = join(import.meta.dirname, '../../../shared/data/hl7-fhir-examples/r4')
test('findings of HL7’s own examples', {
  skip: existsSync(DATA) ? false : 'needs the test data beside the repository',
}, async () => {
  const of = async (path: string): Promise<unknown[]> =>
    Object.values(findingsOf(resource(JSON.parse(await readFile(join(DATA, path), 'utf8')) as object)))
  assert.deepEqual(await of('Condition/Condition-f202.json'), ['Condition', [], '2012-12-01'])
  assert.deepEqual(await of('DocumentReference/DocumentReference-example.json'), [
    'DocumentReference',
    ['34108-1'],
    '2004-12-23T08:00:00+11:00',
  ])
})
