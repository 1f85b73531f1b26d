// The de-identified twin of a DICOM object (P-42): the Basic Profile of PS3.15 with modified dates, in sequences too, and deny by default for
// the rest: private elements, overlays, curves, elements that nobody defined and free text go even where the profile names them not.
// Pixels that may show a name, or a compressed stream that may carry text, are refused, not passed. Not here: the file format (dicom-file.ts).

import { digestOf } from '../../model/hash.ts'
import type { Digest } from '../../model/ids.ts'
import { shiftDicomDate } from './dates.ts'
import dictionary from './dicom-elements.json' with { type: 'json' }
import {
  type DataSet,
  type DicomFile,
  type Element,
  EXPLICIT,
  IMPLICIT,
  RUN_LENGTH,
  readDicom,
  text,
  uidText,
  writeDicom,
} from './dicom-file.ts'
import { arePixelsOnly, isCompressed } from './dicom-pixels.ts'
import profile from './dicom-profile.json' with { type: 'json' }
import { malformed } from './json.ts'
import { type ExtractKeys, makeExtractKeys } from './keys.ts'
import { canonicalRules, NUMBER_MAX } from './rules.ts'
import { unsupported } from './unsupported.ts'

type Context = { readonly keys: ExtractKeys; readonly names: ReadonlySet<string> }
type DicomTwin = { readonly bytes: Uint8Array; readonly ruleDigest: Digest }

const vrs = byTag(dictionary.elements)
const actions = new Map(
  Object.entries(profile.actions).flatMap(([action, tags]) => tagsOf(tags).map(tag => [tag, action])),
)
const digest = digestOf(canonicalRules(profile))

const STANDARD_UID = /^1\.2\.840\.10008\.[0-9.]+$/
const UID = /^[0-9.]{1,64}$/
/** Short texts that say what made the image and how. The same for every patient of a scanner; plain ASCII. */
const MAKERS = ['00080070', '00081090', '00181210']
const MAKER = /^[A-Za-z0-9 ./_+-]{0,32}$/
const CODES = ['00080100', '00080102']
const CODE = /^[A-Za-z0-9.-]{0,16}$/
/** VRs of numbers, whatever they say; their size tells whether they can hold a text. */
const NUMBERS: Readonly<Record<string, number>> = { AT: 4, FD: 8, FL: 4, SL: 4, SS: 2, SV: 8, UL: 4, US: 2, UV: 8 }
const PIXELS = ['7FE00008', '7FE00009', '7FE00010']
const LOOKUP_TABLES = ['00281201', '00281202', '00281203', '00283006']
const BULK = ['OB', 'OD', 'OF', 'OL', 'OV', 'OW']
/** Screens as pictures, ultrasound with its captions, documents: unless the object says that nothing is burned in, it may be. */
const OFTEN_BURNED_IN = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:7(?:\.[0-9]+)?|3\.1|6\.1|6\.2|77\.1\..+|104\..+)$/
/** PDF, CDA, models for printers. */
const DOCUMENT = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.104\./
const OVERLAY_BIT = /^60..0102$/
/** Patient's and other ids, accession number, institution, department, station, serial number, study id, request. */
const IDENTITIES = [
  '00100020',
  '00101000',
  '00080050',
  '00080080',
  '00081010',
  '00081040',
  '00181000',
  '00200010',
  '00401001',
]
/** Shorter names are syllables of other words. */
const NAME_MIN = 3
/** DCM codes of what was done: the Basic Profile, and dates moved by the same number of days. */
const METHODS: readonly DataSet[] = [
  ['113100', 'Basic Application Confidentiality Profile'],
  ['113107', 'Retain Longitudinal Temporal Information Modified Dates Option'],
].map(([code, meaning]) => [
  textElement('00080100', 'SH', code as string),
  textElement('00080102', 'SH', 'DCM'),
  textElement('00080104', 'LO', meaning as string),
])
const BIRTH_DATE = '00100030'
const PATIENT_ID = '00100020'
const IMPLEMENTATION = '2.25.260440600879505885504947542832030318443'

