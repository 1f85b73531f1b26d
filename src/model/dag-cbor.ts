// Writes canonical DAG-CBOR: whole numbers from 0 to 2^53-1, texts, byte strings, lists, maps, true, false, null; anything else throws.
// The bytes are those of @ipld/dag-cbor, which a property test compares; that library builds a token for each item and costs five times
// as much, and each peer encodes for each request. In model because wire (messages) and ledger (state) both need one form.
// Not here: reading (wire/reader.ts, strict and within limits) and what is written (schemas, tables).

const UNSIGNED = 0x00
const BYTES = 0x40
const TEXT = 0x60
const LIST = 0x80
const MAP = 0xa0
const FALSE = 0xf4
const TRUE = 0xf5
const NULL = 0xf6
const HEAD_BYTES_MAX = 9
const TWO_TO_32 = 2 ** 32
const UTF8_BYTES_MAX = 3
/** Kept between calls; what a larger value needed is given back. */
const SCRATCH_BYTES = 256 * 1024

const kept: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
let scratch = kept
let at = 0

/** A copy of its own. Throws TypeError for what has no form here. */
export function encode(value: unknown): Uint8Array {
  at = 0
  try {
    write(value)
    return new Uint8Array(scratch.buffer.slice(0, at))
  } finally {
    scratch = kept
  }
}

function write(value: unknown): void {
  switch (typeof value) {
    case 'string':
      return writeText(value)
    case 'number':
      if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`no whole number from 0 to 2^53-1: ${value}`)
      room(0)
      return head(UNSIGNED, value)
    case 'boolean':
      return simple(value ? TRUE : FALSE)
    case 'object':
      if (value === null) return simple(NULL)
      if (value instanceof Uint8Array) return writeBytes(value)
      return Array.isArray(value) ? writeList(value) : writeMap(value as Readonly<Record<string, unknown>>)
    default:
      throw new TypeError(`${typeof value} has no form in DAG-CBOR here`)
  }
}

function writeBytes(value: Uint8Array): void {
  room(value.length)
  head(BYTES, value.length)
  scratch.set(value, at)
  at += value.length
}

/** Almost all texts are short and ASCII: written byte by byte, which no call into the engine beats. */
function writeText(value: string): void {
  const { length } = value
  room(length * UTF8_BYTES_MAX)
  const begin = at
  head(TEXT, length)
  for (let i = 0; i < length; i++) {
    const c = value.charCodeAt(i)
    if (c >= 0x80) {
      at = begin
      head(TEXT, Buffer.byteLength(value, 'utf8'))
      at += scratch.write(value, at, 'utf8')
      return
    }
    scratch[at++] = c
  }
}

function writeList(value: readonly unknown[]): void {
  room(0)
  head(LIST, value.length)
  for (const item of value) write(item)
}

/** Keys by length, then by their bytes: the canonical order of DAG-CBOR. Names of our fields are ASCII. */
function writeMap(value: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(value).sort(byLengthThenBytes)
  room(0)
  head(MAP, keys.length)
  for (const key of keys) {
    writeText(key)
    write(value[key])
  }
}

function byLengthThenBytes(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : 1
}

function simple(byte: number): void {
  room(0)
  scratch[at++] = byte
}

/** The shortest form. Caller made room. */
function head(major: number, value: number): void {
  if (value < 24) scratch[at++] = major | value
  else if (value < 0x100) {
    scratch[at++] = major | 24
    scratch[at++] = value
  } else if (value < 0x1_0000) {
    scratch[at++] = major | 25
    scratch[at++] = value >>> 8
    scratch[at++] = value & 0xff
  } else if (value < TWO_TO_32) {
    scratch[at++] = major | 26
    at = scratch.writeUInt32BE(value, at)
  } else {
    scratch[at++] = major | 27
    at = scratch.writeUInt32BE(Math.floor(value / TWO_TO_32), at)
    at = scratch.writeUInt32BE(value % TWO_TO_32, at)
  }
}

/** For a head and so many bytes after it. */
function room(bytes: number): void {
  const needed = at + HEAD_BYTES_MAX + bytes
  if (needed <= scratch.length) return
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * scratch.length))
  larger.set(scratch.subarray(0, at))
  scratch = larger
}
