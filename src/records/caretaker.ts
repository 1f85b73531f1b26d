// Keeps a vault whole: a rotten piece is fetched from another holder, checked against the root on the chain and written again; ciphertext
// that should be here and is not (a new disk, a holder that left) is fetched whole; a lost key share is asked of the custodian, which
// gives the box again or, when that is gone, deals the key anew (redeal.ts); uploads that were never registered are discarded; and the first holder of a record challenges the others for a
// random piece, so that one that only says that it holds is found before a reader needs it.
// Slow on purpose when nobody waits for it. Not here: what is wrong (scrub.ts), giving pieces out (piece-server.ts).

import { randomInt } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, PeerId, RecordId } from '../model/ids.ts'
import { type Clock, type Log, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import type { DepositReceiver } from './deposit-receiver.ts'
import type { Eraser } from './eraser.ts'
import { decodeDepositAnswer, encodeDepositRequest } from './frames.ts'
import { holdersOf, isHolder, standIns } from './holders.ts'
import { institutionOf, type RecordFacts } from './ledger-view.ts'
import { fetchLeaves, fetchPieces, type PieceSourceOptions, probePiece } from './piece-source.ts'
import type { Ended } from './piece-stream.ts'
import { pieceCount } from './pieces.ts'
import { concernedRecords, examineRecord, type RecordProblem } from './scrub.ts'
import type { ShareShelf } from './share-shelf.ts'
import { SpareCopies } from './spare-copies.ts'

const FIRST_ROUND_MS = 60_000
const ROUND_EVERY_MS = 60 * 60_000
/** Between pieces of 1 MiB of a background round. */
const PIECE_PAUSE_MS = 100
const ANSWER_IDLE_MS = 10_000
/** Problems that a report lists; the count is always right. */
const LISTED_MAX = 100

export type CaretakerOptions = Omit<PieceSourceOptions, 'onDamage'> & {
  /** This institution. */
  readonly self: Identifier
  /** Takes a share that came back. */
  readonly receiver: DepositReceiver
  readonly shelf: ShareShelf
  /** Ends what the chain has erased: nothing of it is ever mended. */
  readonly eraser: Pick<Eraser, 'destroy'>
  /** Milliseconds since a quorum confirmed that our head is the head. */
  readonly freshness: () => number
  readonly clock: Clock
  readonly log: Log
}

/** What was wrong with a record and what still is. */
export type Care = {
  readonly record: RecordId
  readonly found: readonly RecordProblem[]
  readonly left: readonly RecordProblem[]
}

export type CareReport = {
  /** Of the last whole round; null before the first. */
  readonly finishedAt: number | null
  readonly records: number
  readonly mended: number
  readonly leftCount: number
  readonly left: readonly RecordProblem[]
}

export class Caretaker {
  readonly #options: CaretakerOptions
  readonly #sources: PieceSourceOptions
  readonly #spare: SpareCopies
  readonly #stopping = new AbortController()
  readonly #urgent = new Set<RecordId>()
  /** When a record that is not on the chain was first seen, on the steady clock. */
  readonly #unregistered = new Map<RecordId, number>()
  #report: CareReport = { finishedAt: null, records: 0, mended: 0, leftCount: 0, left: [] }
  #turn: Promise<unknown> = Promise.resolve()
  #cancelRound = (): void => undefined
  #cancelUrgent: (() => void) | null = null

  constructor(options: CaretakerOptions) {
    this.#options = options
    // What it fetches comes from elsewhere: no damage of our own is met on the way.
    this.#sources = { ...options, onDamage: () => undefined }
    this.#spare = new SpareCopies({ ...options, ...this.#sources })
  }

  start(): void {
    this.#roundLater(FIRST_ROUND_MS)
  }

  stop(): void {
    this.#stopping.abort()
    this.#cancelRound()
    this.#cancelUrgent?.()
  }

  report(): CareReport {
    return this.#report
  }

  /** Somebody met damage, or this institution may now keep the record: looked at soon. */
  later(record: RecordId): void {
    this.#urgent.add(record)
    this.#cancelUrgent ??= this.#options.clock.after(0, () => {
      this.#cancelUrgent = null
      void this.#careForUrgent()
    })
  }

  /** Everything once, at full speed; yields the records with which something was wrong. */
  async *round(signal: AbortSignal, pace?: () => Promise<void>): AsyncGenerator<Care> {
    const { vault, clock, log } = this.#options
    await vault.sweep()
    const records = await concernedRecords(this.#options)
    const left: RecordProblem[] = []
    let mended = 0
    for (const record of records) {
      if (signal.aborted || this.#stopping.signal.aborted) return
      const care = await this.care(record, signal, pace)
      left.push(...care.left)
      mended += care.found.length - care.left.length
      if (care.found.length > 0) yield care
    }
    this.#report = {
      finishedAt: clock.nowMs(),
      records: records.length,
      mended,
      leftCount: left.length,
      left: left.slice(0, LISTED_MAX),
    }
    log.info('vault-scrubbed', { records: records.length, mended, left: left.length })
  }

  /** One record, after those that are under way. */
  care(record: RecordId, outer: AbortSignal, pace?: () => Promise<void>): Promise<Care> {
    const signal = AbortSignal.any([outer, this.#stopping.signal])
    const turn = this.#turn.then(() => this.#care(record, signal, pace))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #care(record: RecordId, signal: AbortSignal, pace?: () => Promise<void>): Promise<Care> {
    const { ledger, clock, log } = this.#options
    const entry = ledger.record(record)
    // Who asks now wants to know now; a background round leaves alone what may still be on its way.
    const nowMs = pace === undefined ? Number.POSITIVE_INFINITY : clock.nowMs()
    const found = await examineRecord({ ...this.#options, nowMs, ...(pace === undefined ? {} : { pace }) }, record)
    if (ledger.isErased(record)) {
      await this.#options.eraser.destroy(record)
      return { record, found, left: [] }
    }
    if (entry === null) return { record, found, left: (await this.#discard(record)) ? [] : found }
    this.#unregistered.delete(record)
    if (entry.withdrawn) {
      await this.#spare.look(entry, signal)
      return { record, found, left: found }
    }
    const left: RecordProblem[] = []
    for (const problem of found) {
      const isMended = await this.#mend(entry, problem, signal)
      log[isMended ? 'info' : 'warn'](isMended ? 'vault-mended' : 'vault-damaged', { ...factsOf(problem) })
      if (!isMended) left.push(problem)
    }
    await this.#dropUnentitled(entry)
    await this.#spare.look(entry, signal)
    await this.#tidyShares(entry)
    const failed = await this.#challenge(entry, signal)
    return { record, found: [...found, ...failed], left: [...left, ...failed] }
  }

  async #mend(entry: RecordFacts, problem: RecordProblem, signal: AbortSignal): Promise<boolean> {
    try {
      switch (problem.type) {
        case 'piece':
          return await this.#mendPiece(entry, problem.piece, signal)
        case 'leaves':
        case 'not-the-registered-one':
        case 'missing':
          return await this.#fetchAll(entry, signal)
        case 'share-missing':
          return await this.#askForShare(entry, signal)
        case 'item':
          return await this.#mendItem(entry, problem.item, signal)
        case 'unregistered':
        case 'erased':
        case 'copy-missing':
          return false
      }
    } catch (error) {
      // No holder now, or our disk: named, and tried again in the next round.
      if (!(error instanceof EmrmError)) throw error
      this.#options.log.info('mending-failed', { record: entry.record, reason: error.code })
      return false
    }
  }

  async #mendPiece(entry: RecordFacts, piece: number, signal: AbortSignal): Promise<boolean> {
    const wanted = { entry, grant: null, from: piece, to: piece + 1, elsewhere: true, signal }
    for await (const bytes of fetchPieces(this.#sources, wanted))
      await this.#options.vault.mendPiece(entry.record, piece, bytes)
    return true
  }

  /** The old list goes only when a new one is at hand. */
  async #fetchAll(entry: RecordFacts, signal: AbortSignal): Promise<boolean> {
    const { vault, ledger, self } = this.#options
    if (!isHolder(entry, self, ledger)) return false
    const leaves = await fetchLeaves(this.#sources, { entry, grant: null, elsewhere: true, signal })
    await vault.removeCipher(entry.record)
    const wanted = { entry, grant: null, from: 0, elsewhere: true, signal }
    await vault.putKnown(entry, leaves, fetchPieces(this.#sources, wanted))
    return true
  }

  async #mendItem(
    entry: RecordFacts,
    item: Extract<RecordProblem, { type: 'item' }>['item'],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { vault } = this.#options
    if (item === 'share') return this.#askForShare(entry, signal)
    // A mark without content.
    if (item === 'copies') {
      await vault.putItem(entry.record, 'copies', new Uint8Array(0))
      return true
    }
    // Nobody else has it.
    if (item === 'facts') return false
    // Of a deal that does not count yet: the custodian makes it again.
    if (item === 'next' || item === 'redeal') {
      await vault.removeItem(entry.record, item)
      return true
    }
    // With the deal at hand all sign again; without it neither can be made anew.
    if (item === 'deal' || !(await vault.items(entry.record)).includes('deal')) return false
    await vault.removeItem(entry.record, 'acks')
    return true
  }

  async #askForShare(entry: RecordFacts, outer: AbortSignal): Promise<boolean> {
    const { ledger, network, receiver, clock } = this.#options
    const custodian = institutionOf(ledger, entry.custodian)
    if (custodian === null) return false
    const loss = receiver.loss(entry)
    if (loss === null) return false
    const request = encodeDepositRequest({ type: 'want', record: entry.record, loss })
    const idle = idleSignal(clock, ANSWER_IDLE_MS, outer)
    try {
      const answers =
        custodian.peerId === network.self
          ? receiver.handle(once(request), network.self)
          : network.request(custodian.peerId, PROTOCOLS.deposit, [request], idle.signal)
      for await (const frame of answers) {
        const answer = decodeDepositAnswer(frame)
        if (answer?.type !== 'box' || answer.record !== entry.record) return false
        const { type: _, ...box } = answer
        return (await receiver.takeShare(box, custodian.peerId)).type === 'ack'
      }
      return false
    } catch (error) {
      if (error instanceof EmrmError || idle.signal.aborted) return false
      throw error
    } finally {
      idle.end()
    }
  }

  /** True when it was thrown away: not on the chain for longer than a request may be under way, seen by a peer that knows the head. */
  async #discard(record: RecordId): Promise<boolean> {
    const { vault, ledger, freshness, clock, log } = this.#options
    const { requestWindowPastMs, requestWindowFutureMs, stalenessMaxMs } = ledger.parameters()
    if (freshness() > stalenessMaxMs) {
      this.#unregistered.delete(record)
      return false
    }
    const since = this.#unregistered.get(record) ?? clock.steadyMs()
    this.#unregistered.set(record, since)
    if (clock.steadyMs() - since <= requestWindowPastMs + requestWindowFutureMs) return false
    await vault.remove(record)
    this.#unregistered.delete(record)
    log.info('upload-discarded', { record })
    return true
  }

  /** Shares of former deals, as soon as the deal that took their place has come to count: this is what makes a leaver's share worthless. */
  async #tidyShares(entry: RecordFacts): Promise<void> {
    const { ledger, shelf, freshness } = this.#options
    if (freshness() > ledger.parameters().stalenessMaxMs) return
    await shelf.tidy(entry, ledger.redeal(entry.record)?.intent ?? null)
  }

  /** A copy that rested on a right to share which no longer stands. Copies that merely moved elsewhere may wait (spare-copies.ts). */
  async #dropUnentitled(entry: RecordFacts): Promise<void> {
    const { vault, ledger, self, log } = this.#options
    if (isHolder(entry, self, ledger)) return
    if (!ledger.shareGrants(entry.record).some(({ institution }) => institution === self)) return
    if ((await vault.entry(entry.record)) === null) return
    await vault.removeCipher(entry.record)
    log.info('copy-dropped', { record: entry.record })
  }

  /** One random piece from each other holder, by the first of them; who answers wrongly gets the ciphertext again. */
  async #challenge(entry: RecordFacts, signal: AbortSignal): Promise<readonly RecordProblem[]> {
    const { vault, ledger, self, log } = this.#options
    const [first, ...others] = holdersOf(entry, ledger)
    if (first?.id !== self) return []
    const failed: RecordProblem[] = []
    const spare = [...standIns(entry, ledger)]
    const standsIn = async (): Promise<boolean> => {
      for (let next = spare.shift(); next !== undefined; next = spare.shift())
        if ((await this.#probe(entry, next.peerId, signal)).ended === 'done') return true
      return false
    }
    for (const { peerId, name } of others) {
      const { ended, piece } = await this.#probe(entry, peerId, signal)
      if (ended === 'done' || ended === 'broke-off' || ended === 'silent') continue
      if (ended === 'refused' && (await standsIn())) continue
      log.warn('holder-failed', { record: entry.record, holder: name, piece, reason: ended })
      failed.push({ type: 'copy-missing', record: entry.record, holder: name })
    }
    if (failed.length > 0 && entry.custodian === self) await vault.putItem(entry.record, 'copies', new Uint8Array(0))
    return failed
  }

  async #probe(entry: RecordFacts, holder: PeerId, signal: AbortSignal): Promise<{ ended: Ended; piece: number }> {
    const piece = randomInt(pieceCount(entry.cipherSize))
    const wanted = { entry, grant: null, from: piece, to: piece + 1, signal }
    return { ended: await probePiece(this.#sources, holder, wanted), piece }
  }

  async #careForUrgent(): Promise<void> {
    for (const record of [...this.#urgent]) {
      this.#urgent.delete(record)
      await this.care(record, this.#stopping.signal).catch(error => this.#failed(error))
    }
  }

  #roundLater(ms: number): void {
    const { clock } = this.#options
    const pace = (): Promise<void> => new Promise(resolve => void clock.after(PIECE_PAUSE_MS, resolve))
    this.#cancelRound = clock.after(ms, async () => {
      try {
        for await (const _ of this.round(this.#stopping.signal, pace));
      } catch (error) {
        this.#failed(error)
      }
      if (!this.#stopping.signal.aborted) this.#roundLater(ROUND_EVERY_MS)
    })
  }

  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted) return
    this.#options.log.warn('scrub-failed', { reason: error instanceof EmrmError ? error.code : String(error) })
  }
}

/** For the log: no field but those of the problem. */
const factsOf = ({ type, ...facts }: RecordProblem): Readonly<Record<string, string | number>> => ({
  problem: type,
  ...facts,
})

async function* once(frame: Uint8Array): AsyncGenerator<Uint8Array> {
  yield frame
}
