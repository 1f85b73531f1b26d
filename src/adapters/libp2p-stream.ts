// Frames over one libp2p stream with back-pressure both ways. The library's own helpers have none when reading (a slow reader gets `Read buffer overflow`
// and loses the stream) and its `onDrain` works only once for each stream, so reading pauses the stream here and writing waits for `drain` here.
// Not here: the bytes of a frame (libp2p-frames.ts), deadlines and who may ask (libp2p-requests.ts).

import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { noteShortLived } from '../short-lived.ts'
import { encodeFrame, endMark, FrameDecoder, refusalMark } from './libp2p-frames.ts'

/** Whole frames that may wait for the reader before the stream is paused. The window (2 MiB) may still arrive after that. */
const queuedBytesHigh = 1_048_576
const queuedBytesLow = 262_144
/** What a waiting frame costs besides its bytes, so that a flood of empty ones is bounded too. */
const frameCostBytes = 128
/** A byte that is read stands in the socket's buffer and in the decrypted one; one that is written in its frame and in the encrypted buffer. */
const COPIES_READ = 2
const COPIES_WRITTEN = 2
/** What may wait in the stream before a writer waits. */
const writeBytesHigh = 524_288

export class StreamCutError extends Error {
  constructor() {
    super('the stream ended before its end mark')
    this.name = 'StreamCutError'
  }
}

/** The other side said that it refuses. */
export class RefusedError extends Error {
  constructor() {
    super('the other side refused')
    this.name = 'RefusedError'
  }
}

export class FrameReader implements AsyncIterable<Uint8Array> {
  readonly #stream: Stream
  readonly #decoder: FrameDecoder
  readonly #onProgress: () => void
  readonly #frames: Uint8Array[] = []
  #queuedBytes = 0
  #ended = false
  #closed = false
  #error: Error | null = null
  #wake: (() => void) | null = null

  constructor(stream: Stream, frameBytesMax: number, onProgress: () => void = () => {}) {
    this.#stream = stream
    this.#decoder = new FrameDecoder(frameBytesMax)
    this.#onProgress = onProgress
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('close', this.#onClose)
    // The close event of a stream that died before we came is never heard.
    if (stream.status !== 'open' && stream.status !== 'closing' && stream.readBufferLength === 0)
      this.#fail(new StreamCutError())
  }

  /** True when the end mark came: all that was sent is here. */
  get ended(): boolean {
    return this.#ended
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame !== undefined) {
        this.#queuedBytes -= frame.byteLength + frameCostBytes
        if (this.#queuedBytes <= queuedBytesLow) this.#resume()
        yield frame
      } else if (this.#ended) {
        return
      } else if (this.#error !== null) {
        throw this.#error
      } else {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
  }

  #onMessage = (event: StreamMessageEvent): void => {
    if (this.#ended || this.#error !== null) return
    this.#onProgress()
    noteShortLived(COPIES_READ * event.data.byteLength)
    this.#decoder.append(event.data)
    try {
      for (let frame = this.#decoder.next(); frame !== null; frame = this.#decoder.next()) {
        if (frame === 'end') {
          this.#ended = true
          break
        }
        if (frame === 'refused') throw new RefusedError()
        this.#frames.push(frame)
        this.#queuedBytes += frame.byteLength + frameCostBytes
      }
    } catch (fault) {
      this.#fail(fault as Error)
      this.#stream.abort(fault as Error)
      return
    }
    this.#wakeReader()
    // A pause inside the message event that a resume caused would be undone by that resume: so a microtask later.
    if (this.#isFull()) queueMicrotask(() => this.#pause())
    if (this.#closed && !this.#ended && this.#stream.readBufferLength === 0) this.#fail(new StreamCutError())
  }

  #onClose = (event: StreamCloseEvent): void => {
    this.#closed = true
    if (this.#ended) return
    // A paused stream that closed well still holds bytes for us; they come with the next resume.
    if (event.error === undefined && this.#stream.readBufferLength > 0) {
      if (!this.#isFull()) this.#resume()
      return
    }
    this.#fail(event.error ?? new StreamCutError())
  }

  #isFull(): boolean {
    return this.#queuedBytes >= queuedBytesHigh
  }

  #pause(): void {
    if (this.#isFull() && this.#stream.readStatus === 'readable') this.#stream.pause()
  }

  #resume(): void {
    if (this.#stream.readStatus !== 'paused') return
    try {
      this.#stream.resume()
    } catch {
      // The connection under a closed stream is gone and the window update has nowhere to go; the bytes were handed out before that.
    }
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#wakeReader()
  }

  #wakeReader(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}

export class FrameWriter {
  readonly #stream: Stream
  readonly #onProgress: () => void
  #wake: (() => void) | null = null

  constructor(stream: Stream, onProgress: () => void = () => {}) {
    this.#stream = stream
    this.#onProgress = onProgress
    const wake = (): void => this.#wakeWriter()
    stream.addEventListener('drain', wake)
    stream.addEventListener('close', wake)
  }

  /** Resolves when the stream can take more. Throws when the stream closed. One write at a time. */
  async write(frame: Uint8Array): Promise<void> {
    noteShortLived(COPIES_WRITTEN * frame.byteLength)
    this.#stream.send(encodeFrame(frame))
    this.#onProgress()
    while (this.#stream.writeBufferLength > writeBytesHigh && this.#stream.writeStatus === 'writable') {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#onProgress()
    }
  }

  /** Says that this was all, and waits until it has left. */
  async end(signal: AbortSignal): Promise<void> {
    this.#stream.send(endMark)
    await this.#stream.close({ signal })
  }

  /** Says that nothing more will come, and why not. The stream may be gone already, then so is the one who would hear it. */
  async refuse(signal: AbortSignal): Promise<void> {
    if (this.#stream.writeStatus !== 'writable') return
    this.#stream.send(refusalMark)
    await this.#stream.close({ signal })
  }

  #wakeWriter(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
