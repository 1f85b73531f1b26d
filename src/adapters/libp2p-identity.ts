// A hospital's signing key and its peer id are one thing: the libp2p peer id is the Ed25519 public key in another dress (identity multihash, base58).
// So whoever reads the registry knows which peer may connect, and a proven connection names an institution. Ed25519 only: RSA and others are refused.
// Not here: how the key is kept on disk (identity/keystore.ts), who is admitted (libp2p-gate.ts).

import { generateKeyPairFromSeed, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import { EmrmError } from '../model/errors.ts'
import { fromHex, toHex } from '../model/hash.ts'
import { isHexadecimal, type PeerId, type PublicKey } from '../model/ids.ts'

/** The peer id of the holder of this Ed25519 public key. Throws EmrmError `public-key-invalid`. */
export function peerIdOf(publicKey: PublicKey): PeerId {
  if (!isHexadecimal(publicKey, 64)) {
    throw new EmrmError('public-key-invalid', 'A peer id is made of an Ed25519 public key: give 64 hexadecimal digits.')
  }
  return peerIdFromPublicKey(publicKeyFromRaw(fromHex(publicKey))).toString() as PeerId
}

/** The Ed25519 public key inside a peer id. Throws EmrmError `peer-id-invalid`. */
export function publicKeyOf(peerId: PeerId): PublicKey {
  const parsed = libp2pIdOf(peerId)
  if (parsed.type !== 'Ed25519') {
    throw new EmrmError('peer-id-invalid', 'The peer id holds no Ed25519 key; ask the institution for its peer id.', {
      peer: peerId,
    })
  }
  return toHex(parsed.publicKey.raw) as PublicKey
}

/** The library's form of a peer id. Throws EmrmError `peer-id-invalid`. */
export function libp2pIdOf(peerId: PeerId): Libp2pPeerId {
  try {
    return peerIdFromString(peerId)
  } catch (error) {
    throw new EmrmError(
      'peer-id-invalid',
      'This is not a peer id; it should be base58 text.',
      { peer: String(peerId) },
      error,
    )
  }
}

/** The key with which libp2p proves who we are, from the 32-byte seed of the institution's signing key. */
export function nodeKeyOf(seed: Uint8Array): Promise<Ed25519PrivateKey> {
  return generateKeyPairFromSeed('Ed25519', seed)
}
