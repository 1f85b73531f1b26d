// De-identified twins of DICOM objects (P-42): small objects made to hurt, then every object of the test data against the list of
// PS3.15 actions that an independent reader (pydicom) made for it.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { EmrmError } from '../../src/model/errors.ts'
import { deidentifyDicom } from '../../src/records/deidentify/dicom.ts'
import dictionary from '../../src/records/deidentify/dicom-elements.json' with { type: 'json' }
import {
  type DataSet,
  type Element,
  EXPLICIT,
  RUN_LENGTH,
  readDicom,
  writeDicom,
} from '../../src/records/deidentify/dicom-file.ts'
import profile from '../../src/records/deidentify/dicom-profile.json' with { type: 'json' }

const DATA = join(import.meta.dirname, '../../../shared/data/dicom')
const CT = '1.2.840.10008.5.1.4.1.1.2'
const CAPTURE = '1.2.840.10008.5.1.4.1.1.7'
const PDF = '1.2.840.10008.5.1.4.1.1.104.1'
const JPEG = '1.2.840.10008.1.2.4.50'
const JPEG_2000 = '1.2.840.10008.1.2.4.90'
const BIG_ENDIAN = '1.2.840.10008.1.2.2'
const DEFLATED = '1.2.840.10008.1.2.1.99'
const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

const text = (tag: string, vr: string, value: string): Element => ({ tag, vr, value: Buffer.from(value, 'latin1') })
const sequence = (tag: string, ...items: DataSet[]): Element => ({ tag, vr: 'SQ', value: items })

function fileOf(data: DataSet, syntax = EXPLICIT): Uint8Array {
  const sorted = [...data].sort((a, b) => (a.tag < b.tag ? -1 : 1))
  return writeDicom([text('00020010', 'UI', syntax)], sorted)
}

const twinBytes = (bytes: Uint8Array, extract = 1): Uint8Array =>
  deidentifyDicom({ bytes, extractKey: key(extract), patientKey: key(200) }).bytes

/** All elements by their way, `00082112[0].00081155`. */
function elements(bytes: Uint8Array): Map<string, Element> {
  const found = new Map<string, Element>()
  const walk = (data: DataSet, at: string): void => {
    for (const element of data) {
      found.set(`${at}${element.tag}`, element)
      if (Array.isArray(element.value))
        element.value.forEach((item, i) => void walk(item, `${at}${element.tag}[${i}].`))
    }
  }
  const none = (): null => null
  walk(readDicom(bytes, none, () => {}).data, '')
  return found
}
const valueAt = (found: ReadonlyMap<string, Element>, way: string): string | undefined => {
  const value = found.get(way)?.value
  return value instanceof Uint8Array
    ? Buffer.from(value)
        .toString('latin1')
        .replace(/[\0 ]+$/, '')
    : undefined
}

const BASE: DataSet = [
  text('00080005', 'CS', 'ISO_IR 100'),
  text('00080008', 'CS', 'ORIGINAL\\PRIMARY'),
  text('00080016', 'UI', CT),
  text('00080018', 'UI', '1.2.3.4'),
  text('00080020', 'DA', '20190301'),
  text('00080023', 'DA', '20190311'),
  text('00080030', 'TM', '101112'),
  text('00080060', 'CS', 'CT'),
  text('00080070', 'LO', 'GE MEDICAL SYSTEMS'),
  text('00080090', 'PN', 'Gull^Dr'),
  // A text that says it is numbers.
  text('00080104', 'US', 'Lovelace'),
  text('00081030', 'LO', 'Ada, head'),
  sequence('00082112', [text('00081155', 'UI', '1.2.3.5'), text('0040A123', 'PN', 'Gull^Dr')]),
  sequence('00081140', [text('7FE00010', 'OW', 'Lovelace icon')]),
  text('00090010', 'LO', 'Lovelace private'),
  text('00100010', 'PN', 'Lovelace^Ada'),
  text('00100020', 'LO', 'MRN-4711'),
  text('00100030', 'DA', '18151210'),
  text('00100040', 'CS', 'F'),
  text('00101010', 'AS', '036Y'),
  text('00180050', 'DS', '2.5'),
  text('0020000D', 'UI', '1.2.3.5'),
  text('00200013', 'IS', '7'),
  text('00204000', 'LT', 'Lovelace was nervous'),
  text('00281234', 'LO', 'Lovelace in a tag of nobody'),
  sequence('00400275', [text('00400007', 'LO', 'Lovelace step')]),
  text('60003000', 'OW', 'Lovelace overlay'),
  text('7FE00010', 'OW', 'pixels'),
]
const having = (...more: Element[]): DataSet => [
  ...BASE.filter(({ tag }) => !more.some(other => other.tag === tag)),
  ...more,
]
/** What made the image is kept, and is text; pixels and their tables may look like text. */
const KEPT = /^(?:00080070|00081090|00181210|7FE000..|0028120[123]|00283006)$/
const SECRETS = /Lovelace|Ada|Gull|MRN-4711|nervous|18151210|20190301|101112|036Y|1\.2\.3\./

