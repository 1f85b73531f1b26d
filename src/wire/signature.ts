// One verifier for each scheme: Ed25519 by libsodium, strict (canonical S and points, no small order); ECDSA on secp256k1 over SHA-256
// by libsecp256k1, low S only, so that nobody on the way can make a second signature of a request. Verifiers differ on edge cases, even
// one library between its versions; two of them in one network are a fork that any client can cause (libraries.md §0). There is no
// fallback: a peer without these libraries does not start.

import secp256k1 from 'secp256k1/bindings.js'
import sodium from 'sodium-native'
import { fromHex, sha256 } from '../model/hash.ts'
import type { PublicKey, SignatureScheme } from '../model/ids.ts'
import { ED25519_KEY_BYTES, SECP256K1_KEY_BYTES, SIGNATURE_BYTES } from './limits.ts'

/** False, never a throw, for anything that is not a valid signature. */
export function verifySignature(publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES || publicKey.length !== 2 * ED25519_KEY_BYTES) return false
  // A digit that is none shortens the key.
  if (key.write(publicKey, 0, ED25519_KEY_BYTES, 'hex') !== ED25519_KEY_BYTES) return false
  return sodium.crypto_sign_verify_detached(signature, bytes, key)
}

/** Of the check under way. */
const key = Buffer.alloc(ED25519_KEY_BYTES)

/** A user's signature under either scheme (P-21); institutions and validators have Ed25519 keys alone. */
export function verifyUserSignature(
  scheme: SignatureScheme,
  publicKey: PublicKey,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  return scheme === 1 ? verifySignature(publicKey, bytes, signature) : verifyAccount(publicKey, bytes, signature)
}

function verifyAccount(publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES || publicKey.length !== 2 * SECP256K1_KEY_BYTES) return false
  const key = fromHex(publicKey)
  if (key.length !== SECP256K1_KEY_BYTES) return false
  try {
    return secp256k1.ecdsaVerify(signature, sha256(bytes), key)
  } catch {
    // How the library says that the key is no point, or that r or s is no scalar.
    return false
  }
}
