// The claim of the mapping as a property: for random Consents, records and requests, what our policies grant a literal reading of the
// Consent grants too. The reading here is written apart from the mapping and the most generous that FHIR and IHE allow.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { purposeCovers, standsAbove } from '../../src/access/purposes.ts'
import { consentToPolicies } from '../../src/interop/fhir/consent-import.ts'
import type { KnownRecord } from '../../src/interop/fhir/types.ts'
import {
  type Asked,
  actions,
  actor,
  answer,
  CLERK,
  consentR4,
  context,
  DOCTOR,
  ELSEWHERE,
  HOSPITAL,
  knownRecord,
  labels,
  purposes,
  recordNamed,
} from './stage.ts'

const SEED = 20_260_301
const RUNS = 4_000
/** Requests for each Consent. */
const CASES = 8

type Provision = {
  readonly type: 'permit' | 'deny'
  readonly actors?: readonly string[] | undefined
  readonly purposes?: readonly string[] | undefined
  readonly actions?: readonly string[] | undefined
  readonly labels?: readonly string[] | undefined
  readonly data?: string | undefined
  readonly media?: string | undefined
  /** Years, inclusive. */
  readonly period?: readonly [number, number] | undefined
  readonly dataPeriod?: readonly [number, number] | undefined
  readonly nested?: readonly Provision[] | undefined
}

const ACTORS: Readonly<Record<string, (asked: Required<Pick<Asked, 'user' | 'institution' | 'groups'>>) => boolean>> = {
  'Practitioner/f204': ({ user }) => user === DOCTOR,
  'Practitioner/ex-clerk': ({ user }) => user === CLERK,
  'Organization/ex-organization': ({ institution }) => institution === HOSPITAL,
  'Group/ex-privilegedUsers': ({ groups }) => groups.includes('privileged'),
}
const PURPOSES = ['TREAT', 'COC', 'ETREAT', 'BTG', 'HRESCH', 'HPAYMT']
const RECORDS = ['Observation/a', 'Observation/b']
const YEARS = [2020, 2021, 2022]

const some = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...items), { minLength: 1, maxLength: 2 })
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 2 })
const years = fc
  .tuple(fc.constantFrom(...YEARS), fc.constantFrom(...YEARS))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

const conditions = {
  type: fc.constantFrom<Provision['type']>('permit', 'deny'),
  actors: maybe(some(Object.keys(ACTORS))),
  purposes: fc.option(some(PURPOSES), { nil: undefined, freq: 6 }),
  actions: maybe(some(['access', 'disclose', 'use'])),
  labels: maybe(some(['N', 'R', 'V', 'PSY'])),
  data: maybe(fc.constantFrom(...RECORDS)),
  media: maybe(fc.constantFrom('application/pdf', 'text/plain')),
  period: maybe(years),
  dataPeriod: maybe(years),
}
/** Each condition only now and then (freq 2: every second one is left out), or nothing would ever match. */
const thin = (provision: Provision, keep: readonly boolean[]): Provision =>
  Object.fromEntries(
    Object.entries(provision).filter(
      ([key], index) => key === 'type' || key === 'nested' || key === 'purposes' || keep[index % keep.length],
    ),
  ) as Provision
const thinned = (arbitrary: fc.Arbitrary<Provision>): fc.Arbitrary<Provision> =>
  fc
    .tuple(arbitrary, fc.array(fc.constantFrom(true, false, false), { minLength: 11, maxLength: 11 }))
    .map(([p, keep]) => thin(p, keep))
const nested = thinned(fc.record(conditions))
const root = thinned(fc.record({ ...conditions, nested: maybe(fc.array(nested, { minLength: 1, maxLength: 2 })) }))

const span = (name: string, range: readonly [number, number] | undefined): object =>
  range === undefined ? {} : { [name]: { start: String(range[0]), end: String(range[1]) } }

const asFhir = (p: Provision): object => ({
  type: p.type,
  ...(p.actors === undefined ? {} : { actor: p.actors.map(name => actor(name)) }),
  ...(p.purposes === undefined ? {} : purposes(...p.purposes)),
  ...(p.actions === undefined ? {} : actions(...p.actions)),
  ...(p.labels === undefined ? {} : labels(...p.labels)),
  ...(p.data === undefined ? {} : { data: [{ meaning: 'instance', reference: { reference: p.data } }] }),
  ...(p.media === undefined ? {} : { class: [{ system: 'urn:ietf:bcp:13', code: p.media }] }),
  ...span('period', p.period),
  ...span('dataPeriod', p.dataPeriod),
  ...(p.nested === undefined ? {} : { provision: p.nested.map(asFhir) }),
})

