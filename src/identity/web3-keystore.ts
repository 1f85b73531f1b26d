// Web3 Secret Storage, version 3: the file in which Ethereum wallets keep a key under a password (P-21). We write scrypt with N = 2^18; we
// read scrypt and PBKDF2 as others write them, within bounds, because the file may be anyone's. A password counts in Unicode's NFKC; Geth
// takes its bytes as they are, so a file is tried with both. Not here: our own key files (keystore.ts).

import { createCipheriv, createDecipheriv, pbkdf2, randomBytes, randomUUID, scrypt, timingSafeEqual } from 'node:crypto'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { scryptAsync as nobleScrypt } from '@noble/hashes/scrypt.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { EmrmError } from '../model/errors.ts'
import { fromHex, identifierOf, toHex } from '../model/hash.ts'
import { asIdentifier, type Identifier, isHexadecimal } from '../model/ids.ts'
import { ACCOUNT_SECRET_BYTES, accountKeyFromSecret, ethereumAddress } from './ethereum-account.ts'
import { invalidKeyFile, readSecretFile, writeSecretFile } from './secret-file.ts'
import type { SigningKey } from './signing-key.ts'

/** Geth's and ours: some 0.7 s of one core and 256 MiB. */
const SCRYPT_N = 2 ** 18
const SCRYPT_MEMORY_MAX = 1024 * 1024 * 1024
const SCRYPT_P_MAX = 16
const PBKDF2_ROUNDS_MAX = 10_000_000

type Derivation =
  | { readonly kdf: 'scrypt'; readonly n: number; readonly r: number; readonly p: number; readonly salt: Uint8Array }
  | { readonly kdf: 'pbkdf2'; readonly c: number; readonly salt: Uint8Array }

export type SaveWeb3Options = {
  readonly password: string
  readonly replace?: boolean
  /** log2 of N; less than 18 in tests alone. */
  readonly scryptLog?: number
}

/** A version-3 file, whatever else is wrong with it. */
export function isWeb3File(text: string): boolean {
  const file = parsed(text)
  return file?.['version'] === 3 && (file['crypto'] !== undefined || file['Crypto'] !== undefined)
}

/** Throws EmrmError `password-empty`, `key-file-exists`, `key-file-write-failed`. */
export async function saveWeb3File(path: string, key: SigningKey, options: SaveWeb3Options): Promise<void> {
  if (options.password.length === 0)
    throw new EmrmError('password-empty', 'a key file needs a password; set EMRM_PASSWORD or EMRM_PASSWORD_FILE')
  const salt = randomBytes(32)
  const n = options.scryptLog === undefined ? SCRYPT_N : 2 ** options.scryptLog
  const derived = await derive(options.password.normalize('NFKC'), { kdf: 'scrypt', n, r: 8, p: 1, salt })
  const iv = randomBytes(16)
  const secret = key.seed()
  const cipher = createCipheriv('aes-128-ctr', derived.subarray(0, 16), iv)
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()])
  secret.fill(0)
  const file = {
    version: 3,
    id: randomUUID(),
    address: ethereumAddress(key.publicKey).slice(2).toLowerCase(),
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: toHex(iv) },
      ciphertext: toHex(ciphertext),
      kdf: 'scrypt',
      kdfparams: { dklen: 32, n, r: 8, p: 1, salt: toHex(salt) },
      mac: toHex(macOf(derived, ciphertext)),
    },
    // Other programs pass over it: the user of the network whose key was rotated to this one.
    ...(key.identifier === identifierOf(key.publicKey) ? {} : { 'emrm-user': key.identifier }),
  }
  derived.fill(0)
  await writeSecretFile(path, `${JSON.stringify(file, null, 2)}\n`, options.replace ?? false)
}

/** Throws EmrmError `key-file-missing`, `key-file-invalid`, `wrong-password`. */
export async function loadWeb3File(path: string, password: string): Promise<SigningKey> {
  return openWeb3File(path, await readSecretFile(path), password)
}

/** As `loadWeb3File`, of a file's text. */
export async function openWeb3File(path: string, text: string, password: string): Promise<SigningKey> {
  const { derivation, iv, ciphertext, mac, address, identifier } = readFields(path, text)
  const composed = password.normalize('NFKC')
  for (const tried of new Set([composed, password])) {
    const derived = await derive(tried, derivation)
    if (!timingSafeEqual(macOf(derived, ciphertext), mac)) continue
    const decipher = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), iv)
    const secret = Buffer.concat([decipher.update(ciphertext), decipher.final()])
    derived.fill(0)
    const key = keyOf(path, secret, identifier)
    secret.fill(0)
    if (address !== null && ethereumAddress(key.publicKey).slice(2).toLowerCase() !== address)
      throw invalidKeyFile(path, 'its address is not that of its key')
    return key
  }
  throw new EmrmError(
    'wrong-password',
    `${basename(path)} does not open with this password; check EMRM_PASSWORD, or restore the file from a backup if it was changed`,
    { file: basename(path) },
  )
}

