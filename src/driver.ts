// The loop of a peer: next input → step of the replica → effects in order → ledger → results. It knows the order of the stages and
// nothing else does; it holds no rule of the protocol. Bytes in: verified by wire, then given to the replica or the mempool.
// Effects out: what must be durable first goes through the outbox, the rest at once. Not here: medical bytes (records).

import { type CatchUp, decidedMessage, makeCatchUp } from './catch-up.ts'
import type { Effect } from './consensus/effect.ts'
import type { Input } from './consensus/input.ts'
import { Replica } from './consensus/replica.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { Mempool } from './mempool.ts'
import type { Block, Request } from './model/block.ts'
import type { Committee } from './model/committee.ts'
import { assert, EmrmError } from './model/errors.ts'
import { toHex } from './model/hash.ts'
import {
  asDigest,
  asHeight,
  type BlockId,
  type Digest,
  type Height,
  type PeerId,
  type RequestId,
  type ValidatorIndex,
  type Verified,
  type View,
} from './model/ids.ts'
import { merkleRoot } from './model/merkle.ts'
import type { ConsensusMessage, DecideCertificate, Evidence, SignedMessage, Unsigned } from './model/messages.ts'
import type { Outcome, RequestResult } from './model/operations.ts'
import type { VoteRecord } from './model/vote-record.ts'
import { makeOutbox, type Outbox } from './outbox.ts'
import {
  type Clock,
  type ConsensusView,
  type GossipVerdict,
  type Log,
  type Network,
  type Signer,
  type Storage,
  TOPICS,
} from './ports.ts'
import {
  broadcast,
  makeCrossing,
  makeRequestBatcher,
  type Road,
  topicOf,
  unwrapFromGossip,
  wrapForGossip,
} from './roads.ts'
import { decodeRequestBatch, encodeMessage, encodeRequestBatch, makeBlock } from './wire/codec.ts'
import { verdictOf } from './wire/gossip-rules.ts'
import { signMessage, type Verifier } from './wire/verify.ts'

const HEARTBEAT_MS = 2_000
/** State is flushed to disk every so many blocks; after a crash at most these are executed again. */
const CHECKPOINT_BLOCKS = 64
const RECENT_BODIES_MAX = 32
/** A request that still waits after this long is told to the others again. */
const REPEAT_REQUESTS_MS = 3_000
const REPEAT_REQUESTS_MAX = 200
const ANSWER_INTERVAL_MS = 100

export type DriverOptions = {
  readonly chainId: Digest
  readonly ledger: Ledger
  readonly mempool: Mempool
  readonly storage: Storage
  readonly network: Network
  readonly verifier: Verifier
  readonly signer: Signer
  readonly clock: Clock
  readonly log: Log
  /** What was on disk for the height after the head. */
  readonly restored: readonly VoteRecord[]
  /** Below this height nothing is signed: the disk was lost (consensus.md §1.3). */
  readonly signFrom: Height
  readonly pacemaker: {
    readonly viewTimeoutMs: number
    readonly viewTimeoutMaxMs: number
    readonly resendMs: number
  }
  /** Called after each executed block. */
  readonly onExecuted: (block: Block, results: readonly RequestResult[]) => void
  /** The disk failed or our state diverged: the peer must stop. */
  readonly onFatal: (error: unknown) => void
}

export type Driver = {
  start(): void
  stop(): Promise<void>
  /** Queues a verified request; resolves when it was executed. Rejects with `mempool-full`, `client-limit`, `request-stale`, or the signal's reason. */
  submit(request: Verified<Request>, signal: AbortSignal): Promise<RequestResult>
  view(): ConsensusView & {
    readonly role: 'primary' | 'validator' | 'observer'
  }
  /** Ms since a quorum of validators was last known to be at our head or behind it; what `policy-stale` is measured by. */
  staleMs(): number
}

