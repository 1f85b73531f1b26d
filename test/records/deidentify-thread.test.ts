// The custodian's side of a twin: the copy of a record that streams by, and the thread that makes the twin of it.
// Not here: what a twin holds (deidentify.test.ts), twins on a network (e2e/ladder.test.ts).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twinMaker } from '../../src/adapters/twin-maker.ts'
import { deidentifyFhir } from '../../src/records/deidentify/fhir.ts'
import { standardRules } from '../../src/records/deidentify/rules.ts'
import { PlainCopy } from '../../src/records/twin.ts'

const keys = { extractKey: new Uint8Array(32).fill(1), patientKey: new Uint8Array(16).fill(2) }
const patient = (): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({ resourceType: 'Patient', gender: 'female', name: [{ family: 'Lovelace' }] }),
  )

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(size)
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    // One buffer for all chunks: a source may use it again.
    buffer.set(part)
    yield buffer.subarray(0, part.length)
  }
}

async function passed(copy: PlainCopy, bytes: Uint8Array): Promise<Buffer> {
  const through: Buffer[] = []
  for await (const chunk of copy.watch(chunks(bytes, 7))) through.push(Buffer.from(chunk))
  return Buffer.concat(through)
}

test('the thread gives the same twin as the rules do here', async () => {
  const here = deidentifyFhir({ bytes: patient(), rules: standardRules(), ...keys })
  const made = await twinMaker()({ kind: 'fhir', bytes: patient(), ...keys })
  assert.deepEqual(Buffer.from(made.bytes), Buffer.from(here.bytes))
  assert.equal(made.ruleDigest, standardRules().digest)
})

test('images go the way of DICOM', async () => {
  const asked = twinMaker()({ kind: 'dicom', bytes: patient(), ...keys })
  await assert.rejects(asked, { code: 'record-malformed', message: /DICM/ })
})

test('what the rules refuse is refused with its reason', async () => {
  const bytes = new TextEncoder().encode('{"resourceType":"Binary","data":"AAAA"}')
  await assert.rejects(twinMaker()({ kind: 'fhir', bytes, ...keys }), { code: 'deidentify-unsupported' })
  await assert.rejects(twinMaker()({ kind: 'fhir', bytes: new Uint8Array([0x7b]), ...keys }), {
    code: 'record-malformed',
  })
})

test('a record that takes too long or too much memory ends its thread, and the asker hears why', async () => {
  const entry = `{"resource":${new TextDecoder().decode(patient())}}`
  const large = `{"resourceType":"Bundle","entry":[${Array(60_000).fill(entry).join()}]}`
  const bytes = (): Uint8Array => new TextEncoder().encode(large)
  const refused = { code: 'deidentify-failed' }
  await assert.rejects(twinMaker({ timeoutMs: 20 })({ kind: 'fhir', bytes: bytes(), ...keys }), {
    ...refused,
    facts: { why: 'it takes too long' },
  })
  const greedy = twinMaker({ heapMaxMib: 8 })({ kind: 'fhir', bytes: bytes(), ...keys })
  await assert.rejects(greedy, { ...refused, facts: { why: 'it needs too much memory' } })
})

test('the copy lets everything pass and gives it back once, and only of kinds that have twins', async () => {
  const copy = new PlainCopy()
  assert.deepEqual(await passed(copy, patient()), Buffer.from(patient()))
  assert.deepEqual(Buffer.from(copy.take('fhir').bytes), Buffer.from(patient()))
  assert.deepEqual(copy.take('fhir').bytes, new Uint8Array(0), 'it was wiped')
  for (const kind of ['pdf', 'text', 'other']) {
    const opaque = new PlainCopy()
    await passed(opaque, patient())
    assert.throws(() => opaque.take(kind), { code: 'deidentify-unsupported' })
  }
})

test('beyond its limit the copy is given up, and what streams by is whole all the same', async () => {
  const size = patient().length
  const exact = new PlainCopy(size)
  await passed(exact, patient())
  assert.equal(exact.take('fhir').bytes.length, size)
  const less = new PlainCopy(size - 1)
  assert.deepEqual(await passed(less, patient()), Buffer.from(patient()))
  assert.throws(() => less.take('fhir'), { code: 'deidentify-unsupported' })
})
