// From a FHIR resource to its labels: the codes anywhere in it by the rule set, and what it says of itself (meta.security, a document's
// confidentiality). Labels are added and the level is raised, never the reverse: what the custodian gave is the floor. Every mention counts,
// a negative test too: that a test was made is sensitive as well. Free text is not read. Not here: what the rules are (rules.ts).

import { CONFIDENTIALITIES, confidentialityRank, isSensitivity } from '../../access/sets.ts'
import type { Confidentiality } from '../../model/operations.ts'
import { type LabelRules, rulesFor } from './rules.ts'

export type Labels = { readonly confidentiality: Confidentiality; readonly labels: readonly string[] }

export type Derivation = Labels & {
  /** Names of the rules that held, sorted; `meta.security` when the resource said so itself. */
  readonly rules: readonly string[]
}

const CONFIDENTIALITY_SYSTEMS = [
  'http://terminology.hl7.org/CodeSystem/v3-Confidentiality',
  'http://hl7.org/fhir/v3/Confidentiality',
  'urn:oid:2.16.840.1.113883.5.25',
]
const ACT_CODE_SYSTEMS = [
  'http://terminology.hl7.org/CodeSystem/v3-ActCode',
  'http://hl7.org/fhir/v3/ActCode',
  'urn:oid:2.16.840.1.113883.5.4',
]
/** Codes of the Confidentiality system that HL7 has replaced by sensitivities. */
const REPLACED: ReadonlyMap<string, string> = new Map([
  ...['ETH', 'HIV', 'PSY', 'SDV'].map(code => [code, code] as const),
  ['C', 'CEL'],
  ['T', 'TBOO'],
])
const ITSELF = 'meta.security'

/** Between two of its steps a long derivation lets the peer do other things. Some 10 ms. */
const NODES_PER_STEP = 20_000

/** `given`: the custodian's, and the floor. Yields after each step and returns the labels. */
export function* labelSteps(rules: LabelRules, resource: object, given: Labels): Generator<void, Derivation> {
  const found = new Found(rules, given)
  // A stack of our own: a record nested a million deep must not end the peer.
  const open: object[] = [resource]
  let nodes = 0
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (!Array.isArray(node)) look(node as Fields, found)
    for (const value of Object.values(node)) if (typeof value === 'object' && value !== null) open.push(value)
    nodes += 1
    if (nodes % NODES_PER_STEP === 0) yield
  }
  return found.result()
}

export async function deriveLabels(rules: LabelRules, resource: object, given: Labels): Promise<Derivation> {
  const steps = labelSteps(rules, resource, given)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await new Promise(resolve => setImmediate(resolve))
  }
}

type Fields = Readonly<Record<string, unknown>>

function look(node: Fields, found: Found): void {
  const { system, code, resourceType } = node
  if (typeof system === 'string' && typeof code === 'string') found.coding(system, code)
  if (node['meta'] !== undefined)
    for (const label of listIn(objectIn(node['meta'])['security'])) said(objectIn(label), found)
  if (resourceType === 'DocumentReference')
    for (const concept of listIn(node['securityLabel']))
      for (const coding of listIn(objectIn(concept)['coding'])) said(objectIn(coding), found)
  if (resourceType === 'Composition' && typeof node['confidentiality'] === 'string')
    found.level(node['confidentiality'], ITSELF)
}

function said({ system, code }: Fields, found: Found): void {
  if (typeof system !== 'string' || typeof code !== 'string') return
  if (CONFIDENTIALITY_SYSTEMS.includes(system)) found.level(code, ITSELF)
  // Obligations and refrains stand there too; they say nothing about how sensitive it is.
  else if (ACT_CODE_SYSTEMS.includes(system) && isSensitivity(code)) found.label(code, ITSELF)
}

class Found {
  private readonly given: Labels
  private readonly rules: LabelRules
  private readonly labels: Set<string>
  private readonly names = new Set<string>()
  private rank: number

  constructor(rules: LabelRules, given: Labels) {
    this.rules = rules
    this.given = given
    this.labels = new Set(given.labels)
    this.rank = confidentialityRank(given.confidentiality)
  }

  coding(system: string, code: string): void {
    for (const rule of rulesFor(this.rules, system, code)) {
      this.names.add(rule.name)
      for (const label of rule.labels) this.label(label, rule.name)
      if (rule.confidentiality !== null) this.raise(rule.confidentiality)
    }
  }

  label(label: string, by: string): void {
    this.names.add(by)
    this.labels.add(label)
    const level = this.rules.confidentiality.get(label)
    if (level !== undefined) this.raise(level)
  }

  /** A code of the Confidentiality system. One that nobody knows restricts: somebody meant to say something. */
  level(code: string, by: string): void {
    this.names.add(by)
    const known = CONFIDENTIALITIES.find(level => level === code)
    if (known !== undefined) return this.raise(known)
    const label = REPLACED.get(code)
    if (label !== undefined) this.labels.add(label)
    this.raise('R')
  }

  result(): Derivation {
    const confidentiality = CONFIDENTIALITIES[this.rank] ?? this.given.confidentiality
    return { confidentiality, labels: [...this.labels].sort(), rules: [...this.names].sort() }
  }

  private raise(level: Confidentiality): void {
    this.rank = Math.max(this.rank, confidentialityRank(level))
  }
}

const objectIn = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
