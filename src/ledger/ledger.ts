// The contract as a machine (P-20): agreed blocks in, state, decisions and outcomes out. Every peer computes the same from the same
// blocks, at block time. No clock, no IO; what reaches it has been checked by wire (signatures, digests, shapes).
// Not here: agreement (consensus), storage (adapters), what a hospital thinks of a grant (enforcer).

import { RULES_VERSION } from '../access/decide.ts'
import { rulesOf } from '../access/rules.ts'
import type { Block, BlockHeader, Request } from '../model/block.ts'
import { type Committee, leadAfter } from '../model/committee.ts'
import { encode } from '../model/dag-cbor.ts'
import { assert } from '../model/errors.ts'
import type { Genesis } from '../model/genesis.ts'
import { digestOf, fromHex } from '../model/hash.ts'
import {
  type BlockId,
  type Digest,
  type Height,
  nextHeight,
  type RequestId,
  type Timestamp,
  type ValidatorIndex,
  type View,
} from '../model/ids.ts'
import type { EvidenceSubmit, Outcome, RequestResult } from '../model/operations.ts'
import type { HandoverClaim } from '../model/snapshot.ts'
import { type BlockFault, blockFault } from './block-check.ts'
import { type Checkpoint, type HeadBlock, restoreStore } from './checkpoint.ts'
import { Committees } from './committee.ts'
import { type Context, refused, type VerifySignature } from './context.ts'
import { execute } from './execute.ts'
import { Executed } from './executed.ts'
import { writeGenesis } from './genesis-state.ts'
import { claimHandover } from './handover.ts'
import type { StateCopy } from './snapshot.ts'
import { Store } from './store.ts'
import { type Head, Views } from './views.ts'

export type Execution = {
  readonly height: Height
  readonly results: readonly RequestResult[]
  readonly outcomes: readonly Outcome[]
}

export class Ledger {
  readonly chainId: Digest
  readonly #store = new Store()
  readonly #executed = new Executed(this.#store)
  readonly #committees = new Committees(this.#store)
  readonly #verifyEvidence: (operation: EvidenceSubmit) => boolean
  readonly #verifySignature: VerifySignature
  #head: Head
  readonly views: Views

