// One replica of IMPBFT (consensus.md §1): the one switch over what can happen to it. No clock, no IO, no randomness: the same
// inputs give the same effects. Rules by their names: R1, R2 normal-case.ts · R3, R4 decision.ts · R5, R6, R7 and `select`
// view-change.ts · §1.3 durable.ts, restart.ts · §1.6 pacemaker.ts · §1.7 laggards.ts · §1.8 evidence.ts · §1.9 votes.ts, state.ts.

import type { Block } from '../model/block.ts'
import { type BlockId, type Height, nextHeight, type ValidatorIndex, type Verified, type View } from '../model/ids.ts'
import type { ConsensusMessage, SignedMessage } from '../model/messages.ts'
import { onBody, onDecideCertificate, onDecided } from './decision.ts'
import { sayAgain } from './durable.ts'
import type { Effect } from './effect.ts'
import type { Environment } from './environment.ts'
import type { Input, Start } from './input.ts'
import { Laggards } from './laggards.ts'
import { onBlockId, onBuilt, onCommit, onPrePrepare, proposeFirst } from './normal-case.ts'
import { setResendTimer, settleTimers } from './pacemaker.ts'
import { restore } from './restart.ts'
import { bodyOf, type HeightState, newHeight, primaryAt, type Step } from './state.ts'
import { leadNewView, onViewChange, onViewTimer } from './view-change.ts'

export type ReplicaView = {
  readonly height: Height
  readonly view: View
  readonly primary: ValidatorIndex
  readonly role: 'primary' | 'backup' | 'observer'
}

export class Replica {
  readonly #environment: Environment
  readonly #laggards: Laggards
  #state: HeightState | null = null

  constructor(environment: Environment) {
    this.#environment = environment
    this.#laggards = new Laggards(environment.pacemaker.resendMs / 2)
  }

  step(input: Input): Effect[] {
    const effects: Effect[] = []
    if (input.type === 'start') this.#begin(input)
    if (this.#state === null) return effects
    const step: Step = { environment: this.#environment, state: this.#state, effects, nowMs: input.nowMs }
    this.#take(step, input)
    settle(step)
    return effects
  }

  /** Null before the first height. */
  view(): ReplicaView | null {
    const state = this.#state
    if (state === null) return null
    const primary = primaryAt(state, state.view)
    const voter = primary === state.self ? 'primary' : 'backup'
    return { height: state.height, view: state.view, primary, role: state.signs ? voter : 'observer' }
  }

  /** A body of the current height, to answer a FETCH. */
  body(id: BlockId): Block | null {
    return this.#state === null ? null : bodyOf(this.#state, id)
  }

  /** How much is held in memory, for the check of §1.9: a count of messages, not of bytes. */
  held(): number {
    const state = this.#state
    if (state === null) return 0
    const { commits, blockIds, viewChanges, proposals, bodies, wanted, faults } = state
    const maps = [commits, blockIds, viewChanges, proposals, bodies, wanted, faults, this.#laggards]
    return maps.reduce((sum, map) => sum + map.size, 0)
  }

  #begin(start: Start): void {
    this.#state = newHeight(start)
  }

  #take(step: Step, input: Input): void {
    const { state } = step
    switch (input.type) {
      case 'start':
        restore(step, input.restored)
        for (const message of this.#laggards.take()) this.#onSigned(step, message)
        return
      case 'message':
        return this.#onMessage(step, input.message)
      case 'built':
        if (input.height === state.height) onBuilt(step, input.view, input.block)
        return
      case 'pending':
        state.pending = input.pending
        return
      case 'timer':
        if (input.height === state.height) this.#onTimer(step, input.timer, input.view)
    }
  }

  #onTimer(step: Step, timer: 'view' | 'resend', view: View): void {
    const { state } = step
    if (timer === 'view') {
      if (state.timerView !== view) return
      state.timerView = null
      if (state.decision === null && state.view === view) onViewTimer(step)
    } else if (state.resending) {
      sayAgain(step)
      if (!state.signs) this.#laggards.ask(state.height, step.nowMs, step.effects)
      state.asked = null
      for (const id of state.wanted) step.effects.push({ type: 'fetch', height: state.height, id })
      setResendTimer(step)
    }
  }

  #onMessage(step: Step, message: Verified<ConsensusMessage>): void {
    const { state } = step
    switch (message.type) {
      case 'DECIDED': {
        const { block, certificate } = message
        if (certificate.height > state.height) return this.#laggards.ask(state.height, step.nowMs, step.effects)
        if (certificate.height === state.height) onDecided(step, block, certificate)
        return
      }
      case 'BODY':
        return onBody(step, message.block)
      case 'FETCH':
        // The driver answers from the store, or from `body`.
        return
      default:
        return this.#onSigned(step, message)
    }
  }

  #onSigned(step: Step, message: Verified<SignedMessage>): void {
    const { state, nowMs, effects } = step
    const { height, sender } = message
    if (sender >= state.committee.validators.length && height === state.height) return
    if (height < state.height) {
      if (sender !== state.self && this.#laggards.mayAnswer(message, nowMs))
        effects.push({ type: 'answer-decided', to: sender, height })
      return
    }
    if (height > state.height) return this.#onAhead(step, message)
    if (state.decided) return this.#answer(step, message)
    if (message.type !== 'STATUS') state.heard = true
    dispatch(step, message)
  }

  /** §1.7: the sender has decided this height, or says so. */
  #onAhead(step: Step, message: Verified<SignedMessage>): void {
    const { state, nowMs, effects } = step
    if (message.height !== nextHeight(state.height) || message.type === 'STATUS')
      return this.#laggards.ask(state.height, nowMs, effects)
    if (message.type === 'PRE-PREPARE' && message.parentCertificate !== null)
      onDecideCertificate(step, message.parentCertificate)
    this.#laggards.keep(message)
  }

  /** Decided here and not yet started on the next height: the block may not be in the store, so it is sent from memory. */
  #answer(step: Step, message: Verified<SignedMessage>): void {
    const { state, nowMs, effects } = step
    if (state.decision === null || message.sender === state.self) return
    const block = bodyOf(state, state.decision.id)
    if (block === null || !this.#laggards.mayAnswer(message, nowMs)) return
    const answer = { type: 'DECIDED', block, certificate: state.decision } as const
    effects.push({ type: 'send', to: message.sender, message: answer })
  }
}

function dispatch(step: Step, message: SignedMessage): void {
  switch (message.type) {
    case 'PRE-PREPARE':
      return onPrePrepare(step, message)
    case 'COMMIT':
      return onCommit(step, message)
    case 'BLOCK-ID':
      return onBlockId(step, message)
    case 'VIEW-CHANGE':
      return onViewChange(step, message)
    case 'STATUS':
      return
  }
}

/** After every step: what the state now allows or asks for, whatever led to it. */
function settle(step: Step): void {
  proposeFirst(step)
  leadNewView(step)
  settleTimers(step)
}
