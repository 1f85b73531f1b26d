// Leaving a view and leading a new one: R5 (time is up), R6 (others went ahead), R7 (the new primary proposes), and `select`, the
// rule that carries a possible decision from view to view (consensus.md §1.4, §3). Not here: when the timer runs (pacemaker.ts).

import { type BlockId, nextView, type View } from '../model/ids.ts'
import type { CommitCertificate, PrePrepare, ViewChange } from '../model/messages.ts'
import type { Quorum } from '../model/quorum.ts'
import { isCommitCertificate } from './certificates.ts'
import { adoptCertificate } from './decision.ts'
import { sendCommit, sendPrePrepare, sendViewChange } from './durable.ts'
import { checkHiddenCertificate, checkHiddenVote, checkViewChanges } from './evidence.ts'
import { raiseWish } from './pacemaker.ts'
import { bodyOf, type HeightState, type NewView, primaryAt, type Selection, type Step, want } from './state.ts'

/**
 * `select(S)`: what n-f VIEW-CHANGEs of distinct validators allow. Total: it never gets stuck.
 * Votes of different views above w* for one block are added up; only votes strictly above w* count (§2: ">=" forks).
 */
export function select(viewChanges: readonly ViewChange[], quorum: Quorum): Selection {
  let highest: CommitCertificate | null = null
  for (const { highCertificate } of viewChanges)
    if (highCertificate !== null && highCertificate.view > (highest?.view ?? -1)) highest = highCertificate
  const highestView = highest?.view ?? -1
  const counts = new Map<BlockId, number>()
  for (const { lastVote } of viewChanges) {
    if (lastVote === null || lastVote.view <= highestView) continue
    const count = (counts.get(lastVote.id) ?? 0) + 1
    if (count >= quorum.recovery) return { type: 'forced', id: lastVote.id }
    counts.set(lastVote.id, count)
  }
  return highest === null ? { type: 'free' } : { type: 'forced', id: highest.id }
}

/** R2.1 for v > 0: exactly n-f well-formed VIEW-CHANGE(h,v) of distinct validators, in order of sender. Null: not a justification. */
export function judgeJustification(state: HeightState, { justification, view }: PrePrepare): Selection | null {
  const { quorum } = state.committee
  if (justification.length !== quorum.viewChange) return null
  let previous = -1
  for (const viewChange of justification) {
    if (viewChange.sender <= previous || viewChange.height !== state.height || viewChange.view !== view) return null
    if (!isWellFormed(state, viewChange)) return null
    previous = viewChange.sender
  }
  return select(justification, quorum)
}

export function onViewChange(step: Step, message: ViewChange): void {
  const { state } = step
  const { sender, view, highCertificate } = message
  if (!isWellFormed(state, message)) return
  const latest = state.viewChanges.get(sender)
  if (latest !== undefined) checkViewChanges(step, latest, message)
  for (const vote of state.commits.of(sender)) checkHiddenVote(step, vote, message)
  for (const vote of state.blockIds.of(sender)) checkHiddenCertificate(step, vote, message)
  if (latest === undefined || view > latest.view) state.viewChanges.set(sender, message)
  raiseWish(state, sender, view)
  if (highCertificate !== null) adoptCertificate(step, highCertificate)
  join(step)
}

/** R5 leave: the timer of `view` expired. */
export function onViewTimer(step: Step): void {
  enter(step, nextView(step.state.view))
}

/** R6 join: some correct replica has reached this view. */
export function join(step: Step): void {
  enter(step, step.state.joinView as View)
}

/** `enter(a)`, only if a > view. By R3's jump highCC.view <= view < a, so nothing has to be hidden. */
function enter(step: Step, view: View): void {
  const { state } = step
  if (!state.signs || state.decision !== null || view <= state.view) return
  sendViewChange(step, view)
}

/** R7 new primary: with n-f VIEW-CHANGE(h,v) in view v, propose what `select` allows. The set is chosen once. */
export function leadNewView(step: Step): void {
  const { state, effects } = step
  const { view } = state
  if (!state.signs || state.decision !== null || view === 0 || primaryAt(state, view) !== state.self) return
  if (hasSpoken(state, view)) return
  if (state.newView?.view !== view) {
    state.wanted.clear()
    state.newView = gather(state, view)
    if (state.newView === null) return
  }
  const { selection, justification } = state.newView
  if (selection.type === 'forced') {
    const block = bodyOf(state, selection.id)
    if (block === null) return want(step, selection.id)
    sendPrePrepare(step, block, justification)
    sendCommit(step, view, block)
  } else if (state.asked !== view) {
    state.asked = view
    effects.push({ type: 'propose', height: state.height, view })
  }
}

/** As primary of this view, or with a vote in it or above. */
export const hasSpoken = (state: HeightState, view: View): boolean =>
  (state.proposal?.view ?? -1) >= view || (state.lastVote?.view ?? -1) >= view

function gather(state: HeightState, view: View): NewView | null {
  const { quorum } = state.committee
  const equal = [...state.viewChanges.values()].filter(message => message.view === view)
  if (equal.length < quorum.viewChange) return null
  const justification = equal.slice(0, quorum.viewChange).sort((a, b) => a.sender - b.sender)
  return { view, justification, selection: select(justification, quorum) }
}

/** §1.2: it reports only what lies before the view that it asks for, and the certificate that it claims is attached. */
function isWellFormed(state: HeightState, { view, lastVote, highCertificate }: ViewChange): boolean {
  if (view < 1 || (lastVote?.view ?? -1) >= view || (highCertificate?.view ?? -1) >= view) return false
  return highCertificate === null || isCommitCertificate(highCertificate, state.height, state.committee.quorum)
}
