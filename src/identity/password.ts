// From a password to a key: argon2id of Node, with bounds on its parameters, because they are read from a file that anyone may
// have changed: too large would stop the machine, too small would be a lock that is none. Passwords are compared in Unicode's NFKC.

import { argon2 } from 'node:crypto'
import { fromHex } from '../model/hash.ts'
import { isHexadecimal } from '../model/ids.ts'

export type KeyDerivation = {
  readonly name: 'argon2id'
  readonly memoryKiB: number
  readonly passes: number
  readonly parallelism: number
  /** 16 random bytes as hexadecimal. */
  readonly salt: string
}

/** 64 MiB, 3 passes, 4 lanes: RFC 9106's second recommended option; 0.35 s on one core of 2026. */
export const KDF_DEFAULT: Omit<KeyDerivation, 'salt'> = {
  name: 'argon2id',
  memoryKiB: 64 * 1024,
  passes: 3,
  parallelism: 4,
}

const BOUNDS = {
  memoryKiB: { min: 8 * 1024, max: 1024 * 1024 },
  passes: { min: 1, max: 16 },
  parallelism: { min: 1, max: 16 },
} as const

const FIELDS = ['name', 'memoryKiB', 'passes', 'parallelism', 'salt']

/** Null when a field is missing, unknown or out of bounds. */
export function parseKeyDerivation(value: unknown): KeyDerivation | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const fields = value as Record<string, unknown>
  const keys = Object.keys(fields)
  if (keys.length !== FIELDS.length || !keys.every(key => FIELDS.includes(key))) return null
  const { name, memoryKiB, passes, parallelism, salt } = fields
  if (name !== 'argon2id') return null
  if (
    !within(memoryKiB, BOUNDS.memoryKiB) ||
    !within(passes, BOUNDS.passes) ||
    !within(parallelism, BOUNDS.parallelism)
  )
    return null
  if (typeof salt !== 'string' || !isHexadecimal(salt, 32)) return null
  return { name, memoryKiB, passes, parallelism, salt }
}

const within = (value: unknown, bounds: { readonly min: number; readonly max: number }): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= bounds.min && value <= bounds.max

/** 32 bytes; the caller fills them with zeros after use. */
export function derivePasswordKey(password: string, derivation: KeyDerivation): Promise<Uint8Array> {
  const message = Buffer.from(password.normalize('NFKC'), 'utf8')
  const parameters = {
    message,
    nonce: fromHex(derivation.salt),
    memory: derivation.memoryKiB,
    passes: derivation.passes,
    parallelism: derivation.parallelism,
    tagLength: 32,
  }
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, key) => {
      message.fill(0)
      if (error) reject(error)
      else resolve(key)
    })
  })
}
