// One record's pieces from all who hold them at once, handed on in order. Each holder is asked for a few pieces at a time, so that a fast
// one does more of the work; one that lies, breaks off or goes silent is left, one that is slow is benched while others can do better, and
// what they owed goes to the others: nothing else of the transfer is lost. What waits for its turn is bounded.
// Not here: the stream to one holder (piece-stream.ts).

import type { PeerId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import {
  type Ended,
  type Known,
  type Piece,
  type PieceStreamOptions,
  piecesFrom,
  type Range,
  type Wanted,
} from './piece-stream.ts'

/** Pieces of 1 MiB that a peer holds for its readers, all of them together, besides those that each is being given. */
const WAITING_MAX = 48
const WINDOW_MAX = 16
const WINDOW_MIN = 4
/** Asked of a holder at a time, */
const RANGE_MAX = 4
/** and again when so many are still to come, so that its line is never idle. */
const AHEAD_MAX = 2
/** A piece that others wait for, and does not come for so long, is asked of another. */
const SLOW_MS = 1_000
/** How much slower than the fastest a holder may be and still be of help. */
const SLOW_FACTOR = 8
/** A stream on which nothing is asked is closed, before the other side cuts it. */
const STREAM_IDLE_MS = 10_000

/** Transfers under way in this process, which is one peer. */
let underWay = 0

type Member = {
  readonly holder: PeerId
  state: 'ready' | 'benched' | 'left'
  /** Asked for and not yet here. */
  readonly owes: Set<number>
  /** When it last sent a piece, or was asked with nothing owed. */
  movedMs: number
  /** For one piece; null before the second. */
  paceMs: number | null
  pieces: number
  stop: AbortController
}

export type CrewOptions = PieceStreamOptions & { readonly log: Log }

/** Pieces of `range` in order. Returns early, with the first that is missing, when no holder serves it; throws when `signal` aborts. */
export async function* piecesFromAll(
  options: CrewOptions,
  holders: readonly PeerId[],
  wanted: Wanted,
  range: Range,
  leaves: readonly Uint8Array[] | null,
): AsyncGenerator<Uint8Array, number> {
  const crew = new Crew(options, holders, wanted, range, leaves)
  underWay++
  try {
    return yield* crew.pieces()
  } finally {
    underWay--
    crew.disband()
  }
}

class Crew {
  readonly #options: CrewOptions
  readonly #wanted: Wanted
  readonly #known: Known
  readonly #members: readonly Member[]
  readonly #to: number
  /** The piece that the reader gets next. */
  #next: number
  /** The first that nobody was asked for yet. */
  #fresh: number
  /** Owed by someone who is left; ascending. */
  #returned: number[] = []
  readonly #ready = new Map<number, Uint8Array>()
  #isOver = false
  #failure: { readonly error: unknown } | null = null
  #changed = Promise.withResolvers<void>()

  constructor(
    options: CrewOptions,
    holders: readonly PeerId[],
    wanted: Wanted,
    { from, to }: Range,
    leaves: readonly Uint8Array[] | null,
  ) {
    this.#options = options
    this.#wanted = wanted
    this.#known = { leaves }
    this.#next = from
    this.#fresh = from
    this.#to = to
    this.#members = holders.map(holder => ({
      ...{ holder, state: 'ready', owes: new Set<number>(), movedMs: 0, paceMs: null, pieces: 0 },
      stop: new AbortController(),
    }))
  }

  async *pieces(): AsyncGenerator<Uint8Array, number> {
    const { signal } = this.#wanted
    signal.addEventListener('abort', this.#wake)
    for (const member of this.#members) void this.#work(member)
    try {
      while (this.#next < this.#to) {
        signal.throwIfAborted()
        if (this.#failure !== null) throw this.#failure.error
        const piece = this.#ready.get(this.#next)
        if (piece !== undefined) {
          this.#ready.delete(this.#next++)
          this.#wake()
          yield piece
        } else if (this.#anyone()) await this.#changeOr(SLOW_MS / 2, () => this.#benchWhoeverStalls())
        else break
      }
      return this.#next
    } finally {
      signal.removeEventListener('abort', this.#wake)
    }
  }

  disband(): void {
    this.#isOver = true
    for (const { stop } of this.#members) stop.abort()
    this.#wake()
  }

  /** One holder's work, from stream to stream, until it is left or all is done. Never rejects. */
  async #work(member: Member): Promise<void> {
    try {
      while (!this.#isOver && member.state !== 'left') {
        if (!this.#mayTake(member)) {
          await this.#changed.promise
          continue
        }
        const ended = await this.#stream(member)
        this.#giveBack(member)
        if (ended !== 'done' && !this.#isOver) this.#leave(member, ended)
      }
    } catch (error) {
      this.#failure ??= { error }
      this.#wake()
    }
  }

  async #stream(member: Member): Promise<Ended | 'slow'> {
    const stop = new AbortController()
    member.stop = stop
    const outer = this.#wanted.signal
    const signal = AbortSignal.any([outer, stop.signal])
    const ranges = this.#ranges(member, stop.signal)
    const stream = piecesFrom(this.#options, member.holder, { ...this.#wanted, signal }, ranges, this.#known)
    try {
      for (;;) {
        const { value, done } = await stream.next()
        if (done) return value
        this.#arrived(member, value)
      }
    } catch (error) {
      if (stop.signal.aborted && !outer.aborted) return 'slow'
      throw error
    } finally {
      // A stream that has ended must not take work any more.
      stop.abort()
      this.#wake()
    }
  }

  /** The slow are benched, all others gone for good. */
  #leave(member: Member, reason: Ended | 'slow'): void {
    member.state = reason === 'slow' ? 'benched' : 'left'
    const { holder, pieces } = member
    this.#options.log.info('holder-left', { record: this.#wanted.entry.record, holder, reason, pieces })
    this.#wake()
  }

  /** What this member is asked for, as there is room for it. */
  async *#ranges(member: Member, stopped: AbortSignal): AsyncGenerator<Range> {
    while (!this.#isOver && !stopped.aborted) {
      const range = member.owes.size <= AHEAD_MAX ? this.#take(member) : null
      if (range !== null) yield range
      else if (member.owes.size > 0) await this.#changed.promise
      else if (member.state !== 'ready' || (await this.#isIdleFor(STREAM_IDLE_MS))) return
    }
  }

  /** The lowest that nobody else has been asked for. */
  #take(member: Member): Range | null {
    if (!this.#mayTake(member)) return null
    const from = this.#returned[0] ?? this.#fresh
    let to = from
    if (this.#returned.length > 0)
      while (this.#returned[0] === to && to - from < RANGE_MAX) {
        this.#returned.shift()
        to++
      }
    else {
      to = Math.min(from + RANGE_MAX, this.#limit())
      this.#fresh = to
    }
    if (member.owes.size === 0) member.movedMs = this.#options.clock.steadyMs()
    for (let index = from; index < to; index++) member.owes.add(index)
    return { from, to }
  }

  #mayTake(member: Member): boolean {
    if (this.#isOver || member.state !== 'ready') return false
    if (this.#returned.length === 0 && this.#fresh >= this.#limit()) return false
    if (!this.#isTooSlow(member)) return true
    this.#leave(member, 'slow')
    return false
  }

  #limit(): number {
    const window = Math.max(WINDOW_MIN, Math.min(WINDOW_MAX, Math.floor(WAITING_MAX / underWay)))
    return Math.min(this.#to, this.#next + window)
  }

  #isTooSlow(member: Member): boolean {
    const paces = this.#members.map(other => (other !== member && other.state === 'ready' ? other.paceMs : null))
    const best = Math.min(...paces.map(pace => pace ?? Number.POSITIVE_INFINITY))
    return member.paceMs !== null && member.paceMs > Math.max(SLOW_MS / 2, SLOW_FACTOR * best)
  }

  #arrived(member: Member, { index, bytes }: Piece): void {
    const now = this.#options.clock.steadyMs()
    const tookMs = now - member.movedMs
    member.paceMs = member.paceMs === null ? tookMs : member.paceMs * 0.7 + tookMs * 0.3
    member.movedMs = now
    member.pieces++
    member.owes.delete(index)
    this.#ready.set(index, bytes)
    this.#wake()
  }

  #giveBack({ owes }: Member): void {
    this.#returned = [...this.#returned, ...owes].sort((a, b) => a - b)
    owes.clear()
    this.#wake()
  }

  /** The reader waits for a piece whose holder has stopped, and somebody else is there. */
  #benchWhoeverStalls(): void {
    const member = this.#members.find(({ owes }) => owes.has(this.#next))
    if (member === undefined) return
    const others = this.#members.filter(other => other !== member && other.state === 'ready')
    const best = Math.min(...others.map(({ paceMs }) => paceMs ?? 0))
    if (others.length === 0 || this.#options.clock.steadyMs() - member.movedMs < Math.max(SLOW_MS, SLOW_FACTOR * best))
      return
    member.stop.abort()
  }

  /** Someone works or could; the benched are asked when nobody else is left. */
  #anyone(): boolean {
    if (this.#members.some(({ state }) => state === 'ready')) return true
    const benched = this.#members.filter(({ state }) => state === 'benched')
    for (const member of benched) Object.assign(member, { state: 'ready', paceMs: null })
    if (benched.length > 0) this.#wake()
    return benched.length > 0
  }

  #wake = (): void => {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** `late` is called when nothing changed for so long. */
  async #changeOr(ms: number, late: () => void): Promise<void> {
    const cancel = this.#options.clock.after(ms, () => {
      late()
      this.#wake()
    })
    await this.#changed.promise
    cancel()
  }

  /** True when there was nothing to do for so long. */
  async #isIdleFor(ms: number): Promise<boolean> {
    let isIdle = false
    await this.#changeOr(ms, () => {
      isIdle = true
    })
    return isIdle
  }
}
