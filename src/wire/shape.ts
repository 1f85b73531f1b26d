// Schemas: one value says how a piece of data is written, read, shown as JSON and taken from JSON, with its limits. A tuple stands
// on the wire in the order in which its fields are named here; the compiler refuses a table that lacks a field or has one too many.
// Not here: which data there is (operations-codec.ts, genesis-codec.ts); bytes (reader.ts reads, @ipld/dag-cbor writes).

import { fromHex } from '../model/hash.ts'
import { isHexadecimal } from '../model/ids.ts'
import { must } from './fault.ts'
import type { Reader } from './reader.ts'

/** What the DAG-CBOR encoder is given. */
export type Item = null | boolean | number | string | Uint8Array | readonly Item[]
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export type Shape<T> = {
  /** Throws WireFault on a value that `read` would refuse. */
  readonly write: (value: T) => Item
  readonly read: (reader: Reader) => T
  readonly toJson: (value: T) => Json
  /** Throws JsonFault, which names the place. */
  readonly fromJson: (json: unknown, path: string) => T
}

/** JSON that is not what it should be; caught by whoever knows the error's code. */
export class JsonFault extends Error {
  readonly path: string
  readonly expected: string

  constructor(path: string, expected: string) {
    super(`${path === '' ? 'the value' : path} ${expected}`)
    this.name = 'JsonFault'
    this.path = path
    this.expected = expected
  }
}

function expect(condition: boolean, path: string, expected: string): asserts condition {
  if (!condition) throw new JsonFault(path, expected)
}

/** A whole number 0 … max. `T` is a brand of number. */
export function uint<T extends number>(max: number = Number.MAX_SAFE_INTEGER, min = 0): Shape<T> {
  const fits = (value: unknown): value is T => Number.isSafeInteger(value) && (value as T) >= min && (value as T) <= max
  return {
    write(value) {
      must(fits(value), 'not-a-whole-number')
      return value
    },
    read(reader) {
      const value = reader.uint(max)
      must(value >= min, 'number-too-small')
      return value as T
    },
    toJson: value => value,
    fromJson(json, path) {
      expect(fits(json), path, `must be a whole number from ${min} to ${max}`)
      return json
    },
  }
}

/** Hexadecimal in memory and JSON, raw bytes on the wire. */
export function hex<T extends string>(...lengths: readonly number[]): Shape<T> {
  const fits = (value: unknown): value is T =>
    typeof value === 'string' && lengths.some(length => isHexadecimal(value, 2 * length))
  const longest = Math.max(...lengths)
  const only = lengths.length === 1
  return {
    write(value) {
      must(fits(value), 'not-hexadecimal')
      return fromHex(value)
    },
    read(reader) {
      if (only) return reader.hex(longest) as T
      const bytes = reader.view(longest)
      must(lengths.includes(bytes.length), 'wrong-length')
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex') as T
    },
    toJson: value => value,
    fromJson(json, path) {
      expect(fits(json), path, `must be ${lengths.map(n => 2 * n).join(' or ')} lower-case hexadecimal digits`)
      return json
    },
  }
}

/** Bytes in memory, hexadecimal in JSON. */
export const bytes = (max: number): Shape<Uint8Array> => ({
  write(value) {
    must(value.length <= max, 'bytes-too-long')
    return value
  },
  read: reader => reader.bytes(max),
  toJson: value => Buffer.from(value).toString('hex'),
  fromJson(json, path) {
    const fits = typeof json === 'string' && json.length <= 2 * max && isHexadecimal(json, json.length & ~1)
    expect(fits, path, `must be at most ${max} bytes as hexadecimal digits`)
    return fromHex(json as string)
  },
})

/** Text of min … max bytes of UTF-8. `note` also allows line breaks and tabs; other control characters never. */
export function text(max: number, options: { readonly min?: number; readonly note?: boolean } = {}): Shape<string> {
  const min = options.min ?? 0
  const note = options.note ?? false
  const fits = (value: unknown): value is string => {
    if (typeof value !== 'string' || value.length < min || value.length > max || !value.isWellFormed()) return false
    if (!isPlain(value, note)) return false
    return value.length * 3 <= max || Buffer.byteLength(value, 'utf8') <= max
  }
  return {
    write(value) {
      must(fits(value), 'not-a-text')
      return value
    },
    read(reader) {
      const value = reader.text(max)
      must(value.length >= min, 'text-too-short')
      must(isPlain(value, note), 'control-character')
      return value
    },
    toJson: value => value,
    fromJson(json, path) {
      expect(fits(json), path, `must be a text of ${min} to ${max} bytes without control characters`)
      return json
    },
  }
}

/** A control character in a name could rewrite an auditor's terminal. */
function isPlain(value: string, note: boolean): boolean {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i)
    if (c < 0x20 && !(note && (c === 0x0a || c === 0x0d || c === 0x09))) return false
    if (c >= 0x7f && c <= 0x9f) return false
  }
  return true
}

export const boolean: Shape<boolean> = {
  write: value => value,
  read: reader => reader.boolean(),
  toJson: value => value,
  fromJson(json, path) {
    expect(typeof json === 'boolean', path, 'must be true or false')
    return json
  },
}

/** One of these texts. */
export function oneOf<T extends string>(...values: readonly T[]): Shape<T> {
  const known: ReadonlySet<unknown> = new Set(values)
  return {
    write(value) {
      must(known.has(value), 'unknown-word')
      return value
    },
    read(reader) {
      const value = reader.text(64)
      must(known.has(value), 'unknown-word')
      return value as T
    },
    toJson: value => value,
    fromJson(json, path) {
      expect(known.has(json), path, `must be one of ${values.join(', ')}`)
      return json as T
    },
  }
}

