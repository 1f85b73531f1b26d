// Keys and the encrypted files that hold them (P-21: the private key is encrypted under a password).
// A key file is JSON: argon2id (its parameters stand in the file) makes an AES-256-GCM key; everything readable in the file is
// authenticated with it, so a swapped label or public key is noticed. Not here: Ethereum's own file format
// (web3-keystore.ts, which `loadKeyFile` also opens), and who may use a key.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import sodium from 'sodium-native'
import { EmrmError } from '../model/errors.ts'
import { fromHex, identifierOf, toHex } from '../model/hash.ts'
import { asIdentifier, asPublicKey, type Identifier, isHexadecimal } from '../model/ids.ts'
import { derivePasswordKey, KDF_DEFAULT, type KeyDerivation, parseKeyDerivation } from './password.ts'
import { invalidKeyFile as invalid, readSecretFile, writeSecretFile } from './secret-file.ts'
import type { SigningKey } from './signing-key.ts'
import { isWeb3File, openWeb3File } from './web3-keystore.ts'

/** An X-Wing key pair as a key file holds it; records/seal.ts makes it usable. */
export type SealSeed = {
  /** 1216 bytes as hexadecimal. */
  readonly publicKey: string
  /** A copy of the 32 secret bytes. */
  seed(): Uint8Array
}

type KeyKind = 'ed25519' | 'x-wing'

export type KeyFile =
  /** A Web3 Secret Storage file (web3-keystore.ts). */
  | { readonly kind: 'secp256k1'; readonly label: string; readonly key: SigningKey }
  | { readonly kind: 'ed25519'; readonly label: string; readonly key: SigningKey }
  | { readonly kind: 'x-wing'; readonly label: string; readonly publicKey: string; readonly seed: Uint8Array }

export type SaveOptions = {
  /** Shown without the password; never a patient's name. At most 200 characters. */
  readonly label: string
  /** A file that exists is never replaced unless this says so: a lost key is lost for ever. */
  readonly replace?: boolean
  readonly derivation?: KeyDerivation
}

const SEED_BYTES = 32
const LABEL_LENGTH_MAX = 200
const PUBLIC_KEY_DIGITS: Record<KeyKind, number> = { ed25519: 64, 'x-wing': 2432 }

export const createSigningKey = (identifier?: Identifier): SigningKey =>
  signingKeyFromSeed(randomBytes(SEED_BYTES), identifier)

/** `identifier`: for whom it acts, when that is not its own. Throws RangeError when the seed is not 32 bytes. */
export function signingKeyFromSeed(seed: Uint8Array, identifier?: Identifier): SigningKey {
  if (seed.length !== SEED_BYTES) throw new RangeError('an Ed25519 seed has 32 bytes')
  const kept = new Uint8Array(seed)
  const publicBytes = new Uint8Array(32)
  const secret = new Uint8Array(64)
  sodium.crypto_sign_seed_keypair(publicBytes, secret, kept)
  const publicKey = asPublicKey(toHex(publicBytes))
  return {
    scheme: 1,
    publicKey,
    identifier: identifier ?? identifierOf(publicKey),
    sign: bytes => {
      const signature = new Uint8Array(64)
      sodium.crypto_sign_detached(signature, bytes, secret)
      return signature
    },
    seed: () => new Uint8Array(kept),
  }
}

/** Atomic and readable by its owner alone. Throws EmrmError `key-file-exists`, `key-file-write-failed`, `password-empty`. */
export async function saveKeyFile(
  path: string,
  key: SigningKey | SealSeed,
  password: string,
  options: SaveOptions,
): Promise<void> {
  if (password.length === 0)
    throw new EmrmError('password-empty', 'a key file needs a password; set EMRM_PASSWORD or EMRM_PASSWORD_FILE')
  if (options.label.length > LABEL_LENGTH_MAX)
    throw new EmrmError('label-too-long', `a key's label has at most ${LABEL_LENGTH_MAX} characters`)
  const derivation = options.derivation ?? { ...KDF_DEFAULT, salt: toHex(randomBytes(16)) }
  const readable = {
    version: 1 as const,
    kind: 'sign' in key ? ('ed25519' as const) : ('x-wing' as const),
    label: options.label,
    publicKey: key.publicKey as string,
    derivation,
    ...('sign' in key && key.identifier !== identifierOf(key.publicKey) ? { identifier: key.identifier } : {}),
  }
  const secret = key.seed()
  const wrapping = await derivePasswordKey(password, derivation)
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', wrapping, nonce)
  cipher.setAAD(authenticated(readable))
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()])
  secret.fill(0)
  wrapping.fill(0)
  const file = { ...readable, cipher: { name: 'aes-256-gcm', nonce: toHex(nonce), ciphertext: toHex(ciphertext) } }
  await writeSecretFile(path, `${JSON.stringify(file, null, 2)}\n`, options.replace ?? false)
}

