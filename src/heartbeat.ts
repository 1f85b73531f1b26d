// An idle chain is silent; this is how a peer knows that its head is still the head, and how one that is behind is found: every validator
// says a signed STATUS now and then, and a peer remembers when it last heard whom (contract.md: a grant is refused as `policy-stale` when a
// quorum was not heard for too long). A replica that lost its disk asks for heads instead, and says nothing (consensus.md §1.3).
// Not here: what a STATUS of a lower height leads to (consensus/laggards.ts).

import type { CatchUp } from './catch-up.ts'
import type { Committee } from './model/committee.ts'
import { asHeight, type Height, type PeerId, type PublicKey, type ValidatorIndex } from './model/ids.ts'
import type { Clock, Log, Network } from './ports.ts'

const HEARTBEAT_MS = 2_000

type Options = {
  readonly network: Network
  readonly clock: Clock
  readonly log: Log
  readonly catchUp: Pick<CatchUp, 'provenHead'>
  /** First height that may be signed; null while that is not known, because the disk was lost. */
  readonly signFrom: Height | null
  /** Resolves when it is on disk. */
  readonly onSignFrom: (signFrom: Height) => Promise<void>
  readonly committee: () => Committee
  readonly self: () => ValidatorIndex | null
  readonly nextHeight: () => Height
  readonly sayStatus: () => void
  /** Called with every beat. */
  readonly onBeat: () => void
}

export type Heartbeat = {
  start(): void
  stop(): void
  signFrom(): Height | null
  /** A signed message of this member of the present committee, not above our next height. */
  heard(sender: ValidatorIndex): void
  /** Ms since a quorum of validators was last known to be at our head or behind it. */
  staleMs(): number
}

export function makeHeartbeat(options: Options): Heartbeat {
  const { network, clock, log, catchUp } = options
  // By key, not by position: a committee's order changes with its epoch.
  const heardMs = new Map<PublicKey, number>()
  const toldHeads = new Map<PeerId, Height>()
  let signFrom = options.signFrom
  let asking = false
  let stopped = false
  let cancel: () => void = () => {}

  function beat(): void {
    if (signFrom === null) void askHeads()
    else if (options.self() !== null && options.nextHeight() >= signFrom) options.sayStatus()
    options.onBeat()
    cancel = clock.after(HEARTBEAT_MS, beat)
  }

  /** Lost disk: what this replica signed before stands at most two heights above what n-f others can prove decided. */
  async function askHeads(): Promise<void> {
    if (asking) return
    asking = true
    const { validators, quorum } = options.committee()
    for (const peer of network.directPeers()) {
      if (peer === network.self || !validators.some(({ peerId }) => peerId === peer)) continue
      const head = await catchUp.provenHead(peer)
      if (head !== null) toldHeads.set(peer, head)
    }
    asking = false
    const told = validators.flatMap(({ peerId }) => toldHeads.get(peerId) ?? [])
    if (signFrom !== null || stopped || told.length < quorum.viewChange) return
    const proven = asHeight(Math.max(...told) + 3)
    await options.onSignFrom(proven)
    signFrom = proven
    log.warn('signing-again-from', { height: proven })
  }

  return {
    start: beat,
    stop() {
      stopped = true
      cancel()
    },
    signFrom: () => signFrom,
    heard(sender) {
      const key = options.committee().validators[sender]?.publicKey
      if (key !== undefined) heardMs.set(key, clock.steadyMs())
    },
    staleMs() {
      const nowMs = clock.steadyMs()
      const { validators, quorum } = options.committee()
      const self = options.self()
      const heard = validators.map(({ index, publicKey }) =>
        index === self ? nowMs : (heardMs.get(publicKey) ?? Number.NEGATIVE_INFINITY),
      )
      return nowMs - (heard.sort((a, b) => b - a)[quorum.commitCertificate - 1] as number)
    },
  }
}
