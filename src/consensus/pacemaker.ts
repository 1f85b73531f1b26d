// When a replica moves and when its clock runs (consensus.md §1.6). `wishes` hold the highest view heard of each validator.
// Join: the (f+1)-th largest wish is a view that some correct replica reached, whatever liars claim. Timer: it runs once the
// (n-f)-th largest wish has reached the view, or in view 0 while the height is active. Not here: what entering a view says (view-change.ts).

import type { ValidatorIndex, View } from '../model/ids.ts'
import type { HeightState, Step } from './state.ts'

/** Takes note of a view heard of `sender` in a VIEW-CHANGE, COMMIT or BLOCK-ID, or of the own view. */
export function raiseWish(state: HeightState, sender: ValidatorIndex, view: View): void {
  if (view <= (state.wishes[sender] as number)) return
  state.wishes[sender] = view
  const { oneCorrect, viewChange } = state.committee.quorum
  const descending = [...state.wishes].sort((a, b) => b - a)
  state.joinView = descending[oneCorrect - 1] as number
  state.enteredView = descending[viewChange - 1] as number
}

/** An idle chain is silent: work waits, or somebody spoke of this height. */
export const isActive = (state: HeightState): boolean => state.pending || state.heard

/** D(v) = min(D0·2^v, Dmax), ms. */
export function viewTimeoutMs(view: View, limits: Step['environment']['pacemaker']): number {
  return Math.min(limits.viewTimeoutMs * 2 ** view, limits.viewTimeoutMaxMs)
}

/** Brings both timers to where the state says they should be. */
export function settleTimers(step: Step): void {
  settleViewTimer(step)
  settleResendTimer(step)
}

function settleViewTimer(step: Step): void {
  const { state, effects, environment } = step
  const entered = state.view === 0 ? isActive(state) : state.enteredView >= state.view
  const runs = state.signs && state.decision === null && entered
  if (!runs && state.timerView !== null) {
    state.timerView = null
    effects.push({ type: 'cancel-timer', timer: 'view' })
  }
  if (!runs || state.timerView === state.view) return
  state.timerView = state.view
  const afterMs = viewTimeoutMs(state.view, environment.pacemaker)
  effects.push({ type: 'set-timer', timer: 'view', height: state.height, view: state.view, afterMs })
}

function settleResendTimer(step: Step): void {
  const { state, effects } = step
  const runs = !state.decided && (isActive(state) || state.view > 0 || state.decision !== null)
  if (!runs && state.resending) effects.push({ type: 'cancel-timer', timer: 'resend' })
  if (runs && !state.resending) setResendTimer(step)
  state.resending = runs
}

export function setResendTimer(step: Step): void {
  const { state, effects, environment } = step
  const afterMs = environment.pacemaker.resendMs
  effects.push({ type: 'set-timer', timer: 'resend', height: state.height, view: state.view, afterMs })
}
