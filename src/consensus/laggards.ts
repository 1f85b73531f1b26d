// Replicas at different heights (consensus.md §1.7): answers to those behind, questions to those ahead, and a bounded buffer for
// messages of the next height. All that outlives a height in a replica is here. Mandatory: a replica that decided takes no further
// part in that height, so without answers the rest may be below every quorum. Not here: block sync itself (driver).

import type { Height, ValidatorIndex, Verified } from '../model/ids.ts'
import type { ConsensusMessage, SignedMessage } from '../model/messages.ts'
import type { Effect } from './effect.ts'

/** Proposals of the next height that are kept: whose turn it is shows only when this height is decided. */
export const EARLY_PROPOSALS_MAX = 4
/** Different COMMITs, and as many BLOCK-IDs, that are kept of one sender for the next height. */
const EARLY_VOTES_MAX = 2

type Early = Verified<ConsensusMessage> & SignedMessage

export class Laggards {
  readonly #intervalMs: number
  readonly #answered = new Map<ValidatorIndex, { height: Height; atMs: number }>()
  #askedMs = Number.NEGATIVE_INFINITY
  #early: Early[] = []

  /** `intervalMs`: at most one answer to a sender for one height, and one question, in this time. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  /** A VIEW-CHANGE or STATUS for a height decided here: its sender lacks the decision. Climbing heights are answered at once. */
  mayAnswer(message: SignedMessage, nowMs: number): boolean {
    if (message.type !== 'VIEW-CHANGE' && message.type !== 'STATUS') return false
    const last = this.#answered.get(message.sender)
    if (last !== undefined && message.height <= last.height && nowMs - last.atMs < this.#intervalMs) return false
    this.#answered.set(message.sender, { height: message.height, atMs: nowMs })
    return true
  }

  /** Others are ahead: blocks from `height` on are asked for. */
  ask(height: Height, nowMs: number, effects: Effect[]): void {
    if (nowMs - this.#askedMs < this.#intervalMs) return
    this.#askedMs = nowMs
    effects.push({ type: 'catch-up', height })
  }

  /** Keeps a message of the next height. What is dropped comes again: everybody re-sends. */
  keep(message: Early): void {
    const limit = message.type === 'COMMIT' || message.type === 'BLOCK-ID' ? EARLY_VOTES_MAX : 1
    const same = this.#early.filter(kept => kept.type === message.type && kept.sender === message.sender)
    if (same.some(kept => kept.view === message.view)) return
    if (message.type === 'PRE-PREPARE' && (same.length > 0 || this.#proposals() >= EARLY_PROPOSALS_MAX)) return
    if (same.length >= limit) this.#early.splice(this.#early.indexOf(same[0] as Early), 1)
    this.#early.push(message)
  }

  /** What was kept for the height that now starts, in order of arrival. */
  take(): readonly Early[] {
    const early = this.#early
    this.#early = []
    return early
  }

  get size(): number {
    return this.#early.length + this.#answered.size
  }

  #proposals(): number {
    return this.#early.reduce((count, kept) => (kept.type === 'PRE-PREPARE' ? count + 1 : count), 0)
  }
}
