// A liar without a protocol: at random moments it votes for several blocks, claims votes it never gave, shows different VIEW-CHANGEs to
// different replicas, leads its views with two justified proposals at once, builds certificates that are too small, and replays.
// It sees everything that was sent. Its own signatures are the only ones that it can make.

import type { Block } from '../../src/model/block.ts'
import { primaryOf } from '../../src/model/committee.ts'
import type { BlockId, Height, RequestId, ValidatorIndex, View } from '../../src/model/ids.ts'
import type {
  Commit,
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  PrePrepare,
  Signed,
  SignedMessage,
  ViewChange,
  VoteClaim,
} from '../../src/model/messages.ts'
import { selectAgain } from './checkers.ts'
import type { Pen } from './oracle.ts'
import type { SimPeer } from './sim-peer.ts'
import type { World } from './world.ts'

const HEARD_MAX = 400

export class Puppet {
  readonly #world: World
  readonly #self: ValidatorIndex
  readonly #pen: Pen
  /** A hider lets others vote, reports nothing, and brings up an old certificate when another block is about to win. */
  readonly #hides: boolean
  #heard: SignedMessage[] = []
  /** Bodies by id of the heights in play. */
  readonly #blocks = new Map<BlockId, Block>()

  constructor(world: World, self: ValidatorIndex) {
    this.#world = world
    this.#self = self
    this.#pen = world.notary.penOf(self)
    this.#hides = world.random.chance(0.3)
  }

  observe(message: ConsensusMessage): void {
    if (!('signature' in message) || message.type === 'STATUS') return
    if (message.type === 'PRE-PREPARE') this.#blocks.set(message.id, message.block)
    this.#heard.push(message)
    if (this.#heard.length > 2 * HEARD_MAX) this.#heard = this.#heard.slice(-HEARD_MAX)
  }

  start(): void {
    const { random, scheduler } = this.#world
    const quick = random.chance(0.5) ? 15 : 60
    const tick = (): void => {
      this.#act()
      scheduler.after(random.between(2, quick), tick)
    }
    scheduler.after(random.between(0, 20), tick)
  }

  #act(): void {
    const { random } = this.#world
    const target = random.pick(this.#world.correct)
    const at = target.replica?.view()
    if (at === null || at === undefined) return
    const { height } = at
    const view = Math.max(0, at.view + random.pick([-1, 0, 0, 0, 1])) as View
    if (this.#hides && random.chance(0.9))
      return random.chance(0.5)
        ? this.#lead(target, height, view)
        : this.#leaveView(height, (view + random.pick([0, 1])) as View)
    const acts = [
      () => this.#vote('COMMIT', height, view),
      () => this.#vote('COMMIT', height, view),
      () => this.#vote('BLOCK-ID', height, view),
      () => this.#leaveView(height, (view + random.pick([0, 1])) as View),
      () => this.#lead(target, height, view),
      () => this.#lead(target, height, view),
      () => this.#follow(),
      () => this.#follow(),
      () => this.#forge(height),
      () => this.#replay(),
      () => this.#flood(height),
    ]
    random.pick(acts)()
  }

  #tell(message: ConsensusMessage, to: readonly SimPeer[]): void {
    if (message.type === 'PRE-PREPARE') this.#world.checkers.onPrePrepare(message)
    for (const peer of to) this.#world.transmit(-1, peer, message)
    this.observe(message)
  }

  #someone(): SimPeer[] {
    return this.#world.random.some(this.#world.correct, this.#world.random.pick([0.5, 1]))
  }

  #ids(height: Height): BlockId[] {
    return [...this.#blocks.values()].filter(block => block.header.height === height).map(block => block.id)
  }

  /** Different votes for different replicas. */
  #vote(type: 'COMMIT' | 'BLOCK-ID', height: Height, view: View): void {
    const ids = this.#ids(height)
    if (ids.length === 0) return
    for (const peer of this.#someone())
      this.#tell(this.#pen({ type, height, view, id: this.#world.random.pick(ids), sender: this.#self }), [peer])
  }

