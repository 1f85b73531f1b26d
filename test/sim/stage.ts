// A stage for scenarios (consensus.md §8.2): real replicas in simulated processes, and a director who decides which message arrives, when
// time passes and what the liar says. Nothing moves by itself, unless `play` lets the links of a cast run. The checkers watch all of it.

import assert from 'node:assert/strict'
import { Replica } from '../../src/consensus/replica.ts'
import type { Block, Request } from '../../src/model/block.ts'
import { type Committee, leadAfter } from '../../src/model/committee.ts'
import type { BlockId, Height, ValidatorIndex, View } from '../../src/model/ids.ts'
import type {
  Commit,
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Evidence,
  SignedMessage,
  Unsigned,
  ViewChange,
} from '../../src/model/messages.ts'
import { defaultFaults } from '../../src/model/quorum.ts'
import { makeApplication, makeSimRequest } from './application.ts'
import { Checkers } from './checkers.ts'
import { SignatureOracle } from './oracle.ts'
import { makeRandom } from './random.ts'
import { Scheduler } from './scheduler.ts'
import { type CrashPoint, type Host, type MakeReplica, SimPeer } from './sim-peer.ts'
import { describe, makeSimCommittee } from './world.ts'

export type InFlight = { readonly from: number; readonly to: number; readonly message: ConsensusMessage }
export type Match = {
  readonly type?: ConsensusMessage['type']
  readonly from?: number | readonly number[]
  readonly to?: number | readonly number[]
  readonly view?: number
}
export type Links = (from: number, to: number, message: ConsensusMessage) => boolean
type Decided = { readonly block: Block; readonly certificate: DecideCertificate }

export const STAGE_PACEMAKER = { viewTimeoutMs: 100, viewTimeoutMaxMs: 3_200, resendMs: 24 }

export class Stage {
  readonly scheduler: Scheduler = new Scheduler()
  readonly oracle: SignatureOracle = new SignatureOracle()
  readonly committee: Committee
  readonly checkers: Checkers
  /** By validator; a liar has no process of its own. */
  readonly peers: Map<number, SimPeer> = new Map()
  /** Sent and not yet arrived. */
  inFlight: InFlight[] = []
  readonly decided: Map<number, Decided[]> = new Map()
  readonly evidence: Evidence[] = []
  readonly trace: string[] = []
  readonly fetches: { readonly by: number; readonly id: BlockId }[] = []
  readonly catchUps: { readonly by: number; readonly from: Height }[] = []
  readonly sent: ConsensusMessage[] = []
  /** Asked at each crash point. */
  crashesAt: (peer: SimPeer, point: CrashPoint) => boolean = () => false
  /** Whether bodies and blocks that are asked for come. */
  serves = true

