// Ethereum accounts (P-21): a secp256k1 key that signs requests (scheme 2), and `Add`, the last 20 bytes of Keccak-256 (not SHA3-256,
// whose padding differs) of the public key's two coordinates. ECDSA over SHA-256 with a deterministic nonce (RFC 6979) and low S.
// Not here: the file that holds one (web3-keystore.ts), checking a signature (wire/signature.ts).

import { randomBytes } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'
import secp256k1 from 'secp256k1/bindings.js'
import { fromHex, identifierOf, sha256, toHex } from '../model/hash.ts'
import type { Identifier, PublicKey } from '../model/ids.ts'
import type { SigningKey } from './signing-key.ts'

export const ACCOUNT_SECRET_BYTES = 32

export function createAccountKey(identifier?: Identifier): SigningKey {
  for (;;) {
    const secret = randomBytes(ACCOUNT_SECRET_BYTES)
    // All but one in 2^128 are a key.
    if (secp256k1.privateKeyVerify(secret)) return accountKeyFromSecret(secret, identifier)
  }
}

/** `identifier`: for whom it acts, when that is not its own. Throws RangeError when the secret is no scalar of the curve. */
export function accountKeyFromSecret(secret: Uint8Array, identifier?: Identifier): SigningKey {
  if (secret.length !== ACCOUNT_SECRET_BYTES || !secp256k1.privateKeyVerify(secret))
    throw new RangeError('a secp256k1 key has 32 bytes, not zero and below the order of the curve')
  const kept = new Uint8Array(secret)
  const publicKey = toHex(secp256k1.publicKeyCreate(kept, true)) as PublicKey
  return {
    scheme: 2,
    publicKey,
    identifier: identifier ?? identifierOf(publicKey),
    sign: bytes => secp256k1.ecdsaSign(sha256(bytes), kept).signature,
    seed: () => new Uint8Array(kept),
  }
}

/** `0x` and 40 digits, in the mixed case of EIP-55 that carries a checksum. `publicKey`: compressed. */
export function ethereumAddress(publicKey: PublicKey): string {
  const point = secp256k1.publicKeyConvert(fromHex(publicKey), false)
  const digits = toHex(keccak_256(point.subarray(1)).subarray(12))
  const sums = toHex(keccak_256(Buffer.from(digits, 'ascii')))
  const cased = [...digits].map((digit, i) =>
    Number.parseInt(sums[i] as string, 16) >= 8 ? digit.toUpperCase() : digit,
  )
  return `0x${cased.join('')}`
}
