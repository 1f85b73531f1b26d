// Other people's vectors: the codec fixtures of IPLD against our reader, and the edge cases of Ed25519 against our one verifier.
// A peer that decides one of these differently forks the chain, so the verdicts themselves are written down here.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'

import { decode } from '@ipld/dag-cbor'

import type { PublicKey } from '../../src/model/ids.ts'
import { WireFault } from '../../src/wire/codec.ts'
import { Reader } from '../../src/wire/reader.ts'
import { verifySignature, verifyUserSignature } from '../../src/wire/verify.ts'
import { hospitals } from './samples.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')

function dataOr(t: TestContext, path: string): string | null {
  const full = join(DATA, path)
  if (existsSync(full)) return full
  t.skip(`${path} is absent`)
  return null
}

/** Reads what our tuples may hold; anything else throws. */
function readAny(reader: Reader, next: () => number): unknown {
  const byte = next()
  switch (byte >> 5) {
    case 0:
      return reader.uint()
    case 2:
      return reader.bytes(1 << 20)
    case 3:
      return reader.text(1 << 20)
    case 4:
      return Array.from({ length: reader.list(100_000) }, () => readAny(reader, next))
    default:
      return reader.null() ? null : reader.boolean()
  }
}

function read(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes)
  const value = readAny(reader, () => bytes[reader.position] ?? 0xff)
  reader.finish()
  return value
}

/** Unsigned safe integers, bytes, text, lists, true, false, null. */
const isOurs = (value: unknown): boolean =>
  value === null ||
  typeof value === 'boolean' ||
  typeof value === 'string' ||
  (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) ||
  value instanceof Uint8Array ||
  (Array.isArray(value) && value.every(isOurs))

test("IPLD's fixtures: what our tuples may hold reads as the library reads it, all else is refused", t => {
  const folder = dataOr(t, 'dag-cbor/fixtures')
  if (folder === null) return
  const seen = { read: 0, refused: 0 }
  for (const name of readdirSync(folder))
    for (const file of readdirSync(join(folder, name)).filter(each => each.endsWith('.dag-cbor'))) {
      const bytes: Uint8Array = new Uint8Array(readFileSync(join(folder, name, file)))
      const value: unknown = decode(bytes)
      if (isOurs(value)) {
        assert.deepEqual(read(bytes), value, name)
        seen.read++
      } else {
        assert.throws(() => read(bytes), WireFault, name)
        seen.refused++
      }
    }
  assert.ok(seen.read >= 10 && seen.refused >= 20, JSON.stringify(seen))
})

type Cctv = {
  readonly number: number
  readonly key: string
  readonly sig: string
  readonly msg: string
  readonly flags: readonly string[] | null
}

/** Points with a low-order component that still satisfy the equation without the cofactor: libsodium accepts them, and so do all peers. */
const CCTV_ACCEPTED: readonly number[] = [50, 182, 438, 538, 638, 738, 832]

test('the edge cases of CCTV: no small order, canonical points only, and the accepted ones are these', t => {
  const file = dataOr(t, 'cctv/ed25519/ed25519vectors.json.gz')
  if (file === null) return
  const vectors = JSON.parse(gunzipSync(readFileSync(file)).toString()) as readonly Cctv[]
  assert.ok(vectors.length > 400)
  const accepted = vectors.filter(each =>
    verifySignature(each.key as PublicKey, Buffer.from(each.msg), Buffer.from(each.sig, 'hex')),
  )
  for (const { flags, number } of accepted)
    for (const flag of ['low_order_A', 'low_order_R', 'non_canonical_A', 'non_canonical_R', 'low_order_residue'])
      assert.ok(!(flags ?? []).includes(flag), `vector ${number} has ${flag} and was accepted`)
  assert.deepEqual(
    accepted.map(each => each.number),
    CCTV_ACCEPTED,
  )
})

type Wycheproof = {
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string }
    readonly tests: readonly {
      readonly tcId: number
      readonly msg: string
      readonly sig: string
      readonly result: string
    }[]
  }[]
}

test('Wycheproof: every valid signature is accepted, every invalid one refused without a throw', t => {
  const file = dataOr(t, 'wycheproof/ed25519_test.json.gz')
  if (file === null) return
  const { testGroups } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Wycheproof
  let count = 0
  for (const { publicKey, tests } of testGroups)
    for (const { tcId, msg, sig, result } of tests) {
      const ok = verifySignature(publicKey.pk as PublicKey, Buffer.from(msg, 'hex'), Buffer.from(sig, 'hex'))
      assert.equal(ok, result === 'valid', `test ${tcId}`)
      count++
    }
  assert.ok(count > 50)
})

test('S above the group order, a changed bit anywhere, and keys that are none are refused', () => {
  const [hospital] = hospitals
  const { publicKey, sign } = hospital!
  const bytes = Buffer.from('once')
  const signature = sign(bytes)
  assert.ok(verifySignature(publicKey, bytes, signature))
  const order = (1n << 252n) + 27742317777372353535851937790883648493n
  const s = Buffer.from(signature.subarray(32)).reverse().toString('hex')
  const malleable = Buffer.from((BigInt(`0x${s}`) + order).toString(16).padStart(64, '0'), 'hex').reverse()
  assert.ok(!verifySignature(publicKey, bytes, Buffer.concat([signature.subarray(0, 32), malleable])))
  for (let bit = 0; bit < 512; bit++) {
    const flipped = new Uint8Array(signature)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    assert.ok(!verifySignature(publicKey, bytes, flipped), `bit ${bit}`)
  }
  for (const key of [
    '',
    'zz'.repeat(32),
    publicKey.slice(2),
    `${publicKey}00`,
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
  ])
    assert.ok(!verifySignature(key as PublicKey, bytes, signature), key)
  for (const length of [0, 63, 65]) assert.ok(!verifySignature(publicKey, bytes, new Uint8Array(length)))
})

type Ecdsa = {
  readonly testGroups: readonly {
    readonly publicKey: { readonly uncompressed: string }
    readonly tests: readonly {
      readonly tcId: number
      readonly comment: string
      readonly msg: string
      readonly sig: string
      readonly result: 'valid' | 'invalid'
    }[]
  }[]
}

const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n

test("Wycheproof's secp256k1 signatures: all that are valid with a low S are accepted, and nothing else", t => {
  const file = dataOr(t, 'wycheproof/ecdsa_secp256k1_sha256_p1363_test.json.gz')
  if (file === null) return
  const { testGroups } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Ecdsa
  const seen = { accepted: 0, highS: 0, refused: 0 }
  for (const { publicKey, tests } of testGroups) {
    const { uncompressed } = publicKey
    const odd = Number.parseInt(uncompressed.at(-1) as string, 16) % 2
    const key = `0${2 + odd}${uncompressed.slice(2, 66)}` as PublicKey
    for (const { tcId, comment, msg, sig, result } of tests) {
      const isLow = sig.length === 128 && BigInt(`0x${sig.slice(64)}`) <= HALF_ORDER
      const expected = result === 'valid' && isLow
      const verdict = verifyUserSignature(2, key, Buffer.from(msg, 'hex'), Buffer.from(sig, 'hex'))
      assert.equal(verdict, expected, `${tcId} ${comment}`)
      seen[verdict ? 'accepted' : result === 'valid' ? 'highS' : 'refused']++
    }
  }
  assert.ok(seen.accepted > 30 && seen.highS > 5 && seen.refused > 30, JSON.stringify(seen))
})