  /** Both judges must answer the same on every peer; without them, evidence and re-deals are refused. Throws EmrmError `genesis-invalid`. */
  constructor(options: {
    readonly genesis: Genesis
    readonly chainId: Digest
    readonly committee: Committee
    readonly verifyEvidence?: (operation: EvidenceSubmit) => boolean
    readonly verifySignature?: VerifySignature
  }) {
    const { genesis, chainId } = options
    this.chainId = chainId
    this.#verifyEvidence = options.verifyEvidence ?? (() => false)
    this.#verifySignature = options.verifySignature ?? (() => false)
    writeGenesis(this.#store, genesis)
    this.#committees.begin(options.committee, genesis.parameters.epochBlocks)
    this.#store.results.put('now', { digest: chainId })
    const height = 0 as Height
    this.#head = { height, id: chainId as Digest as BlockId, timestamp: genesis.timestamp, author: 0 as ValidatorIndex }
    this.views = new Views(this.#store, () => this.#head)
  }

  head(): Head {
    return this.#head
  }

  /** Digest of the state after the head: what the next header carries. */
  stateRoot(): Digest {
    return this.#store.state.root()
  }

  /** null beyond the present epoch. */
  committeeAt(height: Height): Committee | null {
    return this.#committees.at(height)
  }

  isExecuted(id: RequestId): boolean {
    return this.#executed.has(id)
  }

  /** Judges a block that would stand on the head; with `fresh` also against this peer's clock. Signatures and roots are wire's. */
  checkBlock(block: Block, fresh: boolean, nowMs: number): BlockFault | null {
    const committee = this.committeeAt(nextHeight(this.#head.height))
    return blockFault(block, {
      ...{ head: this.#head, chainId: this.chainId, stateRoot: this.stateRoot(), committee },
      ...{ parameters: this.#store.now().parameters, clockMs: fresh ? nowMs : null },
    })
  }

  /** A header for a fresh block on the head. Block time rises strictly, also when this peer's clock is behind. */
  headerFor(options: {
    readonly author: ValidatorIndex
    readonly view: View
    readonly nowMs: number
    readonly requests: readonly Request[]
    readonly requestsRoot: Digest
  }): BlockHeader {
    return {
      version: 1,
      chainId: this.chainId,
      height: nextHeight(this.#head.height),
      parentId: this.#head.id,
      author: options.author,
      birthView: options.view,
      timestamp: Math.max(options.nowMs, this.#head.timestamp + 1) as Timestamp,
      requestsRoot: options.requestsRoot,
      requestCount: options.requests.length,
      stateRoot: this.stateRoot(),
      rulesVersion: RULES_VERSION,
    }
  }

  /** Executes a decided block. Throws when it does not stand on the head or names rules that this peer does not know. */
  execute(block: Block): Execution {
    const { header } = block
    const height = header.height
    assert(height === this.#head.height + 1 && header.parentId === this.#head.id, `block ${height} stands on the head`)
    const rules = rulesOf(header.rulesVersion)
    const committee = this.committeeAt(height)
    assert(rules !== null && committee !== null, `rules ${header.rulesVersion} and a committee for block ${height}`)
    const committeeAt = (at: number): Committee | null => this.#committees.at(at as Height)
    const shared = { store: this.#store, chainId: this.chainId, height, time: header.timestamp, committee, committeeAt }
    const judges = { verifyEvidence: this.#verifyEvidence, verifySignature: this.#verifySignature }
    const base = { ...shared, ...judges, rulesVersion: header.rulesVersion, rules }
    const outcomes = block.requests.map(request => this.#executeOne({ ...base, request }))
    this.#executed.endBlock(height, header.timestamp)
    this.#chainResults(block.requests, outcomes)
    this.#committees.endBlock(height)
    this.#moveTo(block, committee)
    const results = outcomes.map((outcome, index) => ({ request: block.requests[index]!.id, height, index, outcome }))
    return { height, results, outcomes }
  }

  /** What changed in the state since the last call: to be stored with its height and root. */
  checkpoint(): Checkpoint {
    return { height: this.#head.height, root: this.stateRoot(), changes: this.#store.state.takeChanges() }
  }

  /** The state as it is, to be kept as a snapshot when the head is at a height for one; else null. */
  snapshot(): StateCopy | null {
    const { height } = this.#head
    if (height === 0 || height % this.#store.now().parameters.snapshotBlocks !== 0) return null
    return { height, ...this.#store.state.copy() }
  }

  /** Before the last block of an epoch is executed: what its header's state digest says of the next epoch. Null before any other block. */
  handover(): HandoverClaim | null {
    return claimHandover(this.#store, nextHeight(this.#head.height))
  }

  /** The last height whose committee is known. */
  epochEnd(): Height {
    return this.#committees.end()
  }

  /** Puts a checkpoint in place of the state. `headBlock`: the block at `height`. Throws EmrmError `checkpoint-corrupt`. */
  restore(entries: ReadonlyMap<string, Uint8Array>, height: Height, root: Digest, headBlock: HeadBlock): void {
    restoreStore(this.#store, { entries, height, root, headBlock, chainId: this.chainId })
    this.#executed.reload()
    this.#committees.reload()
    const committee = this.committeeAt(height)
    this.#moveTo(headBlock, committee ?? this.committeeAt(nextHeight(height)))
  }

  #executeOne(context: Context): Outcome {
    const { request, time } = context
    const reason = this.#executed.admit(request, this.chainId, time)
    return reason === null ? execute(context, request.operation) : refused(reason)
  }

  /** One key for the outcomes of all blocks: who has the root can check any list of outcomes against it. */
  #chainResults(requests: readonly Request[], outcomes: readonly Outcome[]): void {
    if (requests.length === 0) return
    const previous = fromHex(this.#store.results.get('now')!.digest)
    const rows = outcomes.map((outcome, i) => [requests[i]!.id, ...outcomeRow(outcome)])
    this.#store.results.put('now', { digest: digestOf(Buffer.concat([previous, encode(rows)])) })
  }

  #moveTo(block: HeadBlock, committee: Committee | null): void {
    const { height, timestamp } = block.header
    const next = this.committeeAt(nextHeight(height))
    const { rotationBlocks } = this.#store.now().parameters
    const stays = next !== null && next === committee
    const base = stays ? leadAfter(block.header, next, rotationBlocks) : (0 as ValidatorIndex)
    this.#head = { height, id: block.id, timestamp, author: base }
  }
}

/** A grant stands in the state under its own key; its id says which. */
function outcomeRow(outcome: Outcome): readonly string[] {
  switch (outcome.type) {
    case 'done':
      return ['done']
    case 'refused':
    case 'denied':
      return [outcome.type, outcome.reason]
    case 'granted':
      return ['granted', outcome.grant.record, outcome.grant.variant]
  }
}
