// Reads the canonical DAG-CBOR that we write, and nothing else: unsigned integers up to 2^53-1 in their shortest form, byte and
// text strings, arrays of definite length, true, false, null. No maps, tags, floats, negative or indefinite items exist for it.
// A value has then exactly one byte string, so `encode(decode(x)) = x` holds by construction (and is a property test).
// Why not the library's decoder: it builds the whole tree before anyone can look at it. 4 MiB of empty arrays cost it 1.1 s and
// 190 MB, 4 MiB of nested ones the stack; here nothing is made that the caller's schema did not ask for, and depth is the schema's.

import { must, WireFault } from './fault.ts'

const UNSIGNED = 0
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const FALSE = 0xf4
const TRUE = 0xf5
const NULL = 0xf6
const TWO_TO_32 = 2 ** 32

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** How many bytes were read. */
  get position(): number {
    return this.#at
  }

  /** Throws WireFault unless everything was read. */
  finish(): void {
    must(this.#at === this.#bytes.length, 'trailing-bytes')
  }

  /** Refuses an array of any other length: one more field is another version. */
  tuple(arity: number): void {
    must(this.#head(ARRAY) === arity, 'wrong-arity')
  }

  /** The length of an array of at most `max` items. */
  list(max: number): number {
    const length = this.#head(ARRAY)
    must(length <= max, 'list-too-long')
    return length
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#head(UNSIGNED)
    must(value <= max, 'number-too-large')
    return value
  }

  /** A view into the input, not a copy. */
  view(max: number): Uint8Array {
    const length = this.#head(BYTES)
    must(length <= max, 'bytes-too-long')
    const start = this.#advance(length)
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + start, length)
  }

  /** Exactly `length` bytes, copied: a signature must not keep the megabytes alive that it came with. */
  fixed(length: number): Uint8Array {
    must(this.#head(BYTES) === length, 'wrong-length')
    const start = this.#advance(length)
    return new Uint8Array(this.#bytes.subarray(start, start + length))
  }

  /** At most `max` bytes, copied. */
  bytes(max: number): Uint8Array {
    return new Uint8Array(this.view(max))
  }

  /** Exactly `length` bytes as 2·length hexadecimal digits. */
  hex(length: number): string {
    must(this.#head(BYTES) === length, 'wrong-length')
    const start = this.#advance(length)
    return this.#bytes.toString('hex', start, start + length)
  }

  /** `max` counts bytes of UTF-8. Broken UTF-8 is refused, not repaired. */
  text(max: number): string {
    const length = this.#head(TEXT)
    must(length <= max, 'text-too-long')
    const start = this.#advance(length)
    for (let i = start; i < start + length; i++)
      if ((this.#bytes[i] as number) >= 0x80) return this.#decodeUtf8(start, start + length)
    return this.#bytes.toString('latin1', start, start + length)
  }

  boolean(): boolean {
    const byte = this.#bytes[this.#at++]
    must(byte === TRUE || byte === FALSE, 'not-a-boolean')
    return byte === TRUE
  }

  /** Reads a null when one stands next. */
  null(): boolean {
    if (this.#bytes[this.#at] !== NULL) return false
    this.#at++
    return true
  }

  #decodeUtf8(start: number, end: number): string {
    try {
      return strictUtf8.decode(this.#bytes.subarray(start, end))
    } catch {
      throw new WireFault('broken-utf8')
    }
  }

  #advance(length: number): number {
    const start = this.#at
    must(length <= this.#bytes.length - start, 'truncated')
    this.#at = start + length
    return start
  }

  /** The argument of an item of this major type; its shortest form only. */
  #head(major: number): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new WireFault('truncated')
    must(byte >> 5 === major, 'unexpected-item')
    this.#at++
    const info = byte & 31
    if (info < 24) return info
    must(info <= 27, 'unexpected-item')
    const width = 1 << (info - 24)
    const at = this.#advance(width)
    if (width === 1) return this.#shortest(this.#bytes[at] as number, 24)
    if (width === 2) return this.#shortest(this.#bytes.readUInt16BE(at), 0x100)
    if (width === 4) return this.#shortest(this.#bytes.readUInt32BE(at), 0x1_0000)
    // Above 2^53 this is rounded, but stays above: every caller has a limit below it.
    return this.#shortest(this.#bytes.readUInt32BE(at) * TWO_TO_32 + this.#bytes.readUInt32BE(at + 4), TWO_TO_32)
  }

  #shortest(value: number, least: number): number {
    must(value >= least, 'not-canonical')
    return value
  }
}

/** Reads one value from all of `bytes`. */
export function readAll<T>(bytes: Uint8Array, bytesMax: number, read: (reader: Reader) => T): T {
  must(bytes.length <= bytesMax, 'too-large')
  const reader = new Reader(bytes)
  const value = read(reader)
  reader.finish()
  return value
}
