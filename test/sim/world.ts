// A committee, its network, its adversary and its clock: one seed is one run. Before GST messages are late, lost, doubled and cut
// off, and processes crash at every point; after it links are reliable within 10 ms and everything must be executed.
// Not here: what must hold (checkers.ts), what liars do (adversary.ts).

import { Replica } from '../../src/consensus/replica.ts'
import type { Block, Request } from '../../src/model/block.ts'
import { type Committee, makeCommittee, type Validator } from '../../src/model/committee.ts'
import type { BlockId, Digest, Height, PeerId, PublicKey, ValidatorIndex } from '../../src/model/ids.ts'
import type { ConsensusMessage, DecideCertificate, Evidence } from '../../src/model/messages.ts'
import { defaultFaults } from '../../src/model/quorum.ts'
import { type Adversary, makeAdversary } from './adversary.ts'
import { Checkers, type Faults, Violation } from './checkers.ts'
import { makeSimParts, type Notary, type Parts } from './parts.ts'
import { makeRandom, type Random } from './random.ts'
import { makeRealParts } from './real-parts.ts'
import { Scheduler } from './scheduler.ts'
import { type CrashPoint, type Host, type MakeReplica, SimPeer } from './sim-peer.ts'

export type WorldOptions = {
  readonly seed: number
  readonly n: number
  readonly blocks: number
  readonly makeReplica?: MakeReplica
  /** With real signatures, codec and ledger. */
  readonly real?: boolean
  /** f by default, or none. With more than f the checkers must notice. */
  readonly liars?: number
  /** Instead of either set. */
  readonly parts?: Parts
  /** Gets a line for each message that arrives. */
  readonly trace?: (line: string) => void
}

export type Outcome = {
  readonly violation: string | null
  readonly blocks: number
  readonly events: number
  readonly decisions: Checkers['decisions']
}

/** A tenth of the seeds runs with what a peer runs: signatures, codec, ledger. */
export const isReal = (seed: number): boolean => seed % 10 === 0

const DELTA_MS = 10
/** Virtual time after GST within which everything must be executed. */
const LIVENESS_MS = 60_000
const PACEMAKER = { viewTimeoutMs: 100, viewTimeoutMaxMs: 3_200, resendMs: 25 }

/** What the links of this run do before GST. */
type Weather = {
  readonly delayMaxMs: number
  readonly loss: number
  readonly double: number
  readonly crash: number
  readonly fsyncMaxMs: number
  /** The node whose links are all slow, or -1. */
  readonly slow: number
  readonly gstMs: number
  /** How often messages of a kind are held back for long: views then end with some votes cast and others not heard. */
  readonly hold: Readonly<Partial<Record<ConsensusMessage['type'], number>>>
}

export class World {
  readonly scheduler: Scheduler = new Scheduler()
  readonly random: Random
  readonly parts: Parts
  readonly committee: Committee
  readonly peers: SimPeer[] = []
  readonly byzantine: ReadonlySet<number>
  readonly checkers: Checkers
  readonly weather: Weather
  readonly #options: WorldOptions
  readonly #adversary: Adversary
  readonly #decided = new Map<number, Map<Height, DecideCertificate>>()
  readonly #requests: Request[] = []
  /** Group of each node; nodes of different groups do not hear each other, or only one way. */
  #groups: readonly number[] = []
  #oneWay = false

  constructor(options: WorldOptions) {
    this.#options = options
    this.random = makeRandom(options.seed)
    const { random } = this
    const faults = { n: options.n, ...defaultFaults(options.n) }
    this.parts = options.parts ?? makeParts(faults, options.real === true, random.pick([0, 0, 1, 3, 10]))
    this.committee = this.parts.committee
    const liars = options.liars ?? (random.chance(0.15) ? 0 : faults.f)
    this.byzantine = new Set(random.shuffle([...Array(options.n).keys()]).slice(0, liars))
    this.checkers = new Checkers(faults, this.byzantine, this.parts.notary)
    this.weather = drawWeather(random, options)
    const host = this.#host(options.makeReplica ?? (environment => new Replica(environment)))
    for (let index = 0; index < options.n; index++)
      if (!this.byzantine.has(index)) this.#addPeer(host, index as ValidatorIndex, true)
    if (random.chance(0.1)) this.#addPeer(host, null, true)
    for (let i = 0; i < options.blocks; i++) this.#requests.push(this.parts.makeRequest(i))
    this.#adversary = makeAdversary(this, index => this.#addPeer(host, index, false))
  }