test('names, numbers, free text, private elements and overlays go, in sequences too; pixels and how they were made stay', () => {
  const bytes = twinBytes(fileOf(BASE))
  assert.doesNotMatch(Buffer.from(bytes).toString('latin1'), SECRETS)
  const twin = elements(bytes)
  assert.equal(valueAt(twin, '7FE00010'), 'pixels')
  assert.equal(valueAt(twin, '00180050'), '2.5')
  assert.equal(valueAt(twin, '00080070'), 'GE MEDICAL SYSTEMS')
  assert.equal(valueAt(twin, '00100010'), '')
  assert.equal(valueAt(twin, '00100030'), '', 'the date of birth is not moved, it goes')
  assert.match(String(valueAt(twin, '00100020')), /^P[0-9A-F]{15}$/)
  assert.equal(valueAt(twin, '00120062'), 'YES')
  assert.equal(valueAt(twin, '0020000D'), valueAt(twin, '00082112[0].00081155'), 'one UID stays one UID')
  assert.match(String(valueAt(twin, '0020000D')), /^2\.25\.\d{1,39}$/)
})

test('intervals between dates are kept, and two extracts share neither UID nor date', () => {
  const day = (found: ReadonlyMap<string, Element>, tag: string): number =>
    Date.parse(String(valueAt(found, tag)).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3')) / 86_400_000
  const [first, second] = [elements(twinBytes(fileOf(BASE), 1)), elements(twinBytes(fileOf(BASE), 2))]
  assert.equal(day(first, '00080023') - day(first, '00080020'), 10)
  for (const tag of ['00080018', '0020000D', '00080020', '00100020'])
    assert.notEqual(valueAt(first, tag), valueAt(second, tag))
})

test('a text in any element that DICOM defines, whatever it pretends to be, does not reach the twin', () => {
  const vr = fc.constantFrom(
    'LO',
    'LT',
    'SH',
    'ST',
    'UT',
    'PN',
    'CS',
    'DS',
    'IS',
    'DA',
    'DT',
    'TM',
    'UI',
    'UN',
    'OB',
    'UC',
    'AE',
  )
  const tags = Object.entries(dictionary.elements).flatMap(([group, said]) =>
    [...said.matchAll(/[0-9A-FX]{4}/g)].map(([element]) => `${group}${element}`),
  )
  const tag = fc.constantFrom(
    ...tags.filter(
      each => /^[0-9A-F]{8}$/.test(each) && each !== '00081140' && !KEPT.test(each) && each >= '0008' && each < 'FFFA',
    ),
  )
  fc.assert(
    fc.property(tag, vr, (tag, form) => {
      if (['00080016', '00080018', '00280301'].includes(tag)) return
      const bytes = twinBytes(
        fileOf(having(text(tag, form, 'Zeb Quinn'), sequence('00081140', [text(tag, form, 'Zeb Quinn')]))),
      )
      assert.ok(!Buffer.from(bytes).toString('latin1').includes('Quinn'), `${tag} ${form}`)
    }),
    { numRuns: 1_500 },
  )
})

const refused = (bytes: Uint8Array, code: string): void => assert.throws(() => twinBytes(bytes), { code })

test('pixels that may show a name are refused, and documents are no pixels', () => {
  refused(fileOf(having(text('00280301', 'CS', 'YES'))), 'deidentify-unsupported')
  refused(fileOf(having(text('00080016', 'UI', CAPTURE))), 'deidentify-unsupported')
  refused(fileOf(having(text('00280302', 'CS', 'YES'))), 'deidentify-unsupported')
  refused(fileOf(having(text('60000102', 'US', '\u000f\0'))), 'deidentify-unsupported')
  refused(fileOf(having(text('00080016', 'UI', PDF), text('00280301', 'CS', 'NO'))), 'deidentify-unsupported')
  refused(fileOf(BASE, BIG_ENDIAN), 'deidentify-unsupported')
  refused(fileOf(BASE, DEFLATED), 'deidentify-unsupported')
  refused(fileOf(BASE, JPEG), 'record-malformed')
  const said = fileOf(having(text('00080016', 'UI', CAPTURE), text('00280301', 'CS', 'NO')))
  assert.equal(valueAt(elements(twinBytes(said)), '7FE00010'), 'pixels')
})

/** A segment of JPEG or JPEG 2000 with its length. */
function segment(marker: number, body: string | Uint8Array): Buffer {
  const bytes = Buffer.from(body as string, 'latin1')
  return Buffer.concat([Buffer.of(0xff, marker, 0, bytes.length + 2), bytes])
}
const scan = Buffer.concat([segment(0xda, 'scan'), Buffer.from('entropy\xff\0\xff\xd3coded', 'latin1')])
const jpeg = (...segments: Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.of(0xff, 0xd8), ...segments, segment(0xc0, 'frame'), scan, Buffer.of(0xff, 0xd9)])
const tile = Buffer.concat([segment(0x90, '\0\0\0\0\0\x14\0\x01'), Buffer.of(0xff, 0x93), Buffer.from('packet')])
const jpeg2000 = (...segments: Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.of(0xff, 0x4f), ...segments, segment(0x51, 'size'), tile, Buffer.of(0xff, 0xd9)])
const compressed = (syntax: string, ...fragments: Uint8Array[]): Uint8Array =>
  fileOf(having({ tag: '7FE00010', vr: 'OB', value: { fragments } }), syntax)
