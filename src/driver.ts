// The loop of a peer: next input → step of the replica → effects in order → ledger → results. It knows the order of the stages and
// nothing else does; it holds no rule of the protocol. Effects that must be durable first go through the outbox, the rest at once.
// Not here: requests on their way in (intake.ts), roads (roads.ts), blocks by range (catch-up.ts), signs of life (heartbeat.ts), what becomes
// of liars (accuser.ts), medical bytes (records).

import { type Accuser, makeAccuser } from './accuser.ts'
import { type BlockServer, decidedMessage, makeBlockServer } from './block-server.ts'
import { type CatchUp, makeCatchUp } from './catch-up.ts'
import type { Effect } from './consensus/effect.ts'
import type { Input } from './consensus/input.ts'
import { Replica } from './consensus/replica.ts'
import { type Heartbeat, makeHeartbeat } from './heartbeat.ts'
import { type Intake, makeIntake } from './intake.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { Mempool } from './mempool.ts'
import type { Block, Request } from './model/block.ts'
import type { Committee } from './model/committee.ts'
import { assert, EmrmError } from './model/errors.ts'
import {
  asHeight,
  asTimestamp,
  type Digest,
  type Height,
  type PeerId,
  type Timestamp,
  type ValidatorIndex,
  type Verified,
  type View,
} from './model/ids.ts'
import type { ConsensusMessage, DecideCertificate, SignedMessage, Unsigned } from './model/messages.ts'
import type { Outcome, RequestResult } from './model/operations.ts'
import type { VoteRecord } from './model/vote-record.ts'
import { makeOutbox, type Outbox } from './outbox.ts'
import {
  type Clock,
  type ConsensusView,
  type GossipVerdict,
  type Log,
  type Network,
  type SignatureChecker,
  type Signer,
  type Storage,
  TOPICS,
  type Topic,
} from './ports.ts'
import { broadcast, hasObservers, makeCrossing, type Road, topicOf, unwrapFromGossip, wrapForGossip } from './roads.ts'
import { makeSnapshots, type Snapshots } from './snapshot/snapshots.ts'
import { decodeMessage, encodeMessage, makeBlock, requestsRootOf } from './wire/codec.ts'
import { verdictOf } from './wire/gossip-rules.ts'
import { signMessage, type Verifier } from './wire/verify.ts'

/** State is flushed to disk every so many blocks; after a crash at most these are executed again. */
const CHECKPOINT_BLOCKS = 64

export type DriverOptions = {
  readonly chainId: Digest
  readonly ledger: Ledger
  readonly mempool: Mempool
  readonly storage: Storage
  readonly network: Network
  readonly verifier: Verifier
  readonly signatures: Pick<SignatureChecker, 'check'>
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
  /** Called after a snapshot replaced the state as a whole. */
  readonly onAdopted: () => void
  /** The disk failed or our state diverged: the peer must stop. */
  readonly onFatal: (error: unknown) => void
}

export type Driver = {
  start(): void
  stop(): Promise<void>
  /** Resolves when the request was executed here. */
  submit(request: Verified<Request>, timeoutMs: number): Promise<RequestResult>
  view(): ConsensusView & { readonly role: 'primary' | 'validator' | 'observer' }
  /** Resolves when all that was decided so far stands in the store: a client hears of its result a moment before. */
  stored(): Promise<void>
  /** Ms since a quorum of validators was last known to be at our head or behind it: what `policy-stale` is measured by. */
  staleMs(): number
}

