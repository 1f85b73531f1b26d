// Who may connect: institutions on the register alone (P-30, P-32). The remote's name is proven only by the Noise handshake, so an inbound connection is
// decided after it; a dialler that is refused sees a connection that closes at once, so an open connection is never proof of admission.
// Every refusal is logged with its reason, a repeated one at most every ten seconds: a stranger must not fill the log.
// Not here: the private-network key (libp2p-private-network.ts), and closing the connections of a peer that is no longer admitted (libp2p-network.ts).

import type { ConnectionGater } from '@libp2p/interface'
import type { PeerId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import type { HandshakeFailure } from './libp2p-private-network.ts'

const repeatMs = 10_000
const rememberedMax = 1_000

export type Gate = {
  readonly gater: ConnectionGater
  isAdmitted(peer: PeerId): boolean
  /** All admitted peers but this one. */
  admitted(): ReadonlySet<PeerId>
  admit(peers: ReadonlySet<PeerId>): void
  /** Logs a handshake that failed before the other side had a name. */
  handshakeFailed(failure: HandshakeFailure): void
}

export function makeGate(self: PeerId, first: ReadonlySet<PeerId>, log: Log): Gate {
  let admitted = without(first, self)
  const isAdmitted = (peer: PeerId): boolean => admitted.has(peer)
  const refused = makeRefusalLog(log)

  const deny = (direction: 'inbound' | 'outbound', peer: string, address: string | null): boolean => {
    if (isAdmitted(peer as PeerId)) return false
    refused({
      direction,
      peer,
      address,
      reason: 'not-registered',
      detail: 'the peer id is not in the register of institutions; the authority must admit it first',
    })
    return true
  }

  return {
    isAdmitted,
    admitted: () => admitted,
    admit(peers) {
      admitted = without(peers, self)
    },
    handshakeFailed: refused,
    gater: {
      denyDialPeer: peer => !isAdmitted(peer.toString() as PeerId),
      denyInboundEncryptedConnection: (peer, connection) =>
        deny('inbound', peer.toString(), connection.remoteAddr.toString()),
      denyOutboundEncryptedConnection: (peer, connection) =>
        deny('outbound', peer.toString(), connection.remoteAddr.toString()),
      // Keeps strangers out of the peer store; our own addresses pass.
      filterMultiaddrForPeer: peer => peer.toString() === self || isAdmitted(peer.toString() as PeerId),
    },
  }
}

type Refusal = Omit<HandshakeFailure, 'reason'> & { readonly reason: HandshakeFailure['reason'] | 'not-registered' }

function makeRefusalLog(log: Log): (refusal: Refusal) => void {
  const seen = new Map<string, { loggedAtMs: number; silenced: number }>()
  return refusal => {
    const nowMs = performance.now()
    // A caller's port is new each time; its host is not.
    const key = `${refusal.direction} ${refusal.reason} ${refusal.peer ?? refusal.address?.split('/tcp/')[0]}`
    const earlier = seen.get(key)
    if (earlier !== undefined && nowMs - earlier.loggedAtMs < repeatMs) {
      earlier.silenced++
      return
    }
    if (seen.size >= rememberedMax) seen.clear()
    seen.set(key, { loggedAtMs: nowMs, silenced: 0 })
    log.warn('connection-refused', {
      peer: refusal.peer,
      address: refusal.address,
      direction: refusal.direction,
      reason: refusal.reason,
      detail: refusal.detail,
      repeated: earlier?.silenced ?? 0,
    })
  }
}

function without(peers: ReadonlySet<PeerId>, self: PeerId): ReadonlySet<PeerId> {
  const others = new Set(peers)
  others.delete(self)
  return others
}
