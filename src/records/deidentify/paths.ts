// Paths of rules (`Patient.name`, `nodesByType('Address').state`, `Device.where(id.exists()).id`) run together as one automaton over the
// types of a record: each element is looked up once, whatever the number of rules. The first rule that matches an element or anything
// above it wins; states are made when first met and then remembered. Not here: what a rule does with the element (fhir.ts).

import { type Expression, parseExpression, RuleFault, truth } from './expression.ts'
import type { Json } from './json.ts'
import { type ElementType, elementOf, isPrimitive } from './r4-schema.ts'

type Step =
  | { readonly type: 'root'; readonly resource: string }
  | { readonly type: 'child'; readonly name: string }
  | { readonly type: 'by-type'; readonly of: string }
  | { readonly type: 'by-name'; readonly name: string }
  | { readonly type: 'descendants' }
  | { readonly type: 'as'; readonly of: string }
  | { readonly type: 'where'; readonly holds: Expression }

/** A rule part-way through its path. */
type Item = { readonly rule: number; readonly step: number }
/** `pending` waits for the data: a `where` decides. */
type Entry = {
  readonly rule: number
  readonly items: readonly Item[]
  readonly pending: readonly Item[]
  readonly decided: Map<number, Entry>
}

/** An element of a record with all that the rules know of it. `rule`: the index of the winning rule, Infinity when none matches. */
export type Place = {
  /** Data type, resource type or path of a backbone element. */
  readonly type: string
  readonly name: string
  /** R4 binds this `code` to its own value set. */
  readonly bound: boolean
  readonly primitive: boolean
  readonly rule: number
  /** No rule before `rule` can match below. */
  readonly settled: boolean
  readonly items: readonly Item[]
  readonly edges: Map<string, Edge>
}
type Edge = {
  readonly element: ElementType
  readonly type: string
  readonly entry: Entry
  readonly places: Map<Entry, Place>
}

/** Throws RuleFault. */
export function parsePath(path: string): readonly Step[] {
  const [first, ...rest] = partsOf(path)
  const start = first === undefined ? undefined : stepOf(first)
  if (start === undefined) throw new RuleFault('an empty path')
  const steps: Step[] = [start.type === 'child' ? { type: 'root', resource: start.name } : start]
  for (const part of rest) {
    const [, inner, type] = /^(.*?)\s+as\s+(\w+)$/.exec(part) ?? [undefined, part, undefined]
    steps.push(stepOf(inner as string))
    if (type !== undefined) steps.push({ type: 'as', of: type })
  }
  if (start.type === 'where' || start.type === 'as') throw new RuleFault(`a path begins with a type: ${path}`)
  return steps
}

export class PathAutomaton {
  private readonly rules: readonly (readonly Step[])[]
  private readonly roots = new Map<string, Edge>()

  constructor(rules: readonly (readonly Step[])[]) {
    this.rules = rules
  }

  /** Where a whole record begins. */
  root(resourceType: string, node: Json): Place {
    let edge = this.roots.get(resourceType)
    if (edge === undefined) {
      const element: ElementType = { name: resourceType, type: 'Resource', bound: false }
      edge = { element, type: resourceType, entry: this.enter([], Infinity, element, resourceType), places: new Map() }
      this.roots.set(resourceType, edge)
    }
    return this.placeOf(edge, node)
  }

  /** The place of property `json` below `place`; null when R4 has none. For a nested resource, `resourceType` is its own, one of R4. */
  step(place: Place, json: string, node: Json, resourceType: string | null): Place | null {
    const key = resourceType === null ? json : `${json}\n${resourceType}`
    let edge = place.edges.get(key)
    if (edge === undefined) {
      const element = elementOf(place.type, json)
      // Names that R4 does not have are not remembered: a record can bring any number of them.
      if (element === null || (element.type === 'Resource' && resourceType === null)) return null
      const type = element.type === 'Resource' ? (resourceType as string) : element.type
      edge = { element, type, entry: this.enter(place.items, place.rule, element, type), places: new Map() }
      place.edges.set(key, edge)
    }
    return this.placeOf(edge, node)
  }

  private placeOf(edge: Edge, node: Json): Place {
    let entry = edge.entry
    while (entry.pending.length > 0) entry = this.decide(entry, edge, node)
    let place = edge.places.get(entry)
    if (place === undefined) {
      const items = entry.items.filter(item => item.rule < entry.rule)
      place = {
        type: edge.type,
        name: edge.element.name,
        bound: edge.element.bound,
        primitive: isPrimitive(edge.type),
        rule: entry.rule,
        settled: items.length === 0,
        items,
        edges: new Map(),
      }
      edge.places.set(entry, place)
    }
    return place
  }