export function makeDriver(options: DriverOptions): Driver {
  const { ledger, mempool, storage, network, verifier, clock, log } = options
  const inputs: Input[] = []
  let stepping = false
  let stopped = false
  let pendingTold = false
  let committee: Committee = committeeAt(nextHeight())
  let self: ValidatorIndex | null = null
  let headCertificate = options.headCertificate
  let blocksSinceCheckpoint = 0
  const timers = new Map<string, () => void>()
  const cameFirst = makeCrossing()

  const outbox: Outbox = makeOutbox(changes => storage.write(changes), options.onFatal)
  const replica = new Replica({
    sign: signAs,
    // Its inputs carry steady time, so that a clock that is set back delays nothing; a block's date is judged by the clock on the wall.
    checkBlock: (block, fresh) => ledger.checkBlock(block, fresh, clock.nowMs()),
    pacemaker: options.pacemaker,
  })
  const intake: Intake = makeIntake({
    mempool,
    network,
    verifier,
    clock,
    log,
    isExecuted: id => ledger.isExecuted(id),
    blockTime,
    onChange: tellPending,
  })
  const blockServer: BlockServer = makeBlockServer({
    ...{ network, storage, clock, tell },
    drained: () => outbox.drained(),
  })
  const catchUp: CatchUp = makeCatchUp({
    network,
    verifier,
    log,
    signatures: options.signatures,
    head: () => ledger.head().height,
    deliver: message => feed({ type: 'message', message, nowMs: clock.steadyMs() }),
    settled: () => outbox.drained(),
    far: () => snapshots.far(),
    bySnapshot: peers => snapshots.join(peers),
  })
  const snapshots: Snapshots = makeSnapshots({
    ...{ chainId: options.chainId, ledger, network, storage, log },
    drained: () => outbox.drained(),
    persist: change => outbox.persist(change),
    onAdopted,
    onFatal: fail,
  })
  const heartbeat: Heartbeat = makeHeartbeat({
    ...{ network, clock, log, catchUp, signFrom: options.signFrom, onSignFrom: options.onSignFrom },
    committee: () => committee,
    self: () => self,
    nextHeight,
    sayStatus,
    onBeat: () => intake.repeat(),
  })
  const accuser: Accuser = makeAccuser({
    ...{ chainId: options.chainId, signer: options.signer, clock, log, blockTime },
    isKnown: (accused, { fault, height }) =>
      ledger.views.evidenceAgainst(accused).some(entry => entry.fault === fault && entry.faultHeight === height),
    submit: (request, timeoutMs) => intake.submit(request, timeoutMs),
  })

  function nextHeight(): Height {
    return asHeight(ledger.head().height + 1)
  }

  function blockTime(): Timestamp {
    return asTimestamp(Math.max(ledger.head().timestamp, clock.nowMs()))
  }

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
    if (snapshots.isAdopting()) return
    inputs.push(input)
    if (stepping || stopped) return
    stepping = true
    try {
      for (let next = inputs.shift(); next !== undefined && !stopped; next = inputs.shift())
        for (const effect of replica.step(next)) perform(effect)
    } catch (error) {
      fail(error)
    } finally {
      stepping = false
    }
  }

  function fail(error: unknown): void {
    stopped = true
    options.onFatal(error)
  }

  function begin(restored: readonly VoteRecord[]): void {
    const { id, timestamp, author } = ledger.head()
    const height = nextHeight()
    committee = committeeAt(height)
    self = committee.validators.find(validator => validator.peerId === network.self)?.index ?? null
    pendingTold = mempool.size > 0
    feed({
      type: 'start',
      height,
      committee,
      self,
      signFrom: heartbeat.signFrom() ?? (Number.MAX_SAFE_INTEGER as Height),
      parent: { id, timestamp, author, certificate: headCertificate },
      restored,
      pending: pendingTold,
      nowMs: clock.steadyMs(),
    })
  }

  function tellPending(): void {
    const pending = mempool.size > 0
    if (pending === pendingTold) return
    pendingTold = pending
    feed({ type: 'pending', pending, nowMs: clock.steadyMs() })
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
        return void blockServer.answerDecided(effect.to, effect.height)
      case 'set-timer':
        return setTimer(effect)
      case 'cancel-timer':
        return cancelTimer(effect.timer)
      case 'fault':
        return accuser.accuse(effect.evidence, committee, self)
    }
  }

  /** Comes back as an input once it is durable, and not before: only then does a replica count its own vote. */
  function tellAll(message: ConsensusMessage): void {
    if (message.type === 'PRE-PREPARE') blockServer.remember(message.block)
    const to = committee
    outbox.after(() => {
      if (stopped || isPointless(message)) return
      broadcast(network, to, message, encodeMessage(message), clock.nowMs())
      feed({ type: 'message', message: message as Verified<ConsensusMessage>, nowMs: clock.steadyMs() })
    })
  }

  /** R4: after deciding, no more BLOCK-IDs. Most are overtaken by the fast decision while they wait for the disk. */
  const isPointless = (message: ConsensusMessage): boolean =>
    message.type === 'BLOCK-ID' && message.height <= ledger.head().height

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
    const requestsRoot = requestsRootOf(requests)
    const nowMs = clock.nowMs()
    const block = makeBlock(ledger.headerFor({ author: self, view, nowMs, requests, requestsRoot }), requests)
    feed({ type: 'built', height: block.header.height, view, block, nowMs: clock.steadyMs() })
  }

  /** P-37, P-38. The client hears at once: the votes that decided are durable, so even a total crash decides the same again. */
  function decide(block: Block, certificate: DecideCertificate): void {
    const { height, author } = block.header
    const fault = ledger.checkBlock(block, false, clock.nowMs())
    if (fault !== null) throw diverged(height, fault.reason)
    const handover = ledger.handover()
    const { results, outcomes } = ledger.execute(block)
    headCertificate = certificate
    store(block, certificate, outcomes)
    snapshots.executed(block, certificate, handover)
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

  /** On a snapshot now. The requests among its blocks are not known one by one, but which of them may not run again is. */
  function onAdopted(certificate: DecideCertificate): void {
    headCertificate = certificate
    blocksSinceCheckpoint = 0
    intake.forgetExecuted()
    options.onAdopted()
    begin([])
  }

  function setTimer(effect: Extract<Effect, { type: 'set-timer' }>): void {
    const { timer, height, view, afterMs } = effect
    cancelTimer(timer)
    const expire = (): void => {
      timers.delete(timer)
      feed({ type: 'timer', timer, height, view, nowMs: clock.steadyMs() })
    }
    timers.set(timer, clock.after(afterMs, expire))
  }

  function cancelTimer(name: string): void {
    timers.get(name)?.()
    timers.delete(name)
  }

  // ---- what comes from the network ----

  function onBytes(bytes: Uint8Array, from: PeerId, road: Road, topic: Topic | null): GossipVerdict {
    if (stopped || !cameFirst(bytes, road)) return 'accept'
    const checked = verifier.message(bytes)
    if (checked.type === 'ok') {
      const message = checked.value
      // Of an older height it may be a member of an older committee.
      if ('sender' in message && message.height === nextHeight()) heartbeat.heard(message.sender)
      if (message.type === 'PRE-PREPARE') blockServer.remember(message.block)
      feed({ type: 'message', message, nowMs: clock.steadyMs() })
    } else if (checked.type === 'fault') {
      log.warn('message-refused', { peer: from, reason: checked.reason })
      if (checked.sender !== null && checked.reason.startsWith('justification-')) accuseUnjustified(bytes)
    }
    return topic === null ? verdictOf(checked) : verdictOf(checked, { topic, head: ledger.head().height })
  }

  /** E7 that never reaches the replica: its signature covers a justification that does not hold. */
  function accuseUnjustified(bytes: Uint8Array): void {
    const first = decodeMessage(bytes)
    if (first.type !== 'PRE-PREPARE' || first.view === 0 || first.height !== nextHeight()) return
    const evidence = { fault: 'unjustified-proposal', height: first.height, replica: first.sender } as const
    accuser.accuse({ ...evidence, first, second: null }, committee, self)
  }

  function sayStatus(): void {
    if (self === null) return
    const status = signAs({
      type: 'STATUS',
      height: nextHeight(),
      view: replica.view()?.view ?? (0 as View),
      sender: self,
    })
    broadcast(network, committee, status, encodeMessage(status), clock.nowMs())
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
      heartbeat.start()
    },
    async stop() {
      stopped = true
      heartbeat.stop()
      accuser.stop()
      for (const cancel of timers.values()) cancel()
      intake.stop()
      catchUp.stop()
      await snapshots.stop()
      await outbox.drained()
      if (blocksSinceCheckpoint > 0) await storage.write([{ type: 'checkpoint', ...ledger.checkpoint() }])
    },
    submit: (request, timeoutMs) => intake.submit(request, timeoutMs),
    view() {
      const now = replica.view()
      const role = self === null ? 'observer' : now?.primary === self ? 'primary' : 'validator'
      return { height: now?.height ?? nextHeight(), view: now?.view ?? (0 as View), primary: now?.primary ?? 0, role }
    },
    stored: () => outbox.drained(),
    staleMs: () => heartbeat.staleMs(),
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