/** Same arguments, same bytes. Throws EmrmError `record-malformed`, `deidentify-unsupported`, `deidentify-key-invalid`. */
export function deidentifyDicom(request: {
  readonly bytes: Uint8Array
  readonly extractKey: Uint8Array
  readonly patientKey: Uint8Array
}): DicomTwin {
  const keys = makeExtractKeys(request.extractKey, request.patientKey)
  const file = readDicom(request.bytes, tag => vrs.get(tag) ?? null, checkSyntax)
  checkPixels(file)
  const context: Context = { keys, names: namesIn(file.data) }
  const data = new Map(dataSet(file.data, context).map(element => [element.tag, element]))
  const put = (tag: string, vr: string, value: string): void => void data.set(tag, textElement(tag, vr, value))
  put('00120062', 'CS', 'YES')
  put('00120063', 'LO', `PS3.15 ${profile.edition} Basic Profile\\${digest}`)
  data.set('00120064', { tag: '00120064', vr: 'SQ', value: METHODS })
  put('00280303', 'CS', 'MODIFIED')
  const uid = (tag: string): string => {
    const value = data.get(tag)?.value
    if (value instanceof Uint8Array && value.length > 0) return uidText(value)
    throw malformed('no SOP class or instance')
  }
  const meta: DataSet = [
    { tag: '00020001', vr: 'OB', value: Uint8Array.of(0, 1) },
    textElement('00020002', 'UI', uid('00080016')),
    textElement('00020003', 'UI', uid('00080018')),
    textElement('00020010', 'UI', isEncapsulated(file.transferSyntax) ? file.transferSyntax : EXPLICIT),
    textElement('00020012', 'UI', IMPLEMENTATION),
  ]
  const sorted = [...data.values()].sort((a, b) => (a.tag < b.tag ? -1 : 1))
  return { bytes: writeDicom(meta, sorted), ruleDigest: digest }
}

const isEncapsulated = (syntax: string): boolean => syntax === RUN_LENGTH || isCompressed(syntax)

function checkSyntax(uid: string): void {
  if (![IMPLICIT, EXPLICIT].includes(uid) && !isEncapsulated(uid))
    throw unsupported(
      `DICOM in transfer syntax ${UID.test(uid) ? uid : '?'} (only little endian is read, uncompressed or with pixels in run-length, JPEG, JPEG-LS or JPEG 2000)`,
    )
}

/** Throws EmrmError `deidentify-unsupported` of pixels that may show or carry who the patient is, and of documents that are no image. */
function checkPixels({ data, transferSyntax }: DicomFile): void {
  const said = (tag: string): string => {
    const value = data.find(element => element.tag === tag)?.value
    return value instanceof Uint8Array ? uidText(value) : ''
  }
  if (DOCUMENT.test(said('00080016'))) throw unsupported('a document within DICOM')
  const pixels = data.filter(({ tag }) => PIXELS.includes(tag))
  if (pixels.length === 0) return
  for (const { value } of pixels) {
    const fragments = 'fragments' in value ? value.fragments : null
    if ((fragments !== null) !== isEncapsulated(transferSyntax))
      throw malformed('pixels in another form than the transfer syntax says')
    if (fragments !== null && isCompressed(transferSyntax) && !arePixelsOnly(fragments, transferSyntax))
      throw unsupported('compressed pixels with comments or other data in them')
  }
  // Old overlays lie in the unused bits of the pixels.
  if (
    data.some(
      ({ tag, value }) => OVERLAY_BIT.test(tag) && value instanceof Uint8Array && value.some(byte => byte !== 0),
    )
  )
    throw unsupported('pixels with an overlay in their high bits')
  if (said('00280302') === 'YES') throw unsupported('pixels that show a face (RecognizableVisualFeatures is YES)')
  const burned = said('00280301')
  if (burned === 'NO') return
  if (burned !== '' || OFTEN_BURNED_IN.test(said('00080016')))
    throw unsupported('DICOM pixels that may show the name of the patient (BurnedInAnnotation is not NO)')
}

/** Names and numbers of persons and places in the object, lower case: what is left must not repeat them. */
function namesIn(data: DataSet): ReadonlySet<string> {
  const names = new Set<string>()
  const walk = (items: DataSet): void => {
    for (const { tag, vr, value } of items) {
      if (!(value instanceof Uint8Array)) {
        if (!('fragments' in value)) value.forEach(walk)
        continue
      }
      const isPerson = vr === 'PN' || vrs.get(tag) === 'PN'
      if (!isPerson && !IDENTITIES.includes(tag)) continue
      for (const part of text(value).split(isPerson ? /[\\^=\s\0]+/ : '\\')) {
        const name = plain(part)
        if (name.length >= NAME_MIN) names.add(name)
      }
    }
  }
  walk(data)
  return names
}

const plain = (part: string): string =>
  part
    .replace(/[\0 ]+$/, '')
    .trimStart()
    .toLowerCase()

function dataSet(data: DataSet, context: Context): Element[] {
  return data.flatMap(element => twinOf(element, context) ?? [])
}

/** Pixels within a sequence are icons and the like, which no one looked at for names. */
function nested(item: DataSet, context: Context): Element[] {
  return dataSet(item, context).filter(({ tag }) => !PIXELS.includes(tag))
}

