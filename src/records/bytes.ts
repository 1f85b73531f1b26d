// Small helpers for byte strings that several files of this folder need. Nothing here knows what a record is.

import { borrow } from '../short-lived.ts'

/** Unsigned 32 bits, big-endian. */
export function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/**
 * The stream again in pieces of exactly `size` bytes; only the last may be shorter, and none is empty. A piece that lies whole in one chunk
 * is a view on it: a source must not use a chunk's memory again.
 */
export async function* regroup(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let piece: Uint8Array = new Uint8Array(0)
  let used = 0
  for await (const chunk of source) {
    let at = 0
    while (at < chunk.length) {
      if (used === 0 && chunk.length - at >= size) {
        yield chunk.subarray(at, at + size)
        at += size
        continue
      }
      if (used === 0) piece = borrow(size)
      const count = Math.min(size - used, chunk.length - at)
      piece.set(chunk.subarray(at, at + count), used)
      used += count
      at += count
      if (used === size) {
        yield piece
        used = 0
      }
    }
  }
  if (used > 0) yield piece.subarray(0, used)
}

/** Reads the head of a stream byte-exactly and hands on the rest. Holds what `more` has read; the caller bounds that. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>
  #held: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** What was read and not yet taken. */
  held(): Buffer {
    return this.#held
  }

  /** Reads one chunk more; false at the end. */
  async more(): Promise<boolean> {
    const { value, done } = await this.#source.next()
    if (done) return false
    this.#held = this.#held.length === 0 ? Buffer.from(value) : Buffer.concat([this.#held, value])
    return true
  }

  /** Null when the stream ends before. */
  async take(count: number): Promise<Uint8Array | null> {
    while (this.#held.length < count) if (!(await this.more())) return null
    const taken = new Uint8Array(this.#held.subarray(0, count))
    this.#held = this.#held.subarray(count)
    return taken
  }

  /** All that follows. Closes the source when its reader stops early. */
  async *rest(): AsyncGenerator<Uint8Array> {
    try {
      if (this.#held.length > 0) yield this.#held
      for (;;) {
        const { value, done } = await this.#source.next()
        if (done) return
        yield value
      }
    } finally {
      await this.close()
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.()
  }
}
