// What signs in somebody's name, wherever the key came from. Not here: the files that hold keys (keystore.ts, web3-keystore.ts).

import type { Identifier, PublicKey, SignatureScheme } from '../model/ids.ts'

/** A key that signs; deterministic, so the same bytes give the same signature. */
export type SigningKey = {
  /** 1: Ed25519, the only one for institutions, CAs and the authority. 2: secp256k1, an Ethereum account (ethereum-account.ts). */
  readonly scheme: SignatureScheme
  readonly publicKey: PublicKey
  /** For whom it acts: its own identifier (P-32), or the user who took it as a new key. */
  readonly identifier: Identifier
  sign(bytes: Uint8Array): Uint8Array
  /** A copy of the 32 secret bytes; for saving only. */
  seed(): Uint8Array
}