type Case = Required<Pick<Asked, 'purpose' | 'user' | 'institution' | 'groups' | 'right'>> & {
  readonly year: number
  readonly name: string
  readonly conf: 'N' | 'R' | 'V'
  readonly sensitive: boolean
  readonly kind: string
  readonly authored: number
}

const cases: fc.Arbitrary<Case> = fc.record({
  purpose: fc.constantFrom(...PURPOSES),
  user: fc.constantFrom(DOCTOR, CLERK),
  institution: fc.constantFrom(HOSPITAL, ELSEWHERE),
  groups: fc.constantFrom<readonly string[]>([], ['privileged']),
  right: fc.constantFrom<'read' | 'share'>('read', 'share'),
  year: fc.constantFrom(2019, ...YEARS, 2023),
  name: fc.constantFrom(...RECORDS, 'Observation/c'),
  conf: fc.constantFrom('N', 'R', 'V'),
  sensitive: fc.boolean(),
  kind: fc.constantFrom('pdf', 'text', 'fhir'),
  authored: fc.constantFrom(2019, ...YEARS),
})

/** All of a provision's conditions hold. A permit's purpose covers those below it; a deny's reaches break-the-glass as well. */
function holds(p: Provision, c: Case): boolean {
  const within = (range: readonly [number, number] | undefined, year: number): boolean =>
    range === undefined || (range[0] <= year && year <= range[1])
  const reaches = p.type === 'permit' ? purposeCovers : standsAbove
  return (
    (p.actors?.some(name => ACTORS[name]?.(c)) ?? true) &&
    (p.purposes?.some(above => reaches(above, c.purpose)) ?? c.purpose !== 'BTG') &&
    (p.actions === undefined || actionHolds(p, p.actions, c.right)) &&
    (p.labels?.some(label => label === c.conf || (label === 'PSY' && c.sensitive)) ?? true) &&
    (p.data === undefined || p.data === c.name) &&
    (p.media === undefined || p.media === (c.kind === 'pdf' ? 'application/pdf' : 'text/plain')) &&
    within(p.period, c.year) &&
    within(p.dataPeriod, c.authored)
  )
}

const actionHolds = ({ type }: Provision, named: readonly string[], right: 'read' | 'share'): boolean =>
  type === 'permit'
    ? named.includes('disclose') || (right === 'read' && named.includes('access'))
    : named.includes(right === 'read' ? 'access' : 'disclose')

/** Base, then exceptions: any deny that holds wins, else any permit that holds. A nested permit takes over what it does not say. */
function literally(base: Provision, c: Case): boolean {
  const exceptions = base.nested ?? []
  if (exceptions.some(rule => rule.type === 'deny' && holds(rule, c))) return false
  const inForce = base.period === undefined || (base.period[0] <= c.year && c.year <= base.period[1])
  const permits = exceptions.filter(rule => rule.type === 'permit')
  if (base.type === 'deny') return inForce && permits.some(rule => holds(rule, c))
  const said = (rule: Provision): Provision =>
    Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)) as Provision
  return [base, ...permits.map(rule => ({ ...base, ...said(rule) }))].some(rule => inForce && holds(rule, c))
}

function known(c: Case): KnownRecord {
  const authored = { from: Date.UTC(c.authored, 4, 1), to: Date.UTC(c.authored, 4, 2) }
  return knownRecord(recordNamed(c.name), {
    kind: c.kind,
    confidentiality: c.conf,
    labels: c.sensitive ? ['PSY'] : [],
    authored,
  })
}

for (const withRecords of [false, true])
  test(`never looser than the Consent, ${withRecords ? 'with' : 'without'} the records known`, t => {
    let granted = 0
    const check = (provision: Provision, c: Case): void => {
      const options = withRecords ? { records: [known(c)] } : {}
      const outcome = consentToPolicies(consentR4(asFhir(provision)), context({ ...options, defaultCeiling: 'V' }))
      if (outcome.type === 'refused') return
      const { purpose, user, institution, groups, right, kind, conf: confidentiality } = c
      const asked = { purpose, user, institution, groups, right, kind, confidentiality, record: recordNamed(c.name) }
      if (answer(outcome.policies, { ...asked, time: Date.UTC(c.year, 4, 1) }) !== 'grant') return
      granted += 1
      assert.ok(literally(provision, c), `looser: ${JSON.stringify({ provision, c })}`)
    }
    const property = fc.property(root, fc.array(cases, { minLength: CASES, maxLength: CASES }), (provision, list) => {
      for (const c of list) check(provision, c)
    })
    fc.assert(property, { seed: SEED, numRuns: RUNS })
    t.diagnostic(`seed ${SEED}: ${RUNS} Consents, ${CASES} requests each, ${granted} granted`)
    // A property that holds because nothing is granted would say nothing.
    assert.ok(granted > RUNS / 10, `only ${granted} grants`)
  })
