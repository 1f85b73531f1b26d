// Whether a block may stand on the head. Everything but the clock is the same on every peer; the clock is asked for fresh blocks only,
// since a clock's opinion on a forced block could stop the chain (consensus.md R2).

import { RULES_VERSION } from '../access/decide.ts'
import { rulesOf } from '../access/rules.ts'
import type { Block } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import type { BlockId, Digest } from '../model/ids.ts'
import type { ChainParameters } from '../model/operations.ts'

/** The shape that consensus expects. */
export type BlockFault = { readonly kind: 'deterministic' | 'local'; readonly reason: string }

export type Ground = {
  readonly head: { readonly height: number; readonly id: BlockId; readonly timestamp: number }
  readonly chainId: Digest
  readonly stateRoot: Digest
  readonly committee: Committee | null
  readonly parameters: ChainParameters
  /** null: the clock is not asked. */
  readonly clockMs: number | null
}

export function blockFault(block: Block, ground: Ground): BlockFault | null {
  const { header } = block
  const { head, parameters, committee, clockMs } = ground
  if (header.chainId !== ground.chainId) return deterministic('wrong-chain')
  if (header.height !== head.height + 1) return deterministic('wrong-height')
  if (header.parentId !== head.id) return deterministic('wrong-parent')
  if (header.timestamp <= head.timestamp) return deterministic('timestamp-not-above-parent')
  if (header.stateRoot !== ground.stateRoot) return deterministic('state-root-differs')
  // A version that is known but old is for replay: new blocks are made under the present one.
  if (header.rulesVersion !== RULES_VERSION || rulesOf(header.rulesVersion) === null)
    return deterministic('rules-unknown')
  if (committee === null || header.author >= committee.validators.length) return deterministic('author-unknown')
  if (header.requestCount !== block.requests.length) return deterministic('request-count-differs')
  if (block.requests.length > parameters.blockRequestsMax) return deterministic('too-many-requests')
  if (block.bytes.length > parameters.blockBytesMax) return deterministic('block-too-large')
  if (clockMs !== null && Math.abs(header.timestamp - clockMs) > parameters.clockDriftMaxMs)
    return { kind: 'local', reason: 'clock-drift' }
  return null
}

const deterministic = (reason: string): BlockFault => ({ kind: 'deterministic', reason })
