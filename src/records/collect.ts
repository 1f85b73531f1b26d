// The reader's peer asks the validators for their shares of a record under a grant (contract.md "Release"): all at once, until enough
// have answered and a moment more, so that one bad share does not cost a second round. It cannot open what it gets; it checks what can
// be checked, and says who refused and why. Not here: opening and combining (client/open.ts, shares.ts).

import { EmrmError } from '../model/errors.ts'
import { asHeight, type PeerId, type RequestId } from '../model/ids.ts'
import { type Clock, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import { decodeShareAnswer, encodeShareRequest, type ShareAnswer, type ShareRefusal } from './frames.ts'
import type { LedgerView, RecordFacts } from './ledger-view.ts'
import type { ShareServer } from './share-server.ts'
import { isCommitted, type ReleasedShare } from './shares.ts'

/** A validator may wait for the block with the grant. */
const ANSWER_IDLE_MS = 10_000
/** How long the others may still answer when enough have. */
const GRACE_MS = 200

export type CollectOptions = {
  readonly ledger: LedgerView
  readonly network: Pick<Network, 'self' | 'request'>
  /** This peer's own share, when it is a validator. */
  readonly local: ShareServer
  readonly clock: Clock
}

type Refusal = {
  readonly peer: PeerId
  readonly institution: string
  readonly reason: ShareRefusal | 'no-answer' | 'share-invalid'
  /** House rule or the ladder's reason. */
  readonly detail: string
}

export type Collected = {
  /** Different indexes, lowest first, each committed to on the chain. */
  readonly shares: readonly ReleasedShare[]
  readonly refusals: readonly Refusal[]
}

type Wanted = {
  readonly entry: RecordFacts
  readonly grant: RequestId
  readonly recipient: Uint8Array
  /** To deal the key anew: `grant` is that announcement's id. */
  readonly isRedeal?: true
  readonly signal: AbortSignal
}

/** Never throws for what peers do: too few shares are an answer, and `refusals` say why. Throws when `signal` aborts. */
export async function collectShares(options: CollectOptions, wanted: Wanted): Promise<Collected> {
  const { ledger, clock } = options
  const { entry, signal } = wanted
  signal.throwIfAborted()
  const need = entry.threshold
  const shares = new Map<number, ReleasedShare>()
  const refusals: Refusal[] = []
  const over = new AbortController()
  const stop = (): void => over.abort()
  signal.addEventListener('abort', stop, { once: true })
  let cancelGrace = (): void => undefined
  const enough = new Promise<void>(resolve => over.signal.addEventListener('abort', () => resolve(), { once: true }))

  const ask = async (peer: PeerId): Promise<void> => {
    const answer = await askOne(options, peer, wanted, over.signal)
    if (over.signal.aborted) return
    if (answer?.type === 'released' && isCommitted(answer, entry)) {
      const { index, box, commit, proof } = answer
      if (!shares.has(index)) shares.set(index, { index, box, commit, proof })
      if (shares.size === need) cancelGrace = clock.after(GRACE_MS, stop)
      return
    }
    refusals.push({ peer, institution: nameOf(ledger, peer), ...reasonOf(answer) })
  }
  try {
    await Promise.race([Promise.all(validatorPeers(ledger, entry).map(ask)), enough])
    signal.throwIfAborted()
  } finally {
    cancelGrace()
    signal.removeEventListener('abort', stop)
    over.abort()
  }
  return { shares: [...shares.values()].sort((a, b) => a.index - b.index), refusals }
}

/** The validators that were dealt to, and those of today: a committee may have changed since. */
function validatorPeers(ledger: LedgerView, entry: RecordFacts): readonly PeerId[] {
  const peers = new Set<PeerId>()
  for (const height of [asHeight(entry.dealtAt), ledger.head().height])
    for (const { peerId } of ledger.committeeAt(height)?.validators ?? []) peers.add(peerId)
  return [...peers]
}

/** Null when there was no answer that can be read. */
async function askOne(
  { network, local, clock }: CollectOptions,
  peer: PeerId,
  { entry, grant, recipient, isRedeal }: Pick<Wanted, 'entry' | 'grant' | 'recipient' | 'isRedeal'>,
  over: AbortSignal,
): Promise<ShareAnswer | null> {
  const asked = { grant, recipient, ...(isRedeal === true ? { redeal: entry.record } : {}) }
  if (peer === network.self) return local.answer(asked, peer)
  const idle = idleSignal(clock, ANSWER_IDLE_MS, over)
  try {
    const request = encodeShareRequest(asked)
    for await (const frame of network.request(peer, PROTOCOLS.share, [request], idle.signal))
      return decodeShareAnswer(frame)
    return null
  } catch (error) {
    if (error instanceof EmrmError || idle.signal.aborted) return null
    throw error
  } finally {
    idle.end()
  }
}

const reasonOf = (answer: ShareAnswer | null): Pick<Refusal, 'reason' | 'detail'> => {
  if (answer === null) return { reason: 'no-answer', detail: '' }
  if (answer.type === 'released') return { reason: 'share-invalid', detail: '' }
  return { reason: answer.reason, detail: answer.detail }
}

const nameOf = (ledger: LedgerView, peer: PeerId): string =>
  ledger.institutions().find(({ peerId }) => peerId === peer)?.name ?? peer
