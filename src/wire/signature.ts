// The one verifier of Ed25519 signatures: libsodium, strict (canonical S and points, no small order). Verifiers differ on edge cases,
// even one library between its versions; two of them in one network are a fork that any client can cause (libraries.md §0).
// There is no fallback: a peer without libsodium does not start.

import sodium from 'sodium-native'

import { fromHex } from '../model/hash.ts'
import type { PublicKey } from '../model/ids.ts'
import { ED25519_KEY_BYTES, SIGNATURE_BYTES } from './limits.ts'

/** False, never a throw, for anything that is not a valid signature. */
export function verifySignature(publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES || publicKey.length !== 2 * ED25519_KEY_BYTES) return false
  const key = fromHex(publicKey)
  // A digit that is none shortens the key.
  if (key.length !== ED25519_KEY_BYTES) return false
  return sodium.crypto_sign_verify_detached(signature, bytes, key)
}
