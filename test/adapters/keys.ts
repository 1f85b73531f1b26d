// Public keys for tests, computed by another library than the adapters use, so that an agreement says something.

import { createPrivateKey, createPublicKey } from 'node:crypto'

const pkcs8Ed25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

export function publicKeyFromSeed(seed: Uint8Array): Uint8Array {
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Ed25519, seed]), format: 'der', type: 'pkcs8' })
  const der = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return new Uint8Array(der.subarray(der.byteLength - 32))
}
