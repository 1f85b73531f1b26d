// The loop of a peer: next input → step of the replica → effects in order → ledger → results. It knows the order of the stages and
// nothing else does; it holds no rule of the protocol. Effects that must be durable first go through the outbox, the rest at once.
// Not here: requests on their way in (intake.ts), roads (roads.ts), blocks by range (catch-up.ts), medical bytes (records).

import { type CatchUp, decidedMessage, makeCatchUp } from './catch-up.ts'
import type { Effect } from './consensus/effect.ts'
import type { Input } from './consensus/input.ts'
import { Replica } from './consensus/replica.ts'
import { type Intake, makeIntake } from './intake.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { Mempool } from './mempool.ts'
import type { Block, Request } from './model/block.ts'
import type { Committee } from './model/committee.ts'
import { assert, EmrmError } from './model/errors.ts'
import { toHex } from './model/hash.ts'
import {
  asDigest,
  asHeight,
  asTimestamp,
  type BlockId,
  type Digest,
  type Height,
  type PeerId,
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
  type Topic,
} from './ports.ts'
import { broadcast, hasObservers, makeCrossing, type Road, topicOf, unwrapFromGossip, wrapForGossip } from './roads.ts'
import { encodeMessage, makeBlock } from './wire/codec.ts'
import { verdictOf } from './wire/gossip-rules.ts'
import { signMessage, type Verifier } from './wire/verify.ts'

const HEARTBEAT_MS = 2_000
/** State is flushed to disk every so many blocks; after a crash at most these are executed again. */
const CHECKPOINT_BLOCKS = 64
const RECENT_BODIES_MAX = 32
/** A validator that is behind gets at most one block in this time; it fetches ranges when it is further behind. */
const ANSWER_INTERVAL_MS = 50

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
  /** Certificate of the head block; null when there is none. */
  readonly headCertificate: DecideCertificate | null
  /** What was on disk for the height after the head. */
  readonly restored: readonly VoteRecord[]
  /** First height that may be signed; null while that is not known, because the disk was lost (consensus.md §1.3). */
  readonly signFrom: Height | null
  /** Called once when it became known; resolves when that is on disk. */
  readonly onSignFrom: (signFrom: Height) => Promise<void>
  readonly pacemaker: { readonly viewTimeoutMs: number; readonly viewTimeoutMaxMs: number; readonly resendMs: number }
  /** Called after each executed block. */
  readonly onExecuted: (block: Block, results: readonly RequestResult[]) => void
  /** The disk failed or our state diverged: the peer must stop. */
  readonly onFatal: (error: unknown) => void
}

export type Driver = {
  start(): void
  stop(): Promise<void>
  /** Resolves when the request was executed here. */
  submit(request: Verified<Request>, timeoutMs: number): Promise<RequestResult>
  view(): ConsensusView & { readonly role: 'primary' | 'validator' | 'observer' }
  /** Ms since a quorum of validators was last known to be at our head or behind it: what `policy-stale` is measured by. */
  staleMs(): number
}