/** Throws EmrmError `key-file-missing`, `key-file-invalid`, `wrong-password`. A changed file and a wrong password look the same. */
export async function loadKeyFile(path: string, password: string): Promise<KeyFile> {
  const text = await readSecretFile(path)
  if (isWeb3File(text)) return { kind: 'secp256k1', label: '', key: await openWeb3File(path, text, password) }
  const parsed = parseKeyFile(path, text)
  const wrapping = await derivePasswordKey(password, parsed.derivation)
  const body = fromHex(parsed.ciphertext)
  const decipher = createDecipheriv('aes-256-gcm', wrapping, fromHex(parsed.nonce))
  decipher.setAAD(authenticated(parsed))
  decipher.setAuthTag(body.subarray(SEED_BYTES))
  let seed: Uint8Array
  try {
    seed = Buffer.concat([decipher.update(body.subarray(0, SEED_BYTES)), decipher.final()])
  } catch {
    throw new EmrmError(
      'wrong-password',
      `${basename(path)} does not open with this password; check EMRM_PASSWORD, or restore the file from a backup if it was changed`,
      { file: basename(path) },
    )
  } finally {
    wrapping.fill(0)
  }
  const { kind, label, publicKey } = parsed
  if (kind === 'x-wing') return { kind, label, publicKey, seed: new Uint8Array(seed) }
  const key = signingKeyFromSeed(seed, parsed.identifier)
  seed.fill(0)
  if (key.publicKey !== publicKey) throw invalid(path, 'its public key is not that of its secret')
  return { kind, label, key }
}

type Readable = {
  readonly version: 1
  readonly kind: KeyKind
  readonly label: string
  readonly publicKey: string
  readonly derivation: KeyDerivation
  /** The user whose key was rotated to this one. */
  readonly identifier?: Identifier
}
type Parsed = Readable & { readonly nonce: string; readonly ciphertext: string }

/** One line of JSON in a fixed order of fields: what the GCM tag covers beside the secret. */
const authenticated = (file: Readable): Buffer => {
  const { name, memoryKiB, passes, parallelism, salt } = file.derivation
  return Buffer.from(
    JSON.stringify([
      'emrm/key-file/1',
      file.kind,
      file.label,
      file.publicKey,
      name,
      memoryKiB,
      passes,
      parallelism,
      salt,
      ...(file.identifier === undefined ? [] : [file.identifier]),
    ]),
  )
}

function parseKeyFile(path: string, text: string): Parsed {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw invalid(path, 'not JSON')
  }
  const file = exactObject(json, ['version', 'kind', 'label', 'publicKey', 'derivation', 'cipher'], ['identifier'])
  const cipher = file && exactObject(file['cipher'], ['name', 'nonce', 'ciphertext'])
  if (!file || !cipher) throw invalid(path, 'fields are missing or unknown')
  const { version, kind, label, publicKey, identifier } = file
  if (version !== 1) throw invalid(path, 'unknown version')
  if (kind !== 'ed25519' && kind !== 'x-wing') throw invalid(path, 'unknown kind of key')
  if (typeof label !== 'string' || label.length > LABEL_LENGTH_MAX) throw invalid(path, 'label')
  if (!isHex(publicKey, PUBLIC_KEY_DIGITS[kind])) throw invalid(path, 'public key')
  const derivation = parseKeyDerivation(file['derivation'])
  if (derivation === null) throw invalid(path, 'parameters of the password function are unknown or out of bounds')
  const { name, nonce, ciphertext } = cipher
  if (name !== 'aes-256-gcm' || !isHex(nonce, 24) || !isHex(ciphertext, 96)) throw invalid(path, 'cipher')
  if (identifier === undefined) return { version, kind, label, publicKey, derivation, nonce, ciphertext }
  if (kind !== 'ed25519' || !isHex(identifier, 32)) throw invalid(path, 'identifier')
  return { version, kind, label, publicKey, derivation, nonce, ciphertext, identifier: asIdentifier(identifier) }
}

const isHex = (value: unknown, digits: number): value is string =>
  typeof value === 'string' && isHexadecimal(value, digits)

function exactObject(
  value: unknown,
  fields: readonly string[],
  optional: readonly string[] = [],
): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const keys = Object.keys(value)
  const known = keys.every(key => fields.includes(key) || optional.includes(key))
  return known && fields.every(field => keys.includes(field)) ? (value as Record<string, unknown>) : null
}
