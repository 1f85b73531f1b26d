// The small part of FHIRPath that de-identification rules speak inside `where(…)` and in the cases of `generalize`: comparison, `and`, `or`,
// `in`, `contains`, `|`, `+`, member steps, and a few string functions. No regular expressions and no recursion over data: a rule cannot hang.
// Not here: paths that select elements (paths.ts).

import { dayNumber } from './dates.ts'
import { isObject, type Json } from './json.ts'

/** A rule that cannot be read, or that met data for which it has no answer. */
export class RuleFault extends Error {}

type DateLiteral = { readonly date: string }
type Item = Json | DateLiteral
export type Expression = (node: Json) => readonly Item[]

type Token = { readonly kind: 'name' | 'text' | 'number' | 'date' | 'sign' | 'end'; readonly text: string }

const TOKEN =
  /\s*(?:'((?:[^'\\]|\\.)*)'|(@[0-9T:.Z+-]+)|(\d+(?:\.\d+)?)|(\$this|[A-Za-z_][A-Za-z0-9_]*)|(<=|>=|!=|[=<>()|+.,]))/y
const COMPARISONS = ['=', '!=', '<', '>', '<=', '>=', 'in', 'contains']
const LENGTH_MAX = 2000
const NESTING_MAX = 40

/** Throws RuleFault. */
export function parseExpression(source: string): Expression {
  const tokens = tokensOf(source)
  let at = 0
  let nesting = 0
  const peek = (): string => (tokens[at]?.kind === 'text' ? '' : (tokens[at]?.text ?? ''))
  const next = (): Token => tokens[at++] ?? { kind: 'end', text: '' }
  const expect = (sign: string): void => {
    if (peek() !== sign) throw new RuleFault(`expected ${sign} in ${source}`)
    at++
  }

  const chain = (
    lower: () => Expression,
    sign: string,
    join: (left: readonly Item[], right: readonly Item[]) => readonly Item[],
  ): Expression => {
    let left = lower()
    while (peek() === sign) {
      at++
      const [before, after] = [left, lower()]
      left = node => join(before(node), after(node))
    }
    return left
  }
  const or = (): Expression => chain(and, 'or', (left, right) => [truth(left) || truth(right)])
  const and = (): Expression => chain(comparison, 'and', (left, right) => [truth(left) && truth(right)])
  const comparison = (): Expression => {
    const left = union()
    const sign = peek()
    if (!COMPARISONS.includes(sign)) return left
    at++
    const right = union()
    return node => compared(sign, left(node), right(node))
  }
  const union = (): Expression => chain(sum, '|', (left, right) => [...left, ...right])
  const sum = (): Expression => chain(primary, '+', (left, right) => [joined(left, right)])

  const primary = (): Expression => {
    if (++nesting > NESTING_MAX) throw new RuleFault(`nested too deep: ${source}`)
    const token = next()
    let value: Expression
    if (token.text === '(' && token.kind === 'sign') {
      value = or()
      expect(')')
    } else if (token.kind === 'text') value = () => [token.text]
    else if (token.kind === 'number') value = () => [Number(token.text)]
    else if (token.kind === 'date') value = () => [{ date: token.text.slice(1) }]
    else if (token.text === 'true' || token.text === 'false') value = () => [token.text === 'true']
    else if (token.text === '$this') value = node => [node]
    else if (token.kind === 'name')
      value = peek() === '(' ? call(node => [node], token.text) : member(node => [node], token.text)
    else throw new RuleFault(`cannot read ${source}`)
    while (peek() === '.') {
      at++
      const name = next()
      if (name.kind !== 'name') throw new RuleFault(`cannot read ${source}`)
      value = peek() === '(' ? call(value, name.text) : member(value, name.text)
    }
    nesting--
    return value
  }

  const call = (target: Expression, name: string): Expression => {
    expect('(')
    const given: Expression[] = []
    while (peek() !== ')') {
      given.push(or())
      if (peek() === ',') at++
      else break
    }
    expect(')')
    const work = FUNCTIONS[name]
    if (work === undefined || given.length > 2) throw new RuleFault(`no function ${name} in ${source}`)
    return node => work(target(node), ...given.map(argument => argument(node)))
  }

  const parsed = or()
  if (tokens[at]?.kind !== 'end') throw new RuleFault(`cannot read ${source}`)
  return parsed
}