export function makeDriver(options: DriverOptions): Driver {
  const { ledger, mempool, storage, network, verifier, clock, log } = options
  const inputs: Input[] = []
  let stepping = false
  let stopped = false
  let pendingTold = false
  let committee: Committee = committeeAt(asHeight(ledger.head().height + 1))
  let self: ValidatorIndex | null = null
  let headCertificate = options.headCertificate
  let signFrom = options.signFrom
  const toldHeads = new Map<PeerId, Height>()
  let blocksSinceCheckpoint = 0
  let cancelHeartbeat: () => void = () => {}
  const timers = new Map<string, () => void>()
  const bodies = new Map<BlockId, Block>()
  const heardMs = new Map<ValidatorIndex, number>()
  const answeredMs = new Map<ValidatorIndex, number>()
  const cameFirst = makeCrossing()

  const outbox: Outbox = makeOutbox(changes => storage.write(changes), options.onFatal)
  const replica = new Replica({
    sign: signAs,
    checkBlock: (block, fresh, nowMs) => ledger.checkBlock(block, fresh, nowMs),
    pacemaker: options.pacemaker,
  })
  const intake: Intake = makeIntake({
    mempool,
    network,
    verifier,
    clock,
    log,
    isExecuted: id => ledger.isExecuted(id),
    blockTime: () => asTimestamp(Math.max(ledger.head().timestamp, clock.nowMs())),
    onChange: tellPending,
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

  function committeeAt(height: Height): Committee {
    const found = ledger.committeeAt(height)
    assert(found !== null, `no committee at height ${height}`)
    return found
  }

  function signAs(unsigned: Unsigned): Verified<SignedMessage> {
    return signMessage(unsigned, { chainId: options.chainId, committee, signer: options.signer })
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
    const { height: headHeight, id, timestamp, author } = ledger.head()
    const height = asHeight(headHeight + 1)
    committee = committeeAt(height)
    self = committee.validators.find(validator => validator.peerId === network.self)?.index ?? null
    pendingTold = mempool.size > 0
    feed({
      type: 'start',
      height,
      committee,
      self,
      signFrom: signFrom ?? (Number.MAX_SAFE_INTEGER as Height),
      parent: { id, timestamp, author, certificate: headCertificate },
      restored,
      pending: pendingTold,
      nowMs: clock.nowMs(),
    })
  }

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
        return tellAll(effect.message)
      case 'send':
        return outbox.after(() => tell(effect.to, effect.message))
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
        return setTimer(effect)
      case 'cancel-timer':
        return cancelTimer(effect.timer)
      case 'fault':
        return reportFault(effect.evidence)
    }
  }

  /** Comes back as an input once it is durable, and not before: only then does a replica count its own vote. */
  function tellAll(message: ConsensusMessage): void {
    if (message.type === 'PRE-PREPARE') remember(message.block)
    const to = committee
    outbox.after(() => {
      if (stopped) return
      broadcast(network, to, message, encodeMessage(message), clock.nowMs())
      feed({ type: 'message', message: message as Verified<ConsensusMessage>, nowMs: clock.nowMs() })
    })
  }

  function tell(to: ValidatorIndex, message: ConsensusMessage): void {
    const validator = committee.validators[to]
    if (validator === undefined || validator.peerId === network.self || stopped) return
    const bytes = encodeMessage(message)
    if (!network.sendDirect(validator.peerId, bytes))
      network.publish(topicOf(message), wrapForGossip(bytes, clock.nowMs()))
  }

  function propose(view: View): void {
    if (self === null) return
    const { blockRequestsMax, blockBytesMax } = ledger.views.parameters()
    const requests = mempool.take({ countMax: blockRequestsMax, bytesMax: blockBytesMax })
    const requestsRoot = asDigest(toHex(merkleRoot(requests.map(request => request.bytes))))
    const nowMs = clock.nowMs()
    const block = makeBlock(ledger.headerFor({ author: self, view, nowMs, requests, requestsRoot }), requests)
    feed({ type: 'built', height: block.header.height, view, block, nowMs })
  }

  /** P-37, P-38. The client hears at once: the votes that decided are durable, so even a total crash decides the same again. */
  function decide(block: Block, certificate: DecideCertificate): void {
    const { height, author } = block.header
    const fault = ledger.checkBlock(block, false, clock.nowMs())
    if (fault !== null) throw diverged(height, fault.reason)
    const { results, outcomes } = ledger.execute(block)
    headCertificate = certificate
    store(block, certificate, outcomes)
    intake.settle(results, block.header.timestamp)
    log.debug('decided', {
      height,
      id: block.id,
      view: certificate.view,
      path: certificate.path,
      requests: results.length,
    })
    options.onExecuted(block, results)
    if (self === author && hasObservers(network.directPeers(), committee.validators))
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
    const nowMs = clock.nowMs()
    if (nowMs - (answeredMs.get(to) ?? Number.NEGATIVE_INFINITY) < ANSWER_INTERVAL_MS) return
    answeredMs.set(to, nowMs)
    await outbox.drained()
    const stored = stopped ? null : await storage.blockAt(height)
    if (stored !== null) tell(to, decidedMessage(stored.block, stored.certificate))
  }

  function setTimer(effect: Extract<Effect, { type: 'set-timer' }>): void {
    const { timer, height, view, afterMs } = effect
    cancelTimer(timer)
    const expire = (): void => {
      timers.delete(timer)
      feed({ type: 'timer', timer, height, view, nowMs: clock.nowMs() })
    }
    timers.set(timer, clock.after(afterMs, expire))
  }

  function cancelTimer(name: string): void {
    timers.get(name)?.()
    timers.delete(name)
  }

  function reportFault(evidence: Evidence): void {
    log.warn('validator-fault', { fault: evidence.fault, validator: evidence.replica, height: evidence.height })
  }

  // ---- what comes from the network ----

  function onBytes(bytes: Uint8Array, from: PeerId, road: Road, topic: Topic | null): GossipVerdict {
    if (stopped || !cameFirst(bytes, road)) return 'accept'
    const checked = verifier.message(bytes)
    if (checked.type === 'ok') {
      const message = checked.value
      if ('sender' in message && message.height <= ledger.head().height + 1) heardMs.set(message.sender, clock.nowMs())
      if (message.type === 'PRE-PREPARE') remember(message.block)
      feed({ type: 'message', message, nowMs: clock.nowMs() })
    } else if (checked.type === 'fault') log.warn('message-refused', { peer: from, reason: checked.reason })
    return topic === null ? verdictOf(checked) : verdictOf(checked, { topic, head: ledger.head().height })
  }

  function staleMs(): number {
    const nowMs = clock.nowMs()
    const heard = committee.validators.map(({ index }) =>
      index === self ? nowMs : (heardMs.get(index) ?? Number.NEGATIVE_INFINITY),
    )
    return nowMs - (heard.sort((a, b) => b - a)[committee.quorum.commitCertificate - 1] as number)
  }

  function remember(block: Block): void {
    if (bodies.has(block.id)) return
    bodies.set(block.id, block)
    if (bodies.size > RECENT_BODIES_MAX) bodies.delete(bodies.keys().next().value as BlockId)
  }

  /** An idle chain is silent; this is how a peer knows that its head is still the head, and how one that is behind is found. */
  function heartbeat(): void {
    const height = asHeight(ledger.head().height + 1)
    if (signFrom === null) void askHeads()
    else if (self !== null && height >= signFrom) {
      const status = signAs({ type: 'STATUS', height, view: replica.view()?.view ?? (0 as View), sender: self })
      broadcast(network, committee, status, encodeMessage(status), clock.nowMs())
    }
    intake.repeat()
    cancelHeartbeat = clock.after(HEARTBEAT_MS, heartbeat)
  }

  /** Lost disk: what this replica signed before stands at most two heights above what n-f others can prove decided. */
  async function askHeads(): Promise<void> {
    for (const peer of network.directPeers()) {
      const others = committee.validators.filter(({ peerId }) => peerId !== network.self)
      if (!others.some(({ peerId }) => peerId === peer)) continue
      const head = await catchUp.provenHead(peer)
      if (head !== null) toldHeads.set(peer, head)
    }
    if (signFrom !== null || stopped || toldHeads.size < committee.quorum.viewChange) return
    const proven = asHeight(Math.max(...toldHeads.values()) + 3)
    await options.onSignFrom(proven)
    signFrom = proven
    log.warn('signing-again-from', { height: proven })
  }

  network.onDirect((bytes, from) => void onBytes(bytes, from, 'direct', null))
  for (const topic of [TOPICS.prePrepare, TOPICS.commit, TOPICS.blockId, TOPICS.viewChange])
    network.onGossip(topic, (wrapped, from) => {
      const bytes = unwrapFromGossip(wrapped)
      return bytes === null ? 'reject' : onBytes(bytes, from, 'gossip', topic)
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
      cancelHeartbeat()
      for (const cancel of timers.values()) cancel()
      intake.stop()
      catchUp.stop()
      await outbox.drained()
      if (blocksSinceCheckpoint > 0) await storage.write([{ type: 'checkpoint', ...ledger.checkpoint() }])
    },
    submit: (request, timeoutMs) => intake.submit(request, timeoutMs),
    view() {
      const now = replica.view()
      const role = self === null ? 'observer' : now?.primary === self ? 'primary' : 'validator'
      const height = asHeight(ledger.head().height + 1)
      return { height: now?.height ?? height, view: now?.view ?? (0 as View), primary: now?.primary ?? 0, role }
    },
    staleMs,
  }
}

const diverged = (height: Height, reason: string): EmrmError =>
  new EmrmError(
    'state-diverged',
    `block ${height} was agreed, but this peer finds it wrong (${reason}); stop it and restore this home from another peer`,
    { height, reason },
  )

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map(item => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}
