// What COMMITs or BLOCK-IDs of one height were heard, counted by view and block. Bounded (consensus.md §1.9): of each sender the
// votes of its eight highest views, so that walking up the views replaces one's own votes and nobody else's. Adding costs O(1).
// Not here: what a count means (normal-case.ts).

import type { BlockId, ValidatorIndex, View } from '../model/ids.ts'
import type { BlockIdVote, Commit } from '../model/messages.ts'

/** Views of one sender that are remembered. */
export const VOTES_PER_SENDER_MAX = 8

export class VoteBook<Vote extends Commit | BlockIdVote> {
  readonly #byView = new Map<View, Map<BlockId, Vote[]>>()
  readonly #bySender = new Map<ValidatorIndex, Vote[]>()

  /** Null when the vote is new and counted; else the sender's earlier vote in that view, which stands; the vote itself when it is below all that is remembered. */
  add(vote: Vote): Vote | null {
    const own = this.of(vote.sender) as Vote[]
    for (const earlier of own) if (earlier.view === vote.view) return earlier
    if (own.length >= VOTES_PER_SENDER_MAX) {
      let lowest = own[0] as Vote
      for (const earlier of own) if (earlier.view < lowest.view) lowest = earlier
      if (vote.view < lowest.view) return vote
      this.#remove(lowest, own)
    }
    own.push(vote)
    this.#bySender.set(vote.sender, own)
    let blocks = this.#byView.get(vote.view)
    if (blocks === undefined) {
      blocks = new Map()
      this.#byView.set(vote.view, blocks)
    }
    const equal = blocks.get(vote.id)
    if (equal === undefined) blocks.set(vote.id, [vote])
    else equal.push(vote)
    return null
  }

  /** Votes of distinct senders for one (view, id), in order of arrival. */
  equal(view: View, id: BlockId): readonly Vote[] {
    return this.#byView.get(view)?.get(id) ?? []
  }

  of(sender: ValidatorIndex): readonly Vote[] {
    return this.#bySender.get(sender) ?? []
  }

  /** For the simulation's check of §1.9. */
  get size(): number {
    let count = 0
    for (const own of this.#bySender.values()) count += own.length
    return count
  }

  #remove(vote: Vote, own: Vote[]): void {
    own.splice(own.indexOf(vote), 1)
    const blocks = this.#byView.get(vote.view)
    const equal = blocks?.get(vote.id)
    if (blocks === undefined || equal === undefined) return
    equal.splice(equal.indexOf(vote), 1)
    if (equal.length === 0) blocks.delete(vote.id)
    if (blocks.size === 0) this.#byView.delete(vote.view)
  }
}
