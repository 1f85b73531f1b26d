// The sealing suite as it is used: published vectors of X-Wing and of RFC 9180, and boxes that must not open.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as hpke from 'hpke'
import { fromHex, toHex } from '../../src/model/hash.ts'
import { createSealKey, ENCAPSULATION_BYTES, SEAL_KEY_BYTES, sealKeyFromSeed, sealTo } from '../../src/records/seal.ts'
import { coded, fill } from './support.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')

test('a box opens for its key and its purpose, and for nothing else', async () => {
  const [key, other] = [createSealKey(), createSealKey()]
  const box = await sealTo(key.publicBytes, 'purpose', fill(65))
  assert.equal(box.length, ENCAPSULATION_BYTES + 65 + 16)
  assert.deepEqual(new Uint8Array((await key.open(box, 'purpose'))!), fill(65))
  assert.equal(await key.open(box, 'Purpose'), null)
  assert.equal(await key.open(box, ''), null)
  assert.equal(await other.open(box, 'purpose'), null)
})

test('a box with any byte changed, missing or added does not open, and never throws', async () => {
  const key = createSealKey()
  const box = await sealTo(key.publicBytes, 'purpose', fill(65))
  for (const at of [0, 1, 500, 1087, 1088, 1119, 1120, 1150, box.length - 1]) {
    const changed = new Uint8Array(box)
    changed[at]! ^= 0x10
    assert.equal(await key.open(changed, 'purpose'), null, `byte ${at}`)
  }
  for (const wrong of [
    new Uint8Array(0),
    box.subarray(1),
    box.subarray(0, -1),
    Buffer.concat([box, box]),
    fill(100_000),
  ])
    assert.equal(await key.open(wrong, 'purpose'), null)
})

test('bytes that are no X-Wing public key are refused by name', async () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(32), new Uint8Array(SEAL_KEY_BYTES).fill(255)])
    await assert.rejects(sealTo(bytes, 'purpose', fill(1)), coded('seal-key-invalid'))
})

test('a seed gives the same key again', async () => {
  const key = createSealKey()
  const again = sealKeyFromSeed(key.seed())
  assert.equal(again.publicKey, key.publicKey)
  assert.deepEqual(
    await again.open(await sealTo(key.publicBytes, 'p', fill(9)), 'p').then(b => toHex(b!)),
    toHex(fill(9)),
  )
  assert.throws(() => sealKeyFromSeed(fill(31)), RangeError)
})

test('public keys and decapsulation agree with the X-Wing draft’s vectors', async t => {
  const file = join(DATA, 'xwing/test-vectors.json')
  if (!existsSync(file)) return t.skip('X-Wing vectors are absent')
  const vectors: { sk: string; pk: string; ct: string; ss: string }[] = JSON.parse(readFileSync(file, 'utf8'))
  const kem = hpke.KEM_MLKEM768_X25519()
  for (const { sk, pk, ct, ss } of vectors) {
    assert.equal(sealKeyFromSeed(fromHex(sk)).publicKey, pk)
    const secret = await kem.Decap(fromHex(ct), await kem.DeserializePrivateKey(fromHex(sk), false), undefined)
    assert.equal(toHex(secret), ss)
  }
  assert.ok(vectors.length > 0)
})

type Vector = {
  modeName: string
  kem_id: string
  kdf_id: string
  aead_id: string
  skRm: string
  enc: string
  info: string
  psk?: string
  psk_id?: string
  encryptions: { 'sequence number': string; aad: string; ct: string; pt: string }[]
  exports: { exporter_context: string; L: string; exported_value: string }[]
}
const SUITES = {
  kem: {
    16: hpke.KEM_DHKEM_P256_HKDF_SHA256,
    18: hpke.KEM_DHKEM_P521_HKDF_SHA512,
    32: hpke.KEM_DHKEM_X25519_HKDF_SHA256,
  },
  kdf: { 1: hpke.KDF_HKDF_SHA256, 3: hpke.KDF_HKDF_SHA512 },
  aead: {
    1: hpke.AEAD_AES_128_GCM,
    2: hpke.AEAD_AES_256_GCM,
    3: hpke.AEAD_ChaCha20Poly1305,
    65535: hpke.AEAD_EXPORT_ONLY,
  },
} as const

test('the library opens RFC 9180’s vectors of the modes it has, and refuses them with another aad, info or psk', async t => {
  const file = join(DATA, 'hpke-rfc9180/rfc9180-appendix-a.json')
  if (!existsSync(file)) return t.skip('RFC 9180 vectors are absent')
  const vectors: Vector[] = JSON.parse(readFileSync(file, 'utf8'))
  let checked = 0
  for (const vector of vectors.filter(({ modeName }) => modeName === 'Base' || modeName === 'PSK')) {
    const kem = SUITES.kem[Number(vector.kem_id) as 16]
    const kdf = SUITES.kdf[Number(vector.kdf_id) as 1]
    const aead = SUITES.aead[Number(vector.aead_id) as 1]
    const suite = new hpke.CipherSuite(kem, kdf, aead)
    const key = await suite.DeserializePrivateKey(fromHex(vector.skRm), false)
    const psk = vector.psk === undefined ? {} : { psk: fromHex(vector.psk), pskId: fromHex(vector.psk_id ?? '') }
    const setup = (info: Uint8Array, other = psk) => suite.SetupRecipient(key, fromHex(vector.enc), { info, ...other })
    const context = await setup(fromHex(vector.info))
    const first = vector.encryptions[0]
    if (first !== undefined) {
      const [ct, aad] = [fromHex(first.ct), fromHex(first.aad)]
      await assert.rejects((await setup(Buffer.from('another'))).Open(ct, aad))
      await assert.rejects((await setup(fromHex(vector.info))).Open(ct, Buffer.from('another')))
      if (vector.psk !== undefined) {
        const other = { psk: fill(32), pskId: fromHex(vector.psk_id ?? '') }
        await assert.rejects((await setup(fromHex(vector.info), other)).Open(ct, aad))
      }
      assert.equal(first['sequence number'], '0')
      assert.equal(toHex(await context.Open(ct, aad)), first.pt)
    }
    for (const { exporter_context, L, exported_value } of vector.exports)
      assert.equal(toHex(await context.Export(fromHex(exporter_context), Number(L))), exported_value)
    checked++
  }
  assert.ok(checked >= 7, `${checked} vectors`)
})
