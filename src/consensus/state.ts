// What a replica knows of the one height that it works on: what must be durable (consensus.md §1.3), what it heard, where it stands.
// Heights are independent instances: a new height starts from nothing but its parent. All fields change in handlers only.
// Not here: what outlives a height (laggards.ts).

import type { Block } from '../model/block.ts'
import { type Committee, primaryOf } from '../model/committee.ts'
import type { BlockId, Height, ValidatorIndex, View } from '../model/ids.ts'
import type {
  BlockIdVote,
  Commit,
  CommitCertificate,
  DecideCertificate,
  PrePrepare,
  ViewChange,
  VoteClaim,
} from '../model/messages.ts'
import type { Effect } from './effect.ts'
import type { Environment } from './environment.ts'
import type { Start } from './input.ts'
import { VoteBook } from './votes.ts'

/** What `select` says of a set of VIEW-CHANGEs: this block and no other, or any fresh one. */
export type Selection = { readonly type: 'forced'; readonly id: BlockId } | { readonly type: 'free' }

/** R7: what this replica proposes as primary of a view above 0. */
export type NewView = {
  readonly view: View
  readonly justification: readonly ViewChange[]
  readonly selection: Selection
}

export type HeightState = {
  readonly height: Height
  readonly committee: Committee
  readonly self: ValidatorIndex | null
  /** False for an observer, and after a lost disk: follows, and signs nothing. */
  readonly signs: boolean
  readonly parent: Start['parent']

  // Durable before it is told (§1.3).
  view: View
  lastVote: VoteClaim | null
  highCertificate: CommitCertificate | null
  /** The last VIEW-CHANGE that was sent, exact. */
  viewChange: ViewChange | null
  /** The last own PRE-PREPARE. */
  proposal: PrePrepare | null
  /** Bodies of blocks voted for, and of blocks fetched. */
  readonly bodies: Map<BlockId, Block>
  readonly durableBodies: Set<BlockId>

  // Heard, each bounded (§1.9).
  readonly commits: VoteBook<Commit>
  readonly blockIds: VoteBook<BlockIdVote>
  /** The latest of each sender. */
  readonly viewChanges: Map<ValidatorIndex, ViewChange>
  /** The first justified one of each view's primary, for the highest views. */
  readonly proposals: Map<View, PrePrepare>
  /** Any valid message for this height, a STATUS excepted. */
  heard: boolean
  pending: boolean

  // Where it stands.
  /** View for which a fresh block was asked from the driver. */
  asked: View | null
  newView: NewView | null
  decision: DecideCertificate | null
  /** The decision's body is there and the driver knows. */
  decided: boolean
  /** Bodies asked for and not yet here. */
  readonly wanted: Set<BlockId>

  // Pacemaker (§1.6).
  /** Highest view heard of each validator. */
  readonly wishes: number[]
  /** (f+1)-th largest wish: at least one correct replica is there. */
  joinView: number
  /** (n-f)-th largest wish: the timer of a view up to here may run. */
  enteredView: number
  timerView: View | null
  resending: boolean

  /** Faults told already, so that each is told once. */
  readonly faults: Set<string>
}

/** One step: what a handler gets. Handlers change `state` and append to `effects`. */
export type Step = {
  readonly environment: Environment
  readonly state: HeightState
  readonly effects: Effect[]
  readonly nowMs: number
}

/** `view := 0` at the start of a height (§1.4). */
export function newHeight(start: Start): HeightState {
  return {
    height: start.height,
    committee: start.committee,
    self: start.self,
    signs: start.self !== null && start.height >= start.signFrom,
    parent: start.parent,
    view: 0 as View,
    lastVote: null,
    highCertificate: null,
    viewChange: null,
    proposal: null,
    bodies: new Map(),
    durableBodies: new Set(),
    commits: new VoteBook(),
    blockIds: new VoteBook(),
    viewChanges: new Map(),
    proposals: new Map(),
    heard: false,
    pending: start.pending,
    asked: null,
    newView: null,
    decision: null,
    decided: false,
    wanted: new Set(),
    wishes: new Array<number>(start.committee.validators.length).fill(0),
    joinView: 0,
    enteredView: 0,
    timerView: null,
    resending: false,
    faults: new Set(),
  }
}

/** §1.5: base(h) follows from the author of block h-1, which is in a hashed header, and from h, so all agree. */
export const primaryAt = (state: HeightState, view: View): ValidatorIndex =>
  primaryOf(state.committee, state.parent.author, view)

export function bodyOf(state: HeightState, id: BlockId): Block | null {
  const kept = state.bodies.get(id)
  if (kept !== undefined) return kept
  for (const proposal of state.proposals.values()) if (proposal.id === id) return proposal.block
  return null
}

/** Asks the driver for a body; once, and again with each re-send. */
export function want(step: Step, id: BlockId): void {
  if (step.state.wanted.has(id)) return
  step.state.wanted.add(id)
  step.effects.push({ type: 'fetch', height: step.state.height, id })
}
