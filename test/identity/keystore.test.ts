// Key files: who opens them, and what a changed, cut or absurd one comes to.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import sodium from 'sodium-native'
import { createSigningKey, loadKeyFile, saveKeyFile, signingKeyFromSeed } from '../../src/identity/keystore.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { fromHex, identifierOf, toHex } from '../../src/model/hash.ts'

const QUICK = { name: 'argon2id', memoryKiB: 8 * 1024, passes: 1, parallelism: 1, salt: '00'.repeat(16) } as const
const PASSWORD = 'correct horse battery staple'
const OPTIONS = { label: 'hospital 1', derivation: QUICK }

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-keys-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const coded = (code: string) => (error: unknown) => error instanceof EmrmError && error.code === code

test('a signature is that of RFC 8032 test 2, and its identifier is the first half of the key’s digest', () => {
  const key = signingKeyFromSeed(fromHex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'))
  assert.equal(key.publicKey, '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')
  assert.equal(
    toHex(key.sign(Uint8Array.of(0x72))),
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  )
  assert.equal(key.identifier, identifierOf(key.publicKey))
})

test('two created keys differ and each verifies its own signatures only', () => {
  const [one, two] = [createSigningKey(), createSigningKey()]
  const bytes = Buffer.from('bytes')
  const verifies = (key: SigningKey, signature: Uint8Array) =>
    sodium.crypto_sign_verify_detached(signature, bytes, fromHex(key.publicKey))
  assert.equal(verifies(one, one.sign(bytes)), true)
  assert.equal(verifies(two, one.sign(bytes)), false)
})

test('a seed that was handed out cannot be used to change the key', () => {
  const key = createSigningKey()
  const before = toHex(key.sign(Uint8Array.of(1)))
  key.seed().fill(0)
  assert.equal(toHex(key.sign(Uint8Array.of(1))), before)
  assert.notDeepEqual(key.seed(), new Uint8Array(32))
})

test('a saved key comes back with its password, from a file only its owner can read', async () => {
  const path = join(folder, 'round.key')
  const key = createSigningKey()
  await saveKeyFile(path, key, PASSWORD, { label: 'hospital 1' })
  const file = await loadKeyFile(path, PASSWORD)
  assert.equal(file.kind, 'ed25519')
  assert.equal(file.label, 'hospital 1')
  assert.equal(file.kind === 'ed25519' && file.key.publicKey, key.publicKey)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  const text = await readFile(path, 'utf8')
  assert.equal(text.includes(toHex(key.seed())), false)
  const derivation = JSON.parse(text).derivation
  assert.deepEqual([derivation.memoryKiB, derivation.passes, derivation.parallelism], [65536, 3, 4])
})

test('a sealing seed comes back as it was saved', async () => {
  const path = join(folder, 'seal.key')
  const seed = new Uint8Array(32).fill(7)
  await saveKeyFile(path, { publicKey: 'ab'.repeat(1216), seed: () => new Uint8Array(seed) }, PASSWORD, OPTIONS)
  const file = await loadKeyFile(path, PASSWORD)
  assert.deepEqual(file, { kind: 'x-wing', label: 'hospital 1', publicKey: 'ab'.repeat(1216), seed })
})

test('another password is refused, and so is a key that the file’s reader changed anything of', async () => {
  const path = join(folder, 'tampered.key')
  await saveKeyFile(path, createSigningKey(), PASSWORD, OPTIONS)
  await assert.rejects(loadKeyFile(path, `${PASSWORD} `), coded('wrong-password'))
  const file = JSON.parse(await readFile(path, 'utf8'))
  const other = createSigningKey().publicKey
  const changes: Record<string, unknown>[] = [
    { ...file, label: 'hospital 2' },
    { ...file, publicKey: other },
    { ...file, derivation: { ...file.derivation, passes: 2 } },
    { ...file, derivation: { ...file.derivation, salt: '01'.repeat(16) } },
    { ...file, cipher: { ...file.cipher, nonce: '01'.repeat(12) } },
    { ...file, cipher: { ...file.cipher, ciphertext: `00${file.cipher.ciphertext.slice(2)}` } },
  ]
  for (const changed of changes) {
    await writeFile(path, JSON.stringify(changed))
    await assert.rejects(loadKeyFile(path, PASSWORD), coded('wrong-password'))
  }
})

test('what is no key file, or asks for an absurd amount of work, is refused before any work is done', async () => {
  const path = join(folder, 'garbage.key')
  await saveKeyFile(path, createSigningKey(), PASSWORD, OPTIONS)
  const file = JSON.parse(await readFile(path, 'utf8'))
  const garbage: unknown[] = [
    null,
    [],
    {},
    { ...file, version: 2 },
    { ...file, kind: 'rsa' },
    { ...file, extra: 1 },
    { ...file, label: 'x'.repeat(201) },
    { ...file, publicKey: file.publicKey.toUpperCase() },
    { ...file, derivation: { ...file.derivation, memoryKiB: 1024 * 1024 * 16 } },
    { ...file, derivation: { ...file.derivation, memoryKiB: 64 } },
    { ...file, derivation: { ...file.derivation, passes: 0 } },
    { ...file, derivation: { ...file.derivation, passes: 1.5 } },
    { ...file, derivation: { ...file.derivation, parallelism: 1000 } },
    { ...file, derivation: { ...file.derivation, name: 'scrypt' } },
    { ...file, cipher: { ...file.cipher, name: 'none' } },
    { ...file, cipher: { ...file.cipher, ciphertext: file.cipher.ciphertext.slice(2) } },
  ]
  for (const text of [
    '',
    'not json',
    '\0\0',
    `[${'1,'.repeat(20_000)}1]`,
    ...garbage.map(value => JSON.stringify(value)),
  ]) {
    await writeFile(path, text)
    await assert.rejects(loadKeyFile(path, PASSWORD), coded('key-file-invalid'), text.slice(0, 80))
  }
  await assert.rejects(loadKeyFile(join(folder, 'absent.key'), PASSWORD), coded('key-file-missing'))
})

test('a password opens its file however the keyboard composed its accents', async () => {
  const path = join(folder, 'nfkc.key')
  await saveKeyFile(path, createSigningKey(), 'caf\u00e9 \uff11', OPTIONS)
  assert.equal((await loadKeyFile(path, 'cafe\u0301 1')).kind, 'ed25519')
})

test('a key is never overwritten unless that was asked for, and a refused save leaves nothing behind', async () => {
  const path = join(folder, 'kept.key')
  const [first, second] = [createSigningKey(), createSigningKey()]
  await saveKeyFile(path, first, PASSWORD, OPTIONS)
  await assert.rejects(saveKeyFile(path, second, PASSWORD, OPTIONS), coded('key-file-exists'))
  const kept = await loadKeyFile(path, PASSWORD)
  assert.equal(kept.kind === 'ed25519' && kept.key.publicKey, first.publicKey)
  await saveKeyFile(path, second, PASSWORD, { ...OPTIONS, replace: true })
  const replaced = await loadKeyFile(path, PASSWORD)
  assert.equal(replaced.kind === 'ed25519' && replaced.key.publicKey, second.publicKey)
  await assert.rejects(saveKeyFile(path, second, '', OPTIONS), coded('password-empty'))
  await assert.rejects(
    saveKeyFile(join(folder, 'no/such/x.key'), second, PASSWORD, OPTIONS),
    coded('key-file-write-failed'),
  )
  assert.deepEqual(
    (await readdir(folder)).filter(name => name.startsWith('.')),
    [],
  )
})
