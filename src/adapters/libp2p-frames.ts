// How bytes are cut into frames on our own streams: each frame stands behind its length plus two (unsigned LEB128, at most four bytes), a lone zero says
// that the sequence is complete, a lone one that the rest is refused. So an answer that a dying connection cut short can never pass for a whole one, and an empty frame (a heartbeat) is lawful.
// Not here: streams and their back-pressure (libp2p-stream.ts), and what is in a frame (wire/codec.ts).

import { Uint8ArrayList } from 'uint8arraylist'
import { borrow } from '../short-lived.ts'

const prefixBytesMax = 4
/** Below this a frame is copied behind its prefix: one chunk costs the cipher and the socket less than two. */
const copiedBytesMax = 4_096

/** A long frame gets its memory when so much of it is here. */
const startedBytesMin = 16_384

/** Says that no frame follows. */
export const endMark: Uint8Array = Uint8Array.of(0)
/** Says that the sender will not go on, on purpose: not to be mistaken for a connection that died. */
export const refusalMark: Uint8Array = Uint8Array.of(1)
const marks = 2

/** The other side broke the framing; the stream cannot be read further. */
export class FrameFault extends Error {
  readonly reason: 'frame-too-long' | 'length-invalid'

  constructor(reason: 'frame-too-long' | 'length-invalid') {
    super(reason)
    this.name = 'FrameFault'
    this.reason = reason
  }
}

export function encodeFrame(bytes: Uint8Array): Uint8Array | Uint8ArrayList {
  const prefix: number[] = []
  let rest = bytes.byteLength + marks
  while (rest > 0x7f) {
    prefix.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  prefix.push(rest)
  if (bytes.byteLength > copiedBytesMax) return new Uint8ArrayList(Uint8Array.from(prefix), bytes)
  const framed = new Uint8Array(prefix.length + bytes.byteLength)
  framed.set(prefix)
  framed.set(bytes, prefix.length)
  return framed
}

/**
 * Takes bytes as they come, gives whole frames. Each frame is a copy of its own: what arrives is a view on a shared 64 kB slab, and dies
 * soonest when it is copied at once.
 */
export class FrameDecoder {
  readonly #frameBytesMax: number
  readonly #buffer = new Uint8ArrayList()
  /** Length of the frame that is under way; null while its prefix is not complete. */
  #length: number | null = null
  /** What has come of a long one. */
  #frame: Uint8Array | null = null
  #filled = 0

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  append(data: Uint8Array | Uint8ArrayList): void {
    this.#buffer.append(data)
  }

  /** The next whole frame, or which mark came; null when more bytes are needed. Throws FrameFault. */
  next(): Uint8Array | 'end' | 'refused' | null {
    this.#length ??= this.#readPrefix()
    if (this.#length === null) return null
    if (this.#length < 0) {
      const mark = this.#length === -marks ? 'end' : 'refused'
      this.#length = null
      return mark
    }
    // Memory is not given for a mere announcement.
    if (this.#frame === null && this.#buffer.byteLength < Math.min(this.#length, startedBytesMin)) return null
    this.#frame ??= borrow(this.#length)
    this.#fill(this.#frame)
    if (this.#filled < this.#length) return null
    const frame = this.#frame
    this.#frame = null
    this.#filled = 0
    this.#length = null
    return frame
  }

  #fill(frame: Uint8Array): void {
    const before = this.#filled
    for (const chunk of this.#buffer) {
      const room = frame.byteLength - this.#filled
      if (room === 0) break
      const part = chunk.byteLength > room ? chunk.subarray(0, room) : chunk
      frame.set(part, this.#filled)
      this.#filled += part.byteLength
    }
    this.#buffer.consume(this.#filled - before)
  }

  /** Length of the coming frame, negative for a mark. */
  #readPrefix(): number | null {
    let value = 0
    for (let index = 0; index < this.#buffer.byteLength; index++) {
      if (index === prefixBytesMax) throw new FrameFault('length-invalid')
      const byte = this.#buffer.get(index)
      value |= (byte & 0x7f) << (7 * index)
      if (byte < 0x80) {
        if (value - marks > this.#frameBytesMax) throw new FrameFault('frame-too-long')
        this.#buffer.consume(index + 1)
        return value - marks
      }
    }
    if (this.#buffer.byteLength >= prefixBytesMax) throw new FrameFault('length-invalid')
    return null
  }
}
