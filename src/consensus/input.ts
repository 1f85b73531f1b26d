// Everything that can happen to a replica. It has no clock: each input carries the driver's `nowMs`. It has no queue of requests:
// `pending` says that the mempool holds some, and a block comes as the answer to a `propose` effect.

import type { Block } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import type { BlockId, Height, Timestamp, ValidatorIndex, Verified, View } from '../model/ids.ts'
import type { ConsensusMessage, DecideCertificate } from '../model/messages.ts'
import type { VoteRecord } from '../model/vote-record.ts'

export type Input =
  | Start
  /** A checked message. Only its signer counts, not who carried it. */
  | {
      readonly type: 'message'
      readonly message: Verified<ConsensusMessage>
      readonly nowMs: number
    }
  /** Answer to `propose`; dropped when the replica has moved on. */
  | {
      readonly type: 'built'
      readonly height: Height
      readonly view: View
      readonly block: Block
      readonly nowMs: number
    }
  /** The timer set by the last `set-timer` of this name expired. */
  | {
      readonly type: 'timer'
      readonly timer: 'view' | 'resend'
      readonly height: Height
      readonly view: View
      readonly nowMs: number
    }
  /** Whether the mempool holds requests that wait for a block. */
  | {
      readonly type: 'pending'
      readonly pending: boolean
      readonly nowMs: number
    }

/** Height h begins: h-1 is decided and executed, its body present. Sent once for each height. */
export type Start = {
  readonly type: 'start'
  readonly height: Height
  readonly committee: Committee
  /** Position in the committee, or null for an observer, which follows and never signs. */
  readonly self: ValidatorIndex | null
  /** Below this height a replica that lost its disk signs nothing (consensus.md §1.3). */
  readonly signFrom: Height
  readonly parent: {
    readonly id: BlockId
    readonly timestamp: Timestamp
    /** base(h): position of the author of block h-1, or where the lead moved from there; 0 at the first height. */
    readonly author: ValidatorIndex
    /** null only at the first height. */
    readonly certificate: DecideCertificate | null
  }
  /** What was on disk for this height at a restart; empty otherwise. */
  readonly restored: readonly VoteRecord[]
  readonly pending: boolean
  readonly nowMs: number
}
