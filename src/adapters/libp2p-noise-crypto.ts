// The cipher of the Noise connections, ChaCha20-Poly1305 by libsodium, which can work in the memory that is already there: the library's
// own choice, Node's cipher, makes two new buffers for each 64 KiB, and what a transfer costs is mostly memory (short-lived.ts).
// The same bytes on the wire as before. Not here: the handshake and its keys, which stay the library's.

import type { ICryptoInterface } from '@chainsafe/libp2p-noise'
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import sodium from 'sodium-native'

const TAG_BYTES = 16
/** Smaller ones share a slab of Node's. */
const POOLED_BYTES_MAX = 4_096

export const noiseCrypto: ICryptoInterface = {
  ...defaultCrypto,
  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    const size = plaintext.byteLength
    const sealed = allocate(size + TAG_BYTES)
    if (plaintext instanceof Uint8Array) {
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plaintext, dataOf(ad), null, nonce, key)
      return sealed
    }
    // Copied to where the ciphertext goes, and encrypted there.
    const plain = sealed.subarray(0, size)
    copy(plaintext, plain)
    sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plain, dataOf(ad), null, nonce, key)
    return sealed
  },

  /** `place`: memory that holds the ciphertext without its tag and may be overwritten. Without it the ciphertext stays as it is. */
  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, place) {
    const size = ciphertext.byteLength - TAG_BYTES
    if (size < 0) throw new Error('the ciphertext is shorter than its tag')
    const tag = ciphertext.subarray(size)
    const plain = place ?? allocate(size)
    if (place === undefined) copy(ciphertext, plain)
    sodium.crypto_aead_chacha20poly1305_ietf_decrypt_detached(plain, null, plain, tag, dataOf(ad), nonce, key)
    return plain
  },
}

const allocate = (size: number): Uint8Array =>
  size > POOLED_BYTES_MAX ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)

/** libsodium takes no data at all for empty data. */
const dataOf = (data: Uint8Array): Uint8Array | null => (data.byteLength === 0 ? null : data)

/** As much as the target holds. */
function copy(source: Uint8Array | Iterable<Uint8Array>, target: Uint8Array): void {
  let filled = 0
  for (const chunk of source instanceof Uint8Array ? [source] : source) {
    const part = chunk.byteLength > target.byteLength - filled ? chunk.subarray(0, target.byteLength - filled) : chunk
    target.set(part, filled)
    filled += part.byteLength
  }
}
