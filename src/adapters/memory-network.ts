// The Network port inside one process: peers on one hub, for tests of what stands above the port. Same promises as the real one: nothing is delivered within the
// call that sends it, frames arrive in order and as copies, gossip spreads from peer to peer only when accepted, requests pull one frame at a time.
// Two peers are connected when both have started, both admit the other, and the hub has not cut the line between them.
// Not here: delay, loss and reordering (the simulation has its own network), and real sockets (libp2p-network.ts).

import { assert, EmrmError } from '../model/errors.ts'
import { digestOf } from '../model/hash.ts'
import type { PeerId } from '../model/ids.ts'
import type { Connection, GossipVerdict, Network, Protocol, Topic } from '../ports.ts'

const frameBytesMaxDefault = 6 * 1_048_576
/** As much as gossipsub can send, so that a test in memory does not promise more. */
const gossipBytesMax = 4 * 1_048_576 - 256 * 1_024
const directQueueBytesDefault = 8 * 1_048_576
const seenMax = 100_000

type PeerHandler = (peer: PeerId, event: 'connected' | 'disconnected') => void
type GossipHandler = (bytes: Uint8Array, from: PeerId) => GossipVerdict | Promise<GossipVerdict>
type RequestHandler = (request: AsyncIterable<Uint8Array>, from: PeerId) => AsyncIterable<Uint8Array>
type Frames = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export type MemoryNetworkOptions = {
  readonly self: PeerId
  readonly admitted: ReadonlySet<PeerId>
  readonly maxFrameBytes?: number
  readonly maxDirectQueueBytes?: number
}

export class MemoryHub {
  readonly #peers = new Map<PeerId, MemoryPeer>()
  readonly #cuts = new Set<string>()

  network(options: MemoryNetworkOptions): Network {
    return new MemoryPeer(this, options)
  }

  /** Takes the line between two peers away, or gives it back. */
  cut(a: PeerId, b: PeerId): void {
    this.#cuts.add(pair(a, b))
    this.update()
  }

  heal(a: PeerId, b: PeerId): void {
    this.#cuts.delete(pair(a, b))
    this.update()
  }

  join(peer: MemoryPeer): void {
    assert(!this.#peers.has(peer.self), 'two peers with one id on a hub')
    this.#peers.set(peer.self, peer)
    this.update()
  }

  leave(peer: MemoryPeer): void {
    this.#peers.delete(peer.self)
    peer.setLinks(new Set())
    this.update()
  }

  peer(id: PeerId): MemoryPeer | undefined {
    return this.#peers.get(id)
  }

  update(): void {
    for (const one of this.#peers.values()) {
      const linked = [...this.#peers.values()].filter(
        other =>
          other !== one &&
          one.admits(other.self) &&
          other.admits(one.self) &&
          !this.#cuts.has(pair(one.self, other.self)),
      )
      one.setLinks(new Set(linked.map(other => other.self)))
    }
  }
}

class MemoryPeer implements Network {
  readonly self: PeerId
  readonly #hub: MemoryHub
  readonly #frameBytesMax: number
  readonly #directQueueBytes: number
  readonly #gossip = new Map<Topic, GossipHandler>()
  readonly #answers = new Map<Protocol, RequestHandler>()
  readonly #onPeer: PeerHandler[] = []
  readonly #queued = new Map<PeerId, number>()
  readonly #cutLines = new Map<PeerId, AbortController>()
  #seen = new Set<string>()
  #onFrame: ((bytes: Uint8Array, from: PeerId) => void) | null = null
  #admitted: ReadonlySet<PeerId>
  #links: ReadonlySet<PeerId> = new Set()
  #state: 'new' | 'started' | 'stopped' = 'new'

  constructor(hub: MemoryHub, options: MemoryNetworkOptions) {
    this.#hub = hub
    this.self = options.self
    this.#admitted = new Set(options.admitted)
    this.#frameBytesMax = options.maxFrameBytes ?? frameBytesMaxDefault
    this.#directQueueBytes = options.maxDirectQueueBytes ?? directQueueBytesDefault
  }

