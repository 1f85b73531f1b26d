// Whether compressed pixels are pixels only. JPEG, JPEG-LS and JPEG 2000 are chains of marked segments, and some segments hold free text:
// comments, application data, thumbnails. A stream is taken as it is, byte by byte, or not at all. Not here: captions drawn into the
// picture, which no format tells (dicom.ts asks BurnedInAnnotation).

const JPEG = /^1\.2\.840\.10008\.1\.2\.4\.(?:50|51|57|70)$/
const JPEG_LS = /^1\.2\.840\.10008\.1\.2\.4\.8[01]$/
const JPEG_2000 = /^1\.2\.840\.10008\.1\.2\.4\.(?:90|91|201|202|203)$/

/** Frames, tables, restarts and scans; comments and application data are not among them. */
const JPEG_SEGMENTS = [0xc4, 0xda, 0xdb, 0xdc, 0xdd, 0xf7, 0xf8]
const JPEG_FRAMES = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf]
/** Sizes, codings, quantisation, packet lengths and headers. */
const JPEG_2000_SEGMENTS = [
  0xff50, 0xff51, 0xff52, 0xff53, 0xff55, 0xff57, 0xff58, 0xff59, 0xff5c, 0xff5d, 0xff5e, 0xff5f, 0xff60, 0xff61,
  0xff63,
]
/** What the common encoders write about themselves. */
const ENCODER =
  /^(?:Creator: JasPer Version [0-9.]{1,12}|Created by (?:GDCM\/)?OpenJPEG version [0-9.]{1,12}|Kakadu-v?[0-9.]{1,12})\0*$/

const START = 0xffd8
const END = 0xffd9
const SCAN = 0xda
const CODESTREAM = 0xff4f
const TILE = 0xff90
const TILE_DATA = 0xff93
const COMMENT = 0xff64

export const isCompressed = (syntax: string): boolean =>
  JPEG.test(syntax) || JPEG_LS.test(syntax) || JPEG_2000.test(syntax)

/** `fragments`: the offset table first, as DICOM encapsulates them. */
export function arePixelsOnly(fragments: readonly Uint8Array[], syntax: string): boolean {
  const [table, ...rest] = fragments
  const stream = new Stream(Buffer.concat(rest))
  if (table === undefined || !areOffsets(table, stream.bytes.length + 8 * rest.length)) return false
  let frames = 0
  for (stream.padding(); !stream.isAtEnd(); stream.padding()) {
    const whole = JPEG_2000.test(syntax) ? jpeg2000(stream) : jpeg(stream, JPEG_LS.test(syntax))
    if (!whole) return false
    frames++
  }
  return frames > 0
}

function jpeg(stream: Stream, isLossless: boolean): boolean {
  if (stream.word() !== START) return false
  for (;;) {
    const marker = stream.marker()
    if (marker === END) return true
    const segment = stream.segment()
    if (segment === null || !isJpegSegment(marker & 0xff, segment)) return false
    if ((marker & 0xff) === SCAN) stream.scan(isLossless ? 0x7f : 0)
  }
}

function isJpegSegment(marker: number, segment: Buffer): boolean {
  if (JPEG_SEGMENTS.includes(marker) || JPEG_FRAMES.includes(marker)) return true
  const name = segment.toString('latin1', 0, 5)
  if (marker === 0xe0) return name === 'JFIF\0' && segment.length === 14
  return marker === 0xee && name === 'Adobe' && segment.length === 12
}

function jpeg2000(stream: Stream): boolean {
  if (stream.word() !== CODESTREAM) return false
  let tile: { start: number; length: number } | null = null
  for (;;) {
    const start = stream.at
    const marker = stream.word()
    if (marker === END) return tile === null
    if (marker === TILE_DATA) {
      if (tile === null || !stream.skipTo(tile.length === 0 ? stream.lastEnd() : tile.start + tile.length)) return false
      tile = null
      continue
    }
    const segment = stream.segment()
    if (segment === null) return false
    if (marker === TILE) {
      if (tile !== null || segment.length !== 8) return false
      tile = { start, length: segment.readUInt32BE(2) }
    } else if (marker === COMMENT) {
      if (!ENCODER.test(segment.toString('latin1', 2))) return false
    } else if (!JPEG_2000_SEGMENTS.includes(marker)) return false
  }
}

/** Rising offsets of frames from zero; anything else would be four letters at a time. */
function areOffsets(table: Uint8Array, end: number): boolean {
  if (table.length === 0) return true
  if (table.length % 4 !== 0) return false
  const view = new DataView(table.buffer, table.byteOffset, table.length)
  let before = -1
  for (let at = 0; at < table.length; at += 4) {
    const offset = view.getUint32(at, true)
    if ((at === 0 && offset !== 0) || offset <= before || offset >= end) return false
    before = offset
  }
  return true
}

/** Big-endian words and segments; past the end there are zeros, which no format takes for a marker. */
class Stream {
  at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  isAtEnd(): boolean {
    return this.at >= this.bytes.length
  }

  /** Fragments have even lengths; what fills them is zero. */
  padding(): void {
    while (this.bytes[this.at] === 0) this.at++
  }

  word(): number {
    const value = ((this.bytes[this.at] ?? 0) << 8) | (this.bytes[this.at + 1] ?? 0)
    this.at += 2
    return value
  }

  /** The next marker of JPEG, which may be preceded by any number of 0xff; 0 when there is none. */
  marker(): number {
    while (this.bytes[this.at] === 0xff && this.bytes[this.at + 1] === 0xff) this.at++
    const value = this.word()
    return value > 0xff00 ? value : 0
  }

  /** What a segment holds after its length; null when it overruns. */
  segment(): Buffer | null {
    const start = this.at
    const length = this.word()
    if (length < 2 || start + length > this.bytes.length) return null
    this.at = start + length
    return this.bytes.subarray(start + 2, this.at)
  }

  /** To the next marker that is no restart. In a scan 0xff is followed by a byte of at most `stuffed`. */
  scan(stuffed: number): void {
    for (;;) {
      const found = this.bytes.indexOf(0xff, this.at)
      if (found < 0) {
        this.at = this.bytes.length
        return
      }
      const next = this.bytes[found + 1] ?? 0
      this.at = found
      if (next > stuffed && !(next >= 0xd0 && next <= 0xd7)) return
      this.at = found + 2
    }
  }

  skipTo(at: number): boolean {
    if (at < this.at || at > this.bytes.length) return false
    this.at = at
    return true
  }

  /** Where the last end marker stands; -1 when there is none. */
  lastEnd(): number {
    return this.bytes.lastIndexOf(Buffer.of(END >> 8, END & 0xff))
  }
}
