// The queue of requests that wait for a block (P-34, P-35): verified, bounded, fair. Requests stay inside until a block has them or their
// time is over; taking does not remove, since a proposal may come to nothing. Every step costs the same however long the queue is.
// Not here: signatures (wire/verify) and the last word on the window (ledger/executed.ts).

import type { Request } from './model/block.ts'
import type { PublicKey, RequestId, Timestamp, Verified } from './model/ids.ts'

export type MempoolLimits = {
  readonly countMax: number
  readonly bytesMax: number
  /** Requests of one client: one that floods leaves room for the others. */
  readonly clientCountMax: number
  /** A request outside this window around block time is not kept. */
  readonly windowPastMs: number
  readonly windowFutureMs: number
}

export const DEFAULT_LIMITS: MempoolLimits = {
  countMax: 50_000,
  bytesMax: 64 * 1024 * 1024,
  clientCountMax: 10_000,
  windowPastMs: 600_000,
  windowFutureMs: 60_000,
}

/** Room that a block's header takes, and each request's length prefix. */
const HEADER_BYTES = 1024
const PREFIX_BYTES = 5
/** Requests are forgotten by the second of their timestamp. */
const BUCKET_MS = 1000

export class Mempool {
  readonly #limits: MempoolLimits
  readonly #requests = new Map<RequestId, Verified<Request>>()
  /**
   * Each client's requests in order of arrival. The clients stand in the order in which they are next served. By key: until the ledger
   * has looked, anyone can write another's name, and would use up their room.
   */
  readonly #clients = new Map<PublicKey, Map<RequestId, Verified<Request>>>()
  readonly #buckets = new Map<number, Set<RequestId>>()
  #bytes = 0

  constructor(limits: Partial<MempoolLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
  }

  get size(): number {
    return this.#requests.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** `stale`: outside the window on either side. */
  add(request: Verified<Request>, blockTime: Timestamp): 'added' | 'duplicate' | 'full' | 'stale' | 'client-limit' {
    const { countMax, bytesMax, clientCountMax, windowPastMs, windowFutureMs } = this.#limits
    if (this.#requests.has(request.id)) return 'duplicate'
    if (request.timestamp < blockTime - windowPastMs || request.timestamp > blockTime + windowFutureMs) return 'stale'
    if (this.size >= countMax || this.#bytes + request.bytes.length > bytesMax) return 'full'
    const own = this.#clients.get(request.publicKey)
    if (own !== undefined && own.size >= clientCountMax) return 'client-limit'
    this.#requests.set(request.id, request)
    this.#bytes += request.bytes.length
    if (own === undefined) this.#clients.set(request.publicKey, new Map([[request.id, request]]))
    else own.set(request.id, request)
    this.#bucketOf(request).add(request.id)
    return 'added'
  }

  /** In rounds, one request of each client a round, each client's oldest first. `bytesMax` is for the whole block. */
  take(limits: { readonly countMax: number; readonly bytesMax: number }): readonly Verified<Request>[] {
    const taken: Verified<Request>[] = []
    let room = limits.bytesMax - HEADER_BYTES
    let round = [...this.#firstClients(limits.countMax)].map(requests => requests.values())
    while (round.length > 0) {
      const next: typeof round = []
      for (const requests of round) {
        if (taken.length >= limits.countMax) return taken
        const { value: request, done } = requests.next()
        if (done) continue
        // What does not fit waits, and so does what the same client sent after it.
        if (request.bytes.length + PREFIX_BYTES > room) continue
        room -= request.bytes.length + PREFIX_BYTES
        taken.push(request)
        next.push(requests)
      }
      round = next
    }
    return taken
  }

  /** A client that was served goes to the end of the line. Unknown ids are no matter. */
  remove(ids: Iterable<RequestId>): void {
    for (const id of ids) {
      const request = this.#requests.get(id)
      if (request === undefined) continue
      this.#requests.delete(id)
      this.#bytes -= request.bytes.length
      this.#forgetBucketed(request)
      const own = this.#clients.get(request.publicKey)
      if (own === undefined) continue
      own.delete(id)
      this.#clients.delete(request.publicKey)
      if (own.size > 0) this.#clients.set(request.publicKey, own)
    }
  }

  /** Drops what the contract would refuse as stale at this block time, to the second. */
  expire(blockTime: Timestamp): void {
    const limit = blockTime - this.#limits.windowPastMs
    for (const [bucket, ids] of [...this.#buckets]) if ((bucket + 1) * BUCKET_MS <= limit) this.remove([...ids])
  }

  /** More clients than requests asked for cannot be served anyway. */
  *#firstClients(count: number): Iterable<ReadonlyMap<RequestId, Verified<Request>>> {
    let left = count
    for (const requests of this.#clients.values()) {
      if (left-- <= 0) return
      yield requests
    }
  }

  #bucketOf(request: Request): Set<RequestId> {
    const key = Math.floor(request.timestamp / BUCKET_MS)
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      bucket = new Set()
      this.#buckets.set(key, bucket)
    }
    return bucket
  }

  #forgetBucketed(request: Request): void {
    const key = Math.floor(request.timestamp / BUCKET_MS)
    const bucket = this.#buckets.get(key)
    bucket?.delete(request.id)
    if (bucket?.size === 0) this.#buckets.delete(key)
  }
}
