// Ciphertext that this institution holds and need not: of a record that moved to other holders (P-33), for which it stood in while one of
// them was full, or that was withdrawn. It goes after a day in which that did not change, seen by a peer that knows the head, and when the
// record still counts, only after each holder has shown a random piece. What this institution took in itself stays: it may be the original.
// Not here: copies under a right to share that fell, which go at once (caretaker.ts), and what a crash left (vault.ts, `sweep`).

import { randomInt } from 'node:crypto'
import type { Identifier, RecordId } from '../model/ids.ts'
import { holdersOf, isHolder } from './holders.ts'
import type { RecordFacts } from './ledger-view.ts'
import { type PieceSourceOptions, probePiece } from './piece-source.ts'
import { pieceCount } from './pieces.ts'
import type { ItemName } from './vault.ts'

const SPARE_FOR_MS = 24 * 60 * 60_000
/** What only an institution has that took the record in, or deals its key. */
const OF_ITS_CUSTODIAN: readonly ItemName[] = ['deal', 'acks', 'redeal', 'facts']

export type SpareCopiesOptions = PieceSourceOptions & {
  /** This institution. */
  readonly self: Identifier
  /** Milliseconds since a quorum confirmed that our head is the head. */
  readonly freshness: () => number
}

export class SpareCopies {
  readonly #options: SpareCopiesOptions
  /** When a copy was first seen to be one too many, on the steady clock. */
  readonly #since = new Map<RecordId, number>()

  constructor(options: SpareCopiesOptions) {
    this.#options = options
  }

  /** Drops the copy of this record when it is time. */
  async look(entry: RecordFacts, signal: AbortSignal): Promise<void> {
    const { vault, log } = this.#options
    if (!(await this.#isSpare(entry))) {
      this.#since.delete(entry.record)
      return
    }
    if (!this.#isRipe(entry.record)) return
    if (!entry.withdrawn && !(await this.#allHold(entry, signal))) return
    await vault.removeCipher(entry.record)
    this.#since.delete(entry.record)
    log.info('copy-dropped', { record: entry.record, reason: entry.withdrawn ? 'withdrawn' : 'moved' })
  }

  async #isSpare(entry: RecordFacts): Promise<boolean> {
    const { vault, ledger, self, freshness } = this.#options
    if (freshness() > ledger.parameters().stalenessMaxMs) return false
    if (entry.custodian === self || (!entry.withdrawn && isHolder(entry, self, ledger))) return false
    const items = await vault.items(entry.record)
    if (items.some(item => OF_ITS_CUSTODIAN.includes(item))) return false
    return (await vault.entry(entry.record)) !== null
  }

  #isRipe(record: RecordId): boolean {
    const now = this.#options.clock.steadyMs()
    const since = this.#since.get(record) ?? now
    this.#since.set(record, since)
    return now - since >= SPARE_FOR_MS
  }

  /** Custodian and all others whose turn it is; one that does not answer is one that may not have it. */
  async #allHold(entry: RecordFacts, signal: AbortSignal): Promise<boolean> {
    const holders = holdersOf(entry, this.#options.ledger)
    for (const { peerId } of holders) {
      const piece = randomInt(pieceCount(entry.cipherSize))
      const wanted = { entry, grant: null, from: piece, to: piece + 1, signal }
      if ((await probePiece(this.#options, peerId, wanted)) !== 'done') return false
    }
    return holders.length > 0
  }
}