const none = new Uint8Array(0)

test('compressed pixels stay byte for byte, in however many frames and fragments', () => {
  const jfif = segment(0xe0, 'JFIF\0\x01\x01\0\0\x01\0\x01\0\0')
  const frames: readonly [string, Uint8Array[]][] = [
    [JPEG, [none, jpeg()]],
    [JPEG, [Buffer.from([0, 0, 0, 0, 60, 0, 0, 0]), jpeg(jfif), Buffer.concat([jpeg(), Buffer.of(0)])]],
    [JPEG, [none, jpeg().subarray(0, 10), jpeg().subarray(10)]],
    [JPEG_2000, [none, jpeg2000()]],
    [JPEG_2000, [none, jpeg2000(segment(0x64, '\0\x01Creator: JasPer Version 1.900.1'))]],
  ]
  for (const [syntax, fragments] of frames) {
    const even = fragments.map(part => Buffer.concat([part, Buffer.alloc(part.length % 2)]))
    const twin = readDicom(
      twinBytes(compressed(syntax, ...even)),
      () => null,
      said => assert.equal(said, syntax),
    )
    const value = twin.data.find(({ tag }) => tag === '7FE00010')?.value
    assert.ok(value !== undefined && 'fragments' in value)
    assert.deepEqual(
      value.fragments.map(part => Buffer.from(part)),
      even,
    )
  }
})

