// Everything that a replica can ask for. The order of the list is a promise: the driver makes every `persist` durable before any
// later `broadcast` or `send` of the same or a later list leaves ("durable before sent", consensus.md §1.3). `decide`, timers,
// `propose` and `fetch` wait for nothing: a decision need not be on disk before the client hears of it.

import type { Block } from '../model/block.ts'
import type { BlockId, Height, ValidatorIndex, View } from '../model/ids.ts'
import type { ConsensusMessage, DecideCertificate, Evidence } from '../model/messages.ts'
import type { VoteRecord } from '../model/vote-record.ts'

export type Effect =
  | { readonly type: 'persist'; readonly record: VoteRecord }
  /** To every validator and observer; comes back to this replica as an input too, after it is durable. */
  | { readonly type: 'broadcast'; readonly message: ConsensusMessage }
  | {
      readonly type: 'send'
      readonly to: ValidatorIndex
      readonly message: ConsensusMessage
    }
  /** Build a fresh block on the head: answered by `built`. */
  | { readonly type: 'propose'; readonly height: Height; readonly view: View }
  /** Final. The driver executes and stores it, then sends `start` for the next height. */
  | {
      readonly type: 'decide'
      readonly block: Block
      readonly certificate: DecideCertificate
    }
  /** Ask peers for a body: comes back as a BODY message. Repeats until `decide` or a new height. */
  | { readonly type: 'fetch'; readonly height: Height; readonly id: BlockId }
  /** Others are at a higher height: fetch blocks from here on. */
  | { readonly type: 'catch-up'; readonly height: Height }
  /** Answer one validator's message for a height that was decided before: the driver reads the store and sends DECIDED. */
  | {
      readonly type: 'answer-decided'
      readonly to: ValidatorIndex
      readonly height: Height
    }
  /** Replaces an earlier timer of the same name. */
  | {
      readonly type: 'set-timer'
      readonly timer: 'view' | 'resend'
      readonly height: Height
      readonly view: View
      readonly afterMs: number
    }
  | { readonly type: 'cancel-timer'; readonly timer: 'view' | 'resend' }
  /** A validator lied or erred, provably. */
  | { readonly type: 'fault'; readonly evidence: Evidence }
