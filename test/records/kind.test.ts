// What a record is, by its bytes; and that looking at them changes none.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { kindOf, peekKind } from '../../src/records/kind.ts'
import { chunked, coded, collected, fill } from './support.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')
const text = (value: string): Buffer => Buffer.from(value, 'utf8')
const dicom = Buffer.concat([Buffer.alloc(128), text('DICM'), fill(500)])

test('each kind is known by its bytes', () => {
  const rows: [string, Uint8Array, string][] = [
    ['a resource', text('{"resourceType":"Patient","id":"p1"}'), 'fhir'],
    ['a resource behind space and a byte-order mark', text('\ufeff \n{"id":"x","resourceType":"Bundle"}'), 'fhir'],
    ['other JSON', text('{"type":"Patient"}'), 'text'],
    ['a resource type that is none', text('{"resourceType":"patient; drop"}'), 'text'],
    ['a nested resource type', text('{"a":{"resourceType":"Patient"}}'), 'text'],
    ['a list', text('[{"resourceType":"Patient"}]'), 'text'],
    ['broken JSON', text('{"resourceType":"Patient"'), 'text'],
    ['DICOM', dicom, 'dicom'],
    ['PDF', text('%PDF-1.7\n\x01'), 'pdf'],
    ['a letter', text('Sehr geehrte Frau Müller,\r\n\twir 患者\f'), 'text'],
    ['bytes', fill(300), 'other'],
    ['text with a NUL', text('abc\0def'), 'other'],
    ['half a character', Uint8Array.of(0x41, 0xe6, 0x82), 'other'],
  ]
  for (const [name, bytes, kind] of rows) assert.equal(kindOf(bytes, true), kind, name)
})

test('the record passes through unchanged, however it is cut', async () => {
  for (const bytes of [text('{"resourceType":"Patient"}'), dicom, fill(200_000), text('é'.repeat(50_000))])
    for (const cut of [1000, 65_536, 65_537]) {
      const peeked = await peekKind(chunked(bytes, cut), null)
      assert.equal((await collected(peeked.source)).equals(bytes), true)
    }
})

test('long text is text wherever its first 64 KiB end', async () => {
  for (const shift of ['', 'a', 'ab']) {
    const { kind } = await peekKind(chunked(text(shift + '患'.repeat(50_000)), 7_777), null)
    assert.equal(kind, 'text')
  }
})

test('a claim that the bytes contradict is refused', async () => {
  const claim = (bytes: Uint8Array, kind: string) => peekKind(chunked(bytes, 100), kind)
  for (const bytes of [text('{"resourceType":"Patient"'), text('{}'), text('resourceType'), dicom])
    await assert.rejects(claim(bytes, 'fhir'), coded('record-malformed'))
  await assert.rejects(claim(text('hello'), 'dicom'), coded('record-malformed'))
  await assert.rejects(claim(text('hello'), 'pdf'), coded('record-malformed'))
  await assert.rejects(claim(dicom, 'text'), coded('record-malformed'))
  await assert.rejects(claim(dicom, 'xray'), coded('kind-unknown'))
  await assert.rejects(claim(new Uint8Array(0), 'text'), coded('record-empty'))
  await assert.rejects(peekKind(chunked(new Uint8Array(0), 1), null), coded('record-empty'))
})

test('a claim that says less than the bytes is taken', async () => {
  const kindFor = async (bytes: Uint8Array, kind: string) => (await peekKind(chunked(bytes, 100), kind)).kind
  assert.equal(await kindFor(text('{"resourceType":"Patient"}'), 'fhir'), 'fhir')
  assert.equal(await kindFor(text('{"resourceType":"Patient"}'), 'other'), 'other')
  assert.equal(await kindFor(fill(300), 'dicom'), 'dicom')
})

test('a source is closed when its record is refused', async () => {
  let isClosed = false
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      yield fill(70_000)
      yield fill(70_000)
    } finally {
      isClosed = true
    }
  }
  await assert.rejects(peekKind(source(), 'fhir'), coded('record-malformed'))
  assert.equal(isClosed, true)
})

test('real FHIR and DICOM files are what they are', async t => {
  if (!existsSync(DATA)) return t.skip('real files are absent')
  let count = 0
  for (const [folder, kind, ending] of [
    ['fhir-samples', 'fhir', '.json'],
    ['dicom/files', 'dicom', '.dcm'],
  ] as const)
    for (const name of await readdir(join(DATA, folder))) {
      if (!name.endsWith(ending)) continue
      const bytes = await readFile(join(DATA, folder, name))
      if (kind === 'dicom' && bytes.toString('latin1', 128, 132) !== 'DICM') continue
      assert.equal((await peekKind(chunked(bytes, 10_000), kind)).kind, kind, name)
      assert.equal(kindOf(bytes, true), kind, name)
      count++
    }
  assert.ok(count > 20, `${count} files`)
})
