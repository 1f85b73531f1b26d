// DICOM Part 10 files as a tree of data elements, read strictly: little endian, implicit or explicit, pixels native or run-length encoded.
// What a reader could understand in two ways (an element twice or out of order, a length that overruns) is malformed. Written back as
// explicit little endian with a new preamble and new file meta. Not here: which elements stay (dicom.ts).

import { malformed } from './json.ts'

/** `tag`: group and element as eight hexadecimal digits, upper case. */
export type Element = {
  readonly tag: string
  readonly vr: string
  readonly value: Uint8Array | readonly DataSet[] | Fragments
}
export type DataSet = readonly Element[]
/** Encapsulated pixel data, the offset table first. */
export type Fragments = { readonly fragments: readonly Uint8Array[] }

export type DicomFile = { readonly transferSyntax: string; readonly data: DataSet }

export const IMPLICIT = '1.2.840.10008.1.2'
export const EXPLICIT = '1.2.840.10008.1.2.1'
export const RUN_LENGTH = '1.2.840.10008.1.2.5'

const DATA_AT = 132
const DEPTH_MAX = 16
const UNDEFINED = 0xffffffff
const LONG_VRS = ['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']
const SHORT_VRS = 'AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US'.split(' ')
const ITEM = 'FFFEE000'
const ITEM_END = 'FFFEE00D'
const SEQUENCE_END = 'FFFEE0DD'
const PIXELS = '7FE00010'

/** `supported`: is asked before the data set is read. Throws EmrmError `record-malformed`, and what `supported` throws. */
export function readDicom(
  bytes: Uint8Array,
  vrOf: (tag: string) => string | null,
  supported: (transferSyntax: string) => void,
): DicomFile {
  if (text(bytes.subarray(128, DATA_AT)) !== 'DICM') throw malformed('no DICM mark at byte 128')
  const meta = new Reader(bytes, DATA_AT, true, vrOf)
  const head: Element[] = []
  while (!meta.isAtEnd() && meta.peekTag().startsWith('0002')) head.push(meta.element(0))
  const found = head.find(({ tag }) => tag === '00020010')?.value
  if (!(found instanceof Uint8Array)) throw malformed('no transfer syntax')
  const transferSyntax = uidText(found)
  supported(transferSyntax)
  const body = new Reader(bytes, meta.at, transferSyntax !== IMPLICIT, vrOf)
  return { transferSyntax, data: body.dataSet(0, bytes.length, false) }
}

/** `meta`: elements of group 0002 without the group length. */
export function writeDicom(meta: DataSet, data: DataSet): Uint8Array {
  const head = encode(meta)
  const length: Element = { tag: '00020000', vr: 'UL', value: Buffer.alloc(4) }
  ;(length.value as Buffer).writeUInt32LE(head.length)
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), encode([length]), head, encode(data)])
}

export function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

export const uidText = (bytes: Uint8Array): string => text(bytes).replace(/[\0 ]+$/, '')

class Reader {
  at: number
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private readonly explicit: boolean
  private readonly vrOf: (tag: string) => string | null