  /** As a correct replica would: votes for what was voted for last. */
  #follow(): void {
    const last = this.#heard.findLast(message => message.type === 'COMMIT' || message.type === 'BLOCK-ID')
    if (last === undefined) return
    const { type, height, view, id } = last
    this.#tell(this.#pen({ type, height, view, id, sender: this.#self }), this.#someone())
  }

  #leaveView(height: Height, view: View): void {
    const { random } = this.#world
    const target = random.chance(0.03) ? (1_000_000_000 as View) : view
    if (target < 1) return
    for (const peer of this.#someone()) this.#tell(this.#viewChange(height, target), [peer])
  }

  #viewChange(height: Height, view: View): ViewChange {
    const { random } = this.#world
    const ids = this.#ids(height)
    const lastVote: VoteClaim | null =
      ids.length === 0 || random.chance(this.#hides ? 0.9 : 0.25)
        ? null
        : { view: random.between(0, Math.min(view - 1, 6)) as View, id: random.pick(ids) }
    const certificates = this.#certificates(height).filter(certificate => certificate.view < view)
    const oldest = certificates.reduce<CommitCertificate | null>(
      (a, b) => (a === null || b.view < a.view ? b : a),
      null,
    )
    const invented =
      random.chance(0.05) && ids.length > 0 ? this.#inventCertificate(height, view, random.pick(ids)) : null
    const some = invented ?? (this.#hides ? oldest : random.pick([...certificates, null]))
    const highCertificate = random.chance(this.#hides && view === 1 ? 0.9 : 0.3) ? null : some
    return this.#pen({
      type: 'VIEW-CHANGE',
      height,
      view,
      lastVote,
      highCertificate,
      sender: this.#self,
    }) as SignedMessage as ViewChange
  }

  /** All that can be put together from what was said, with the own vote; now and then one vote short. */
  #certificates(height: Height): CommitCertificate[] {
    const found: CommitCertificate[] = []
    for (const [key, signatures] of this.#commits(height)) {
      const [view, id] = key.split(' ') as [string, BlockId]
      const needed = this.#world.committee.quorum.commitCertificate - (this.#world.random.chance(0.1) ? 1 : 0)
      if (signatures.length < needed) continue
      const commits = signatures.slice(0, needed).sort(bySender)
      found.push({ height, view: Number(view) as View, id, commits })
    }
    return found
  }

  #commits(height: Height): Map<string, Signed[]> {
    const byBlock = new Map<string, Map<number, Signed>>()
    for (const message of this.#heard) {
      if (message.type !== 'COMMIT' || message.height !== height) continue
      const key = `${message.view} ${message.id}`
      const own = this.#pen({ type: 'COMMIT', height, view: message.view, id: message.id, sender: this.#self })
      const senders = byBlock.get(key) ?? new Map<number, Signed>([[this.#self, signedOf(own)]])
      byBlock.set(key, senders.set(message.sender, signedOf(message)))
    }
    return new Map([...byBlock].map(([key, senders]) => [key, [...senders.values()]]))
  }

  /** Two proposals for one view, each to its own half. */
  #lead(target: SimPeer, height: Height, view: View): void {
    const { random, committee } = this.#world
    if (target.height !== height) return
    if (primaryOf(committee, target.application.head().author, view) !== this.#self && !random.chance(0.05)) return
    for (let i = random.between(1, 2); i > 0; i--) {
      const proposal = this.#proposal(target, height, view)
      if (proposal !== null) this.#tell(proposal, this.#someone())
    }
  }

  #proposal(target: SimPeer, height: Height, view: View): PrePrepare | null {
    const { random } = this.#world
    const parentCertificate = target.disk.blocks[height - 2]?.certificate ?? null
    if (height > 1 && parentCertificate === null) return null
    const justification = view === 0 ? [] : this.#justification(height, view)
    if (justification === null) return null
    const selected = selectAgain(justification, this.#world.committee.quorum)
    const lie = random.chance(0.1)
    const block = selected === 'free' || lie ? this.#block(target, view) : this.#blocks.get(selected)
    if (block === undefined) return null
    this.#blocks.set(block.id, block)
    const sender = this.#self
    return this.#pen({
      type: 'PRE-PREPARE',
      height,
      view,
      id: block.id,
      block,
      justification,
      parentCertificate,
      sender,
    }) as SignedMessage as PrePrepare
  }

  /** Now and then with a request twice, with an executed one, from the future, or in the name of another. */
  #block(target: SimPeer, view: View): Block {
    const { random } = this.#world
    const requests = random.chance(0.5) ? [] : [this.#world.parts.makeRequest(random.between(0, 5))]
    const fresh = requests.filter(request => !target.application.isExecuted(request.id as RequestId))
    return target.application.build({
      author: random.chance(0.9) ? this.#self : random.pick(this.#world.committee.validators).index,
      view: random.chance(0.9) ? view : (random.between(0, view) as View),
      nowMs: this.#world.nowMs + (random.chance(0.9) ? random.between(0, 3) : random.between(0, 5_000)),
      requests: random.chance(0.2) ? [...requests, ...requests] : fresh,
    })
  }

  /** A random choice of n-f, own lies among them; now and then one of another view, or one short. */
  #justification(height: Height, view: View): ViewChange[] | null {
    const { random, committee } = this.#world
    const latest = new Map<number, ViewChange>()
    for (const message of random.shuffle(this.#heard)) {
      if (message.type !== 'VIEW-CHANGE' || message.height !== height || message.sender === this.#self) continue
      if (message.view !== view && !random.chance(0.02)) continue
      latest.set(message.sender, message)
    }
    const others = random.shuffle([...latest.values()])
    const count = committee.quorum.viewChange - (random.chance(0.1) ? 1 : 0)
    const own = random.chance(0.9) ? [this.#viewChange(height, view)] : []
    const chosen = [...own, ...others].slice(0, count)
    if (chosen.length < count) return null
    return chosen.sort(bySender)
  }

  /** A decision that never was: too few votes, or one vote many times. */
  #forge(height: Height): void {
    const { random, committee } = this.#world
    const id = random.pick([...this.#ids(height), null])
    const block = id === null ? undefined : this.#blocks.get(id)
    if (block === undefined) return
    const path = random.pick(['FAST', 'SLOW'] as const)
    const type = path === 'FAST' ? 'COMMIT' : 'BLOCK-ID'
    const view = 0 as View
    const own = signedOf(this.#pen({ type, height, view, id: block.id, sender: this.#self }))
    const others = this.#heard.filter(
      (message): message is Commit =>
        message.type === type && message.height === height && message.id === block.id && message.view === view,
    )
    const votes = random.pick([
      () => new Array<Signed>(committee.quorum.n).fill(own),
      () => this.#inventVotes(committee.quorum.n),
      () => [...new Map([own, ...others.map(signedOf)].map(vote => [vote.sender, vote])).values()].sort(bySender),
    ])()
    const certificate: DecideCertificate = { path, height, view, id: block.id, votes }
    this.#tell({ type: 'DECIDED', block, certificate }, this.#someone())
  }

  /** Right in number and in order, signed by nobody. */
  #inventVotes(count: number): Signed[] {
    return Array.from({ length: count }, (_, sender) => ({
      sender: sender as ValidatorIndex,
      signature: new Uint8Array(64).fill(1 + this.#self),
    }))
  }

  #inventCertificate(height: Height, below: View, id: BlockId): CommitCertificate {
    const view = this.#world.random.between(0, below - 1) as View
    return { height, view, id, commits: this.#inventVotes(this.#world.committee.quorum.commitCertificate) }
  }

  /** Walks up the views, to fill the memory of others (§1.9). */
  #flood(height: Height): void {
    const { random } = this.#world
    const sender = this.#self
    const ids = this.#ids(height)
    if (ids.length === 0 || !random.chance(0.06)) return
    for (let i = 0; i < 200; i++) {
      const view = (random.chance(0.5) ? random.between(1, 1_000_000_000) : random.between(1, 40)) as View
      const id = random.pick(ids)
      const at = (height + random.pick([0, 0, 1])) as Height
      this.#tell(
        this.#pen({ type: random.pick(['COMMIT', 'BLOCK-ID'] as const), height: at, view, id, sender }),
        this.#someone(),
      )
    }
  }

  #replay(): void {
    if (this.#heard.length === 0) return
    const { random } = this.#world
    this.#tell(random.pick(this.#heard), this.#someone())
  }
}

const bySender = (a: Signed, b: Signed): number => a.sender - b.sender
const signedOf = ({ sender, signature }: Signed): Signed => ({ sender, signature })
