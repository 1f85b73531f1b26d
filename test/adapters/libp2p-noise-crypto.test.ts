// Our cipher for Noise says the same as the library's, byte for byte, in its own memory, and refuses what was changed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'
import { noiseCrypto } from '../../src/adapters/libp2p-noise-crypto.ts'
import { fill } from '../records/support.ts'

const key = fill(32, 3)
const nonce = fill(12, 4)
const none: Uint8Array = new Uint8Array(0)
type Bytes = Parameters<typeof noiseCrypto.chaCha20Poly1305Encrypt>[0]

const whole = (bytes: Bytes): Uint8Array => bytes.subarray()
const inParts = (bytes: Uint8Array): Bytes => {
  const third = Math.ceil(bytes.length / 3)
  const parts = [bytes.subarray(0, third), bytes.subarray(third, 2 * third), bytes.subarray(2 * third)]
  return new Uint8ArrayList(...parts) as unknown as Bytes
}
const SIZES = [0, 1, 15, 16, 17, 1_199, 1_200, 4_096, 4_097, 65_519]

test('what we seal, the library opens, and what it seals, we open: whole or in parts, with data or without', () => {
  for (const size of SIZES)
    for (const data of [none, fill(32, 5)]) {
      const plain = fill(size, 6)
      const sealed = whole(defaultCrypto.chaCha20Poly1305Encrypt(plain, nonce, data, key))
      assert.equal(sealed.length, size + 16)
      for (const given of [plain, inParts(plain)])
        assert.deepEqual(
          Buffer.from(whole(noiseCrypto.chaCha20Poly1305Encrypt(given, nonce, data, key))),
          Buffer.from(sealed),
        )
      assert.deepEqual(plain, fill(size, 6))
      for (const given of [Uint8Array.from(sealed), inParts(Uint8Array.from(sealed))]) {
        const before = Uint8Array.from(whole(given))
        const opened = whole(noiseCrypto.chaCha20Poly1305Decrypt(given, nonce, data, key))
        assert.deepEqual(Buffer.from(opened), Buffer.from(plain))
        // The handshake hashes the ciphertext after it was opened.
        assert.deepEqual(Uint8Array.from(whole(given)), before)
        const place = Uint8Array.from(sealed.subarray(0, size))
        noiseCrypto.chaCha20Poly1305Decrypt(given, nonce, data, key, place)
        assert.deepEqual(Buffer.from(place), Buffer.from(plain))
      }
    }
})

test('a changed byte, another key, nonce or data, and a stump do not open', () => {
  const sealed = whole(noiseCrypto.chaCha20Poly1305Encrypt(fill(5_000), nonce, none, key))
  const open =
    (bytes: Uint8Array, at = nonce, data = none, under = key) =>
    () =>
      noiseCrypto.chaCha20Poly1305Decrypt(bytes, at, data, under)
  assert.doesNotThrow(open(sealed))
  for (const at of [0, 4_999, 5_000, 5_015]) {
    const changed = Uint8Array.from(sealed)
    changed[at]! ^= 1
    assert.throws(open(changed))
  }
  assert.throws(open(sealed, fill(12, 9)))
  assert.throws(open(sealed, nonce, fill(3)))
  assert.throws(open(sealed, nonce, none, fill(32, 9)))
  assert.throws(open(sealed.subarray(0, 4_000)))
  assert.throws(open(sealed.subarray(0, 15)))
})