  constructor(bytes: Uint8Array, at: number, explicit: boolean, vrOf: (tag: string) => string | null) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.at = at
    this.explicit = explicit
    this.vrOf = vrOf
  }

  isAtEnd(): boolean {
    return this.at >= this.bytes.length
  }

  peekTag(): string {
    this.need(4)
    const group = this.view.getUint16(this.at, true)
    const element = this.view.getUint16(this.at + 2, true)
    return (group * 65_536 + element).toString(16).toUpperCase().padStart(8, '0')
  }

  /** Up to `end`, or up to the item's delimiter when it is `open`. */
  dataSet(depth: number, end: number, open: boolean): DataSet {
    if (depth > DEPTH_MAX) throw malformed(`sequences nested deeper than ${DEPTH_MAX}`)
    const elements: Element[] = []
    let before = ''
    for (;;) {
      if (!open && this.at === end) return elements
      if (this.at >= end) throw this.broken('an item overruns')
      const tag = this.peekTag()
      if (open && tag === ITEM_END) {
        this.at += 8
        return elements
      }
      if (tag <= before) throw this.broken('elements twice or out of order')
      before = tag
      elements.push(this.element(depth))
    }
  }

  element(depth: number): Element {
    const tag = this.peekTag()
    if (tag.startsWith('FFFE')) throw this.broken('a delimiter that closes nothing')
    this.at += 4
    const { vr, length } = this.head(tag)
    if (length === UNDEFINED) {
      if (tag === PIXELS) return { tag, vr, value: this.fragments() }
      // PS3.5 6.2.2: unknown of undefined length is a sequence, encoded implicitly.
      if (vr === 'UN') return { tag, vr: 'SQ', value: this.implicitly(reader => reader.items(depth, Infinity)) }
      if (vr !== 'SQ') throw this.broken('an undefined length')
      return { tag, vr, value: this.items(depth, Infinity) }
    }
    this.need(length)
    if (vr === 'SQ') return { tag, vr, value: this.items(depth, this.at + length) }
    const value = this.bytes.subarray(this.at, this.at + length)
    this.at += length
    return { tag, vr, value }
  }

  private head(tag: string): { vr: string; length: number } {
    this.need(4)
    if (!this.explicit) {
      const length = this.view.getUint32(this.at, true)
      this.at += 4
      // A private sequence of undefined length has no other way to be told from its bytes.
      return { vr: this.vrOf(tag) ?? (length === UNDEFINED ? 'SQ' : 'UN'), length }
    }
    const vr = text(this.bytes.subarray(this.at, this.at + 2))
    if (SHORT_VRS.includes(vr)) {
      const length = this.view.getUint16(this.at + 2, true)
      this.at += 4
      return { vr, length }
    }
    if (!LONG_VRS.includes(vr)) throw this.broken('a value representation that does not exist')
    this.at += 4
    this.need(4)
    const length = this.view.getUint32(this.at, true)
    this.at += 4
    return { vr, length }
  }

  private items(depth: number, end: number): readonly DataSet[] {
    const items: DataSet[] = []
    while (this.at < end) {
      const tag = this.peekTag()
      this.need(8)
      const length = this.view.getUint32(this.at + 4, true)
      this.at += 8
      if (tag === SEQUENCE_END && end === Infinity) return items
      if (tag !== ITEM) throw this.broken('a sequence without an item')
      if (length !== UNDEFINED) this.need(length)
      items.push(
        this.dataSet(depth + 1, length === UNDEFINED ? this.bytes.length : this.at + length, length === UNDEFINED),
      )
    }
    if (this.at !== end) throw this.broken('a sequence overruns')
    return items
  }

  private fragments(): Fragments {
    const fragments: Uint8Array[] = []
    for (;;) {
      const tag = this.peekTag()
      this.need(8)
      const length = this.view.getUint32(this.at + 4, true)
      this.at += 8
      if (tag === SEQUENCE_END) return { fragments }
      if (tag !== ITEM || length === UNDEFINED) throw this.broken('pixel data without an item')
      this.need(length)
      fragments.push(this.bytes.subarray(this.at, this.at + length))
      this.at += length
    }
  }

  private implicitly<T>(read: (reader: Reader) => T): T {
    const reader = new Reader(this.bytes, this.at, false, this.vrOf)
    const result = read(reader)
    this.at = reader.at
    return result
  }

  private need(count: number): void {
    if (this.at + count > this.bytes.length) throw this.broken('it ends in the middle of an element')
  }

  private broken(what: string): Error {
    return malformed(what, { offset: this.at })
  }
}

function encode(data: DataSet): Buffer {
  return Buffer.concat(
    data.flatMap(({ tag, vr, value }) => {
      if (value instanceof Uint8Array) {
        const body = value.length % 2 === 0 ? [value] : [value, Buffer.from([padding(vr)])]
        return [elementHead(tag, vr, value.length + (value.length % 2)), ...body]
      }
      if ('fragments' in value) {
        const parts = value.fragments.flatMap(part => [itemHead(ITEM, part.length), part])
        return [elementHead(tag, 'OB', UNDEFINED), ...parts, itemHead(SEQUENCE_END, 0)]
      }
      const items = value.map(encode).flatMap(item => [itemHead(ITEM, item.length), item])
      return [
        elementHead(
          tag,
          'SQ',
          items.reduce((sum, part) => sum + part.length, 0),
        ),
        ...items,
      ]
    }),
  )
}

const padding = (vr: string): number => (vr === 'UI' || vr.startsWith('O') || vr === 'UN' ? 0 : 0x20)

function elementHead(tag: string, vr: string, length: number): Buffer {
  const isLong = LONG_VRS.includes(vr)
  const head = Buffer.alloc(isLong ? 12 : 8)
  writeTag(head, tag)
  head.write(vr, 4, 'latin1')
  if (isLong) head.writeUInt32LE(length, 8)
  else head.writeUInt16LE(length, 6)
  return head
}

function itemHead(tag: string, length: number): Buffer {
  const head = Buffer.alloc(8)
  writeTag(head, tag)
  head.writeUInt32LE(length, 4)
  return head
}

function writeTag(head: Buffer, tag: string): void {
  head.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
  head.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
}
