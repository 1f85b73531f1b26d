// Gossip: one topic for each message kind, heard by every peer, observers included (P-34 … P-36). The library is @libp2p/gossipsub under the name
// @chainsafe/libp2p-gossipsub. Messages carry no libp2p signature: their payload is signed, and a second signature would be checked on every duplicate.
// Publishing never waits: messages stand in a bounded queue and leave a few at a time between turns of the event loop, because a burst that starves the loop
// costs healthy links. A message refused by its handler is not forwarded and is counted against who forwarded it.
// Not here: what is valid (the handlers), direct links (libp2p-direct.ts).

import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { type GossipSub, type GossipsubOpts, gossipsub, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub'
import type { Identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { concat } from 'uint8arrays/concat'
import { fromString } from 'uint8arrays/from-string'
import { sha256 } from '../model/hash.ts'
import type { PeerId } from '../model/ids.ts'
import { type GossipVerdict, type Log, TOPICS, type Topic } from '../ports.ts'

const MiB = 1_048_576
/** The library cannot send more than 4 MiB at once (it throws where nobody hears it), and control messages ride along. Larger ones go over direct links or are fetched. */
export const gossipBytesMax: number = 4 * MiB - 256 * 1_024
const queuedMessagesMax = 20_000
const queuedBytesMax = 64 * MiB
const turnMessagesMax = 16
const turnBytesMax = 256 * 1_024
/** While half the peers have this much waiting, the queue rests. */
const crowdedBytes = 4 * MiB
const crowdedRestMs = 10
const healMs = 2_000
/** Connected this many rounds without a gossip stream: the library lost it and must be told. */
const healAfterRounds = 2

export type GossipHandler = (bytes: Uint8Array, from: PeerId) => GossipVerdict | Promise<GossipVerdict>
export type GossipNode = Libp2p<{ pubsub: GossipSub; identify: Identify }>
/** Fields the library's class has and its interface does not name; a contract test fails when they go. */
type GossipInside = {
  readonly streamsOutbound: ReadonlyMap<string, unknown>
  readonly topics: ReadonlyMap<string, ReadonlySet<string>>
}

export function gossipService(): ReturnType<typeof gossipsub> {
  const options: Partial<GossipsubOpts> = {
    globalSignaturePolicy: 'StrictNoSign',
    // The library's default leaves the topic out: the same bytes on a second topic would be dropped.
    msgIdFn: message => sha256(concat([fromString(`${message.topic}\0`), message.data])).subarray(0, 20),
    D: 8,
    Dlo: 6,
    Dhi: 12,
    Dscore: 4,
    Dout: 3,
    Dlazy: 6,
    heartbeatInterval: 700,
    mcacheLength: 6,
    mcacheGossip: 3,
    floodPublish: false,
    batchPublish: true,
    fallbackToFloodsub: false,
    emitSelf: false,
    doPX: false,
    tagMeshPeers: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    idontwantMinDataSize: 16_384,
    gossipsubIWantFollowupMs: 12_000,
    maxInboundDataLength: 4 * MiB,
    maxOutboundBufferSize: 32 * MiB,
    allowedTopics: Object.values(TOPICS),
    // Hospitals behind one address and a stalled event loop are no offence here; the register and our own counts are.
    scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: -1, behaviourPenaltyThreshold: 6 },
  }
  return gossipsub(options)
}

export class Gossip {
  readonly #node: GossipNode
  readonly #log: Log
  readonly #onHeard: (from: PeerId) => void
  readonly #inside: GossipInside
  readonly #handlers = new Map<Topic, GossipHandler>()
  readonly #rejected = new Map<PeerId, number>()
  readonly #missing = new Map<string, number>()
  #queue: { readonly topic: Topic; readonly bytes: Uint8Array }[] = []
  #queuedBytes = 0
  #draining = false
  #dropped = 0
  #heal: NodeJS.Timeout | null = null
  #running = false

  constructor(node: GossipNode, log: Log, onHeard: (from: PeerId) => void = () => {}) {
    this.#node = node
    this.#log = log
    this.#onHeard = onHeard
    this.#inside = node.services.pubsub as unknown as GossipInside
  }

  handle(topic: Topic, handler: GossipHandler): void {
    this.#handlers.set(topic, handler)
  }

  /** After the node started: the library cannot subscribe before. */
  start(): void {
    const { pubsub } = this.#node.services
    for (const [topic, handler] of this.#handlers) {
      pubsub.topicValidators.set(topic, async (from, message) =>
        this.#judge(topic, handler, message.data, from.toString() as PeerId),
      )
      pubsub.subscribe(topic)
    }
    this.#running = true
    this.#heal = setInterval(() => this.#repair(), healMs)
    this.#heal.unref()
  }

  /** Without unsubscribing: the others would hold a restarted peer off for a minute. */
  stop(): void {
    this.#running = false
    if (this.#heal !== null) clearInterval(this.#heal)
    this.#queue = []
    this.#queuedBytes = 0
  }

  publish(topic: Topic, bytes: Uint8Array): boolean {
    if (!this.#running || (this.#inside.topics.get(topic)?.size ?? 0) === 0) return false
    if (bytes.byteLength > gossipBytesMax) {
      this.#log.error('gossip-too-long', { topic, bytes: bytes.byteLength, limit: gossipBytesMax })
      return false
    }
    if (this.#queue.length >= queuedMessagesMax || this.#queuedBytes + bytes.byteLength > queuedBytesMax) {
      if (this.#dropped++ === 0) this.#log.warn('gossip-queue-full', { topic, limit: queuedMessagesMax })
      return false
    }
    this.#queue.push({ topic, bytes })
    this.#queuedBytes += bytes.byteLength
    if (!this.#draining) void this.#drain()
    return true
  }

  async #drain(): Promise<void> {
    this.#draining = true
    try {
      while (this.#queue.length > 0) {
        await this.#drainTurn()
        if (this.#queue.length === 0) break
        await nextTurn()
        while (this.#running && this.#crowded()) await pause(crowdedRestMs, undefined, { ref: false })
      }
      if (this.#dropped > 0) this.#log.warn('gossip-dropped', { messages: this.#dropped })
      this.#dropped = 0
    } finally {
      this.#draining = false
    }
  }

  async #drainTurn(): Promise<void> {
    const batch = this.#queue.slice(0, turnMessagesMax)
    let sentBytes = 0
    let sent = 0
    for (const { topic, bytes } of batch) {
      if (sentBytes > turnBytesMax || !this.#running) break
      sent++
      sentBytes += bytes.byteLength
      await this.#node.services.pubsub.publish(topic, bytes).catch((error: unknown) => {
        this.#log.debug('gossip-publish-failed', { topic, error: error instanceof Error ? error.message : 'unknown' })
      })
    }
    this.#queue.splice(0, sent)
    this.#queuedBytes -= sentBytes
  }

  #crowded(): boolean {
    let streams = 0
    let full = 0
    for (const connection of this.#node.getConnections()) {
      for (const stream of connection.streams) {
        if (stream.direction !== 'outbound' || !stream.protocol.startsWith('/meshsub/')) continue
        streams++
        if (stream.writeBufferLength > crowdedBytes) full++
      }
    }
    return full > 0 && full * 2 >= streams
  }

  async #judge(topic: Topic, handler: GossipHandler, bytes: Uint8Array, from: PeerId): Promise<TopicValidatorResult> {
    this.#onHeard(from)
    let verdict: GossipVerdict
    try {
      verdict = await handler(bytes, from)
    } catch (error) {
      // The library would swallow what is our own fault; it shall be as fatal here as anywhere else.
      setImmediate(() => {
        throw error
      })
      return TopicValidatorResult.Ignore
    }
    switch (verdict) {
      case 'accept':
        return TopicValidatorResult.Accept
      case 'ignore':
        return TopicValidatorResult.Ignore
      case 'reject': {
        const count = (this.#rejected.get(from) ?? 0) + 1
        this.#rejected.set(from, count)
        // The first, then each time the count doubles: a hostile peer must not fill the log.
        if ((count & (count - 1)) === 0) this.#log.warn('gossip-rejected', { peer: from, topic, count })
        return TopicValidatorResult.Reject
      }
    }
  }

  /** After two connections to one peer of which the older closed, the library keeps the peer without a stream, for good. Identifying again announces the peer anew. */
  #repair(): void {
    for (const connection of this.#node.getConnections()) {
      const peer = connection.remotePeer.toString()
      if (this.#inside.streamsOutbound.has(peer) || connection.status !== 'open') {
        this.#missing.delete(peer)
        continue
      }
      const rounds = (this.#missing.get(peer) ?? 0) + 1
      this.#missing.set(peer, rounds)
      if (rounds < healAfterRounds) continue
      this.#log.info('gossip-healed', { peer })
      this.#missing.delete(peer)
      this.#node.services.identify.identify(connection).catch((error: unknown) => {
        this.#log.debug('identify-failed', { peer, error: error instanceof Error ? error.name : 'unknown' })
      })
    }
    if (this.#missing.size > this.#node.getConnections().length) this.#missing.clear()
  }
}
