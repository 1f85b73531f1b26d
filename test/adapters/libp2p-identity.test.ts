// The tie between an institution's signing key and its peer id.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { nodeKeyOf, peerIdOf, publicKeyOf } from '../../src/adapters/libp2p-identity.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { fromHex, toHex } from '../../src/model/hash.ts'
import type { PeerId, PublicKey } from '../../src/model/ids.ts'
import { publicKeyFromSeed } from './keys.ts'

it('refuses what is no Ed25519 key or no peer id', () => {
  const code = (expected: string) => (error: unknown) => error instanceof EmrmError && error.code === expected
  for (const key of ['', 'ab', 'AB'.repeat(32), `02${'ab'.repeat(32)}`])
    assert.throws(() => peerIdOf(key as PublicKey), code('public-key-invalid'))
  // The last one is an RSA peer id.
  for (const id of ['', 'hospital', '12D3KooW', 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N'])
    assert.throws(() => publicKeyOf(id as PeerId), code('peer-id-invalid'))
})

it('makes the peer id that libp2p specifies: base58 of an identity multihash of the protobuf key', () => {
  // The public key of RFC 8032, test 1.
  const seed = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60')
  const key = toHex(publicKeyFromSeed(seed)) as PublicKey
  assert.equal(key, 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  assert.equal(peerIdOf(key), base58(`002408011220${key}`))
})

it('gives back the public key of any seed, and proves with that key', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async seed => {
      const key = toHex(publicKeyFromSeed(seed)) as PublicKey
      const id = peerIdOf(key)
      assert.match(id, /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/)
      assert.equal(publicKeyOf(id), key)
      assert.equal(toHex((await nodeKeyOf(seed)).publicKey.raw), key)
    }),
    { numRuns: 30 },
  )
})

/** Of bytes that begin with one zero byte. */
function base58(hex: string): string {
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
  let text = ''
  for (let rest = BigInt(`0x${hex}`); rest > 0n; rest /= 58n) text = `${alphabet[Number(rest % 58n)]}${text}`
  return `1${text}`
}