function twinOf(element: Element, context: Context): Element | null {
  const { keys } = context
  const { tag, vr, value } = element
  const group = Number.parseInt(tag.slice(0, 4), 16)
  const defined = vrs.get(tag)
  // Private, group lengths, curves and overlays, trailing padding, and what PS3.6 does not define.
  if (group % 2 === 1 || tag.endsWith('0000') || /^(?:50|60)../.test(tag) || group >= 0xfffa) return null
  if (defined === undefined || !agrees(vr, defined)) return null
  const action = actions.get(tag)
  if (action === 'X' || action === 'X/D') return null
  if (action === 'U') return { tag, vr: 'UI', value: Buffer.from(uids(value, keys, false), 'latin1') }
  if (!(value instanceof Uint8Array)) {
    if ('fragments' in value) return PIXELS.includes(tag) ? element : null
    const emptied = action !== undefined && action !== 'X/Z/U*'
    return { tag, vr: 'SQ', value: emptied ? [] : value.map(item => nested(item, context)) }
  }
  if (action !== undefined) return replaced(tag, vr, value, action, keys)
  return kept(element, value, context)
}

/** Actions Z and D and their mixtures: a moved date, a dummy where the profile wants one, else nothing in it. */
function replaced(tag: string, vr: string, value: Uint8Array, action: string, keys: ExtractKeys): Element {
  if (tag === PATIENT_ID) return textElement(tag, 'LO', keys.patient)
  if ((vr === 'DA' || vr === 'DT') && tag !== BIRTH_DATE) return textElement(tag, vr, dates(value, keys))
  if (action !== 'D' && action !== 'Z/D') return { tag, vr, value: new Uint8Array(0) }
  if (vr === 'UI') return textElement(tag, vr, uids(value, keys, false))
  if (vr === 'TM') return textElement(tag, vr, '000000')
  if (vr === 'IS' || vr === 'DS') return textElement(tag, vr, '0')
  if (vr === 'AS') return textElement(tag, vr, '000Y')
  if (vr in NUMBERS || BULK.includes(vr) || vr === 'UN') return { tag, vr, value: new Uint8Array(value.length) }
  return textElement(tag, vr, 'REMOVED')
}

/** What the profile does not name. */
function kept(element: Element, value: Uint8Array, { keys, names }: Context): Element | null {
  const { tag, vr } = element
  const parts = text(value).split('\\')
  if (['CS', 'LO', 'SH'].includes(vr) && parts.some(part => repeats(plain(part), names))) return null
  const all = (holds: (part: string) => boolean): Element | null =>
    parts.every(part => holds(part.replace(/[\0 ]+$/, '').trimStart())) ? element : null
  const size = NUMBERS[vr]
  if (size !== undefined) return value.length % size === 0 ? element : null
  switch (vr) {
    case 'CS':
      // Whatever text is left is ASCII.
      return tag === '00080005' ? null : all(part => /^[A-Z0-9 _]{0,16}$/.test(part))
    case 'DS':
      return all(part => /^[-+0-9.eE]{0,16}$/.test(part))
    case 'IS':
      return all(part => /^[-+]?[0-9]{0,12}$/.test(part) && Math.abs(Number(part)) < NUMBER_MAX)
    case 'DA':
    case 'DT':
      return textElement(tag, vr, dates(value, keys))
    case 'UI':
      return textElement(tag, vr, uids(value, keys, true))
    case 'LO':
    case 'SH':
      if (MAKERS.includes(tag)) return all(part => MAKER.test(part))
      return CODES.includes(tag) ? all(part => CODE.test(part)) : null
    default:
      return BULK.includes(vr) && (PIXELS.includes(tag) || LOOKUP_TABLES.includes(tag)) ? element : null
  }
}

/** A short name is only a whole value: three letters stand in many a word. */
function repeats(part: string, names: ReadonlySet<string>): boolean {
  if (names.has(part)) return true
  for (const name of names) if (name.length > NAME_MIN && part.includes(name)) return true
  return false
}

function dates(value: Uint8Array, keys: ExtractKeys): string {
  return text(value)
    .split('\\')
    .map(date => shiftDicomDate(date.replace(/\0+$/, ''), keys.shiftDays) ?? '')
    .join('\\')
}

/** `standard`: the ones that DICOM itself gives out stay. */
function uids(value: Element['value'], keys: ExtractKeys, standard: boolean): string {
  if (!(value instanceof Uint8Array)) return ''
  return uidText(value)
    .split('\\')
    .map(uid => (uid === '' || (standard && STANDARD_UID.test(uid)) ? uid : keys.uid(uid)))
    .join('\\')
}

/** The dictionary gives one form of elements that may have two. */
function agrees(vr: string, defined: string): boolean {
  const either = ['US', 'SS', 'OW', 'OB']
  return vr === defined || (either.includes(vr) && either.includes(defined))
}

function textElement(tag: string, vr: string, value: string): Element {
  return { tag, vr, value: Buffer.from(value, 'latin1') }
}

function tagsOf(said: string): string[] {
  return said.split(' ').flatMap(part => {
    const [group, elements] = part.split(':') as [string, string]
    return elements.split(',').map(element => `${group}${element}`)
  })
}

function byTag(groups: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const [group, said] of Object.entries(groups))
    for (const part of said.split(' ')) {
      const [vr, elements] = part.split(':') as [string, string]
      for (const element of elements.split(',')) found.set(`${group}${element}`, vr)
    }
  return found
}
