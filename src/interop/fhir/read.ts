// Reading JSON that a stranger wrote. What cannot be read is thrown as `Refused` with its code, and becomes the answer in
// consent-import.ts; it does not leave this folder. An unknown element is refused, never ignored: it may be the one that narrows.

import type { Coded } from './types.ts'

export type Json = Readonly<Record<string, unknown>>

const NODES_MAX = 20_000
const DEPTH_MAX = 24

export class Refused {
  readonly code: string
  readonly reason: string
  constructor(code: string, reason: string) {
    this.code = code
    this.reason = reason
  }
}

export function refuse(code: string, reason: string): never {
  throw new Refused(code, reason)
}

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Before anything is read: sizes, modifiers, and values that are there without saying anything. */
export function checkWhole(resource: Json): void {
  let nodes = 0
  const visit = (value: unknown, where: string, depth: number): void => {
    nodes += 1
    if (nodes > NODES_MAX || depth > DEPTH_MAX) refuse('too-large', `The resource is larger than ${NODES_MAX} values.`)
    if (value === null || value === '') refuse('value-empty', `${where} is empty.`)
    if (Array.isArray(value)) {
      // An empty list is not FHIR; read as "nothing said" it would be a wildcard.
      if (value.length === 0) refuse('value-empty', `${where} is an empty list.`)
      for (const item of value) visit(item, where, depth + 1)
    } else if (isObject(value)) visitObject(value, where, depth)
    else if (typeof value === 'number' && !Number.isFinite(value)) refuse('value-invalid', `${where} is not a number.`)
  }
  const visitObject = (value: Json, where: string, depth: number): void => {
    const keys = Object.keys(value)
    if (keys.length === 0) refuse('value-empty', `${where} is empty.`)
    for (const key of keys) {
      const at = where === '' ? key : `${where}.${key}`
      if (key === 'modifierExtension' || key === 'implicitRules')
        refuse('modifier-unknown', `${at} may change the meaning of all the rest.`)
      // `_end` without `end`: a value that is withheld or unknown, not a value that is absent.
      if (key.startsWith('_') && value[key.slice(1)] === undefined)
        refuse('value-absent', `${at} says that a value exists which the resource does not give.`)
      // The narrative and contained resources are not read, and a reference into them is refused.
      if (depth === 0 && (key === 'text' || key === 'contained')) continue
      visit(value[key], at, depth + 1)
    }
  }
  visit(resource, '', 0)
}

export function onlyKnown(value: Json, fields: ReadonlySet<string>, where: string): void {
  for (const key of Object.keys(value)) {
    const field = key.startsWith('_') ? key.slice(1) : key
    if (!fields.has(field)) refuse('element-unknown', `${where} has an element that this version does not know.`)
  }
}

export const fields = (names: string): ReadonlySet<string> => new Set(names.split(' '))

export function object(value: unknown, where: string): Json {
  if (!isObject(value)) refuse('value-invalid', `${where} is not an object.`)
  return value
}

export function objects(value: unknown, where: string): readonly Json[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) refuse('value-invalid', `${where} is not a list.`)
  return value.map((item, index) => object(item, `${where}[${index}]`))
}

export function text(value: unknown, where: string): string | null {
  if (value === undefined) return null
  if (typeof value !== 'string') refuse('value-invalid', `${where} is not a text.`)
  return value
}

export function coding(value: Json, where: string): Coded {
  return { system: text(value['system'], where) ?? '', code: text(value['code'], where) ?? '' }
}

/** The codings of a CodeableConcept; text alone has none. */
export const concept = (value: unknown, where: string): readonly Coded[] =>
  value === undefined ? [] : objects(object(value, where)['coding'], where).map(item => coding(item, where))
