// Ethereum accounts (P-21): addresses and signatures as others make them, and the file format against the definition's own vectors.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  computeAddress,
  decryptKeystoreJson,
  SigningKey as EthersKey,
  encryptKeystoreJson,
  sha256 as ethersSha,
} from 'ethers'
import { accountKeyFromSecret, createAccountKey, ethereumAddress } from '../../src/identity/ethereum-account.ts'
import { loadKeyFile } from '../../src/identity/keystore.ts'
import { isWeb3File, loadWeb3File, saveWeb3File } from '../../src/identity/web3-keystore.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { fromHex, toHex } from '../../src/model/hash.ts'
import { asIdentifier } from '../../src/model/ids.ts'
import { verifyUserSignature } from '../../src/wire/verify.ts'

const VECTORS = join(import.meta.dirname, '../../../shared/data/web3-keystore/vectors.json')
const FAST = 10
let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-web3-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const coded =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof EmrmError && error.code === code

test('addresses are those of the EIP-55 examples and of ethers', () => {
  // EIP-155's example key.
  const known = accountKeyFromSecret(fromHex('46'.repeat(32)))
  assert.equal(ethereumAddress(known.publicKey), '0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F')
  for (let i = 0; i < 20; i++) {
    const key = createAccountKey()
    assert.equal(ethereumAddress(key.publicKey), computeAddress(`0x${toHex(key.seed())}`))
  }
})

test('an account signs what ethers signs, byte for byte, and each accepts the other', () => {
  for (let i = 0; i < 20; i++) {
    const key = createAccountKey()
    const bytes = new Uint8Array(100).fill(i)
    const theirs = new EthersKey(`0x${toHex(key.seed())}`).sign(ethersSha(bytes))
    assert.equal(toHex(key.sign(bytes)), theirs.r.slice(2) + theirs.s.slice(2))
    assert.equal(verifyUserSignature(2, key.publicKey, bytes, key.sign(bytes)), true)
    assert.equal(verifyUserSignature(2, key.publicKey, new Uint8Array(100).fill(i + 1), key.sign(bytes)), false)
    assert.equal(verifyUserSignature(1, key.publicKey, bytes, key.sign(bytes)), false)
  }
})

test('a secret that is no scalar of the curve makes no key', () => {
  const order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
  for (const secret of ['00'.repeat(32), order, 'ff'.repeat(32), '01'.repeat(31), ''])
    assert.throws(() => accountKeyFromSecret(fromHex(secret)), RangeError, secret)
})

type Vector = { readonly json: { crypto: Record<string, unknown> }; readonly password: string; readonly priv: string }

test("the definition's and Geth's files open with their passwords, and with no other", async t => {
  if (!existsSync(VECTORS)) return t.skip('web3-keystore/vectors.json is absent')
  const vectors = JSON.parse(readFileSync(VECTORS, 'utf8')) as Record<string, Vector>
  let opened = 0
  for (const [name, { json, password, priv }] of Object.entries(vectors)) {
    const path = join(folder, `${name}.json`)
    await writeFile(path, JSON.stringify(json))
    if (priv.length !== 64) {
      await assert.rejects(loadWeb3File(path, password), coded('key-file-invalid'), name)
      continue
    }
    assert.equal(toHex((await loadWeb3File(path, password)).seed()), priv, name)
    opened++
    if (json.crypto['kdf'] === 'pbkdf2')
      await assert.rejects(loadWeb3File(path, `${password} `), coded('wrong-password'))
  }
  assert.ok(opened > 0)
})

test('a file of ours opens in ethers, and theirs opens here', async () => {
  const key = createAccountKey()
  const path = join(folder, 'ours.json')
  await saveWeb3File(path, key, { password: 'caf\u00e9', scryptLog: FAST })
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  const text = await readFile(path, 'utf8')
  assert.ok(isWeb3File(text))
  const theirs = await decryptKeystoreJson(text, 'cafe\u0301')
  assert.equal(theirs.privateKey, `0x${toHex(key.seed())}`)
  const account = { address: ethereumAddress(key.publicKey), privateKey: `0x${toHex(key.seed())}` }
  await writeFile(
    join(folder, 'theirs.json'),
    await encryptKeystoreJson(account, 'caf\u00e9', { scrypt: { N: 2 ** FAST } }),
  )
  const loaded = await loadKeyFile(join(folder, 'theirs.json'), 'cafe\u0301')
  assert.equal(loaded.kind, 'secp256k1')
  assert.equal(loaded.kind === 'secp256k1' && loaded.key.publicKey, key.publicKey)
})

test('a rotated account keeps the name of its user, and a file is never overwritten', async () => {
  const user = asIdentifier('ab'.repeat(16))
  const path = join(folder, 'rotated.json')
  await saveWeb3File(path, createAccountKey(user), { password: 'p', scryptLog: FAST })
  assert.equal((await loadWeb3File(path, 'p')).identifier, user)
  await assert.rejects(
    saveWeb3File(path, createAccountKey(), { password: 'p', scryptLog: FAST }),
    coded('key-file-exists'),
  )
  await assert.rejects(saveWeb3File(`${path}2`, createAccountKey(), { password: '' }), coded('password-empty'))
})

test('a changed, foreign or monstrous file is refused with the reason', async () => {
  const path = join(folder, 'good.json')
  await saveWeb3File(path, createAccountKey(), { password: 'p', scryptLog: FAST })
  const good = JSON.parse(await readFile(path, 'utf8'))
  const flip = (digits: string): string => (digits[0] === '0' ? '1' : '0') + digits.slice(1)
  const rows: [string, object, string][] = [
    ['mac', { crypto: { ...good.crypto, mac: flip(good.crypto.mac) } }, 'wrong-password'],
    ['ciphertext', { crypto: { ...good.crypto, ciphertext: flip(good.crypto.ciphertext) } }, 'wrong-password'],
    ['salt', { crypto: { ...good.crypto, kdfparams: { ...good.crypto.kdfparams, salt: '00' } } }, 'wrong-password'],
    ['address', { address: flip(good.address) }, 'key-file-invalid'],
    ['cipher', { crypto: { ...good.crypto, cipher: 'aes-128-cbc' } }, 'key-file-invalid'],
    ['kdf', { crypto: { ...good.crypto, kdf: 'bcrypt' } }, 'key-file-invalid'],
    ['n', { crypto: { ...good.crypto, kdfparams: { ...good.crypto.kdfparams, n: 1000 } } }, 'key-file-invalid'],
    ['much n', { crypto: { ...good.crypto, kdfparams: { ...good.crypto.kdfparams, n: 2 ** 30 } } }, 'key-file-invalid'],
    ['much p', { crypto: { ...good.crypto, kdfparams: { ...good.crypto.kdfparams, p: 1e6 } } }, 'key-file-invalid'],
    ['user', { 'emrm-user': 'somebody' }, 'key-file-invalid'],
    ['version', { version: 1 }, 'key-file-invalid'],
  ]
  for (const [name, change, code] of rows) {
    await writeFile(path, JSON.stringify({ ...good, ...change }))
    await assert.rejects(loadKeyFile(path, 'p'), coded(code), name)
  }
})
