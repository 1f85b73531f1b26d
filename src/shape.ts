// Strict reading of JSON that people write by hand: each reader names the place of what it refuses, and an unknown key is refused,
// never ignored, because a misspelt setting that is silently dropped is worse than a peer that does not start.
// Not here: what the settings mean (config.ts, home-files.ts).

import { readFile } from 'node:fs/promises'

import { EmrmError } from './model/errors.ts'

export type Shape = { readonly [key: string]: unknown }

/** Throws EmrmError `file-missing` or `config-invalid`, both with the file's path. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readTextFile(path)
  try {
    return JSON.parse(text)
  } catch {
    throw new EmrmError('config-invalid', `${path} is not JSON; correct it or restore it from a backup`, { file: path })
  }
}

/** Throws EmrmError `file-missing` or `file-unreadable`. */
export async function readTextFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw missing
      ? new EmrmError('file-missing', `${path} does not exist; check the path`, { file: path }, error)
      : new EmrmError('file-unreadable', `${path} cannot be read; check its owner and mode`, { file: path }, error)
  }
}

/** `keys` that end in `?` may be absent. `where` is the file and the place in it. */
export function readObject(value: unknown, where: string, keys: readonly string[]): Shape {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(where, 'must be an object')
  const known = new Set(keys.map(key => key.replace('?', '')))
  for (const key of Object.keys(value))
    if (!known.has(key)) throw refuse(`${where}.${key}`, `is not a setting; known are ${[...known].join(', ')}`, key)
  for (const key of keys)
    if (!key.endsWith('?') && !Object.hasOwn(value, key)) throw refuse(`${where}.${key}`, 'is missing', key)
  return value as Shape
}

export function readText(value: unknown, where: string, lengthMax = 256): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > lengthMax)
    throw refuse(where, `must be a text of 1 to ${lengthMax} characters`)
  return value
}

export function readWhole(value: unknown, where: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    throw refuse(where, `must be a whole number from ${min} to ${max}`)
  return value
}

const UNITS: Readonly<Record<string, number>> = {
  ...{ B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 },
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50 },
}

/** A number of bytes, or a text such as "500 GB" or "1.5 TiB". */
export function readByteCount(value: unknown, where: string): number {
  const [, digits, unit = 'B'] =
    /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)?$/.exec(typeof value === 'string' ? value.trim() : '') ?? []
  const factor = Object.hasOwn(UNITS, unit) ? (UNITS[unit] as number) : Number.NaN
  const bytes = typeof value === 'number' ? value : Math.floor(Number(digits) * factor)
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw refuse(where, `must be a number of bytes, or a text such as "500 GB" (${Object.keys(UNITS).join(', ')})`)
  return bytes
}

export function readFlag(value: unknown, where: string): boolean {
  if (typeof value !== 'boolean') throw refuse(where, 'must be true or false')
  return value
}

export function readList<T>(
  value: unknown,
  where: string,
  lengthMax: number,
  read: (item: unknown, where: string) => T,
): readonly T[] {
  if (!Array.isArray(value) || value.length > lengthMax)
    throw refuse(where, `must be a list of at most ${lengthMax} entries`)
  return value.map((item, i) => read(item, `${where}[${i}]`))
}

export function readOneOf<T extends string>(value: unknown, where: string, choices: readonly T[]): T {
  const found = choices.find(choice => choice === value)
  if (found === undefined) throw refuse(where, `must be one of ${choices.join(', ')}`)
  return found
}

export function refuse(where: string, why: string, key?: string): EmrmError {
  return new EmrmError(
    'config-invalid',
    `${where} ${why}; correct it and try again`,
    key === undefined ? { where } : { where, key },
  )
}