/** Empty is false; anything that is no truth value is a fault. */
export function truth(items: readonly Item[]): boolean {
  const [item] = items
  if (items.length > 1 || (item !== undefined && typeof item !== 'boolean')) throw new RuleFault('not a truth value')
  return item ?? false
}

const FUNCTIONS: Readonly<Record<string, (target: readonly Item[], ...given: (readonly Item[])[]) => readonly Item[]>> =
  {
    exists: target => [target.length > 0],
    empty: target => [target.length === 0],
    not: target => [!truth(target)],
    length: target => [textOf(target).length],
    startsWith: (target, start = []) => [textOf(target).startsWith(textOf(start))],
    endsWith: (target, end = []) => [textOf(target).endsWith(textOf(end))],
    contains: (target, part = []) => [textOf(target).includes(textOf(part))],
    substring: (target, start = [], length) => [
      textOf(target).substring(numberOf(start), length === undefined ? undefined : numberOf(start) + numberOf(length)),
    ],
  }

function tokensOf(source: string): Token[] {
  if (source.length > LENGTH_MAX) throw new RuleFault('an expression has at most 2000 characters')
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  const text = source.trimEnd()
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text)
    if (match === null) throw new RuleFault(`cannot read ${source}`)
    const [, quoted, date, number, name, sign] = match
    if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted.replace(/\\(.)/g, '$1') })
    else if (date !== undefined) tokens.push({ kind: 'date', text: date })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else tokens.push({ kind: 'sign', text: sign as string })
  }
  tokens.push({ kind: 'end', text: '' })
  return tokens
}

function member(target: Expression, name: string): Expression {
  return node =>
    target(node).flatMap((item): readonly Item[] => {
      if (!isObject(item as Json)) return []
      const value = (item as { [key: string]: Json })[name]
      return value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]
    })
}

function compared(sign: string, left: readonly Item[], right: readonly Item[]): readonly Item[] {
  if (sign === 'in') return left.length === 0 ? [] : [right.some(item => same(left[0] as Item, item))]
  if (sign === 'contains') return right.length === 0 ? [] : [left.some(item => same(item, right[0] as Item))]
  const [a, b] = [left[0], right[0]]
  if (a === undefined || b === undefined) return []
  if (sign === '=') return [same(a, b)]
  if (sign === '!=') return [!same(a, b)]
  const order = orderOf(a, b)
  return [sign === '<' ? order < 0 : sign === '>' ? order > 0 : sign === '<=' ? order <= 0 : order >= 0]
}

function same(left: Item, right: Item): boolean {
  if (isDate(left) || isDate(right)) return orderOf(left, right) === 0
  return left === right
}

function orderOf(left: Item, right: Item): number {
  if (isDate(left) || isDate(right)) return minutesOf(left) - minutesOf(right)
  if (typeof left === 'number' && typeof right === 'number') return left - right
  if (typeof left === 'string' && typeof right === 'string') return left < right ? -1 : left > right ? 1 : 0
  throw new RuleFault('values of two types have no order')
}

function isDate(item: Item): item is DateLiteral {
  return typeof item === 'object' && item !== null && 'date' in item && Object.keys(item).length === 1
}

/** A date of any precision as minutes, by its beginning. */
function minutesOf(item: Item): number {
  const text = isDate(item) ? item.date : typeof item === 'string' ? item : ''
  const match = /^(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:T(\d\d):(\d\d)\S*?(?:Z|([+-])(\d\d):(\d\d))?)?$/.exec(text)
  if (match === null) throw new RuleFault('not a date')
  const [year, month, day, hour, minute] = [match[1], match[2] ?? 1, match[3] ?? 1, match[4] ?? 0, match[5] ?? 0].map(
    Number,
  )
  const zone = (match[6] === '-' ? -1 : 1) * (Number(match[7] ?? 0) * 60 + Number(match[8] ?? 0))
  const days = dayNumber(year as number, month as number, day as number)
  return days * 1440 + (hour as number) * 60 + (minute as number) - zone
}

function joined(left: readonly Item[], right: readonly Item[]): Item {
  const [a, b] = [left[0], right[0]]
  if (typeof a === 'number' && typeof b === 'number') return a + b
  return textOf(left) + textOf(right)
}

function textOf(items: readonly Item[]): string {
  const [item] = items
  if (items.length !== 1 || typeof item !== 'string') throw new RuleFault('not a text')
  return item
}

function numberOf(items: readonly Item[]): number {
  const [item] = items
  if (items.length !== 1 || typeof item !== 'number') throw new RuleFault('not a number')
  return item
}