  addresses(): readonly string[] {
    return this.#state === 'started' ? [`/memory/${this.self}`] : []
  }

  async start(): Promise<void> {
    assert(this.#state === 'new', 'a network starts once')
    this.#state = 'started'
    this.#hub.join(this)
  }

  async stop(): Promise<void> {
    if (this.#state === 'started') this.#hub.leave(this)
    this.#state = 'stopped'
  }

  onGossip(topic: Topic, handler: GossipHandler): void {
    assert(this.#state === 'new' && !this.#gossip.has(topic), `one handler for ${topic}, before start`)
    this.#gossip.set(topic, handler)
  }

  publish(topic: Topic, bytes: Uint8Array): boolean {
    if (bytes.byteLength > gossipBytesMax || this.#hearers(topic, null).length === 0) return false
    if (this.#see(topic, bytes)) this.#spread(topic, bytes.slice(), null)
    return true
  }

  onDirect(handler: (bytes: Uint8Array, from: PeerId) => void): void {
    assert(this.#state === 'new' && this.#onFrame === null, 'one handler for direct frames, before start')
    this.#onFrame = handler
  }

  sendDirect(to: PeerId, bytes: Uint8Array): boolean {
    const queued = (this.#queued.get(to) ?? 0) + bytes.byteLength
    if (!this.#links.has(to) || bytes.byteLength > this.#frameBytesMax || queued > this.#directQueueBytes) return false
    this.#queued.set(to, queued)
    const copy = bytes.slice()
    setImmediate(() => {
      this.#queued.set(to, (this.#queued.get(to) ?? 0) - copy.byteLength)
      if (this.#links.has(to)) this.#hub.peer(to)?.receiveDirect(copy, this.self)
    })
    return true
  }

  directPeers(): ReadonlySet<PeerId> {
    return this.#links
  }

  onRequest(protocol: Protocol, handler: RequestHandler): void {
    assert(this.#state === 'new' && !this.#answers.has(protocol), `one handler for ${protocol}, before start`)
    this.#answers.set(protocol, handler)
  }

  async *request(to: PeerId, protocol: Protocol, frames: Frames, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const facts = { peer: to, protocol }
    const line = this.#cutLines.get(to)
    const peer = this.#links.has(to) ? this.#hub.peer(to) : undefined
    if (signal.aborted) throw ended(signal, facts)
    if (peer === undefined || line === undefined) throw unreachable(to)
    const source = new Source(frames, this.#frameBytesMax, refused(facts))
    const answer = peer.answer(protocol, source.read(), this.self)?.[Symbol.asyncIterator]()
    if (answer === undefined) throw refused(facts)
    try {
      for (;;) {
        const step = await orAborted(answer.next(), signal, line.signal)
        if (step.done === true) return
        if (step.value.byteLength > this.#frameBytesMax) throw refused(facts)
        yield step.value.slice()
      }
    } catch (error) {
      if (signal.aborted) throw ended(signal, facts)
      if (line.signal.aborted) throw unreachable(to)
      throw source.failed ? source.error : refused(facts, error)
    } finally {
      // Not awaited: the handler may be waiting for something that never comes.
      answer.return?.().catch(() => {})
    }
  }

  connections(): readonly Connection[] {
    return [...this.#links].map(peerId => ({
      peerId,
      addresses: [`/memory/${peerId}`],
      direction: this.self < peerId ? 'outbound' : 'inbound',
      direct: true,
    }))
  }

  admit(peers: ReadonlySet<PeerId>): void {
    this.#admitted = new Set(peers)
    this.#hub.update()
  }

  onPeer(handler: PeerHandler): void {
    this.#onPeer.push(handler)
  }

  admits(peer: PeerId): boolean {
    return this.#admitted.has(peer)
  }

  setLinks(links: ReadonlySet<PeerId>): void {
    const before = this.#links
    this.#links = links
    for (const peer of before) {
      if (links.has(peer)) continue
      this.#cutLines.get(peer)?.abort()
      this.#cutLines.delete(peer)
      this.#tell(peer, 'disconnected')
    }
    for (const peer of links) {
      if (before.has(peer)) continue
      this.#cutLines.set(peer, new AbortController())
      this.#tell(peer, 'connected')
    }
  }

  receiveDirect(bytes: Uint8Array, from: PeerId): void {
    if (this.#links.has(from)) this.#onFrame?.(bytes, from)
  }

  answer(protocol: Protocol, request: AsyncIterable<Uint8Array>, from: PeerId): AsyncIterable<Uint8Array> | undefined {
    return this.#answers.get(protocol)?.(request, from)
  }

  hears(topic: Topic): boolean {
    return this.#gossip.has(topic)
  }

  async receiveGossip(topic: Topic, bytes: Uint8Array, from: PeerId): Promise<void> {
    const handler = this.#gossip.get(topic)
    if (handler === undefined || !this.#links.has(from) || !this.#see(topic, bytes)) return
    if ((await handler(bytes.slice(), from)) === 'accept') this.#spread(topic, bytes, from)
  }

  #spread(topic: Topic, bytes: Uint8Array, except: PeerId | null): void {
    for (const peer of this.#hearers(topic, except))
      setImmediate(() => void this.#hub.peer(peer)?.receiveGossip(topic, bytes, this.self))
  }

  #hearers(topic: Topic, except: PeerId | null): readonly PeerId[] {
    return [...this.#links].filter(peer => peer !== except && this.#hub.peer(peer)?.hears(topic) === true)
  }

  /** False when this message was here before. */
  #see(topic: Topic, bytes: Uint8Array): boolean {
    const id = `${topic} ${digestOf(bytes)}`
    if (this.#seen.has(id)) return false
    if (this.#seen.size >= seenMax) this.#seen = new Set()
    this.#seen.add(id)
    return true
  }

  #tell(peer: PeerId, event: 'connected' | 'disconnected'): void {
    queueMicrotask(() => {
      for (const handler of this.#onPeer) handler(peer, event)
    })
  }
}

/** The asking side's frames, with what they threw kept apart from what the answering side threw. */
class Source {
  readonly #frames: Frames
  readonly #frameBytesMax: number
  readonly #tooLong: EmrmError
  failed = false
  error: unknown = null

  constructor(frames: Frames, frameBytesMax: number, tooLong: EmrmError) {
    this.#frames = frames
    this.#frameBytesMax = frameBytesMax
    this.#tooLong = tooLong
  }

  async *read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const frame of this.#frames) {
        if (frame.byteLength > this.#frameBytesMax) throw this.#tooLong
        yield frame.slice()
      }
    } catch (error) {
      this.failed = true
      this.error = error
      throw error
    }
  }
}

async function orAborted<T>(promise: Promise<T>, ...signals: AbortSignal[]): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(new Error('aborted'))
  for (const signal of signals) {
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
  }
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', abort)
    promise.catch(() => {})
    aborted.promise.catch(() => {})
  }
}

function pair(a: PeerId, b: PeerId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

function unreachable(peer: PeerId): EmrmError {
  return new EmrmError('peer-unreachable', 'There is no connection to the peer; try another peer or again later.', {
    peer,
  })
}

function refused(facts: { peer: string; protocol: string }, cause?: unknown): EmrmError {
  return new EmrmError('peer-refused', 'The peer refused the request or broke it off.', facts, cause)
}

function ended(signal: AbortSignal, facts: { peer: string; protocol: string }): unknown {
  const reason: unknown = signal.reason
  return reason instanceof Error && reason.name === 'TimeoutError'
    ? new EmrmError('request-timeout', 'The peer did not answer in time; try another peer or again later.', facts)
    : reason
}