function keyOf(path: string, secret: Uint8Array, identifier: Identifier | undefined): SigningKey {
  // Old programs wrote keys without their leading zeros; whether the rest is the key cannot be told, so it is not guessed.
  if (secret.length !== ACCOUNT_SECRET_BYTES)
    throw invalidKeyFile(path, `its key has ${secret.length} bytes, not 32; export it again with a current wallet`)
  try {
    return accountKeyFromSecret(secret, identifier)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw invalidKeyFile(path, 'what it holds is no key of the curve')
  }
}

const macOf = (derived: Uint8Array, ciphertext: Uint8Array): Uint8Array =>
  keccak_256(Buffer.concat([derived.subarray(16, 32), ciphertext]))

async function derive(password: string, derivation: Derivation): Promise<Uint8Array> {
  const bytes = Buffer.from(password, 'utf8')
  const { salt } = derivation
  if (derivation.kdf === 'pbkdf2') return promisify(pbkdf2)(bytes, salt, derivation.c, 32, 'sha256')
  const { n, r, p } = derivation
  // OpenSSL refuses N >= 2^(16 r), which the definition's own second example has.
  if (r < 2 && n >= 2 ** (16 * r)) return nobleScrypt(bytes, salt, { N: n, r, p, dkLen: 32, maxmem: 2 ** 31 })
  return new Promise((resolve, reject) =>
    scrypt(bytes, salt, 32, { N: n, r, p, maxmem: 2 * SCRYPT_MEMORY_MAX }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    ),
  )
}

type Fields = {
  readonly derivation: Derivation
  readonly iv: Uint8Array
  readonly ciphertext: Uint8Array
  readonly mac: Uint8Array
  readonly address: string | null
  readonly identifier: Identifier | undefined
}

function readFields(path: string, text: string): Fields {
  const file = parsed(text)
  // ethers writes the capital letter.
  const crypto = objectIn(file?.['crypto'] ?? file?.['Crypto'])
  const parameters = objectIn(crypto?.['cipherparams'])
  if (file === null || crypto === null || parameters === null) throw invalidKeyFile(path, 'fields are missing')
  if (crypto['cipher'] !== 'aes-128-ctr') throw invalidKeyFile(path, 'its cipher is not aes-128-ctr')
  const iv = hexIn(parameters['iv'], 16, 16)
  const ciphertext = hexIn(crypto['ciphertext'], 1, 64)
  const mac = hexIn(crypto['mac'], 32, 32)
  if (iv === null || ciphertext === null || mac === null) throw invalidKeyFile(path, 'cipher')
  const derivation = readDerivation(crypto['kdf'], objectIn(crypto['kdfparams']))
  if (derivation === null)
    throw invalidKeyFile(path, 'parameters of the password function are unknown or out of bounds')
  const address = file['address'] === undefined ? null : hexIn(file['address'], 20, 20)
  if (file['address'] !== undefined && address === null) throw invalidKeyFile(path, 'address')
  const user = file['emrm-user']
  if (user !== undefined && (typeof user !== 'string' || !isHexadecimal(user, 32)))
    throw invalidKeyFile(path, 'emrm-user')
  return {
    ...{ derivation, iv, ciphertext, mac },
    address: address === null ? null : toHex(address),
    identifier: user === undefined ? undefined : asIdentifier(user),
  }
}

function readDerivation(kdf: unknown, parameters: Record<string, unknown> | null): Derivation | null {
  const salt = hexIn(parameters?.['salt'], 1, 64)
  if (parameters === null || salt === null || parameters['dklen'] !== 32) return null
  if (kdf === 'pbkdf2') {
    const c = wholeIn(parameters['c'], PBKDF2_ROUNDS_MAX)
    return c !== null && parameters['prf'] === 'hmac-sha256' ? { kdf, c, salt } : null
  }
  if (kdf !== 'scrypt') return null
  const [n, r, p] = [
    wholeIn(parameters['n'], 2 ** 22),
    wholeIn(parameters['r'], 64),
    wholeIn(parameters['p'], SCRYPT_P_MAX),
  ]
  if (n === null || r === null || p === null || n < 2 || (n & (n - 1)) !== 0) return null
  return 128 * n * r <= SCRYPT_MEMORY_MAX ? { kdf, n, r, p, salt } : null
}

const wholeIn = (value: unknown, max: number): number | null =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max ? value : null

/** Digits of either case, with or without 0x. */
function hexIn(value: unknown, bytesMin: number, bytesMax: number): Uint8Array | null {
  if (typeof value !== 'string') return null
  const digits = value.replace(/^0x/, '').toLowerCase()
  if (digits.length < 2 * bytesMin || digits.length > 2 * bytesMax || digits.length % 2 !== 0) return null
  return isHexadecimal(digits, digits.length) ? fromHex(digits) : null
}

const objectIn = (value: unknown): Record<string, unknown> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null

function parsed(text: string): Record<string, unknown> | null {
  try {
    return objectIn(JSON.parse(text))
  } catch {
    return null
  }
}
