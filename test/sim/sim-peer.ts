// One simulated process: what src/driver.ts does around a replica, on virtual time. Steps are never nested, what must be durable goes
// through an outbox in front of the disk, an own broadcast comes back once it is durable, and a crash may strike at every point of
// that order. Outlives its crashes by its disk alone. Not here: who may lie (adversary.ts), what is checked (checkers.ts).

import type { Effect } from '../../src/consensus/effect.ts'
import type { Environment } from '../../src/consensus/environment.ts'
import type { Input } from '../../src/consensus/input.ts'
import type { ReplicaView } from '../../src/consensus/replica.ts'
import { Mempool } from '../../src/mempool.ts'
import type { Block, Request } from '../../src/model/block.ts'
import type { Committee } from '../../src/model/committee.ts'
import type { BlockId, Height, RequestId, ValidatorIndex, Verified } from '../../src/model/ids.ts'
import type { ConsensusMessage, DecideCertificate, Evidence } from '../../src/model/messages.ts'
import type { VoteRecord } from '../../src/model/vote-record.ts'
import type { Application } from './application.ts'
import { Disk } from './disk.ts'
import type { Pen } from './oracle.ts'
import type { Random } from './random.ts'
import type { Scheduler } from './scheduler.ts'

export type ReplicaLike = {
  step(input: Input): Effect[]
  view(): ReplicaView | null
  body(id: BlockId): Block | null
  held(): number
}
export type MakeReplica = (environment: Environment) => ReplicaLike

/** Where a crash may strike: around each fsync and each send. A disk that refuses a write ends the process, as in src/outbox.ts. */
export type CrashPoint = 'before-fsync' | 'disk-refuses' | 'after-fsync' | 'after-send'

/** What a process needs of its world. */
export type Host = {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly pacemaker: Environment['pacemaker']
  readonly makeReplica: MakeReplica
  readonly makeApplication: () => Application
  /** A record as it comes back from a disk. */
  readonly stored: (record: VoteRecord) => VoteRecord
  readonly committeeAt: (height: Height) => Committee
  /** Requests of one block. */
  readonly blockRequestsMax: number
  fsyncMs(): number
  /** True: the process dies here. */
  crashesAt(peer: SimPeer, point: CrashPoint): boolean
  sendToAll(peer: SimPeer, message: ConsensusMessage): void
  sendTo(peer: SimPeer, to: ValidatorIndex, message: ConsensusMessage): void
  askForBody(peer: SimPeer, id: BlockId): void
  /** Whether a liar puts this request into its blocks. */
  includes(peer: SimPeer, request: Request): boolean
  askForBlocks(peer: SimPeer, from: Height): void
  onDecided(peer: SimPeer, block: Block, certificate: DecideCertificate): void
  onExecuted(peer: SimPeer, height: Height, requests: readonly RequestId[]): void
  onFault(peer: SimPeer, evidence: Evidence): void
}

type Item = { readonly type: 'change' } | { readonly type: 'action'; readonly run: () => void }

const HEARTBEAT_MS = 400
const ALL = { countMax: 10_000, bytesMax: 1 << 26 }

export class SimPeer {
  readonly node: number
  readonly self: ValidatorIndex | null
  readonly correct: boolean
  readonly disk: Disk = new Disk()
  application: Application
  replica: ReplicaLike | null = null
  /** Difference of its clock from virtual time. */
  skewMs = 0
  signFrom: Height = 0 as Height
  restarts = 0
  readonly #host: Host
  readonly #pen: Pen
  readonly #mempool = new Mempool()
  #timers = new Map<string, object>()
  #inputs: Input[] = []
  #stepping = false
  #outbox: Item[] = []
  #flushing = false
  #incarnation = 0
  #parentCertificate: DecideCertificate | null = null
  #pendingTold = false

  constructor(
    host: Host,
    options: {
      readonly node: number
      readonly self: ValidatorIndex | null
      readonly correct: boolean
      readonly pen: Pen
    },
  ) {
    this.#host = host
    this.node = options.node
    this.self = options.self
    this.correct = options.correct
    this.#pen = options.pen
    this.application = host.makeApplication()
  }