  constructor(options: {
    readonly n?: number
    readonly f?: number
    readonly p?: number
    readonly liars?: readonly number[]
    /** Answered by nobody, from the beginning. */
    readonly silent?: readonly number[]
    readonly observers?: number
    /** Liars of which two unmodified processes run under one key; the second gets the next free node number. */
    readonly twins?: readonly number[]
    /** Laid over the committee that every replica is given. */
    readonly committee?: Partial<Committee>
    readonly makeReplica?: MakeReplica
    readonly signFrom?: ReadonlyMap<number, number>
    readonly rotationBlocks?: number
  }) {
    const n = options.n ?? 4
    const liars = new Set(options.liars ?? [])
    const defaults = defaultFaults(n)
    const faults = { n, f: options.f ?? defaults.f, p: options.p ?? defaults.p }
    this.committee = { ...makeSimCommittee(n, faults.f, faults.p), ...options.committee }
    this.checkers = new Checkers(faults, liars, this.oracle)
    const host = this.#host(
      options.makeReplica ?? (environment => new Replica(environment)),
      options.rotationBlocks ?? 0,
    )
    for (let index = 0; index < n; index++) {
      if (liars.has(index) || options.silent?.includes(index)) continue
      const pen = this.oracle.penOf(index as ValidatorIndex)
      const peer = new SimPeer(host, { node: index, self: index as ValidatorIndex, correct: true, pen })
      peer.signFrom = (options.signFrom?.get(index) ?? 0) as Height
      this.peers.set(index, peer)
    }
    for (let node = n; node < n + (options.observers ?? 0); node++) {
      const pen = this.oracle.penOf(node as ValidatorIndex)
      this.peers.set(node, new SimPeer(host, { node, self: null, correct: true, pen }))
    }
    for (const [i, index] of (options.twins ?? []).entries())
      for (const node of [index, n + i]) {
        const pen = this.oracle.penOf(index as ValidatorIndex)
        this.peers.set(node, new SimPeer(host, { node, self: index as ValidatorIndex, correct: false, pen }))
      }
    for (const peer of this.peers.values()) peer.start()
    this.settle()
  }

  peer(index: number): SimPeer {
    const peer = this.peers.get(index)
    assert(peer !== undefined, `validator ${index} has no process`)
    return peer
  }

  /** A request reaches these mempools (all by default). */
  request(number: number, to: readonly number[] = [...this.peers.keys()]): Request {
    const request = makeSimRequest(number)
    for (const index of to) this.peer(index).submit(request)
    this.settle()
    return request
  }

  /** Lets everything happen that needs no time and no message. */
  settle(): void {
    this.scheduler.run(this.scheduler.nowMs, () => false)
  }

  /** Lets time pass; timers fire, nothing arrives. */
  pass(ms: number): void {
    const untilMs = this.scheduler.nowMs + ms
    this.scheduler.run(untilMs, () => false)
    this.scheduler.nowMs = untilMs
  }

  /** These messages arrive, in the order in which they were sent. Returns how many. */
  deliver(match: Match = {}): number {
    const now = this.inFlight.filter(flight => matches(flight, match))
    this.inFlight = this.inFlight.filter(flight => !now.includes(flight))
    for (const flight of now) this.#arrive(flight)
    this.settle()
    return now.length
  }

  /** These messages never arrive. */
  lose(match: Match = {}): void {
    this.inFlight = this.inFlight.filter(flight => !matches(flight, match))
  }

  /** Time passes and messages arrive after 1 ms wherever `links` lets them; the others are lost. */
  play(ms: number, links: Links = () => true, done: () => boolean = () => false): void {
    const untilMs = this.scheduler.nowMs + ms
    while (this.scheduler.nowMs < untilMs && !done()) {
      const flights = this.inFlight
      this.inFlight = []
      for (const flight of flights) if (links(flight.from, flight.to, flight.message)) this.#arrive(flight)
      this.pass(1)
    }
  }

  /** The liar says this to some. */
  say(message: ConsensusMessage, to: readonly number[]): void {
    if (message.type === 'PRE-PREPARE') this.checkers.onPrePrepare(message)
    for (const index of to) this.#arrive({ from: -1, to: index, message })
    this.settle()
  }

  sign<M extends Unsigned>(message: M): M & SignedMessage {
    return this.oracle.penOf(message.sender)(message) as SignedMessage as M & SignedMessage
  }

  vote(type: 'COMMIT' | 'BLOCK-ID', sender: number, id: BlockId, view = 0, height = 1): Commit {
    return this.sign({
      type: type as 'COMMIT',
      height: height as Height,
      view: view as View,
      id,
      sender: sender as ValidatorIndex,
    })
  }

  viewChange(
    sender: number,
    view: number,
    lastVote: readonly [number, BlockId] | null = null,
    highCertificate: CommitCertificate | null = null,
    height = 1,
  ): ViewChange {
    return this.sign({
      type: 'VIEW-CHANGE',
      height: height as Height,
      view: view as View,
      lastVote: lastVote === null ? null : { view: lastVote[0] as View, id: lastVote[1] },
      highCertificate,
      sender: sender as ValidatorIndex,
    })
  }

  prePrepare(sender: number, view: number, block: Block, justification: readonly ViewChange[] = []): ConsensusMessage {
    const ordered = [...justification].sort((a, b) => a.sender - b.sender)
    const { height } = block.header
    const parentCertificate =
      [...this.decided.values()].flat().find(one => one.certificate.height === height - 1)?.certificate ?? null
    return this.sign({
      type: 'PRE-PREPARE',
      height,
      view: view as View,
      id: block.id,
      block,
      justification: ordered,
      parentCertificate,
      sender: sender as ValidatorIndex,
    })
  }

  /** A fresh block of height 1; `number` is its request, so that different numbers are different blocks. */
  block(author: number, number: number, view = 0): Block {
    const requests = [makeSimRequest(number)]
    return makeApplication().build({
      author: author as ValidatorIndex,
      view: view as View,
      nowMs: this.scheduler.nowMs,
      requests,
    })
  }

  /** What a correct replica sent last of this kind. */
  last<T extends SignedMessage['type']>(from: number, type: T): Extract<SignedMessage, { type: T }> | null {
    const found = this.sent.findLast(message => message.type === type && 'sender' in message && message.sender === from)
    return (found as Extract<SignedMessage, { type: T }> | undefined) ?? null
  }

  all<T extends SignedMessage['type']>(from: number, type: T): Extract<SignedMessage, { type: T }>[] {
    const found = this.sent.filter(message => message.type === type && 'sender' in message && message.sender === from)
    return found as Extract<SignedMessage, { type: T }>[]
  }

  /** Id of the decision of a replica at a height, or null. */
  decisionOf(index: number, height = 1): BlockId | null {
    return this.decided.get(index)?.find(one => one.certificate.height === height)?.certificate.id ?? null
  }

  viewOf(index: number): number {
    return this.peer(index).replica?.view()?.view ?? -1
  }

  #arrive(flight: InFlight): void {
    const to = this.peers.get(flight.to)
    if (to === undefined || !to.alive || !this.oracle.holds(flight.message)) return
    if (flight.message.type !== 'STATUS') this.trace.push(describe(flight.from, flight.to, flight.message))
    to.receive(flight.message)
  }

  #host(makeReplica: MakeReplica, rotationBlocks: number): Host {
    return {
      scheduler: this.scheduler,
      random: makeRandom(1),
      makeReplica,
      makeApplication: () => makeApplication(header => leadAfter(header, this.committee, rotationBlocks)),
      stored: record => record,
      pacemaker: STAGE_PACEMAKER,
      blockRequestsMax: 1,
      committeeAt: () => this.committee,
      fsyncMs: () => 0,
      crashesAt: (peer, point) => this.crashesAt(peer, point),
      sendToAll: (peer, message) => {
        if (peer.correct) this.checkers.onSent(message, peer.disk)
        else if (message.type === 'PRE-PREPARE') this.checkers.onPrePrepare(message)
        this.sent.push(message)
        for (const to of this.peers.keys()) if (to !== peer.node) this.inFlight.push({ from: peer.node, to, message })
      },
      sendTo: (peer, index, message) => {
        for (const to of this.peers.values())
          if (to.self === index && to !== peer) this.inFlight.push({ from: peer.node, to: to.node, message })
      },
      includes: () => true,
      askForBody: (peer, id) => this.#onFetch(peer, id),
      askForBlocks: (peer, from) => this.#onCatchUp(peer, from),
      onDecided: (peer, block, certificate) => {
        if (!peer.correct) return
        const own = this.decided.get(peer.node) ?? []
        this.checkers.onDecided(
          block,
          certificate,
          own.find(one => one.certificate.height === certificate.height)?.certificate,
        )
        this.decided.set(peer.node, [...own, { block, certificate }])
      },
      onExecuted: (peer, height, requests) => {
        if (peer.correct) this.checkers.onExecuted(height, requests)
      },
      onFault: (peer, evidence) => {
        if (!peer.correct) return
        this.checkers.onFault(evidence)
        this.evidence.push(evidence)
      },
    }
  }

  #onFetch(asker: SimPeer, id: BlockId): void {
    this.fetches.push({ by: asker.node, id })
    if (!this.serves) return
    for (const peer of this.peers.values()) {
      const block = peer === asker ? null : peer.bodyOf(id)
      if (block !== null) this.inFlight.push({ from: peer.node, to: asker.node, message: { type: 'BODY', block } })
    }
  }

  #onCatchUp(asker: SimPeer, from: Height): void {
    this.catchUps.push({ by: asker.node, from })
    if (!this.serves) return
    const best = [...this.peers.values()].reduce((a, b) => (b.disk.blocks.length > a.disk.blocks.length ? b : a))
    for (const stored of best.disk.blocks.slice(from - 1, from + 63))
      this.inFlight.push({ from: best.node, to: asker.node, message: { type: 'DECIDED', ...stored } })
  }
}

const among = (value: number, wanted: number | readonly number[] | undefined): boolean =>
  wanted === undefined || (typeof wanted === 'number' ? value === wanted : wanted.includes(value))

function matches({ from, to, message }: InFlight, match: Match): boolean {
  if (match.type !== undefined && message.type !== match.type) return false
  if (match.view !== undefined && !('view' in message && message.view === match.view)) return false
  return among(from, match.from) && among(to, match.to)
}
