// Which road a message takes (libp2p.md §1). Validators hear each other over direct links; a vote is gossiped only while some
// validator is not reachable directly, a proposal also while a peer that is not a validator listens, or when n is above 8.
// What arrives both ways is handled once. Requests are gossiped in batches, never one by one.
// Not here: what a message means (consensus) and whether it is true (wire/verify).

import type { Committee } from './model/committee.ts'
import { digestOf } from './model/hash.ts'
import type { PeerId } from './model/ids.ts'
import type { ConsensusMessage } from './model/messages.ts'
import { type Clock, type Network, TOPICS, type Topic } from './ports.ts'

/** Above this a proposal is spread by gossip rather than uploaded n-1 times by its primary. */
const DIRECT_PROPOSAL_VALIDATORS_MAX = 8
/** A batch of requests leaves when it holds this many bytes, … */
const BATCH_BYTES = 64 * 1024
/** … or this long after the last one left: at light load at once, under load up to fifty batches a second, … */
const BATCH_INTERVAL_MS = 20
/** … and twenty a second when the last one was this full: then requests wait for their block anyhow, and each batch costs every peer. */
const BATCH_BUSY_BYTES = 2 * 1024
const BATCH_BUSY_INTERVAL_MS = 50
const SEEN_MAX = 8192
/** Changes every so often, so that a message sent again is not taken by gossip for one that went before. */
const ATTEMPT_MS = 200

export type Road = 'direct' | 'gossip'

export const topicOf = (message: ConsensusMessage): Topic => {
  switch (message.type) {
    case 'PRE-PREPARE':
      return TOPICS.prePrepare
    case 'COMMIT':
      return TOPICS.commit
    case 'BLOCK-ID':
    case 'DECIDED':
    case 'FETCH':
    case 'BODY':
      return TOPICS.blockId
    case 'VIEW-CHANGE':
    case 'STATUS':
      return TOPICS.viewChange
  }
}

/** Gossip drops bytes that it carried before (for two minutes); four bytes of "which attempt" make a re-send a new message. `nowMs`: Unix time, so that a restarted peer does not count its attempts anew. */
export const wrapForGossip = (bytes: Uint8Array, nowMs: number): Uint8Array => {
  const wrapped = new Uint8Array(4 + bytes.length)
  new DataView(wrapped.buffer).setUint32(0, Math.floor(nowMs / ATTEMPT_MS) >>> 0)
  wrapped.set(bytes, 4)
  return wrapped
}

export const unwrapFromGossip = (wrapped: Uint8Array): Uint8Array | null =>
  wrapped.length < 4 ? null : wrapped.subarray(4)

/** Tells every other validator and observer. `self` is this peer's own id. */
export function broadcast(
  network: Network,
  committee: Committee,
  message: ConsensusMessage,
  bytes: Uint8Array,
  nowMs: number,
): void {
  const validators = committee.validators
  const direct = network.directPeers()
  const uploads = message.type !== 'PRE-PREPARE' || validators.length <= DIRECT_PROPOSAL_VALIDATORS_MAX
  let unreached = 0
  for (const { peerId } of validators) {
    if (peerId === network.self) continue
    if (!uploads || !direct.has(peerId) || !network.sendDirect(peerId, bytes)) unreached++
  }
  if (unreached === 0 && !(heardByObservers(message) && hasObservers(direct, validators))) return
  const isPublished = network.publish(topicOf(message), wrapForGossip(bytes, nowMs))
  // Larger than gossip carries, or nobody listens there: an upload to each is slow, silence is worse.
  if (!isPublished && !uploads) for (const peer of direct) network.sendDirect(peer, bytes)
}

const heardByObservers = (message: ConsensusMessage): boolean =>
  message.type === 'PRE-PREPARE' || message.type === 'DECIDED'

export function hasObservers(direct: ReadonlySet<PeerId>, validators: Committee['validators']): boolean {
  if (direct.size >= validators.length) return true
  const known = new Set(validators.map(validator => validator.peerId))
  for (const peer of direct) if (!known.has(peer)) return true
  return false
}

/** Remembers by which road bytes came first: the copy on the other road is dropped, a re-send on the same road is not. */
export function makeCrossing(): (bytes: Uint8Array, road: Road) => boolean {
  let recent = new Map<string, Road>()
  let older = new Map<string, Road>()
  return (bytes, road) => {
    const key = digestOf(bytes)
    const first = recent.get(key) ?? older.get(key)
    if (first !== undefined) return first === road
    if (recent.size >= SEEN_MAX) {
      older = recent
      recent = new Map()
    }
    recent.set(key, road)
    return true
  }
}

/** Collects requests and publishes them in batches. */
export function makeRequestBatcher<R extends { readonly bytes: Uint8Array }>(
  clock: Clock,
  publishBatch: (batch: readonly R[]) => void,
): { add(request: R): void; stop(): void } {
  let batch: R[] = []
  let bytes = 0
  let lastMs = Number.NEGATIVE_INFINITY
  let intervalMs = BATCH_INTERVAL_MS
  let cancel: (() => void) | null = null

  const leave = (): void => {
    cancel?.()
    cancel = null
    if (batch.length === 0) return
    const leaving = batch
    intervalMs = bytes >= BATCH_BUSY_BYTES ? BATCH_BUSY_INTERVAL_MS : BATCH_INTERVAL_MS
    batch = []
    bytes = 0
    lastMs = clock.steadyMs()
    publishBatch(leaving)
  }
  return {
    add(request) {
      const { length } = request.bytes
      if (bytes + length > BATCH_BYTES) leave()
      batch.push(request)
      bytes += length
      if (bytes >= BATCH_BYTES) leave()
      else if (cancel === null) cancel = clock.after(Math.max(0, lastMs + intervalMs - clock.steadyMs()), leave)
    },
    stop() {
      cancel?.()
      cancel = null
      batch = []
      bytes = 0
    },
  }
}