test('compressed pixels with a comment, application data, a thumbnail or anything after the picture are refused', () => {
  const name = 'Lovelace'
  const bad: readonly [string, Uint8Array[]][] = [
    [JPEG, [none, jpeg(segment(0xfe, name))]],
    [JPEG, [none, jpeg(segment(0xe1, `Exif\0\0${name}`))]],
    [JPEG, [none, jpeg(segment(0xe0, `JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01${name}`))]],
    [JPEG, [none, jpeg(segment(0xee, `Adobe${name}`))]],
    [JPEG, [none, Buffer.concat([jpeg(), Buffer.from(name)])]],
    [JPEG, [none, Buffer.concat([Buffer.from(name), jpeg()])]],
    [JPEG, [none, jpeg().subarray(0, -2)]],
    [JPEG, [none, Buffer.concat([Buffer.of(0xff, 0xd8), scan, segment(0xfe, name), Buffer.of(0xff, 0xd9)])]],
    [JPEG, [Buffer.from(name), jpeg()]],
    [JPEG, [none]],
    [JPEG_2000, [none, jpeg2000(segment(0x64, `\0\x01${name}`))]],
    [JPEG_2000, [none, jpeg2000(segment(0x64, `\0\x01Creator: JasPer Version 1\n${name}`))]],
    [JPEG_2000, [none, jpeg2000(segment(0x42, name))]],
    [JPEG_2000, [none, Buffer.concat([jpeg2000(), Buffer.from(name)])]],
    [JPEG_2000, [none, jpeg()]],
  ]
  for (const [index, [syntax, fragments]] of bad.entries())
    assert.throws(
      () => twinBytes(compressed(syntax, ...fragments)),
      { code: 'deidentify-unsupported' },
      `case ${index}`,
    )
})

test('a short text that repeats a name of the object goes, whatever the element', () => {
  const left = (maker: string, body: string): (string | undefined)[] => {
    const found = elements(twinBytes(fileOf(having(text('00080070', 'LO', maker), text('00180015', 'CS', body)))))
    return [valueAt(found, '00080070'), valueAt(found, '00180015')]
  }
  assert.deepEqual(left('Siemens', 'HEAD'), ['Siemens', 'HEAD'])
  assert.deepEqual(left('Scanner of lovelace', 'ADA'), [undefined, undefined])
  assert.deepEqual(left('MRN-4711', 'ADAPTER'), [undefined, 'ADAPTER'])
})

test('the profile in the tree is the published table, row by row', t => {
  const published = join(DATA, 'ps3.15-annexE-table.json')
  if (!existsSync(published)) return t.skip('../shared/data/dicom is absent')
  const rows = JSON.parse(readFileSync(published, 'utf8')) as { id: string; basicProfile: string }[]
  const ours = Object.entries(profile.actions).flatMap(([action, groups]) =>
    groups.split(' ').flatMap(part => {
      const [group, said] = part.split(':') as [string, string]
      return said.split(',').map(element => `${group}${element} ${action}`)
    }),
  )
  // Rows of whole ranges (curves, overlays, private) are code, and tested above.
  const theirs = rows
    .filter(({ id }) => /^[0-9a-f]{8}$/i.test(id))
    .map(({ id, basicProfile }) => `${id.toUpperCase()} ${basicProfile}`)
  assert.equal(rows.length - theirs.length, 4)
  assert.deepEqual(ours.sort(), theirs.sort())
})

test('the twin says by which profile it was made', () => {
  const twin = elements(twinBytes(fileOf(BASE)))
  assert.equal(valueAt(twin, '00120064[0].00080100'), '113100')
  assert.equal(valueAt(twin, '00120064[1].00080100'), '113107')
  assert.equal(valueAt(twin, '00280303'), 'MODIFIED')
})

test('run-length pixels stay as they are', () => {
  const fragments = [new Uint8Array(0), Buffer.from('run length'), Buffer.from('second')]
  const twin = elements(twinBytes(fileOf(having({ tag: '7FE00010', vr: 'OB', value: { fragments } }), RUN_LENGTH)))
  const value = twin.get('7FE00010')?.value
  assert.ok(value !== undefined && 'fragments' in value)
  assert.deepEqual(
    value.fragments.map(part => Buffer.from(part).toString()),
    ['', 'run length', 'second'],
  )
})

test('what two readers could read differently is malformed', () => {
  const twice = writeDicom([text('00020010', 'UI', EXPLICIT)], [...BASE, text('00100010', 'PN', 'Lovelace')])
  refused(twice, 'record-malformed')
  refused(new Uint8Array(200), 'record-malformed')
  refused(writeDicom([], BASE), 'record-malformed')
  refused(fileOf(BASE.filter(({ tag }) => tag !== '00080018')), 'record-malformed')
  let deep: DataSet = []
  for (let level = 0; level < 40; level++) deep = [sequence('00081140', deep)]
  refused(fileOf(having(...deep)), 'record-malformed')
})