  get alive(): boolean {
    return this.replica !== null
  }

  get height(): Height {
    return (this.application.head().height + 1) as Height
  }

  /** First start, or restart from the disk. */
  start(): void {
    const { disk } = this
    this.application = this.#host.makeApplication()
    this.#parentCertificate = null
    for (const { block, certificate } of disk.blocks) {
      this.#host.onExecuted(this, block.header.height, this.application.execute(block))
      this.#parentCertificate = certificate
    }
    this.#mempool.remove(this.#mempool.take(ALL).flatMap(({ id }) => (this.application.isExecuted(id) ? [id] : [])))
    this.replica = this.#host.makeReplica({
      sign: unsigned => this.#pen(unsigned),
      checkBlock: (block, fresh, nowMs) => this.application.checkBlock(block, fresh, nowMs),
      pacemaker: this.#host.pacemaker,
    })
    this.#begin(true)
    this.#host.askForBlocks(this, this.height)
    this.#later(this.#host.random.next() * HEARTBEAT_MS, () => this.#heartbeat())
  }

  /** All but the disk is gone. */
  crash(): void {
    this.restarts++
    this.#incarnation++
    this.replica = null
    this.disk.crash(this.#host.random)
    this.#timers = new Map()
    this.#inputs = []
    this.#stepping = false
    this.#outbox = []
    this.#flushing = false
  }

  submit(request: Request): void {
    if (this.application.isExecuted(request.id)) return
    this.#mempool.add(request as Verified<Request>, this.application.head().timestamp)
    this.#tellPending()
  }

  receive(message: ConsensusMessage): void {
    this.#feed({ type: 'message', message: message as Verified<ConsensusMessage>, nowMs: this.#nowMs() })
  }

  bodyOf(id: BlockId): Block | null {
    const stored = this.disk.blocks.find(({ block }) => block.id === id)
    return this.replica?.body(id) ?? stored?.block ?? null
  }

  #nowMs(): number {
    return this.#host.scheduler.nowMs + this.skewMs
  }

  #begin(restart: boolean): void {
    const head = this.application.head()
    const height = this.height
    this.#pendingTold = this.#mempool.size > 0
    this.#feed({
      type: 'start',
      height,
      committee: this.#host.committeeAt(height),
      self: this.self,
      signFrom: this.signFrom,
      parent: { id: head.id, timestamp: head.timestamp, author: head.author, certificate: this.#parentCertificate },
      restored: restart ? this.disk.records(height) : [],
      pending: this.#pendingTold,
      nowMs: this.#nowMs(),
    })
  }

  #feed(input: Input): void {
    if (this.replica === null) return
    this.#inputs.push(input)
    if (this.#stepping) return
    this.#stepping = true
    const incarnation = this.#incarnation
    for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift())
      for (const effect of this.replica.step(next)) {
        this.#perform(effect)
        if (this.#incarnation !== incarnation) return
      }
    this.#stepping = false
  }

  #perform(effect: Effect): void {
    const host = this.#host
    switch (effect.type) {
      case 'persist':
        this.disk.write({ type: 'vote', record: this.#host.stored(effect.record) })
        return this.#queueWrite()
      case 'broadcast':
        return this.#afterWrites(() => {
          if (this.#isPointless(effect.message)) return
          host.sendToAll(this, effect.message)
          this.receive(effect.message)
        })
      case 'send':
        return this.#afterWrites(() => host.sendTo(this, effect.to, effect.message))
      case 'propose': {
        const requests = this.#choose()
        // A censor has nothing to say.
        if (requests.length === 0 && this.#mempool.size > 0) return
        const author = this.self as ValidatorIndex
        const nowMs = this.#nowMs()
        const block = this.application.build({ author, view: effect.view, nowMs, requests })
        return this.#feed({ type: 'built', height: effect.height, view: effect.view, block, nowMs })
      }
      case 'decide':
        return this.#decide(effect.block, effect.certificate)
      case 'fetch':
        return host.askForBody(this, effect.id)
      case 'catch-up':
        return host.askForBlocks(this, effect.height)
      case 'answer-decided': {
        const stored = this.disk.blocks[effect.height - 1]
        if (stored !== undefined) host.sendTo(this, effect.to, { type: 'DECIDED', ...stored })
        return
      }
      case 'set-timer': {
        const { timer, height, view } = effect
        const token = {}
        this.#timers.set(timer, token)
        return this.#later(effect.afterMs, () => {
          if (this.#timers.get(timer) !== token) return
          this.#timers.delete(timer)
          this.#feed({ type: 'timer', timer, height, view, nowMs: this.#nowMs() })
        })
      }
      case 'cancel-timer':
        this.#timers.delete(effect.timer)
        return
      case 'fault':
        return host.onFault(this, effect.evidence)
    }
  }

  #decide(block: Block, certificate: DecideCertificate): void {
    this.#host.onDecided(this, block, certificate)
    this.#host.onExecuted(this, block.header.height, this.application.execute(block))
    this.#parentCertificate = certificate
    this.#mempool.remove(block.requests.map(request => request.id))
    this.disk.write({ type: 'block', block, certificate })
    this.#queueWrite()
    this.#begin(false)
  }

  /** Mostly what a peer takes; a censor (adversary.ts) leaves some out. */
  #choose(): readonly Request[] {
    const count = this.#host.blockRequestsMax
    if (this.correct) return this.#mempool.take({ ...ALL, countMax: count })
    return this.#mempool
      .take(ALL)
      .filter(request => this.#host.includes(this, request))
      .slice(0, count)
  }

  /** R4, as in src/driver.ts: after deciding, no more BLOCK-IDs. */
  #isPointless(message: ConsensusMessage): boolean {
    return message.type === 'BLOCK-ID' && message.height < this.height
  }

  #tellPending(): void {
    const pending = this.#mempool.size > 0
    if (pending === this.#pendingTold) return
    this.#pendingTold = pending
    this.#feed({ type: 'pending', pending, nowMs: this.#nowMs() })
  }

  #heartbeat(): void {
    const { self } = this
    if (self !== null && this.height >= this.signFrom) {
      const view = this.replica?.view()?.view
      if (view !== undefined)
        this.#host.sendToAll(this, this.#pen({ type: 'STATUS', height: this.height, view, sender: self }))
    }
    this.#later(HEARTBEAT_MS, () => this.#heartbeat())
  }

  /** Dies with the process. */
  #later(ms: number, run: () => void): void {
    const incarnation = this.#incarnation
    this.#host.scheduler.after(ms, () => {
      if (this.#incarnation === incarnation) run()
    })
  }

  // ---- the outbox: src/outbox.ts on virtual time ----

  #queueWrite(): void {
    this.#outbox.push({ type: 'change' })
    if (this.#flushing) return
    this.#flushing = true
    this.#later(0, () => this.#flush())
  }

  #afterWrites(run: () => void): void {
    if (this.#flushing || this.#outbox.length > 0) this.#outbox.push({ type: 'action', run })
    else {
      run()
      if (this.alive) this.#mayCrash('after-send')
    }
  }

  #flush(): void {
    const items = this.#outbox
    this.#outbox = []
    if (items.length === 0) {
      this.#flushing = false
      return
    }
    if (this.#mayCrash('before-fsync')) return
    const writes = items.filter(item => item.type === 'change').length
    this.#later(writes > 0 ? this.#host.fsyncMs() : 0, () => this.#synced(items, writes))
  }

  #synced(items: readonly Item[], writes: number): void {
    const incarnation = this.#incarnation
    if (writes > 0 && this.#mayCrash('disk-refuses')) return
    this.disk.sync(writes)
    if (this.#mayCrash('after-fsync')) return
    for (const item of items) {
      if (item.type === 'change') continue
      item.run()
      if (this.#incarnation !== incarnation || this.#mayCrash('after-send')) return
    }
    this.#flush()
  }

  #mayCrash(point: CrashPoint): boolean {
    return this.#host.crashesAt(this, point)
  }
}
