// Request and response over a fresh stream for each request: frames there, end mark, frames back, end mark, with back-pressure both ways, so that a record of any size
// passes through flat memory. Every request has the caller's deadline; a side that does not move for a minute is cut; each peer may have a limited number under way.
// Not here: what the frames mean, and retrying with another peer (the caller knows which peers hold the same thing).

import type { Connection as LibConnection, Libp2p, Stream } from '@libp2p/interface'
import { pipe } from 'it-pipe'
import { EmrmError } from '../model/errors.ts'
import type { PeerId } from '../model/ids.ts'
import type { Log, Protocol } from '../ports.ts'
import { Call, Slots, SourceError, unreachable } from './libp2p-call.ts'
import { libp2pIdOf } from './libp2p-identity.ts'
import { FrameReader, FrameWriter } from './libp2p-stream.ts'

/** Requests under way to one peer; more wait their turn. */
const outboundMax = 16
/** Requests of one peer that we answer at a time, over all protocols; honest peers stay below. */
const inboundMax = 32
const openTimeoutMs = 10_000
const stallMs = 60_000
const flushTimeoutMs = 60_000

export type RequestHandler = (request: AsyncIterable<Uint8Array>, from: PeerId) => AsyncIterable<Uint8Array>
type Frames = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export type RequestsOptions = {
  readonly node: Libp2p
  readonly frameBytesMax: number
  readonly log: Log
  isAdmitted(peer: PeerId): boolean
  /** Bytes came from the peer. */
  onHeard(peer: PeerId): void
}

export class Requests {
  readonly #options: RequestsOptions
  readonly #slots = new Map<PeerId, Slots>()
  readonly #inbound = new Map<PeerId, number>()
  readonly #streams = new Set<Stream>()
  #stopped = false

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  async serve(protocol: Protocol, handler: RequestHandler): Promise<void> {
    await this.#options.node.handle(
      protocol,
      (stream, connection) => this.#answer(protocol, handler, stream, connection),
      { maxInboundStreams: inboundMax, maxOutboundStreams: outboundMax * 2 },
    )
  }

  stop(): void {
    this.#stopped = true
    for (const stream of this.#streams) stream.abort(new Error('the network stops'))
  }

  async *request(to: PeerId, protocol: Protocol, frames: Frames, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const call = new Call(to, protocol, signal)
    const slots = this.#slotsOf(to)
    try {
      await slots.take(call.signal)
    } catch (error) {
      call.end()
      throw await call.explain(error, null)
    }
    let connection: LibConnection | null = null
    let stream: Stream | null = null
    try {
      connection = this.#connectionTo(to)
      call.expectWithin(openTimeoutMs)
      stream = await connection.newStream([protocol], { signal: call.signal })
      this.#streams.add(stream)
      yield* this.#exchange(to, stream, frames, call)
    } catch (error) {
      throw await call.explain(error, connection)
    } finally {
      call.end()
      slots.give()
      if (stream !== null) this.#streams.delete(stream)
    }
  }

  async *#exchange(to: PeerId, stream: Stream, frames: Frames, call: Call): AsyncGenerator<Uint8Array> {
    const progress = (): void => call.expectWithin(stallMs)
    progress()
    const cut = (): void => stream.abort(new Error('the request was cancelled'))
    call.signal.addEventListener('abort', cut)
    if (call.signal.aborted) cut()
    const reader = new FrameReader(stream, this.#options.frameBytesMax, () => {
      this.#options.onHeard(to)
      progress()
    })
    const sending = sendAll(frames, new FrameWriter(stream, progress), call.signal)
    let sent = false
    let failure: unknown = null
    sending.then(
      () => {
        sent = true
      },
      (error: unknown) => {
        failure = error
        stream.abort(new Error('sending failed'))
      },
    )
    try {
      for await (const frame of reader) {
        // Whoever takes the frames may take their time: only the other side's silence counts.
        call.expectWithin(null)
        yield frame
        progress()
      }
    } catch (error) {
      throw failure instanceof SourceError ? failure : error
    } finally {
      call.signal.removeEventListener('abort', cut)
      // An answer may end before the request was sent whole, and a reader may leave early; then the other side must hear that nobody listens.
      if (!sent || !reader.ended) stream.abort(new Error('the request is over'))
    }
  }

  async #answer(protocol: Protocol, handler: RequestHandler, stream: Stream, connection: LibConnection): Promise<void> {
    const { log, frameBytesMax, isAdmitted, onHeard } = this.#options
    const from = connection.remotePeer.toString() as PeerId
    const underWay = this.#inbound.get(from) ?? 0
    if (this.#stopped || !isAdmitted(from) || underWay >= inboundMax) {
      stream.abort(new Error('refused'))
      return
    }
    this.#inbound.set(from, underWay + 1)
    this.#streams.add(stream)
    const stall = setTimeout(() => stream.abort(new Error('the peer does not move')), stallMs)
    stall.unref()
    const progress = (): void => {
      stall.refresh()
    }
    const reader = new FrameReader(stream, frameBytesMax, () => {
      onHeard(from)
      progress()
    })
    const writer = new FrameWriter(stream, progress)
    try {
      await pipe(
        () => reader,
        request => handler(request, from),
        async answer => {
          for await (const frame of answer) await writer.write(frame)
        },
      )
      await writer.end(AbortSignal.timeout(flushTimeoutMs))
    } catch (error) {
      log.debug('request-not-answered', {
        peer: from,
        protocol,
        reason: error instanceof EmrmError ? error.code : error instanceof Error ? error.name : 'unknown',
      })
      await writer.refuse(AbortSignal.timeout(flushTimeoutMs)).catch(() => {})
    } finally {
      // The asker closes its side when it has the answer; a reset from here could overtake what the asker has not read yet. The stall timer covers one who never does.
      const closed = (): void => {
        clearTimeout(stall)
        this.#streams.delete(stream)
      }
      stream.addEventListener('close', closed)
      if (stream.status !== 'open' && stream.status !== 'closing') closed()
      const left = (this.#inbound.get(from) ?? 1) - 1
      if (left > 0) this.#inbound.set(from, left)
      else this.#inbound.delete(from)
    }
  }

  #connectionTo(to: PeerId): LibConnection {
    const connection = this.#stopped
      ? undefined
      : this.#options.node.getConnections(libp2pIdOf(to)).find(open => open.status === 'open')
    if (connection === undefined) throw unreachable(to)
    return connection
  }

  #slotsOf(peer: PeerId): Slots {
    let slots = this.#slots.get(peer)
    if (slots === undefined) {
      slots = new Slots(outboundMax)
      this.#slots.set(peer, slots)
    }
    return slots
  }
}

async function sendAll(frames: Frames, writer: FrameWriter, signal: AbortSignal): Promise<void> {
  const iterator = Symbol.asyncIterator in frames ? frames[Symbol.asyncIterator]() : frames[Symbol.iterator]()
  try {
    for (;;) {
      const step = await nextOf(iterator)
      if (step.done === true) break
      await writer.write(step.value)
    }
  } catch (error) {
    await iterator.return?.()
    throw error
  }
  await writer.end(signal)
}

async function nextOf(
  iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>,
): Promise<IteratorResult<Uint8Array, unknown>> {
  try {
    return await iterator.next()
  } catch (error) {
    throw new SourceError(error)
  }
}
