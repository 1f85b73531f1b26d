// JSON as a record may hold it: strict, bounded in depth, no key twice, and numbers as they were written (a FHIR decimal of 1.50 is not 1.5).
// JSON.parse does not do: it takes the last of two equal keys, which lets a reader and a de-identifier see two different records.

import { EmrmError } from '../../model/errors.ts'

export type Json = null | boolean | number | string | RawNumber | Json[] | JsonObject
export type JsonObject = { [key: string]: Json }
/** A number whose text a double would not give back. JSON.stringify writes the text. An interface, lest it pass for a JsonObject. */
export interface RawNumber {
  readonly rawJSON: string
}

const DEPTH_MAX = 64
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
/** A string's text as it stands: no escape, no control character. */
const PLAIN = /^[^\\\p{Cc}]*$/u
const json = JSON as unknown as { rawJSON(text: string): RawNumber; isRawJSON(value: unknown): value is RawNumber }

export const isRawNumber = (value: Json): value is RawNumber => json.isRawJSON(value)
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !json.isRawJSON(value)

/** A number of JSON, however it was written; null for anything else. */
export function numberOf(value: Json | undefined): number | null {
  if (typeof value === 'number') return value
  return value !== undefined && isRawNumber(value) ? Number(value.rawJSON) : null
}

export function malformed(what: string, facts: Readonly<Record<string, string | number>> = {}): EmrmError {
  return new EmrmError(
    'record-malformed',
    `the record cannot be read as its kind (${what}); it is not de-identified`,
    facts,
  )
}

/** UTF-8, with or without a byte order mark. Throws EmrmError `record-malformed`. */
export function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw malformed('not UTF-8')
  }
}

/** Throws EmrmError `record-malformed`. */
export function parseJson(text: string): Json {
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.end()
  return value
}

class Reader {
  private readonly text: string
  private at = 0

  constructor(text: string) {
    this.text = text
  }

  value(depth: number): Json {
    if (depth > DEPTH_MAX) throw malformed(`nested deeper than ${DEPTH_MAX}`)
    this.space()
    const code = this.text.charCodeAt(this.at)
    if (code === 0x7b) return this.object(depth)
    if (code === 0x5b) return this.array(depth)
    if (code === 0x22) return this.string()
    if (code === 0x74) return this.word('true', true)
    if (code === 0x66) return this.word('false', false)
    if (code === 0x6e) return this.word('null', null)
    return this.number()
  }

  end(): void {
    this.space()
    if (this.at !== this.text.length) throw malformed('JSON with something behind it', { offset: this.at })
  }

  private object(depth: number): JsonObject {
    const object: JsonObject = {}
    this.at++
    this.space()
    if (this.take(0x7d)) return object
    do {
      this.space()
      if (this.text.charCodeAt(this.at) !== 0x22) throw this.broken()
      const key = this.string()
      if (key === '__proto__' || Object.hasOwn(object, key))
        throw malformed('a key twice or not allowed', { offset: this.at })
      this.space()
      if (!this.take(0x3a)) throw this.broken()
      object[key] = this.value(depth + 1)
      this.space()
    } while (this.take(0x2c))
    if (!this.take(0x7d)) throw this.broken()
    return object
  }

  private array(depth: number): Json[] {
    const array: Json[] = []
    this.at++
    this.space()
    if (this.take(0x5d)) return array
    do {
      array.push(this.value(depth + 1))
      this.space()
    } while (this.take(0x2c))
    if (!this.take(0x5d)) throw this.broken()
    return array
  }

  private string(): string {
    const start = this.at
    let end = start
    do {
      end = this.text.indexOf('"', end + 1)
      if (end < 0) throw this.broken()
    } while (this.escaped(end))
    this.at = end + 1
    const plain = this.text.slice(start + 1, end)
    if (PLAIN.test(plain)) return plain
    try {
      return JSON.parse(this.text.slice(start, end + 1)) as string
    } catch {
      throw this.broken()
    }
  }

  /** An odd number of backslashes before the quote. */
  private escaped(quote: number): boolean {
    let at = quote
    while (this.text.charCodeAt(at - 1) === 0x5c) at--
    return (quote - at) % 2 === 1
  }

  private number(): Json {
    NUMBER.lastIndex = this.at
    const match = NUMBER.exec(this.text)?.[0]
    if (match === undefined) throw this.broken()
    this.at += match.length
    const number = Number(match)
    return String(number) === match ? number : json.rawJSON(match)
  }

  private word<T extends Json>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw this.broken()
    this.at += word.length
    return value
  }

  private take(code: number): boolean {
    if (this.text.charCodeAt(this.at) !== code) return false
    this.at++
    return true
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.at++
    }
  }

  private broken(): EmrmError {
    return malformed('not JSON', { offset: this.at })
  }
}
