// P-44: a credential file is a JWS that any JOSE library checks; here `jose` itself, with nothing of ours but the CA's public JWK.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeProtectedHeader, importJWK, jwtVerify, SignJWT } from 'jose'
import {
  type Credential,
  type CredentialTerms,
  caKeys,
  credentialDigest,
  publicJwk,
  readCredential,
  signCredential,
} from '../../src/identity/credential.ts'
import { createAccountKey } from '../../src/identity/ethereum-account.ts'
import { createSigningKey, signingKeyFromSeed } from '../../src/identity/keystore.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { identifierOf } from '../../src/model/hash.ts'
import { asTimestamp, type Digest, type Identifier } from '../../src/model/ids.ts'

const ca = createSigningKey()
const doctor = createSigningKey()
const NOW = 1_800_000_000_000
const terms: CredentialTerms = {
  network: 'ab'.repeat(32) as Digest,
  user: doctor.identifier,
  publicKey: doctor.publicKey,
  scheme: 1,
  institution: 'cd'.repeat(16) as Identifier,
  roles: ['attending', 'emergency'],
  attributes: [
    { key: 'department', values: ['cardiology'] },
    { key: 'specialty', values: ['cardiology', 'internal'] },
  ],
  privateAttributes: [{ key: 'licence', values: ['Nr. 110/2026'] }],
  issued: asTimestamp(NOW),
  validUntil: asTimestamp(NOW + 3_600_000),
}
const jws = await signCredential(ca, terms)
const keys = caKeys([ca.publicKey])
const during = { currentDate: new Date(NOW + 1000) }

async function codeOf(text: string, given = keys, nowMs = NOW): Promise<string> {
  try {
    await readCredential(text, given, nowMs)
    return 'valid'
  } catch (error) {
    assert.ok(error instanceof EmrmError, String(error))
    return error.code
  }
}
/** Any JWS by the CA's own key, whatever it says. */
const signed = async (payload: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> => {
  const { d, ...rest } = { ...publicJwk(ca.publicKey, 1), d: Buffer.from(ca.seed()).toString('base64url') }
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'EdDSA', typ: 'vc+jwt', kid: ca.identifier, ...header })
    .sign({ ...rest, d })
}

test('jose verifies a credential with the CA’s public JWK alone', async () => {
  assert.equal(decodeProtectedHeader(jws).typ, 'vc+jwt')
  const key = await importJWK(publicJwk(ca.publicKey, 1), 'EdDSA')
  const { payload } = await jwtVerify(jws, key, {
    typ: 'vc+jwt',
    subject: `urn:emrm:user:${doctor.identifier}`,
    ...during,
  })
  assert.deepEqual(payload['cnf'], { jwk: publicJwk(doctor.publicKey, 1) })
  assert.deepEqual((payload['credentialSubject'] as Record<string, unknown>)['roles'], ['attending', 'emergency'])
})

test('jose refuses a credential that was changed, one for another key of a CA, and one that is over', async () => {
  const key = await importJWK(publicJwk(ca.publicKey, 1), 'EdDSA')
  const other = await importJWK(publicJwk(createSigningKey().publicKey, 1), 'EdDSA')
  const [head, body, signature] = jws.split('.') as [string, string, string]
  const text = Buffer.from(body, 'base64url').toString().replace('attending', 'physician')
  const tampered = [head, Buffer.from(text).toString('base64url'), signature].join('.')
  await assert.rejects(jwtVerify(tampered, key, during), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
  await assert.rejects(jwtVerify(jws, other, during), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
  await assert.rejects(jwtVerify(jws, key, { currentDate: new Date(NOW + 3_600_000) }), { code: 'ERR_JWT_EXPIRED' })
  assert.equal(await codeOf(tampered), 'credential-invalid')
  assert.equal(await codeOf(jws, caKeys([createSigningKey().publicKey])), 'credential-issuer-unknown')
  assert.equal(await codeOf(jws, keys, NOW + 3_600_000), 'credential-expired')
})

test('what was put in is what is read, for both kinds of user keys', async () => {
  const { credential, issuer, ...read }: Credential = await readCredential(jws, keys, NOW)
  assert.deepEqual(read, terms)
  assert.equal(issuer, identifierOf(ca.publicKey))
  assert.equal(credential, credentialDigest(jws))
  const account = createAccountKey()
  const ofAccount = { ...terms, user: account.identifier, publicKey: account.publicKey, scheme: 2 as const }
  const again = await readCredential(await signCredential(ca, ofAccount), keys, NOW)
  assert.deepEqual([again.publicKey, again.scheme], [account.publicKey, 2])
})

test('two credentials of the same words have two digests: one can be revoked without the other', async () => {
  assert.notEqual(credentialDigest(await signCredential(ca, terms)), credentialDigest(jws))
})

test('what a CA’s key signed for another use is no credential', async () => {
  const body = JSON.parse(Buffer.from(jws.split('.')[1] as string, 'base64url').toString()) as Record<string, unknown>
  assert.equal(await codeOf(await signed(body)), 'valid')
  const wrong: readonly (readonly [what: string, jws: Promise<string>])[] = [
    ['another type', signed(body, { typ: 'at+jwt' })],
    ['no end', signed({ ...body, exp: undefined })],
    ['no key', signed({ ...body, cnf: {} })],
    ['two issuers', signed({ ...body, issuer: `urn:emrm:ca:${'0'.repeat(32)}` })],
    [
      'another user for readers of credentials',
      signed({ ...body, credentialSubject: { ...(body['credentialSubject'] as object), id: 'urn:emrm:user:x' } }),
    ],
    ['another end for readers of credentials', signed({ ...body, validUntil: new Date(NOW).toISOString() })],
    [
      'roles that are no list',
      signed({ ...body, credentialSubject: { ...(body['credentialSubject'] as object), roles: 'all' } }),
    ],
  ]
  for (const [what, text] of wrong) assert.equal(await codeOf(await text), 'credential-invalid', what)
  for (const text of ['', 'a.b.c', `${jws}x`, jws.replace(/\.[^.]*$/, '.'), 'x'.repeat(20_000)])
    assert.equal(await codeOf(text), 'credential-invalid', text.slice(0, 10))
})

test('the digest cannot be computed from what the credential says: it covers the CA’s signature', async () => {
  const again = signingKeyFromSeed(ca.seed())
  assert.equal(again.identifier, ca.identifier)
  const [head, body] = jws.split('.') as [string, string]
  assert.notEqual(credentialDigest(`${head}.${body}.`), credentialDigest(jws))
})
