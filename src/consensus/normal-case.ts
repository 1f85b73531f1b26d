// The paper's two phases, and the third that runs beside them (P-35 … P-37, consensus.md §1.4): R1 (the primary proposes), R2 (a
// replica votes), and the counting of COMMITs and BLOCK-IDs. Departs from P-36: "until all nodes have broadcast" is n-p equal
// COMMITs, or q and then r BLOCK-IDs, so that silent validators cannot stop the chain. Not here: other views (view-change.ts).

import type { Block } from '../model/block.ts'
import type { View } from '../model/ids.ts'
import type { BlockIdVote, Commit, PrePrepare } from '../model/messages.ts'
import { makeCommitCertificate, makeFastCertificate, makeSlowCertificate } from './certificates.ts'
import { adoptCertificate, decide, finish } from './decision.ts'
import { sendCommit, sendPrePrepare } from './durable.ts'
import { checkHiddenCertificate, checkHiddenVote, checkProposals, checkVotes, tellUnjustified } from './evidence.ts'
import { raiseWish } from './pacemaker.ts'
import { type HeightState, primaryAt, type Selection, type Step } from './state.ts'
import { hasSpoken, join, judgeJustification, onViewChange } from './view-change.ts'

/** Views of which a proposal is remembered; the lowest goes first. */
export const PROPOSALS_MAX = 8

/** R1 propose, v = 0: an idle chain makes no empty blocks, and a request that waits is proposed at once. */
export function proposeFirst(step: Step): void {
  const { state, effects } = step
  if (!state.signs || state.decision !== null || state.view !== 0 || !state.pending) return
  if (primaryAt(state, state.view) !== state.self || hasSpoken(state, state.view) || state.asked !== null) return
  state.asked = state.view
  effects.push({ type: 'propose', height: state.height, view: state.view })
}

/** The fresh block that R1 or R7 asked for. The primary's own COMMIT goes out with it: one event, one fsync. */
export function onBuilt(step: Step, view: View, block: Block): void {
  const { state } = step
  if (!state.signs || state.decision !== null || state.asked !== view || state.view !== view) return
  if (hasSpoken(state, view)) return
  // The requests went stale meanwhile; it is asked again with the next re-send.
  if (view === 0 && block.requests.length === 0) return
  sendPrePrepare(step, block, view === 0 ? [] : (state.newView?.justification ?? []))
  sendCommit(step, view, block)
}

/** R2 vote. */
export function onPrePrepare(step: Step, message: PrePrepare): void {
  const { state, environment } = step
  const { view, block } = message
  if (message.sender !== primaryAt(state, view)) return
  if (message.id !== block.id || block.header.height !== state.height || block.header.parentId !== state.parent.id)
    return
  if (!parentFits(state, message)) return
  const earlier = state.proposals.get(view)
  if (earlier !== undefined) checkProposals(step, earlier, message)
  const selection = allowed(state, message)
  if (selection === null) {
    if (view > 0) tellUnjustified(step, message)
    return
  }
  keepProposal(state, message)
  finish(step)
  if (!state.signs || state.decision !== null || view < state.view) return
  if (state.lastVote !== null && state.lastVote.view >= view) return
  // Clock and policy judge a fresh block only: on a forced one they could stop the chain for ever (R2.2).
  if (environment.checkBlock(block, selection.type === 'free', step.nowMs) !== null) return
  for (const viewChange of message.justification) onViewChange(step, viewChange)
  if (view < state.view) return
  sendCommit(step, view, block)
}

/** P-36, P-37: equal COMMITs decide in two phases, or make a certificate. */
export function onCommit(step: Step, message: Commit): void {
  const { state } = step
  const { view, id, sender } = message
  const earlier = state.commits.add(message)
  if (earlier !== null) return checkVotes(step, earlier, message)
  const viewChange = state.viewChanges.get(sender)
  if (viewChange !== undefined) checkHiddenVote(step, message, viewChange)
  raiseWish(state, sender, view)
  const { quorum } = state.committee
  const equal = state.commits.equal(view, id)
  if (equal.length >= quorum.fast) decide(step, makeFastCertificate(equal, quorum))
  if (equal.length >= quorum.commitCertificate && view > (state.highCertificate?.view ?? -1))
    adoptCertificate(step, makeCommitCertificate(equal, quorum))
  join(step)
}

/** The third phase: r equal BLOCK-IDs decide. */
export function onBlockId(step: Step, message: BlockIdVote): void {
  const { state } = step
  const { view, id, sender } = message
  const earlier = state.blockIds.add(message)
  if (earlier !== null) return checkVotes(step, earlier, message)
  const viewChange = state.viewChanges.get(sender)
  if (viewChange !== undefined) checkHiddenCertificate(step, message, viewChange)
  raiseWish(state, sender, view)
  const { quorum } = state.committee
  const equal = state.blockIds.equal(view, id)
  if (equal.length >= quorum.blockId) decide(step, makeSlowCertificate(equal, quorum))
  join(step)
}

/** R2.1: what the justification allows, if this block is it. Free means a fresh block of this primary, born in this view. */
function allowed(state: HeightState, message: PrePrepare): Selection | null {
  const { view, block, justification, sender } = message
  const empty: Selection | null = justification.length === 0 ? { type: 'free' } : null
  const selection = view === 0 ? empty : judgeJustification(state, message)
  if (selection === null) return null
  const fresh = block.header.author === sender && block.header.birthView === view
  const fits = selection.type === 'free' ? fresh : selection.id === message.id
  return fits ? selection : null
}

/** §1.7: PRE-PREPARE(h) carries DECIDE-CERT(h-1), so that who missed h-1 decides it on receipt. */
function parentFits(state: HeightState, { parentCertificate }: PrePrepare): boolean {
  const parent = state.parent.certificate
  if (parent === null || parentCertificate === null) return parent === parentCertificate
  return parentCertificate.height === parent.height && parentCertificate.id === parent.id
}

function keepProposal(state: HeightState, message: PrePrepare): void {
  if (state.proposals.has(message.view)) return
  state.proposals.set(message.view, message)
  if (state.proposals.size > PROPOSALS_MAX) state.proposals.delete(Math.min(...state.proposals.keys()) as View)
}