  private decide(entry: Entry, edge: Edge, node: Json): Entry {
    let answers = 0
    entry.pending.forEach((item, index) => {
      const step = this.rules[item.rule]?.[item.step]
      if (step?.type === 'where' && truth(step.holds(node))) answers += 2 ** index
    })
    let then = entry.decided.get(answers)
    if (then === undefined) {
      const draft = new Draft(this.rules, entry.rule, edge.element.name, edge.type)
      for (const item of entry.items) draft.wait(item)
      entry.pending.forEach((item, index) => {
        if (Math.floor(answers / 2 ** index) % 2 === 1) draft.advance(item.rule, item.step + 1)
      })
      then = draft.entry()
      entry.decided.set(answers, then)
    }
    return then
  }

  private enter(parents: readonly Item[], inherited: number, element: ElementType, type: string): Entry {
    const draft = new Draft(this.rules, inherited, element.name, type)
    for (const { rule, step } of parents) draft.meet(rule, step)
    if (element.type === 'Resource')
      this.rules.forEach((steps, rule) => {
        const first = steps[0] as Step
        if (first.type !== 'root') draft.wait({ rule, step: 0 })
        else if (first.resource === 'Resource' || first.resource === 'DomainResource' || first.resource === type)
          draft.advance(rule, 1)
      })
    return draft.entry()
  }
}

/** One element being entered: which rules match here, which go on below, which wait for a `where`. */
class Draft {
  private readonly rules: readonly (readonly Step[])[]
  private readonly name: string
  private readonly type: string
  private rule: number
  private readonly items = new Map<string, Item>()
  private readonly pending: Item[] = []

  constructor(rules: readonly (readonly Step[])[], inherited: number, name: string, type: string) {
    this.rules = rules
    this.rule = inherited
    this.name = name
    this.type = type
  }

  wait(item: Item): void {
    this.items.set(`${item.rule}/${item.step}`, item)
  }

  meet(rule: number, step: number): void {
    const test = this.rules[rule]?.[step] as Step
    if (test.type === 'child') {
      if (test.name === this.name) this.advance(rule, step + 1)
      return
    }
    this.wait({ rule, step })
    const hit =
      (test.type === 'by-type' && test.of === this.type) || (test.type === 'by-name' && test.name === this.name)
    if (hit || test.type === 'descendants') this.advance(rule, step + 1)
  }

  advance(rule: number, step: number): void {
    const next = this.rules[rule]?.[step]
    if (next === undefined) this.rule = Math.min(this.rule, rule)
    else if (next.type === 'where') this.pending.push({ rule, step })
    else if (next.type !== 'as') this.wait({ rule, step })
    else if (next.of === this.type) this.advance(rule, step + 1)
  }

  entry(): Entry {
    const pending = this.pending.filter(item => item.rule < this.rule)
    if (pending.length > 40) throw new RuleFault('too many conditions on one element')
    return { rule: this.rule, items: [...this.items.values()], pending, decided: new Map() }
  }
}

/** Splits at dots outside brackets and quotes. */
function partsOf(path: string): string[] {
  const parts: string[] = []
  let [depth, quoted, start] = [0, false, 0]
  for (let at = 0; at <= path.length; at++) {
    const char = path[at]
    if (char === "'") quoted = !quoted
    else if (!quoted && char === '(') depth++
    else if (!quoted && char === ')') depth--
    else if (char === undefined || (char === '.' && depth === 0 && !quoted)) {
      parts.push(path.slice(start, at).trim())
      start = at + 1
    }
  }
  if (depth !== 0 || quoted || parts.includes('')) throw new RuleFault(`cannot read the path ${path}`)
  return parts
}

function stepOf(part: string): Step {
  if (/^[A-Za-z]\w*$/.test(part)) return { type: 'child', name: part }
  const [, name, inner] = /^(\w+)\((.*)\)$/s.exec(part) ?? []
  const quoted = /^'([\w.]+)'$/.exec(inner ?? '')?.[1]
  if (name === 'nodesByType' && quoted !== undefined) return { type: 'by-type', of: quoted }
  if (name === 'nodesByName' && quoted !== undefined) return { type: 'by-name', name: quoted }
  if (name === 'descendants' && inner === '') return { type: 'descendants' }
  if (name === 'ofType' && /^\w+$/.test(inner ?? '')) return { type: 'as', of: inner as string }
  if (name === 'where' && inner !== undefined) return { type: 'where', holds: parseExpression(inner) }
  throw new RuleFault(`cannot read the step ${part}`)
}
