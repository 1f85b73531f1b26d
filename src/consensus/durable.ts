// Durable before sent (consensus.md §1.3): the only place where a replica signs, and for each kind of message what must be on
// disk before anyone hears it. Each function is one row of the table: change the state, persist, broadcast, in this order.
// `view` has no record of its own: a replica moves only by a vote, a certificate or a VIEW-CHANGE, and each of these is recorded,
// so the highest of them is the view (restart.ts). One event, one fsync. Not here: whether a message may be sent at all.

import type { Block } from '../model/block.ts'
import { assert } from '../model/errors.ts'
import type { ValidatorIndex, View } from '../model/ids.ts'
import type { CommitCertificate, PrePrepare, SignedMessage, ViewChange, VoteClaim } from '../model/messages.ts'
import type { VoteRecord } from '../model/vote-record.ts'
import { raiseWish } from './pacemaker.ts'
import type { Step } from './state.ts'

/** PRE-PREPARE(h,v,id): proposals[v] = id and the body are durable, so that a restart cannot propose another. */
export function sendPrePrepare(step: Step, block: Block, justification: readonly ViewChange[]): void {
  const { state, environment } = step
  const { height, view, parent } = state
  const message = environment.sign({
    type: 'PRE-PREPARE',
    height,
    view,
    id: block.id,
    block,
    justification,
    parentCertificate: parent.certificate,
    sender: signer(step),
  }) as SignedMessage as PrePrepare
  state.proposal = message
  state.bodies.set(block.id, block)
  state.durableBodies.add(block.id)
  persist(step, { type: 'own-proposal', height, message })
  broadcast(step, message)
}

/** COMMIT(h,v,id): view >= v, lastVote = (v,id) and the body are durable; else a fork, or a block that nobody can serve. P-36: "each node backs the data up". */
export function sendCommit(step: Step, view: View, block: Block): void {
  const { state } = step
  const { height } = state
  moveTo(step, view)
  state.lastVote = { view, id: block.id }
  state.bodies.set(block.id, block)
  if (!state.durableBodies.has(block.id)) {
    state.durableBodies.add(block.id)
    persist(step, { type: 'body', height, block })
  }
  persist(step, { type: 'last-vote', height, view, id: block.id })
  broadcast(step, signVote(step, 'COMMIT', state.lastVote))
}

/** BLOCK-ID(h,v,id): view >= v and highCC = (v,id,sigs) are durable, atomically (R3). */
export function sendBlockId(step: Step, certificate: CommitCertificate): void {
  moveTo(step, certificate.view)
  keepCertificate(step, certificate)
  broadcast(step, signVote(step, 'BLOCK-ID', certificate))
}

/** The certificate alone, for a view that was left: it may be reported, never confirmed. */
export function keepCertificate(step: Step, certificate: CommitCertificate): void {
  step.state.highCertificate = certificate
  persist(step, { type: 'high-certificate', height: certificate.height, certificate })
}

/** VIEW-CHANGE(h,v): view = v and the exact message are durable; what it reports is durable already. */
export function sendViewChange(step: Step, view: View): void {
  const { state, environment } = step
  const { height, lastVote, highCertificate } = state
  moveTo(step, view)
  const message = environment.sign({
    type: 'VIEW-CHANGE',
    height,
    view,
    lastVote,
    highCertificate,
    sender: signer(step),
  }) as SignedMessage as ViewChange
  state.viewChange = message
  persist(step, { type: 'view-change', height, message })
  broadcast(step, message)
}

/** §1.6, every rho, and §1.3 at a restart: what was said in this view is said again, byte by byte the same. All of it is durable. */
export function sayAgain(step: Step): void {
  const { state, environment } = step
  const { height, view, viewChange, lastVote, highCertificate, proposal } = state
  if (!state.signs) return
  if (state.decision === null) {
    if (proposal?.view === view) broadcast(step, proposal)
    if (viewChange?.view === view) broadcast(step, viewChange)
    if (lastVote?.view === view) broadcast(step, signVote(step, 'COMMIT', lastVote))
    if (highCertificate?.view === view) broadcast(step, signVote(step, 'BLOCK-ID', highCertificate))
  }
  broadcast(step, environment.sign({ type: 'STATUS', height, view, sender: signer(step) }))
}

function signVote(step: Step, type: 'COMMIT' | 'BLOCK-ID', { view, id }: VoteClaim): SignedMessage {
  return step.environment.sign({ type, height: step.state.height, view, id, sender: signer(step) })
}

function moveTo(step: Step, view: View): void {
  const { state } = step
  if (view <= state.view) return
  state.view = view
  raiseWish(state, signer(step), view)
}

function signer(step: Step): ValidatorIndex {
  assert(step.state.signs && step.state.self !== null, 'a replica that only follows was asked to sign')
  return step.state.self
}

function persist(step: Step, record: VoteRecord): void {
  step.effects.push({ type: 'persist', record })
}

function broadcast(step: Step, message: SignedMessage): void {
  step.effects.push({ type: 'broadcast', message })
}
