// A typed table over the state: values are dag-cbor tuples, one field after the other in a fixed order. The tuple's first element is the
// layout's version. What was decoded is remembered, so that a busy patient's policies are not decoded for each request.

import { decode } from '@ipld/dag-cbor'
import { encode } from '../model/dag-cbor.ts'
import { assert } from '../model/errors.ts'
import type { State } from './state.ts'

const LAYOUT = 1
/** Decoded values remembered by one table; beyond this the memory is emptied. Changes no answer. */
const REMEMBERED_MAX = 100_000

/** Each field of T once, in the order in which it stands in the tuple. Bytes are for ever: new fields go last, with a new layout. */
export type Fields<T> = { readonly [K in keyof T]-?: true }

export class Table<T extends object> {
  readonly #state: State
  readonly #prefix: string
  readonly #fields: readonly (keyof T & string)[]
  readonly #observer: (name: string, value: T) => void
  readonly #remembered = new Map<string, T>()

  /** `observer` hears of each value that is put, and of all of them on `announce`. */
  constructor(
    state: State,
    prefix: string,
    fields: Fields<NoInfer<T>>,
    observer: (name: string, value: NoInfer<T>) => void = () => {},
  ) {
    this.#observer = observer
    this.#state = state
    this.#prefix = prefix
    this.#fields = Object.keys(fields) as (keyof T & string)[]
  }

  get(name: string): T | undefined {
    const known = this.#remembered.get(name)
    if (known !== undefined) return known
    const bytes = this.#state.get(this.keyOf(name))
    if (bytes === undefined) return undefined
    const value = this.#decode(bytes)
    this.#remember(name, value)
    return value
  }

  has(name: string): boolean {
    return this.#state.get(this.keyOf(name)) !== undefined
  }

  put(name: string, value: T): void {
    this.#state.put(this.keyOf(name), this.#encode(value))
    this.#remember(name, value)
    this.#observer(name, value)
  }

  /** What `put` would write of a value that came from outside; null when it has not exactly the fields of this table. */
  bytesOf(value: unknown): Uint8Array | null {
    if (typeof value !== 'object' || value === null) return null
    const keys = Object.keys(value)
    if (keys.length !== this.#fields.length || !this.#fields.every(field => keys.includes(field))) return null
    return this.#encode(value as T)
  }

  delete(name: string): void {
    this.#state.delete(this.keyOf(name))
    this.#remembered.delete(name)
  }

  /** Values whose name is `<group>/…` (or all, for the empty group), sorted by name. Only for tables that the state scans. */
  under(group = ''): readonly T[] {
    const from = this.#prefix.length + 1
    const keys = this.#state.keysUnder(group === '' ? this.#prefix : `${this.#prefix}/${group}`)
    return keys.map(key => this.get(key.slice(from))!)
  }

  keyOf(name: string): string {
    return `${this.#prefix}/${name}`
  }

  /** After the state was replaced as a whole. */
  forget(): void {
    this.#remembered.clear()
  }

  /** Tells the observer of every value of this table. */
  announce(): void {
    const from = `${this.#prefix}/`
    for (const [key, bytes] of this.#state.entries())
      if (key.startsWith(from)) this.#observer(key.slice(from.length), this.#decode(bytes))
  }

  #encode(value: T): Uint8Array {
    const tuple: unknown[] = [LAYOUT]
    for (const field of this.#fields) tuple.push(value[field])
    const bytes: Uint8Array = encode(tuple)
    // The library may answer with a view into a slab of 64 KiB, which one value of the state would keep alive as long as it stands.
    return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
  }

  #remember(name: string, value: T): void {
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear()
    this.#remembered.set(name, value)
  }

  /** The bytes are our own: this peer encoded them, or checked them against a state digest (checkpoint.ts). */
  #decode(bytes: Uint8Array): T {
    const tuple = decode<unknown[]>(bytes)
    assert(tuple[0] === LAYOUT && tuple.length === this.#fields.length + 1, `layout of ${this.#prefix}`)
    return Object.fromEntries(this.#fields.map((field, i) => [field, tuple[i + 1]])) as T
  }
}
