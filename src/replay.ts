// `emrm replay`: every decision of the chain made again from genesis by the contract's rules of its time, and compared with what this peer
// recorded when it executed the block; state digests are compared with the headers'. Anybody with the blocks can do this, years later.
// Not here: signatures, certificates and the vault (verify-home.ts).

import type { Ledger } from './ledger/ledger.ts'
import { asHeight, type Height } from './model/ids.ts'
import type { Outcome } from './model/operations.ts'
import type { StoredBlock } from './ports.ts'

/** More differences than this say no more than the first ones do. */
const DIFFERENCES_MAX = 100
const BLOCKS_A_TURN = 16

export type Difference = {
  readonly height: number
  /** Position in the block; null when the state before the block differs. */
  readonly index: number | null
  readonly request: string | null
  readonly recorded: string
  readonly recomputed: string
}

export type ReplayReport = {
  readonly ok: boolean
  /** The first height that was replayed: 1, or the one after the snapshot with which the home began. */
  readonly from: number
  readonly heights: number
  readonly requests: number
  /** Grants and denials among them. */
  readonly decisions: number
  readonly differences: readonly Difference[]
}

export async function replayChain(options: {
  /** Where the blocks go on: at genesis, or on the snapshot with which the home began (snapshot/base.ts). */
  readonly ledger: Ledger
  readonly head: Height
  readonly blockAt: (height: Height) => Promise<StoredBlock | null>
  readonly onProgress: (done: number, total: number) => void
}): Promise<ReplayReport> {
  const { ledger, head, onProgress } = options
  const from = ledger.head().height + 1
  const differences: Difference[] = []
  let requests = 0
  let decisions = 0
  for (let at = from; at <= head && differences.length < DIFFERENCES_MAX; at++) {
    const height = asHeight(at)
    const stored = await options.blockAt(height)
    const fault = stored === null ? 'block-missing' : faultOf(ledger, stored)
    if (stored === null || fault !== null) {
      differences.push({
        height,
        index: null,
        request: null,
        recorded: fault ?? 'block-missing',
        recomputed: ledger.stateRoot(),
      })
      break
    }
    const { outcomes } = ledger.execute(stored.block)
    for (const [index, request] of stored.block.requests.entries()) {
      const recorded = print(stored.outcomes[index])
      const recomputed = print(outcomes[index])
      requests++
      if (['granted', 'denied'].includes(outcomes[index]?.type ?? '')) decisions++
      if (recorded !== recomputed) differences.push({ height, index, request: request.id, recorded, recomputed })
    }
    if (height % BLOCKS_A_TURN === 0) {
      onProgress(height, head)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return { ok: differences.length === 0, from, heights: ledger.head().height, requests, decisions, differences }
}

function faultOf(ledger: Ledger, { block }: StoredBlock): string | null {
  return ledger.checkBlock(block, false, block.header.timestamp)?.reason ?? null
}

/** Sorted fields: the same outcome gives the same text. */
function print(outcome: Outcome | undefined): string {
  return JSON.stringify(outcome ?? null, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}
