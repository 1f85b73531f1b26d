// A credential as it travels off the chain (P-44): a W3C verifiable credential as a compact JWS (`vc+jwt`, EdDSA by the CA's key), bound to
// the user's key (`cnf`, RFC 7800). Any JOSE library checks it with the CA's public JWK; whether it was revoked, the chain knows by the
// SHA-256 of its exact characters. Not here: the registration on the chain (ledger/credentials.ts), which no JWS can change.

import { randomUUID } from 'node:crypto'
import { createLocalJWKSet, errors, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import secp256k1 from 'secp256k1/bindings.js'
import { EmrmError } from '../model/errors.ts'
import { digestOf, fromHex, identifierOf } from '../model/hash.ts'
import {
  type Digest,
  type Identifier,
  isHexadecimal,
  type PublicKey,
  type SignatureScheme,
  type Timestamp,
} from '../model/ids.ts'
import type { AttributeRow, Role } from '../model/operations.ts'
import type { SigningKey } from './signing-key.ts'

const TYPE = 'vc+jwt'
const ALGORITHM = 'EdDSA'
export const CREDENTIAL_BYTES_MAX: number = 16 * 1024
const CONTEXT = ['https://www.w3.org/ns/credentials/v2', 'https://www.w3.org/ns/credentials/undefined-terms/v2']
const URN = { ca: 'urn:emrm:ca:', user: 'urn:emrm:user:', institution: 'urn:emrm:institution:' } as const

export type CredentialTerms = {
  readonly network: Digest
  readonly user: Identifier
  readonly publicKey: PublicKey
  readonly scheme: SignatureScheme
  readonly institution: Identifier
  readonly roles: readonly Role[]
  readonly attributes: readonly AttributeRow[]
  /** For other systems only: these stand in the JWS and not on the chain. */
  readonly privateAttributes: readonly AttributeRow[]
  readonly issued: Timestamp
  /** A whole second, as JWTs count. */
  readonly validUntil: Timestamp
}

export type Credential = CredentialTerms & { readonly credential: Digest; readonly issuer: Identifier }

/** `kid` is the CA's identifier. */
export type CaKeys = { readonly keys: readonly JWK[] }

export const credentialDigest = (jws: string): Digest => digestOf(Buffer.from(jws, 'ascii'))

/** What another system needs to check the credentials of these CAs: a JWK Set (RFC 7517). */
export const caKeys = (publicKeys: readonly PublicKey[]): CaKeys => ({
  keys: publicKeys.map(key => ({ ...publicJwk(key, 1), kid: identifierOf(key), alg: ALGORITHM, use: 'sig' })),
})

/** What `caKeys` made, read back from a file. Throws EmrmError `jwks-invalid`. */
export function parseCaKeys(json: unknown, file: string): CaKeys {
  const keys = (json as { keys?: unknown } | null)?.keys
  const isKey = (key: unknown): boolean => typeof key === 'object' && key !== null && 'kid' in key && isText(key.kid)
  if (Array.isArray(keys) && keys.length > 0 && keys.every(isKey)) return { keys }
  throw new EmrmError(
    'jwks-invalid',
    `${file} is no JWK Set of CAs; give what "emrm user credential issuers" printed`,
    {
      file,
    },
  )
}

export function publicJwk(publicKey: PublicKey, scheme: SignatureScheme): JWK {
  if (scheme === 1) return { kty: 'OKP', crv: 'Ed25519', x: base64url(fromHex(publicKey)) }
  const point = secp256k1.publicKeyConvert(fromHex(publicKey), false)
  return { kty: 'EC', crv: 'secp256k1', x: base64url(point.subarray(1, 33)), y: base64url(point.subarray(33)) }
}

/** `ca`: an Ed25519 key. The same terms give another JWS each time: it has an id of its own. */
export async function signCredential(ca: SigningKey, terms: CredentialTerms): Promise<string> {
  const { network, user, publicKey, scheme, institution, roles, attributes, privateAttributes } = terms
  const issuer = URN.ca + ca.identifier
  const subject = {
    ...{ id: URN.user + user, institution: URN.institution + institution, roles },
    ...{ attributes: fromRows(attributes), privateAttributes: fromRows(privateAttributes) },
  }
  const seed = ca.seed()
  const secret = { ...publicJwk(ca.publicKey, 1), d: base64url(seed) }
  seed.fill(0)
  return new SignJWT({
    '@context': CONTEXT,
    type: ['VerifiableCredential', 'EmrmRoleCredential'],
    ...{ issuer, validFrom: isoTime(terms.issued), validUntil: isoTime(terms.validUntil), credentialSubject: subject },
    credentialStatus: { type: 'EmrmLedger', network },
    cnf: { jwk: publicJwk(publicKey, scheme) },
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, cty: 'vc', kid: ca.identifier })
    .setIssuer(issuer)
    .setSubject(subject.id)
    .setJti(`urn:uuid:${randomUUID()}`)
    .setIssuedAt(Math.floor(terms.issued / 1000))
    .setExpirationTime(terms.validUntil / 1000)
    .sign(secret)
}

/** Checks signature, form and end. Throws EmrmError `credential-invalid`, `credential-issuer-unknown`, `credential-expired`, `jwks-invalid`. */
export async function readCredential(jws: string, keys: CaKeys, nowMs: number): Promise<Credential> {
  if (jws.length > CREDENTIAL_BYTES_MAX) throw invalid('it is too long')
  try {
    const { payload, protectedHeader } = await jwtVerify(jws, createLocalJWKSet({ keys: [...keys.keys] }), {
      algorithms: [ALGORITHM],
      typ: TYPE,
      currentDate: new Date(nowMs),
      requiredClaims: ['iss', 'sub', 'iat', 'exp', 'cnf'],
    })
    return { ...claimsOf(payload, protectedHeader.kid), credential: credentialDigest(jws) }
  } catch (error) {
    if (error instanceof errors.JOSEError) throw told(error)
    // The platform's own word for a JWK that is no key.
    if (error instanceof DOMException && error.name === 'DataError')
      throw new EmrmError('jwks-invalid', 'the key of that CA cannot be used; print the JWK Set anew', {}, error)
    throw error
  }
}

function told(error: errors.JOSEError): EmrmError {
  if (error instanceof errors.JWTExpired)
    return new EmrmError('credential-expired', 'the credential is over; have the CA issue another', {})
  if (error instanceof errors.JWKSNoMatchingKey)
    return new EmrmError(
      'credential-issuer-unknown',
      'none of the known CAs signed this credential; see "emrm user credential issuers"',
    )
  return invalid(
    error instanceof errors.JWSSignatureVerificationFailed
      ? 'its signature does not verify'
      : 'it is no vc+jwt of a CA',
  )
}

function claimsOf(payload: JWTPayload, kid: string | undefined): Omit<Credential, 'credential'> {
  const subject = objectIn(payload['credentialSubject'])
  const status = objectIn(payload['credentialStatus'])
  const roles = subject['roles']
  const issuer = after(URN.ca, payload.iss)
  const user = after(URN.user, payload.sub)
  // Said twice, for readers of JWTs and for readers of verifiable credentials: both must hear the same.
  const same = issuer === kid && payload['issuer'] === payload.iss && subject['id'] === payload.sub
  const until = (payload.exp as number) * 1000
  if (!same || Date.parse(String(payload['validUntil'])) !== until) throw invalid('it contradicts itself')
  if (!Array.isArray(roles) || !roles.every(isText)) throw invalid('roles')
  const { publicKey, scheme } = keyIn(objectIn(payload['cnf'])['jwk'])
  if (typeof status['network'] !== 'string' || !isHexadecimal(status['network'], 64)) throw invalid('network')
  return {
    ...{ network: status['network'] as Digest, issuer, user, publicKey, scheme, roles },
    institution: after(URN.institution, subject['institution']),
    attributes: toRows(subject['attributes']),
    privateAttributes: toRows(subject['privateAttributes']),
    issued: ((payload.iat as number) * 1000) as Timestamp,
    validUntil: until as Timestamp,
  }
}

/** The key that must sign, to use the credential. */
function keyIn(value: unknown): { readonly publicKey: PublicKey; readonly scheme: SignatureScheme } {
  const { kty, crv, x, y } = objectIn(value)
  const bytes = (text: unknown): Buffer => Buffer.from(isText(text) ? text : '', 'base64url')
  if (kty === 'OKP' && crv === 'Ed25519' && bytes(x).length === 32)
    return { publicKey: bytes(x).toString('hex') as PublicKey, scheme: 1 }
  if (kty === 'EC' && crv === 'secp256k1' && bytes(x).length === 32 && bytes(y).length === 32) {
    const parity = (bytes(y)[31] as number) % 2 === 0 ? '02' : '03'
    return { publicKey: (parity + bytes(x).toString('hex')) as PublicKey, scheme: 2 }
  }
  throw invalid('cnf')
}

const fromRows = (rows: readonly AttributeRow[]): Record<string, readonly string[]> =>
  Object.fromEntries(rows.map(({ key, values }) => [key, values]))

function toRows(value: unknown): readonly AttributeRow[] {
  const rows = Object.entries(objectIn(value)).map(([key, values]) => {
    if (!Array.isArray(values) || !values.every(isText)) throw invalid('attributes')
    return { key, values }
  })
  // Objects put names that are numbers first.
  return rows.sort((a, b) => (a.key < b.key ? -1 : 1))
}

function after(prefix: string, value: unknown): Identifier {
  if (!isText(value) || !value.startsWith(prefix) || !isHexadecimal(value.slice(prefix.length), 32))
    throw invalid('a name in it is not of this kind of network')
  return value.slice(prefix.length) as Identifier
}

const objectIn = (value: unknown): Readonly<Record<string, unknown>> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('a part of it is missing')
  return value as Record<string, unknown>
}
const isText = (value: unknown): value is string => typeof value === 'string'
const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
const isoTime = (ms: number): string => new Date(ms).toISOString()

const invalid = (why: string): EmrmError =>
  new EmrmError(
    'credential-invalid',
    `the credential is refused: ${why}; ask its holder or the CA for the right file`,
    {
      why,
    },
  )