export function makeDriver(options: DriverOptions): Driver {
  const { ledger, mempool, storage, network, verifier, clock, log } = options
  const inputs: Input[] = []
  let stepping = false
  let stopped = false
  let pendingTold = false
  let committee: Committee = committeeOf(asHeight(ledger.head().height + 1))
  let self: ValidatorIndex | null = null
  const timers = new Map<string, () => void>()
  const waiters = new Map<
    RequestId,
    {
      resolve: (result: RequestResult) => void
      reject: (error: unknown) => void
    }[]
  >()
  const bodies = new Map<BlockId, Block>()
  const heardMs = new Map<ValidatorIndex, number>()
  const answeredMs = new Map<ValidatorIndex, number>()
  const cameFirst = makeCrossing()
  const stops: (() => void)[] = []
  let blocksSinceCheckpoint = 0

  const outbox: Outbox = makeOutbox(
    changes => storage.write(changes),
    error => options.onFatal(error),
  )
  const replica = new Replica({
    sign: unsigned => signAs(unsigned),
    checkBlock: (block, fresh, nowMs) => ledger.checkBlock(block, fresh, nowMs),
    pacemaker: options.pacemaker,
  })
  const catchUp: CatchUp = makeCatchUp({
    network,
    storage,
    verifier,
    log,
    head: () => ledger.head().height,
    recentBody: id => bodies.get(id) ?? null,
    deliver: message => feed({ type: 'message', message, nowMs: clock.nowMs() }),
    settled: () => outbox.drained(),
  })
  const batcher = makeRequestBatcher(clock, batch =>
    network.publish(TOPICS.request, wrapForGossip(encodeRequestBatch(batch), clock.nowMs())),
  )

  function committeeOf(height: Height): Committee {
    const found = ledger.committeeAt(height)
    assert(found !== null, `no committee at height ${height}`)
    return found
  }

  function signAs(unsigned: Unsigned): Verified<SignedMessage> {
    return signMessage(unsigned, {
      chainId: options.chainId,
      committee,
      signer: options.signer,
    })
  }

  // ---- inputs ----

  /** Steps are never nested: an effect that causes an input queues it. */
  function feed(input: Input): void {
    inputs.push(input)
    if (stepping || stopped) return
    stepping = true
    try {
      for (let next = inputs.shift(); next !== undefined && !stopped; next = inputs.shift())
        for (const effect of replica.step(next)) perform(effect)
    } catch (error) {
      stopped = true
      options.onFatal(error)
    } finally {
      stepping = false
    }
  }

  function begin(restored: readonly VoteRecord[]): void {
    const head = ledger.head()
    const height = asHeight(head.height + 1)
    committee = committeeOf(height)
    const mine = committee.validators.find(validator => validator.peerId === network.self)
    self = mine === undefined ? null : mine.index
    feed({
      type: 'start',
      height,
      committee,
      self,
      signFrom: options.signFrom,
      parent: {
        id: head.id,
        timestamp: head.timestamp,
        author: head.author,
        certificate: parentCertificate,
      },
      restored,
      pending: mempool.size > 0,
      nowMs: clock.nowMs(),
    })
    pendingTold = mempool.size > 0
  }
  let parentCertificate: DecideCertificate | null = null

  function tellPending(): void {
    const pending = mempool.size > 0
    if (pending === pendingTold) return
    pendingTold = pending
    feed({ type: 'pending', pending, nowMs: clock.nowMs() })
  }

  // ---- effects ----

  function perform(effect: Effect): void {
    switch (effect.type) {
      case 'persist':
        return outbox.persist({ type: 'vote', record: effect.record })
      case 'broadcast':
        return sendToAll(effect.message)
      case 'send': {
        const to = committee.validators[effect.to]
        if (to === undefined || to.peerId === network.self) return
        const message = effect.message
        return outbox.after(() => sendTo(to.peerId, encodeMessage(message), message))
      }
      case 'propose':
        return propose(effect.view)
      case 'decide':
        return decide(effect.block, effect.certificate)
      case 'fetch':
        return catchUp.fetchBody(effect.id)
      case 'catch-up':
        return catchUp.run(shuffled([...network.directPeers()]))
      case 'answer-decided':
        return void answerDecided(effect.to, effect.height)
      case 'set-timer':
        return setTimer(effect.timer, effect.afterMs, {
          type: 'timer',
          timer: effect.timer,
          height: effect.height,
          view: effect.view,
        })
      case 'cancel-timer':
        return cancelTimer(effect.timer)
      case 'fault':
        return reportFault(effect.evidence)
    }
  }

  function sendToAll(message: ConsensusMessage): void {
    if (message.type === 'PRE-PREPARE') remember(message.block)
    const to = committee
    outbox.after(() => {
      if (stopped) return
      broadcast(network, to, message, encodeMessage(message), clock.nowMs())
      // Comes back as an input only now: a replica counts its own vote when it is durable. Signed by us, so nothing is left to check.
      feed({
        type: 'message',
        message: message as Verified<ConsensusMessage>,
        nowMs: clock.nowMs(),
      })
    })
  }

  function sendTo(peer: PeerId, bytes: Uint8Array, message: ConsensusMessage): void {
    if (!network.sendDirect(peer, bytes)) network.publish(topicOf(message), wrapForGossip(bytes, clock.nowMs()))
  }

  function propose(view: View): void {
    if (self === null) return
    const parameters = ledger.parameters()
    const requests = mempool.take({
      countMax: parameters.blockRequestsMax,
      bytesMax: parameters.blockBytesMax,
    })
    const requestsRoot = asDigest(toHex(merkleRoot(requests.map(request => request.bytes))))
    const nowMs = clock.nowMs()
    const block = makeBlock(ledger.headerFor({ author: self, view, nowMs, requests, requestsRoot }), requests)
    feed({ type: 'built', height: block.header.height, view, block, nowMs })
  }

  /** P-37, P-38. The client hears at once: the votes that decided are durable, so even a total crash decides the same again. */
  function decide(block: Block, certificate: DecideCertificate): void {
    const fault = ledger.checkBlock(block, false, clock.nowMs())
    if (fault !== null)
      throw new EmrmError(
        'state-diverged',
        `block ${block.header.height} was agreed, but this peer finds it wrong (${fault.reason}); stop and restore this home from another peer`,
        {
          height: block.header.height,
          reason: fault.reason,
        },
      )
    const { results, outcomes } = ledger.execute(block)
    parentCertificate = certificate
    mempool.remove(block.requests.map(request => request.id))
    mempool.expire(block.header.timestamp)
    store(block, certificate, outcomes)
    for (const result of results) {
      const waiting = waiters.get(result.request)
      if (waiting === undefined) continue
      waiters.delete(result.request)
      for (const waiter of waiting) waiter.resolve(result)
    }
    log.debug('decided', {
      height: block.header.height,
      id: block.id,
      view: certificate.view,
      path: certificate.path,
      requests: block.requests.length,
    })
    options.onExecuted(block, results)
    if (self === block.header.author && observersListen())
      network.publish(TOPICS.blockId, wrapForGossip(encodeMessage(decidedMessage(block, certificate)), clock.nowMs()))
    begin([])
  }

  /** The block before anything of the next height: one order of writes (consensus.md §1.3, last row). */
  function store(block: Block, certificate: DecideCertificate, outcomes: readonly Outcome[]): void {
    outbox.persist({ type: 'block', block, certificate, outcomes })
    outbox.persist({ type: 'forget-votes', height: block.header.height })
    if (++blocksSinceCheckpoint < CHECKPOINT_BLOCKS) return
    blocksSinceCheckpoint = 0
    outbox.persist({ type: 'checkpoint', ...ledger.checkpoint() })
  }

  async function answerDecided(to: ValidatorIndex, height: Height): Promise<void> {
    const validator = committee.validators[to]
    const nowMs = clock.nowMs()
    if (validator === undefined || nowMs - (answeredMs.get(to) ?? Number.NEGATIVE_INFINITY) < ANSWER_INTERVAL_MS) return
    answeredMs.set(to, nowMs)
    await outbox.drained()
    const stored = await storage.blockAt(height)
    if (stored === null || stopped) return
    const message = decidedMessage(stored.block, stored.certificate)
    sendTo(validator.peerId, encodeMessage(message), message)
  }

  function setTimer(name: string, afterMs: number, input: Omit<Extract<Input, { type: 'timer' }>, 'nowMs'>): void {
    cancelTimer(name)
    timers.set(
      name,
      clock.after(afterMs, () => {
        timers.delete(name)
        feed({ ...input, nowMs: clock.nowMs() })
      }),
    )
  }

  function cancelTimer(name: string): void {
    timers.get(name)?.()
    timers.delete(name)
  }

  function reportFault(evidence: Evidence): void {
    log.warn('validator-fault', {
      fault: evidence.fault,
      validator: evidence.replica,
      height: evidence.height,
    })
  }

  // ---- what comes from the network ----

  function onBytes(bytes: Uint8Array, from: PeerId, road: Road): GossipVerdict {
    if (stopped || !cameFirst(bytes, road)) return 'accept'
    const checked = verifier.message(bytes)
    if (checked.type === 'ok') {
      const message = checked.value
      if ('sender' in message) noteHeard(message)
      if (message.type === 'PRE-PREPARE') remember(message.block)
      feed({ type: 'message', message, nowMs: clock.nowMs() })
    } else if (checked.type === 'fault') log.warn('message-refused', { peer: from, reason: checked.reason })
    return verdictOf(checked)
  }

  function onRequestBatch(bytes: Uint8Array, from: PeerId): GossipVerdict {
    const batch = decodeRequestBatch(bytes)
    for (const request of batch) {
      const checked = verifier.request(request)
      if (checked.type === 'fault') {
        log.warn('request-refused', { peer: from, reason: checked.reason })
        return 'reject'
      }
      if (checked.type === 'ok' && !ledger.isExecuted(checked.value.id)) mempool.add(checked.value, blockTime())
    }
    tellPending()
    return 'accept'
  }

  /** Fresh while q validators (ourselves among them) spoke lately of heights that we have. */
  function noteHeard(message: SignedMessage): void {
    if (message.height <= ledger.head().height + 1) heardMs.set(message.sender, clock.nowMs())
  }

  function staleMs(): number {
    const nowMs = clock.nowMs()
    const heard = committee.validators
      .map(validator => (validator.index === self ? nowMs : (heardMs.get(validator.index) ?? Number.NEGATIVE_INFINITY)))
      .sort((a, b) => b - a)
    return nowMs - (heard[committee.quorum.commitCertificate - 1] as number)
  }

  const blockTime = (): number => Math.max(ledger.head().timestamp, clock.nowMs())

  function remember(block: Block): void {
    if (bodies.has(block.id)) return
    bodies.set(block.id, block)
    if (bodies.size > RECENT_BODIES_MAX) bodies.delete(bodies.keys().next().value as BlockId)
  }

  function observersListen(): boolean {
    const validators = new Set(committee.validators.map(validator => validator.peerId))
    for (const peer of network.directPeers()) if (!validators.has(peer)) return true
    return false
  }

  function heartbeat(): void {
    if (stopped) return
    if (self !== null && asHeight(ledger.head().height + 1) >= options.signFrom) {
      const view = replica.view()?.view ?? (0 as View)
      const status = signAs({
        type: 'STATUS',
        height: asHeight(ledger.head().height + 1),
        view,
        sender: self,
      })
      broadcast(network, committee, status, encodeMessage(status), clock.nowMs())
    }
    repeatRequests()
    stops[0] = clock.after(HEARTBEAT_MS, heartbeat)
  }

  /** A request that gossip lost would wait for ever at one peer. */
  let repeatedMs = 0
  function repeatRequests(): void {
    if (mempool.size === 0 || clock.nowMs() - repeatedMs < REPEAT_REQUESTS_MS) return
    repeatedMs = clock.nowMs()
    mempool.expire(blockTime())
    for (const request of mempool.take({
      countMax: REPEAT_REQUESTS_MAX,
      bytesMax: 64 * 1024,
    }))
      batcher.add(request.bytes)
    tellPending()
  }

  network.onDirect((bytes, from) => void onBytes(bytes, from, 'direct'))
  for (const topic of [TOPICS.prePrepare, TOPICS.commit, TOPICS.blockId, TOPICS.viewChange])
    network.onGossip(topic, (bytes, from) => {
      const inner = unwrapFromGossip(bytes)
      return inner === null ? 'reject' : onBytes(inner, from, 'gossip')
    })
  network.onGossip(TOPICS.request, (bytes, from) => {
    const inner = unwrapFromGossip(bytes)
    if (inner === null) return 'reject'
    try {
      return onRequestBatch(inner, from)
    } catch (error) {
      log.warn('batch-refused', {
        peer: from,
        reason: error instanceof Error ? error.message : 'malformed',
      })
      return 'reject'
    }
  })
  network.onPeer((peer, event) => {
    if (event === 'connected') catchUp.run([peer])
  })

  return {
    start() {
      begin(options.restored)
      heartbeat()
    },
    async stop() {
      stopped = true
      for (const cancel of [...timers.values(), ...stops]) cancel()
      batcher.stop()
      catchUp.stop()
      for (const waiting of waiters.values())
        for (const waiter of waiting)
          waiter.reject(new EmrmError('peer-stopping', 'the peer stops; ask again when it runs'))
      waiters.clear()
      await outbox.drained()
      if (blocksSinceCheckpoint > 0) await storage.write([{ type: 'checkpoint', ...ledger.checkpoint() }])
    },
    submit(request, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted()
        const added = mempool.add(request, blockTime())
        if (added === 'full')
          return reject(
            new EmrmError('mempool-full', 'this peer has too many requests waiting; send it again in a moment'),
          )
        if (added === 'client-limit')
          return reject(
            new EmrmError('client-limit', 'this client has too many requests waiting; send it again in a moment'),
          )
        if (added === 'stale')
          return reject(
            new EmrmError(
              'request-stale',
              'the request is too old or too new for block time; check the clock and sign it again',
            ),
          )
        const waiter = { resolve, reject }
        const waiting = waiters.get(request.id)
        if (waiting === undefined) waiters.set(request.id, [waiter])
        else waiting.push(waiter)
        signal.addEventListener(
          'abort',
          () => {
            const left = waiters.get(request.id)?.filter(other => other !== waiter) ?? []
            if (left.length === 0) waiters.delete(request.id)
            else waiters.set(request.id, left)
            reject(signal.reason)
          },
          { once: true },
        )
        if (added === 'added') batcher.add(request.bytes)
        tellPending()
      })
    },
    view() {
      const now = replica.view()
      const height = asHeight(ledger.head().height + 1)
      return {
        height: now?.height ?? height,
        view: now?.view ?? (0 as View),
        primary: now?.primary ?? 0,
        role: self === null ? 'observer' : now?.primary === self ? 'primary' : 'validator',
      }
    },
    staleMs,
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  const mixed = [...items]
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[mixed[i], mixed[j]] = [mixed[j] as T, mixed[i] as T]
  }
  return mixed
}
