// How requests come in and how their results go out (P-34, P-37): from clients of this hospital and, in batches, from other peers, into
// the mempool; a client waits here for its result. Not here: what a request does (ledger), and which block it stands in (consensus).

import type { Mempool } from './mempool.ts'
import type { Request } from './model/block.ts'
import { EmrmError } from './model/errors.ts'
import type { PeerId, RequestId, Timestamp, Verified } from './model/ids.ts'
import type { RequestResult } from './model/operations.ts'
import { type Clock, type GossipVerdict, type Log, type Network, TOPICS } from './ports.ts'
import { makeRequestBatcher, unwrapFromGossip, wrapForGossip } from './roads.ts'
import { decodeRequestBatch, encodeRequestBatch, WireFault } from './wire/codec.ts'
import type { Verifier } from './wire/verify.ts'

/** A request that still waits after this long is told to the others again: gossip may have lost it. */
const REPEAT_MS = 3_000
const REPEAT_MAX = 200
const REPEAT_BYTES_MAX = 64 * 1024

type Options = {
  readonly mempool: Mempool
  readonly network: Network
  readonly verifier: Verifier
  readonly clock: Clock
  readonly log: Log
  readonly isExecuted: (id: RequestId) => boolean
  /** Block time as far as this peer can tell, ms. */
  readonly blockTime: () => Timestamp
  /** The mempool may have become empty or stopped being so. */
  readonly onChange: () => void
}

export type Intake = {
  /** Rejects with `mempool-full`, `client-limit`, `request-stale`, `replayed`, `request-timeout`, `peer-stopping`. */
  submit(request: Verified<Request>, timeoutMs: number): Promise<RequestResult>
  /** Tells the clients, and forgets the requests. */
  settle(results: readonly RequestResult[], blockTime: Timestamp): void
  /** Drops what was executed while this peer did not see it. Who waits for one of these hears nothing, and looks it up. */
  forgetExecuted(): void
  /** Called now and then. */
  repeat(): void
  stop(): void
}

type Waiter = {
  readonly resolve: (result: RequestResult) => void
  readonly reject: (error: unknown) => void
  readonly untilMs: number
}

export function makeIntake(options: Options): Intake {
  const { mempool, network, verifier, clock, log } = options
  const waiters = new Map<RequestId, readonly Waiter[]>()
  let repeatedMs = clock.steadyMs()
  let stopped = false
  const batcher = makeRequestBatcher<Request>(clock, batch =>
    network.publish(TOPICS.request, wrapForGossip(encodeRequestBatch(batch), clock.nowMs())),
  )

  function onBatch(wrapped: Uint8Array, from: PeerId): GossipVerdict {
    const bytes = unwrapFromGossip(wrapped)
    if (bytes === null) return 'reject'
    for (const request of decodeRequestBatch(bytes)) {
      const checked = verifier.request(request)
      if (checked.type === 'fault') {
        log.warn('request-refused', { peer: from, reason: checked.reason })
        return 'reject'
      }
      if (checked.type === 'ok' && !options.isExecuted(checked.value.id))
        mempool.add(checked.value, options.blockTime())
    }
    options.onChange()
    return 'accept'
  }

  network.onGossip(TOPICS.request, (wrapped, from) => {
    if (stopped) return 'ignore'
    try {
      return onBatch(wrapped, from)
    } catch (error) {
      // Bytes that are no batch are the sender's fault; anything else is ours.
      if (!(error instanceof WireFault)) throw error
      log.warn('batch-refused', { peer: from, reason: error.reason })
      return 'reject'
    }
  })

  /** One sweep for all: a timer for each of thousands of requests would cost more than the requests. */
  const giveUp = (): void => {
    const nowMs = clock.steadyMs()
    for (const [id, waiting] of waiters) {
      const left = waiting.filter(waiter => waiter.untilMs > nowMs)
      if (left.length === waiting.length) continue
      for (const waiter of waiting) if (waiter.untilMs <= nowMs) waiter.reject(timedOut(id))
      if (left.length === 0) waiters.delete(id)
      else waiters.set(id, left)
    }
  }

  return {
    submit(request, timeoutMs) {
      return new Promise((resolve, reject) => {
        if (options.isExecuted(request.id))
          throw new EmrmError('replayed', 'this request was executed before; sign a new one', { request: request.id })
        const added = mempool.add(request, options.blockTime())
        const refusal = REFUSALS[added]
        if (refusal !== null) throw new EmrmError(refusal.code, refusal.message, { request: request.id })
        const waiter = { resolve, reject, untilMs: clock.steadyMs() + timeoutMs }
        waiters.set(request.id, [...(waiters.get(request.id) ?? []), waiter])
        if (added === 'added') batcher.add(request)
        options.onChange()
      })
    },
    settle(results, blockTime) {
      mempool.remove(results.map(result => result.request))
      mempool.expire(blockTime)
      for (const result of results) {
        for (const waiter of waiters.get(result.request) ?? []) waiter.resolve(result)
        waiters.delete(result.request)
      }
    },
    forgetExecuted() {
      const all = mempool.take({ countMax: Number.MAX_SAFE_INTEGER, bytesMax: Number.MAX_SAFE_INTEGER })
      mempool.remove(all.filter(({ id }) => options.isExecuted(id)).map(({ id }) => id))
      mempool.expire(options.blockTime())
    },
    repeat() {
      giveUp()
      if (mempool.size === 0 || clock.steadyMs() - repeatedMs < REPEAT_MS) return
      repeatedMs = clock.steadyMs()
      mempool.expire(options.blockTime())
      for (const request of mempool.take({ countMax: REPEAT_MAX, bytesMax: REPEAT_BYTES_MAX })) batcher.add(request)
      options.onChange()
    },
    stop() {
      stopped = true
      batcher.stop()
      for (const waiting of waiters.values())
        for (const waiter of waiting)
          waiter.reject(new EmrmError('peer-stopping', 'the peer stops; ask again when it runs'))
      waiters.clear()
    },
  }
}

const timedOut = (request: RequestId): EmrmError =>
  new EmrmError(
    'request-timeout',
    'no decision in time; the request may still be executed: look it up with "emrm tx" before you sign it again',
    { request },
  )

const REFUSALS: Record<ReturnType<Mempool['add']>, { readonly code: string; readonly message: string } | null> = {
  added: null,
  duplicate: null,
  full: { code: 'mempool-full', message: 'this peer has too many requests waiting; send it again in a moment' },
  'client-limit': {
    code: 'client-limit',
    message: 'this client has too many requests waiting; send it again in a moment',
  },
  stale: {
    code: 'request-stale',
    message: 'the request is too old or too new for block time; check the clock and sign it again',
  },
}
