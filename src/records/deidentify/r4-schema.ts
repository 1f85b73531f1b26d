// Which type an element of FHIR R4 has, from the published definitions as compact data (r4-elements.json). Rules speak of types
// (`nodesByType('HumanName')`), and what R4 does not define has no type and never reaches a twin.

import codes from './r4-codes.json' with { type: 'json' }
import elements from './r4-elements.json' with { type: 'json' }

/** `name`: as FHIRPath says it (`value` for `valueQuantity`). `type`: `Resource` where any resource may stand. */
export type ElementType = { readonly name: string; readonly type: string; readonly bound: boolean }

const PRIMITIVES: ReadonlySet<string> = new Set(
  (
    'base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid positiveInt string ' +
    'time unsignedInt uri url uuid xhtml'
  ).split(' '),
)
const COMMON: readonly [string, string][] = [
  ['id', 'string'],
  ['extension', 'Extension'],
  ['modifierExtension', 'Extension'],
]
const RESOURCE: readonly [string, string][] = [
  ['id', 'id'],
  ['meta', 'Meta'],
  ['implicitRules', 'uri'],
  ['language', 'code?'],
  ['text', 'Narrative'],
  ['contained', 'Resource'],
  ['extension', 'Extension'],
  ['modifierExtension', 'Extension'],
]

const resources: ReadonlySet<string> = new Set(elements.resources.split(' '))
const definitions = new Map(Object.entries(elements.types))
const cache = new Map<string, ReadonlyMap<string, ElementType>>()

/** Every code of the value sets that R4 binds as required; a `code` element that R4 binds holds one of them. */
export const requiredCodes: ReadonlySet<string> = new Set(codes.codes.split(' '))
export const isResourceType = (name: string): boolean => resources.has(name)
export const isPrimitive = (type: string): boolean => PRIMITIVES.has(type)

/** The element `json` (a JSON property name) of `type` (a data type, a resource, or the path of a backbone element); null when R4 has none. */
export function elementOf(type: string, json: string): ElementType | null {
  let known = cache.get(type)
  if (known === undefined) {
    known = expand(type)
    cache.set(type, known)
  }
  return known.get(json) ?? null
}

function expand(type: string): ReadonlyMap<string, ElementType> {
  const map = new Map<string, ElementType>()
  const put = (json: string, name: string, said: string): void => {
    const bound = said === 'code'
    map.set(json, { name, type: said === 'code?' ? 'code' : said, bound })
  }
  for (const [name, said] of resources.has(type) ? RESOURCE : COMMON) put(name, name, said)
  for (const part of (definitions.get(type) ?? '').split(' ').filter(part => part !== '')) {
    const colon = part.indexOf(':')
    const name = part.slice(0, colon)
    const said = part.slice(colon + 1)
    if (!name.endsWith('[x]')) put(name, name, said === '.' ? `${type}.${name}` : said.replace('#', ''))
    else
      for (const choice of (said === '*' ? elements.anyValue : said).split('|')) {
        const stem = name.slice(0, -3)
        const plain = choice.replace('?', '')
        put(
          stem + plain.charAt(0).toUpperCase() + plain.slice(1),
          stem,
          said === '*' && choice === 'code' ? 'code?' : choice,
        )
      }
  }
  return map
}