  run(): Outcome {
    let violation: string | null = null
    try {
      for (const peer of this.peers) peer.start()
      this.#schedule()
      this.scheduler.run(this.weather.gstMs + LIVENESS_MS, () => this.#finished())
      if (!this.#finished()) throw new Violation(`stuck: heights ${this.correct.map(peer => peer.height).join(' ')}`)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      violation = error.message
    }
    const { decisions } = this.checkers
    return { violation, blocks: decisions.length, events: this.scheduler.events, decisions }
  }

  get correct(): SimPeer[] {
    return this.peers.filter(peer => peer.correct)
  }

  /** All that clients send. */
  get requests(): readonly Request[] {
    return this.#requests
  }

  get notary(): Notary {
    return this.parts.notary
  }

  /** What a right clock shows. */
  get nowMs(): number {
    return this.parts.epochMs + this.scheduler.nowMs
  }

  get calm(): boolean {
    return this.scheduler.nowMs >= this.weather.gstMs
  }

  /** Puts a message on the link to a node; also the adversary's way in. */
  transmit(from: number, to: SimPeer, message: ConsensusMessage): void {
    for (const delayMs of this.#delays(from, to.node, message.type))
      this.scheduler.after(delayMs, () => {
        if (!to.alive) return
        const opened = this.notary.open(message)
        if (opened === null) return
        this.#options.trace?.(`${this.scheduler.nowMs.toFixed(1)} ${describe(from, to.node, message)}`)
        to.receive(opened)
      })
  }

  #addPeer(host: Host, self: ValidatorIndex | null, correct: boolean): SimPeer {
    const pen = self === null ? () => Promise.reject : this.notary.penOf(self)
    const peer = new SimPeer(host, {
      node: this.peers.length,
      self,
      correct,
      pen: pen as ReturnType<Notary['penOf']>,
    })
    peer.skewMs = this.parts.epochMs + this.random.between(-300, 300)
    this.peers.push(peer)
    return peer
  }

  #schedule(): void {
    const { random, scheduler, weather } = this
    for (const request of this.#requests) {
      const atMs = random.chance(0.5) ? 0 : random.next() * weather.gstMs
      for (const peer of this.peers) scheduler.at(atMs + random.next() * 60, () => this.#submit(peer, request))
    }
    for (let atMs = 0; atMs < weather.gstMs; atMs += random.between(20, 400))
      scheduler.at(atMs, () => {
        const split = random.chance(0.5)
        this.#groups = this.peers.map(() => (split ? random.between(0, 1) : 0))
        this.#oneWay = random.chance(0.3)
      })
    scheduler.at(weather.gstMs, () => {
      this.#groups = []
    })
    if (weather.crash > 0)
      for (let i = 0; i < 3; i++) {
        const peer = random.pick(this.peers)
        scheduler.at(random.next() * weather.gstMs, () => this.#crash(peer))
      }
    this.#adversary.start()
  }

  #submit(peer: SimPeer, request: Request): void {
    peer.submit(request)
  }

  #crash(peer: SimPeer): void {
    if (!peer.alive) return
    peer.crash()
    const { gstMs } = this.weather
    const backMs = Math.min(this.scheduler.nowMs + this.random.between(1, 400), gstMs)
    this.scheduler.at(backMs, () => {
      peer.start()
    })
  }

  /** §1.9: of each sender eight COMMITs, eight BLOCK-IDs and a VIEW-CHANGE; early messages, answers, faults and bodies beside them. */
  checkMemory(peer: SimPeer): void {
    const limit = this.committee.validators.length * (8 + 8 + 1) + 48
    const held = peer.replica?.held() ?? 0
    if (held > limit) throw new Violation(`replica ${peer.node} holds ${held} messages of one height`)
  }

  #finished(): boolean {
    for (const peer of this.correct) {
      if (!peer.alive) return false
      for (const request of this.#requests) if (!peer.application.isExecuted(request.id)) return false
    }
    return true
  }

  #delays(from: number, to: number, type?: ConsensusMessage['type']): number[] {
    const { random, weather } = this
    if (this.calm) return [1 + random.next() * (DELTA_MS - 1)]
    const hold = type === undefined ? 0 : (weather.hold[type] ?? 0)
    if (hold > 0 && random.chance(hold)) return [50 + random.next() * 1_000]
    if (this.#isCut(from, to) || random.chance(weather.loss)) return []
    const slowMs = from === weather.slow || to === weather.slow ? weather.delayMaxMs : 0
    const one = (): number => 1 + slowMs + random.next() * (random.chance(0.3) ? weather.delayMaxMs : DELTA_MS)
    return random.chance(weather.double) ? [one(), one()] : [one()]
  }

  #isCut(from: number, to: number): boolean {
    const [a, b] = [this.#groups[from] ?? 0, this.#groups[to] ?? 0]
    return from >= 0 && (this.#oneWay ? a < b : a !== b)
  }

  #host(makeReplica: MakeReplica): Host {
    const { scheduler, random } = this
    return {
      scheduler,
      random,
      makeReplica,
      makeApplication: this.parts.makeApplication,
      stored: this.parts.stored,
      pacemaker: PACEMAKER,
      blockRequestsMax: 2,
      committeeAt: () => this.committee,
      fsyncMs: () => random.next() * this.weather.fsyncMaxMs,
      crashesAt: (peer, point) => this.#crashesAt(peer, point),
      sendToAll: (peer, message) => {
        if (peer.correct) {
          this.checkers.onSent(message, peer.disk)
          if (message.type === 'STATUS') this.checkMemory(peer)
        } else if (message.type === 'PRE-PREPARE') this.checkers.onPrePrepare(message)
        this.#adversary.observe(message)
        for (const to of this.peers) {
          const said = to === peer ? null : this.#adversary.says(peer, to, message)
          if (said !== null) this.transmit(peer.node, to, said)
        }
      },
      includes: (_peer, { id }) => !this.#adversary.censored.has(id),
      sendTo: (peer, index, message) => {
        for (const to of this.peers) {
          const said = to.self === index && to !== peer ? this.#adversary.says(peer, to, message) : null
          if (said !== null) this.transmit(peer.node, to, said)
        }
      },
      askForBody: (peer, id) => this.#askForBody(peer, id),
      askForBlocks: (peer, height) => this.#askForBlocks(peer, height),
      onDecided: (peer, block, certificate) => this.#onDecided(peer, block, certificate),
      onExecuted: (peer, height, requests) => {
        if (peer.correct) this.checkers.onExecuted(height, requests)
      },
      onFault: (peer, evidence: Evidence) => {
        if (peer.correct) this.checkers.onFault(evidence)
      },
    }
  }

  #crashesAt(peer: SimPeer, _point: CrashPoint): boolean {
    if (this.calm || !this.random.chance(this.weather.crash)) return false
    this.#crash(peer)
    return true
  }

