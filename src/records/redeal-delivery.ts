// The boxes of a key that is dealt anew, to the validators of the new committee: to all at once, until enough have signed for theirs and a
// moment more. What is not delivered by then goes the way of an upload's boxes, when the deal has come to count (deposit.ts).
// Not here: dealing, and what makes a deal count (redeal.ts).

import { EmrmError } from '../model/errors.ts'
import type { Digest, PublicKey } from '../model/ids.ts'
import { redealAckBytes } from '../model/redeal.ts'
import { type Clock, type Log, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import type { DepositReceiver } from './deposit-receiver.ts'
import {
  type Acknowledgement,
  type DealtBox,
  type DepositAnswer,
  decodeDepositAnswer,
  encodeDepositRequest,
  type PendingDeal,
} from './frames.ts'
import { institutionOf, type LedgerView, type RecordFacts } from './ledger-view.ts'

/** A validator may wait for the block with the announcement. */
const ANSWER_IDLE_MS = 15_000
/** How long the others may still sign when enough have. */
const GRACE_MS = 500

export type DeliveryOptions = {
  readonly ledger: LedgerView
  readonly network: Pick<Network, 'self' | 'request'>
  /** This peer's own side, when it is a validator: nobody dials himself. */
  readonly receiver: DepositReceiver
  /** wire/verify's; the only verifier. */
  readonly verifySignature: (publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array) => boolean
  readonly chainId: Digest
  readonly clock: Clock
  readonly log: Log
}

/** To all at once, until enough have signed and a moment more. */
export async function deliverBoxes(
  options: DeliveryOptions,
  entry: RecordFacts,
  pending: PendingDeal,
  needed: number,
  outer: AbortSignal,
): Promise<readonly Acknowledgement[]> {
  const { clock } = options
  const over = new AbortController()
  const signal = AbortSignal.any([outer, over.signal])
  const acks: Acknowledgement[] = []
  let cancelGrace = (): void => undefined
  const enough = new Promise<void>(resolve => {
    const done = (): void => resolve()
    signal.addEventListener('abort', done, { once: true })
  })
  const one = async (box: DealtBox): Promise<void> => {
    const ack = await send(options, entry, pending, box, signal)
    if (ack === null || signal.aborted) return
    acks.push(ack)
    if (acks.length === needed) cancelGrace = clock.after(GRACE_MS, () => over.abort())
  }
  try {
    await Promise.race([Promise.all(pending.boxes.map(one)), enough])
  } finally {
    cancelGrace()
    over.abort()
  }
  return acks.sort((a, b) => a.index - b.index)
}

async function send(
  options: DeliveryOptions,
  { record }: RecordFacts,
  { intent, shareRoot, shareCount }: PendingDeal,
  { validator, ...box }: DealtBox,
  signal: AbortSignal,
): Promise<Acknowledgement | null> {
  const { ledger, network, receiver, verifySignature, chainId, log } = options
  const institution = institutionOf(ledger, validator)
  if (institution === null) return null
  const next = { intent, shareRoot, shareCount, ...box }
  const answer =
    institution.peerId === network.self
      ? await receiver.takeNext(next, network.self)
      : await ask(options, institution.peerId, encodeDepositRequest({ type: 'next', ...next }), signal)
  const signed = redealAckBytes({ chainId, record, intent, index: box.index, shareRoot })
  if (answer?.type === 'ack' && verifySignature(institution.publicKey, signed, answer.signature))
    return { index: box.index, validator, signature: answer.signature }
  if (!signal.aborted) {
    const reason = answer?.type === 'refused' ? answer.reason : (answer?.type ?? 'no-answer')
    log.info('redeal-missing', { record, index: box.index, validator, reason })
  }
  return null
}

async function ask(
  { network, clock }: DeliveryOptions,
  to: Network['self'],
  request: Uint8Array,
  outer: AbortSignal,
): Promise<DepositAnswer | null> {
  const idle = idleSignal(clock, ANSWER_IDLE_MS, outer)
  try {
    for await (const frame of network.request(to, PROTOCOLS.deposit, [request], idle.signal))
      return decodeDepositAnswer(frame)
    return null
  } catch (error) {
    if (error instanceof EmrmError || idle.signal.aborted) return null
    throw error
  } finally {
    idle.end()
  }
}