test('a file cut or damaged anywhere gives a twin without the secrets or a reason, never a crash', () => {
  const whole = fileOf(BASE)
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
      const bytes = cut ? whole.slice(0, at) : Uint8Array.from(whole, (old, i) => (i === at ? byte : old))
      try {
        assert.ok(!Buffer.from(twinBytes(bytes)).toString('latin1').includes('MRN-4711'))
      } catch (error) {
        assert.ok(error instanceof EmrmError, String(error))
      }
    }),
    { numRuns: 1_000 },
  )
})

type Row = readonly [way: string, keyword: string, vr: string, value: string, action: string]
type Tags = { readonly elements: readonly Row[]; readonly profileE1: readonly Row[] }

test('every object of the test data: each action of PS3.15 obeyed, no identifier left, or refused with a reason', t => {
  if (!existsSync(DATA)) return t.skip('../shared/data/dicom is absent')
  const index = JSON.parse(readFileSync(join(DATA, 'index.json'), 'utf8')) as { file: string; identifiers: string[] }[]
  const uids = new Map<string, string>()
  const came = { twins: 0, refused: 0 }
  for (const { file, identifiers } of index) {
    const original = readFileSync(join(DATA, file))
    let bytes: Uint8Array
    try {
      bytes = twinBytes(original)
    } catch (error) {
      assert.ok(
        error instanceof EmrmError && /^(record-malformed|deidentify-unsupported)$/.test(error.code),
        String(error),
      )
      came.refused++
      continue
    }
    came.twins++
    const tags = JSON.parse(
      readFileSync(join(DATA, 'tags', `${file.replace(/^files\//, '').replaceAll('/', '__')}.json`), 'utf8'),
    ) as Tags
    const twin = elements(bytes)
    for (const row of tags.profileE1) obeyed(row, twin, uids, file)
    const everything = Buffer.from(bytes).toString('latin1')
    const values = new Set([...twin.keys()].flatMap(way => valueAt(twin, way)?.split(/[\\^=]/) ?? []))
    // Three digits stand in many a pseudonym: a short name is looked for as a value, a long one anywhere.
    const isLeft = (name: string): boolean =>
      name.length < 4
        ? values.has(name)
        : [name, Buffer.from(name).toString('latin1')].some(form => everything.includes(form))
    const named = identifiers.filter(isLeft)
    assert.deepEqual(named, [], file)
    for (const [way, element] of twin) {
      const leaf = way.slice(-8)
      assert.equal(Number.parseInt(leaf.slice(0, 4), 16) % 2, 0, `${file} ${way} is private`)
      if (/^(?:[A-Z]S|L[OT]|S[HT]|PN|DA|DT|TM|UI|UC|UT|UR)$/.test(element.vr) && !['US', 'SS'].includes(element.vr))
        assert.match(valueAt(twin, way) ?? '', /^[\x20-\x7e]*$/, `${file} ${way}`)
    }
    const pixels = tags.elements.find(([way]) => way === '7FE00010')?.[3]
    const kept = twin.get('7FE00010')?.value
    if (kept !== undefined && 'fragments' in kept)
      for (const part of kept.fragments) assert.ok(original.includes(Buffer.from(part)), `${file}: other fragments`)
    if (pixels !== undefined && kept instanceof Uint8Array)
      assert.ok(pixels.includes(createHash('sha256').update(kept).digest('hex')), `${file}: other pixels`)
    assert.equal(valueAt(twin, '00120062'), 'YES')
  }
  assert.equal(new Set(uids.values()).size, uids.size, 'two UIDs became one')
  assert.ok(came.twins >= 30 && came.twins + came.refused === index.length, JSON.stringify(came))
})

function obeyed(
  [way, keyword, vr, was, action]: Row,
  twin: ReadonlyMap<string, Element>,
  uids: Map<string, string>,
  file: string,
): void {
  const said = `${file} ${way} ${keyword} ${action}`
  const is = valueAt(twin, way)
  if (action === 'X') return assert.ok(!twin.has(way), said)
  // A sequence that stays is judged by what is in it.
  if (vr === 'SQ' || !twin.has(way)) return assert.ok(action.includes('X') || vr === 'SQ' || /\]\./.test(way), said)
  if (was !== '') assert.notEqual(is, was, said)
  if (action === 'U' && is !== undefined && was !== '') {
    assert.equal(uids.get(was) ?? is, is, said)
    uids.set(was, is)
  }
}
