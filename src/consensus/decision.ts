// What follows from a certificate: R3 (a commit certificate is confirmed by a BLOCK-ID) and R4 (a block is decided).
// Not here: how votes are counted (normal-case.ts).

import type { Block } from '../model/block.ts'
import type { CommitCertificate, DecideCertificate } from '../model/messages.ts'
import { isDecideCertificate } from './certificates.ts'
import { keepCertificate, sendBlockId } from './durable.ts'
import { bodyOf, type Step, want } from './state.ts'

/** R3. A replica that has not left the certificate's view jumps to it and confirms; for a left view it only remembers: a BLOCK-ID there forks. */
export function adoptCertificate(step: Step, certificate: CommitCertificate): void {
  const { state } = step
  if (!state.signs || state.decision !== null) return
  if (certificate.view <= (state.highCertificate?.view ?? -1)) return
  if (certificate.view >= state.view) sendBlockId(step, certificate)
  else keepCertificate(step, certificate)
}

/** R4, in any view, at any time; after it no vote, BLOCK-ID or VIEW-CHANGE for this height. */
export function decide(step: Step, certificate: DecideCertificate): void {
  const { state } = step
  if (state.decision !== null) return
  state.decision = certificate
  finish(step)
}

/** A certificate that somebody else built: in a DECIDED, or in the PRE-PREPARE of the next height (§1.7). */
export function onDecideCertificate(step: Step, certificate: DecideCertificate): void {
  const { state } = step
  if (!isDecideCertificate(certificate, state.height, state.committee.quorum)) return
  decide(step, certificate)
}

/** An answer to a laggard: the certificate and the body with it. */
export function onDecided(step: Step, block: Block, certificate: DecideCertificate): void {
  const { state } = step
  if (state.decided || block.id !== certificate.id || block.header.height !== state.height) return
  if (!isDecideCertificate(certificate, state.height, state.committee.quorum)) return
  state.bodies.set(block.id, block)
  decide(step, certificate)
  finish(step)
}

/** A body that was asked for; any other is dropped, since bodies are large. */
export function onBody(step: Step, block: Block): void {
  const { state } = step
  if (block.header.height !== state.height || !state.wanted.delete(block.id)) return
  state.bodies.set(block.id, block)
  finish(step)
}

/** Tells the driver once the decided block's body is here; f+1 correct validators have it. */
export function finish(step: Step): void {
  const { state, effects } = step
  if (state.decision === null || state.decided) return
  const block = bodyOf(state, state.decision.id)
  if (block === null) return want(step, state.decision.id)
  state.decided = true
  effects.push({ type: 'decide', block, certificate: state.decision })
}
