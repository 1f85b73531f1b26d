// Direct links: one persistent stream to each connected peer for votes and proposals, next to gossip (half its processor time at four peers, a seventh at fifty).
// Each side opens the stream it sends on and only reads the one the other opened; so there is nothing to agree on when both connect at once, and who sends is who repairs.
// Sending never waits: what does not fit into a slow peer's queue is dropped, and the protocol above repeats or fetches it. Links carry a heartbeat: a peer from which
// nothing was heard for half a minute is cut off, because a half-open connection reports nothing by itself.
// Not here: dialling (libp2p-keeper.ts) and what the frames mean.

import type { Connection as LibConnection, Libp2p, Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import type { PeerId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import { encodeFrame, FrameDecoder } from './libp2p-frames.ts'
import { libp2pIdOf } from './libp2p-identity.ts'

const openTimeoutMs = 5_000
const reopenMsFirst = 50
const reopenMsMax = 5_000
const heartbeatMsDefault = 5_000
/** Heartbeats in a row without a byte from the peer before its connections are closed. */
const silentBeatsMax = 6
/** A peer that opens a second link thinks the first is dead; the oldest beyond this is dropped. */
const inboundLinksMax = 2

export type DirectOptions = {
  readonly node: Libp2p
  readonly protocol: string
  readonly frameBytesMax: number
  readonly queuedBytesMax: number
  readonly heartbeatMs?: number
  readonly log: Log
  isAdmitted(peer: PeerId): boolean
  onFrame(bytes: Uint8Array, from: PeerId): void
  onLink(peer: PeerId, event: 'up' | 'down'): void
}

type Link = {
  readonly peer: PeerId
  stream: Stream | null
  opening: boolean
  failures: number
  retry: NodeJS.Timeout | null
  /** Frames of this turn of the event loop, which leave as one write. */
  readonly outbox: (Uint8Array | Uint8ArrayList)[]
  outboxBytes: number
  dropped: number
  inbound: Stream[]
  silentBeats: number
}

export class DirectLinks {
  readonly #options: DirectOptions
  readonly #links = new Map<PeerId, Link>()
  readonly #heartbeatMs: number
  readonly #up = new Set<PeerId>()
  #heartbeat: NodeJS.Timeout | null = null
  #lastBeatMs = 0
  #stopped = false
  /** A broadcast sends the same bytes to each peer; they are framed once. */
  #lastBytes: Uint8Array | null = null
  #lastFrame: Uint8Array | Uint8ArrayList = new Uint8Array(0)

  constructor(options: DirectOptions) {
    this.#options = options
    this.#heartbeatMs = options.heartbeatMs ?? heartbeatMsDefault
  }

  /** Before the node starts: a peer may be connected and identified before `start` returns, and handlers do not look back. */
  async prepare(): Promise<void> {
    const { node, protocol } = this.#options
    await node.handle(protocol, (stream, connection) => this.#receive(stream, connection), {
      maxInboundStreams: inboundLinksMax + 2,
      maxOutboundStreams: inboundLinksMax + 2,
    })
    await node.register(protocol, { onConnect: peer => this.ensure(peer.toString() as PeerId) })
    node.addEventListener('peer:disconnect', event => this.#forget(event.detail.toString() as PeerId))
    this.#lastBeatMs = performance.now()
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs)
    this.#heartbeat.unref()
  }

  stop(): void {
    this.#stopped = true
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat)
    for (const peer of [...this.#links.keys()]) this.#forget(peer)
  }

  peers(): ReadonlySet<PeerId> {
    return this.#up
  }

  send(to: PeerId, bytes: Uint8Array): boolean {
    const link = this.#links.get(to)
    const stream = link?.stream
    if (link === undefined || stream === null || stream === undefined) return false
    const { log, queuedBytesMax, frameBytesMax } = this.#options
    if (bytes.byteLength > frameBytesMax) {
      log.error('direct-frame-too-long', { peer: to, bytes: bytes.byteLength, limit: frameBytesMax })
      return false
    }
    if (stream.writeBufferLength + link.outboxBytes + bytes.byteLength > queuedBytesMax) {
      // Counted, and told once for each time the queue fills up.
      if (link.dropped++ === 0) log.warn('direct-queue-full', { peer: to, limit: queuedBytesMax })
      return false
    }
    if (link.dropped > 0) {
      log.info('direct-queue-drained', { peer: to, dropped: link.dropped })
      link.dropped = 0
    }
    if (this.#lastBytes !== bytes) {
      this.#lastBytes = bytes
      this.#lastFrame = encodeFrame(bytes)
    }
    this.#enqueue(link, this.#lastFrame)
    return true
  }

  /** Something came from the peer by another road: a heartbeat may stand behind it in the queue of a slow line. */
  heard(peer: PeerId): void {
    const link = this.#links.get(peer)
    if (link !== undefined) link.silentBeats = 0
  }

  /** Opens the link when the peer is connected, admitted and has none. */
  ensure(peer: PeerId): void {
    const { node, protocol, isAdmitted, log } = this.#options
    if (this.#stopped || !isAdmitted(peer)) return
    const link = this.#linkOf(peer)
    if (link.stream !== null || link.opening || link.retry !== null) return
    const connection = openConnection(node, peer)
    if (connection === null) return
    link.opening = true
    connection
      .newStream([protocol], { signal: AbortSignal.timeout(openTimeoutMs) })
      .then(stream => this.#opened(link, stream))
      .catch((error: unknown) => {
        log.debug('direct-link-failed', { peer, error: error instanceof Error ? error.name : 'unknown' })
        link.failures++
        this.#retryLater(link)
      })
      .finally(() => {
        link.opening = false
      })
  }

  #opened(link: Link, stream: Stream): void {
    if (this.#stopped || this.#links.get(link.peer) !== link || !this.#options.isAdmitted(link.peer)) {
      stream.abort(new Error('the link is no longer wanted'))
      return
    }
    const lost = (): void => this.#lost(link, stream)
    stream.addEventListener('close', lost)
    stream.addEventListener('remoteCloseWrite', lost)
    if (stream.status !== 'open') throw new Error('the link closed while it opened')
    link.stream = stream
    link.failures = 0
    link.silentBeats = 0
    this.#up.add(link.peer)
    this.#options.log.debug('direct-link-up', { peer: link.peer })
    queueMicrotask(() => this.#options.onLink(link.peer, 'up'))
  }

  #lost(link: Link, stream: Stream): void {
    if (link.stream !== stream) return
    link.stream = null
    link.outbox.length = 0
    link.outboxBytes = 0
    if (stream.status === 'open') stream.abort(new Error('the peer closed the link'))
    this.#up.delete(link.peer)
    this.#options.log.debug('direct-link-down', { peer: link.peer })
    queueMicrotask(() => this.#options.onLink(link.peer, 'down'))
    this.#retryLater(link)
  }

  #retryLater(link: Link): void {
    if (this.#stopped || link.retry !== null || this.#links.get(link.peer) !== link) return
    const delayMs = Math.min(reopenMsMax, reopenMsFirst * 2 ** link.failures)
    link.retry = setTimeout(() => {
      link.retry = null
      this.ensure(link.peer)
    }, delayMs)
    link.retry.unref()
  }

  #enqueue(link: Link, frame: Uint8Array | Uint8ArrayList): void {
    link.outbox.push(frame)
    link.outboxBytes += frame.byteLength
    if (link.outbox.length === 1) queueMicrotask(() => this.#flush(link))
  }

  #flush(link: Link): void {
    const frames = link.outbox.splice(0)
    link.outboxBytes = 0
    const stream = link.stream
    if (stream === null || frames.length === 0) return
    try {
      stream.send(frames.length === 1 && frames[0] !== undefined ? frames[0] : new Uint8ArrayList(...frames))
    } catch {
      this.#lost(link, stream)
    }
  }

  #receive(stream: Stream, connection: LibConnection): void {
    const { frameBytesMax, isAdmitted, onFrame } = this.#options
    const peer = connection.remotePeer.toString() as PeerId
    if (this.#stopped || !isAdmitted(peer)) {
      stream.abort(new Error('not admitted'))
      return
    }
    const link = this.#linkOf(peer)
    link.inbound.push(stream)
    if (link.inbound.length > inboundLinksMax) link.inbound.shift()?.abort(new Error('replaced by a newer link'))
    const decoder = new FrameDecoder(frameBytesMax)
    stream.addEventListener('close', () => {
      link.inbound = link.inbound.filter(other => other !== stream)
    })
    stream.addEventListener('message', event => {
      link.silentBeats = 0
      for (const frame of this.#decode(stream, decoder, event.data, peer)) onFrame(frame, peer)
    })
    // The peer reached us: our own link may have waited for the library to identify it.
    this.ensure(peer)
  }

  /** Apart from the handler: what a handler throws is our fault and not the peer's. */
  #decode(stream: Stream, decoder: FrameDecoder, data: Uint8Array | Uint8ArrayList, peer: PeerId): Uint8Array[] {
    const frames: Uint8Array[] = []
    try {
      decoder.append(data)
      for (let frame = decoder.next(); frame !== null; frame = decoder.next()) {
        // The marks have no meaning here, and an empty frame is a heartbeat.
        if (typeof frame !== 'string' && frame.byteLength > 0) frames.push(frame)
      }
    } catch (fault) {
      const error = fault instanceof Error ? fault : new Error('broken frame')
      this.#options.log.warn('direct-link-broken', { peer, reason: error.message })
      stream.abort(error)
    }
    return frames
  }

  #beat(): void {
    const nowMs = performance.now()
    // When this process itself was held up, the silence was ours.
    const late = nowMs - this.#lastBeatMs > 2 * this.#heartbeatMs
    this.#lastBeatMs = nowMs
    for (const link of [...this.#links.values()]) {
      if (openConnection(this.#options.node, link.peer) === null) {
        this.#forget(link.peer)
        continue
      }
      link.silentBeats = late ? 0 : link.silentBeats + 1
      if (link.silentBeats > silentBeatsMax) {
        this.#options.log.warn('peer-silent', { peer: link.peer, silentMs: silentBeatsMax * this.#heartbeatMs })
        for (const connection of this.#options.node.getConnections(libp2pIdOf(link.peer)))
          connection.abort(new Error('the peer was silent'))
        continue
      }
      if (link.stream === null) this.ensure(link.peer)
      else if (link.outbox.length === 0 && link.stream.writeBufferLength === 0) this.#enqueue(link, heartbeat)
    }
  }

  #linkOf(peer: PeerId): Link {
    const known = this.#links.get(peer)
    if (known !== undefined) return known
    const link: Link = {
      peer,
      stream: null,
      opening: false,
      failures: 0,
      retry: null,
      outbox: [],
      outboxBytes: 0,
      dropped: 0,
      inbound: [],
      silentBeats: 0,
    }
    this.#links.set(peer, link)
    return link
  }

  #forget(peer: PeerId): void {
    const link = this.#links.get(peer)
    if (link === undefined) return
    this.#links.delete(peer)
    if (link.retry !== null) clearTimeout(link.retry)
    const stream = link.stream
    if (stream !== null) this.#lost(link, stream)
    stream?.abort(new Error('the peer is gone'))
    for (const inbound of link.inbound) inbound.abort(new Error('the peer is gone'))
  }
}

const heartbeat = encodeFrame(new Uint8Array(0))

function openConnection(node: Libp2p, peer: PeerId): LibConnection | null {
  return node.getConnections(libp2pIdOf(peer)).find(connection => connection.status === 'open') ?? null
}