  #onDecided(peer: SimPeer, block: Block, certificate: DecideCertificate): void {
    if (!peer.correct) return
    const own = this.#decided.get(peer.node) ?? new Map<Height, DecideCertificate>()
    this.#decided.set(peer.node, own)
    this.checkers.onDecided(block, certificate, own.get(certificate.height))
    own.set(certificate.height, certificate)
    const fault = peer.application.checkBlock(block, false, this.nowMs)
    if (fault !== null)
      throw new Violation(`height ${certificate.height}: an invalid block was decided, ${fault.reason}`)
  }

  #askForBody(asker: SimPeer, id: BlockId): void {
    for (const peer of this.peers) {
      if (peer === asker) continue
      for (const delayMs of this.#delays(asker.node, peer.node))
        this.scheduler.after(delayMs, () => {
          const block = !peer.alive ? null : peer.correct ? peer.bodyOf(id) : this.#adversary.wrongBody(peer, id)
          if (block !== null) this.transmit(peer.node, asker, { type: 'BODY', block })
        })
    }
  }

  #askForBlocks(asker: SimPeer, from: Height): void {
    const peer = this.random.pick(this.peers)
    if (peer === asker) return
    for (const delayMs of this.#delays(asker.node, peer.node))
      this.scheduler.after(delayMs, () => {
        // One stream: in order, all or nothing.
        const blocks = peer.disk.blocks.slice(from - 1)
        for (const backMs of this.#delays(peer.node, asker.node))
          this.scheduler.after(backMs, () => {
            for (const stored of blocks) {
              const said = this.#adversary.says(peer, asker, { type: 'DECIDED', ...stored })
              const opened = said === null ? null : this.notary.open(said)
              if (asker.alive && opened !== null) asker.receive(opened)
            }
          })
      })
  }
}

function drawWeather(random: Random, { n, blocks }: WorldOptions): Weather {
  // A long run has a long storm.
  const gstMs = random.pick([0, 300, 800, 2_000]) * Math.max(1, blocks / 10)
  const rough = random.chance(0.7)
  return {
    gstMs,
    delayMaxMs: rough ? random.pick([50, 150, 400]) : DELTA_MS,
    loss: rough ? random.pick([0, 0.1, 0.3]) : 0,
    double: random.pick([0, 0.1]),
    crash: random.pick([0, 0, 0.01, 0.05]),
    fsyncMaxMs: random.pick([0.5, 5, 30]),
    slow: random.chance(0.2) ? random.between(0, n - 1) : -1,
    hold: random.chance(0.5)
      ? {}
      : {
          'PRE-PREPARE': random.pick([0, 0.2, 0.5]),
          COMMIT: random.pick([0, 0.4, 0.8]),
          'BLOCK-ID': random.pick([0, 0.5, 1]),
          'VIEW-CHANGE': random.pick([0, 0, 0.3]),
          DECIDED: random.pick([0, 0.9]),
        },
  }
}

const makeParts = ({ n, f, p }: Faults, real: boolean, rotationBlocks: number): Parts =>
  real ? makeRealParts(n, { rotationBlocks }) : makeSimParts(makeSimCommittee(n, f, p), rotationBlocks)

export function makeSimCommittee(n: number, f: number, p: number): Committee {
  const validators: Validator[] = []
  for (let index = 0; index < n; index++)
    validators.push({
      index: index as ValidatorIndex,
      publicKey: `key${index}` as PublicKey,
      peerId: `peer${index}` as PeerId,
      name: `hospital ${index}`,
    })
  return makeCommittee(validators, f, p, 'committee' as Digest)
}

/** `1->2 COMMIT view=0 height=7`. */
export function describe(from: number, to: number, message: ConsensusMessage): string {
  const height = 'height' in message ? message.height : message.block.header.height
  const view = 'view' in message ? ` view=${message.view}` : ''
  return `${from}->${to} ${message.type}${view} height=${height}`
}