export const nullable = <T>(shape: Shape<T>): Shape<T | null> => ({
  write: value => (value === null ? null : shape.write(value)),
  read: reader => (reader.null() ? null : shape.read(reader)),
  toJson: value => (value === null ? null : shape.toJson(value)),
  fromJson: (json, path) => (json === null ? null : shape.fromJson(json, path)),
})

/** At most `max` items in the order in which they are given. */
export const list = <T>(shape: Shape<T>, max: number): Shape<readonly T[]> => ({
  write(value) {
    must(value.length <= max, 'list-too-long')
    return value.map(shape.write)
  },
  read(reader) {
    const length = reader.list(max)
    const items: T[] = []
    for (let i = 0; i < length; i++) items.push(shape.read(reader))
    return items
  },
  toJson: value => value.map(shape.toJson),
  fromJson(json, path) {
    expect(Array.isArray(json) && json.length <= max, path, `must be a list of at most ${max} items`)
    return json.map((item, i) => shape.fromJson(item, `${path}[${i}]`))
  },
})

/** A set: strictly ascending on the wire, so that it has one form; JSON may give it in any order. */
export function sorted<T>(shape: Shape<T>, max: number, keyOf: (item: T) => string): Shape<readonly T[]> {
  const plain = list(shape, max)
  const isAscending = (items: readonly T[]): boolean =>
    items.every((item, i) => i === 0 || keyOf(items[i - 1] as T) < keyOf(item))
  return {
    write(value) {
      must(isAscending(value), 'not-sorted')
      return plain.write(value)
    },
    read(reader) {
      const items = plain.read(reader)
      must(isAscending(items), 'not-sorted')
      return items
    },
    toJson: plain.toJson,
    fromJson(json, path) {
      const items = [...plain.fromJson(json, path)].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
      expect(isAscending(items), path, 'must not name anything twice')
      return items
    },
  }
}

export type Fields<T> = { readonly [K in keyof T]-?: Shape<T[K]> }

/** A tuple of these fields in this order; an object of exactly these fields in JSON. */
export function tuple<T extends object>(fields: Fields<T>): Shape<T> {
  const body = fieldsOf(fields)
  return {
    write: body.write,
    read(reader) {
      reader.tuple(body.arity)
      return body.read(reader, {})
    },
    toJson: value => body.toJson(value, {}),
    fromJson: (json, path) => body.fromJson(json, path, [], {}),
  }
}

type Variant<U, K> = Omit<Extract<U, { readonly type: K }>, 'type'>

/** A union tagged by `type`: the tag stands first, then the variant's fields. */
export function union<U extends { readonly type: string }>(
  variants: {
    readonly [K in U['type']]: Fields<Variant<U, K>>
  },
): Shape<U> {
  const bodies = new Map<string, FieldList<object>>()
  for (const [type, fields] of Object.entries(variants)) bodies.set(type, fieldsOf(fields as Fields<object>))
  const known = [...bodies.keys()].join(', ')
  return {
    write(value) {
      const body = bodies.get(value.type)
      must(body !== undefined, 'unknown-type')
      return [value.type, ...body.write(value)]
    },
    read(reader) {
      const arity = reader.list(64)
      must(arity > 0, 'wrong-arity')
      const type = reader.text(64)
      const body = bodies.get(type)
      must(body !== undefined, 'unknown-type')
      must(arity === body.arity + 1, 'wrong-arity')
      return body.read(reader, { type }) as U
    },
    toJson: value => (bodies.get(value.type) as FieldList<object>).toJson(value, { type: value.type }),
    fromJson(json, path) {
      const type = typeof json === 'object' && json !== null && 'type' in json ? json.type : undefined
      const body = typeof type === 'string' ? bodies.get(type) : undefined
      expect(body !== undefined, join(path, 'type'), `must be one of ${known}`)
      return body.fromJson(json, path, ['type'], { type }) as U
    },
  }
}

type FieldList<T> = {
  readonly arity: number
  readonly write: (value: T) => readonly Item[]
  readonly read: (reader: Reader, into: object) => T
  readonly toJson: (value: T, into: { [key: string]: Json }) => Json
  readonly fromJson: (json: unknown, path: string, besides: readonly string[], into: object) => T
}

function fieldsOf<T extends object>(fields: Fields<T>): FieldList<T> {
  const entries = Object.entries(fields) as [string, Shape<unknown>][]
  const names = new Set(entries.map(([name]) => name))
  const fieldOf = (value: T, name: string): unknown => (value as { readonly [key: string]: unknown })[name]
  return {
    arity: entries.length,
    write: value => entries.map(([name, shape]) => shape.write(fieldOf(value, name))),
    read(reader, into) {
      const result = into as { [key: string]: unknown }
      for (const [name, shape] of entries) result[name] = shape.read(reader)
      return result as T
    },
    toJson(value, into) {
      for (const [name, shape] of entries) into[name] = shape.toJson(fieldOf(value, name))
      return into
    },
    fromJson(json, path, besides, into) {
      expect(typeof json === 'object' && json !== null && !Array.isArray(json), path, 'must be an object')
      for (const name of Object.keys(json))
        expect(names.has(name) || besides.includes(name), join(path, name), 'is not a known field')
      const result = into as { [key: string]: unknown }
      for (const [name, shape] of entries) {
        expect(Object.hasOwn(json, name), join(path, name), 'is missing')
        result[name] = shape.fromJson((json as { readonly [key: string]: unknown })[name], join(path, name))
      }
      return result as T
    },
  }
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)
