// Lies that prove themselves (consensus.md §1.8): pairs of signatures by one validator that no correct replica gives. Each is told
// once for each height. No claim is made that every fork leaves f+1 culprits. Not here: what becomes of the liar (driver).

import type { BlockIdVote, Commit, FaultName, PrePrepare, SignedMessage, ViewChange } from '../model/messages.ts'
import type { Step } from './state.ts'

/** E1: two PRE-PREPARE(h,v) with different ids. */
export function checkProposals(step: Step, earlier: PrePrepare, later: PrePrepare): void {
  if (earlier.id !== later.id) tell(step, 'two-proposals-in-one-view', earlier, later)
}

/** E2, E3: two COMMITs, two BLOCK-IDs of one view with different ids. */
export function checkVotes<Vote extends Commit | BlockIdVote>(step: Step, earlier: Vote, later: Vote): void {
  if (earlier.view !== later.view || earlier.id === later.id) return
  tell(step, later.type === 'COMMIT' ? 'two-commits-in-one-view' : 'two-block-ids-in-one-view', earlier, later)
}

/** E4: two VIEW-CHANGE(h,v) that report differently. */
export function checkViewChanges(step: Step, earlier: ViewChange, later: ViewChange): void {
  if (earlier.view !== later.view) return
  const same = sameClaim(earlier.lastVote, later.lastVote) && sameClaim(earlier.highCertificate, later.highCertificate)
  if (!same) tell(step, 'two-view-changes-for-one-view', earlier, later)
}

/** E5: COMMIT(h,w,x), and a VIEW-CHANGE(h,v>w) whose last vote is older, or is for another block of view w. */
export function checkHiddenVote(step: Step, vote: Commit, viewChange: ViewChange): void {
  if (viewChange.view <= vote.view) return
  const reported = viewChange.lastVote
  if (reported !== null && (reported.view > vote.view || sameClaim(reported, vote))) return
  tell(step, 'vote-hidden-in-view-change', vote, viewChange)
}

/** E6: BLOCK-ID(h,w,x), and a VIEW-CHANGE(h,v>w) whose certificate is older than w. */
export function checkHiddenCertificate(step: Step, vote: BlockIdVote, viewChange: ViewChange): void {
  if (viewChange.view <= vote.view || (viewChange.highCertificate?.view ?? -1) >= vote.view) return
  tell(step, 'certificate-hidden-in-view-change', vote, viewChange)
}

/** E7: a PRE-PREPARE(h,v>0) whose justification does not allow it. */
export function tellUnjustified(step: Step, proposal: PrePrepare): void {
  tell(step, 'unjustified-proposal', proposal, null)
}

type Claim = Pick<Commit, 'view' | 'id'>
const sameClaim = (a: Claim | null, b: Claim | null): boolean =>
  a === null || b === null ? a === b : a.view === b.view && a.id === b.id

function tell(step: Step, fault: FaultName, first: SignedMessage, second: SignedMessage | null): void {
  const { state, effects } = step
  const key = `${fault} ${first.sender}`
  if (state.faults.has(key)) return
  state.faults.add(key)
  effects.push({ type: 'fault', evidence: { fault, height: state.height, replica: first.sender, first, second } })
}
