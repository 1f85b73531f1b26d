// The private network: the 32-byte swarm key is hashed into the prologue of the Noise handshake, so a peer with another key or none fails the handshake
// and costs us nothing per byte afterwards. @libp2p/pnet is not used: 3.0.27 loses its cipher state after large writes.
// libp2p throws a failed handshake away in silence; the wrapper here says what happened and why, on both sides.
// Not here: which of those who hold the key may connect (libp2p-gate.ts).

import { noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface'
import { concat } from 'uint8arrays/concat'
import { fromString } from 'uint8arrays/from-string'
import { EmrmError } from '../model/errors.ts'
import { sha256 } from '../model/hash.ts'
import { noiseCrypto } from './libp2p-noise-crypto.ts'

const swarmKeyBytes = 32
const prologueLabel = 'emrm/psk/1'

export type HandshakeFailure = {
  readonly direction: 'inbound' | 'outbound'
  /** Of the other side; null when the transport does not say. */
  readonly address: string | null
  /** Whom we dialled; a caller who fails the handshake has not proven a name. */
  readonly peer: string | null
  readonly reason: 'wrong-network-key' | 'wrong-peer-id' | 'handshake-timeout' | 'handshake-cut'
  readonly detail: string
}

type NoiseFactory = ReturnType<typeof noise>
type NoiseComponents = Parameters<NoiseFactory>[0]

/** Throws EmrmError `swarm-key-invalid`. */
function networkPrologue(swarmKey: Uint8Array): Uint8Array {
  if (swarmKey.byteLength !== swarmKeyBytes) {
    throw new EmrmError('swarm-key-invalid', `The private-network key must be ${swarmKeyBytes} bytes.`, {
      bytes: swarmKey.byteLength,
    })
  }
  return sha256(concat([fromString(prologueLabel), swarmKey]))
}

/** Noise with our prologue that reports each failed handshake. */
export function privateNoise(
  swarmKey: Uint8Array,
  onFailure: (failure: HandshakeFailure) => void,
): (components: NoiseComponents) => ConnectionEncrypter {
  const makeNoise = noise({ prologueBytes: networkPrologue(swarmKey), crypto: noiseCrypto })
  return components => reporting(makeNoise(components), onFailure)
}

function reporting(inner: ConnectionEncrypter, onFailure: (failure: HandshakeFailure) => void): ConnectionEncrypter {
  const watch = async (
    direction: 'inbound' | 'outbound',
    stream: MessageStream,
    options: SecureConnectionOptions | undefined,
    handshake: Promise<SecuredConnection>,
  ): Promise<SecuredConnection> => {
    let heard = false
    const onMessage = (): void => {
      heard = true
    }
    stream.addEventListener('message', onMessage)
    try {
      return await handshake
    } catch (error) {
      onFailure({
        direction,
        address: addressOf(stream),
        peer: options?.remotePeer?.toString() ?? null,
        ...explain(direction, error, heard, options?.signal?.aborted === true),
      })
      throw error
    } finally {
      stream.removeEventListener('message', onMessage)
    }
  }
  return {
    protocol: inner.protocol,
    secureInbound: (stream, options) => watch('inbound', stream, options, inner.secureInbound(stream, options)),
    secureOutbound: (stream, options) => watch('outbound', stream, options, inner.secureOutbound(stream, options)),
  }
}

function addressOf(stream: MessageStream): string | null {
  return 'remoteAddr' in stream ? String(stream.remoteAddr) : null
}

/** What a failed handshake means. The dialler's first message is not keyed, so it is the dialler who finds a wrong key first and hangs up on our answer. */
function explain(
  direction: 'inbound' | 'outbound',
  error: unknown,
  heard: boolean,
  timedOut: boolean,
): Pick<HandshakeFailure, 'reason' | 'detail'> {
  const name = error instanceof Error ? error.name : ''
  if (timedOut || name === 'TimeoutError') {
    return { reason: 'handshake-timeout', detail: 'the other side did not finish the handshake in time' }
  }
  if (name === 'UnexpectedPeerError') {
    return { reason: 'wrong-peer-id', detail: 'another peer answers at this address; correct the address of the peer' }
  }
  if (!heard) {
    return { reason: 'handshake-cut', detail: 'the other side hung up before the handshake began' }
  }
  return direction === 'outbound'
    ? {
        reason: 'wrong-network-key',
        detail: 'the peer holds another private-network key or none; both need the same swarm.key',
      }
    : {
        reason: 'wrong-network-key',
        detail:
          'the caller holds another private-network key or none, or looked for another peer at this address; peers of one network share swarm.key',
      }
}
