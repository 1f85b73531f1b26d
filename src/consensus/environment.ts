// The two pure functions that a replica calls: its pen and its judge. Both are deterministic and synchronous, so that a replica
// stays "same inputs, same outputs".

import type { Block } from '../model/block.ts'
import type { Verified } from '../model/ids.ts'
import type { SignedMessage, Unsigned } from '../model/messages.ts'

/** Why a block is not voted for. `deterministic` faults are the same on every replica; `local` ones (clock) apply to fresh blocks only (R2). */
export type BlockFault = {
  readonly kind: 'deterministic' | 'local'
  readonly reason: string
}

export type Environment = {
  /** Signs as this replica: the same message gives the same bytes, always. */
  readonly sign: (message: Unsigned) => Verified<SignedMessage>
  /** Checks a block that stands on the executed head: state digest, timestamp, limits; with `fresh` also this peer's clock. */
  readonly checkBlock: (block: Block, fresh: boolean, nowMs: number) => BlockFault | null
  readonly pacemaker: {
    /** D0 and Dmax of D(v) = min(D0·2^v, Dmax), ms. */
    readonly viewTimeoutMs: number
    readonly viewTimeoutMaxMs: number
    /** rho <= D0/4: interval of re-sends, ms. */
    readonly resendMs: number
  }
}
