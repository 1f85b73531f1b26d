// The de-identified twin of a FHIR R4 record (P-42, anonymous): one walk over resources, contained and bundled ones alike, each value by the
// first rule that names it or anything above it. What R4 does not define, and what no rule names, does not reach the twin.
// The twin of one patient's record is pseudonymised, and labelled so: it is not anonymous. Not here: k-anonymity over many patients.

import { EmrmError } from '../../model/errors.ts'
import type { Digest } from '../../model/ids.ts'
import { latestYear } from './dates.ts'
import { RuleFault } from './expression.ts'
import { deidentifyValue, exceededAge, type FhirCounts, MASKED, QUANTITIES, type ValueContext } from './fhir-values.ts'
import { isObject, isRawNumber, type Json, type JsonObject, malformed, parseJson, textOf } from './json.ts'
import { makeExtractKeys } from './keys.ts'
import type { Place } from './paths.ts'
import { elementOf, isResourceType } from './r4-schema.ts'
import type { RuleSet } from './rules.ts'
import { unsupported } from './unsupported.ts'

export type FhirTwin = {
  readonly bytes: Uint8Array
  readonly ruleDigest: Digest
  readonly counts: Readonly<FhirCounts>
}

const LABEL_SYSTEM = 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue'
/** What HL7's data-absent-reason says of a birth date beyond the age limit: 90 or older. */
const MASK: JsonObject = {
  extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'masked' }],
}
/** The rule set by its digest, so that whoever holds the twin can tell what was left out and why. */
const RULES_SYSTEM = 'https://emrm.example/fhir/NamingSystem/deidentification-rules'
/** A year after this one in a record is a sentinel ("for ever"), not a date. */
const YEAR_MAX = 2100

/**
 * `asOf`: `YYYY-MM-DD`, the day of the release, against which ages over 89 are counted; without it the later of the rule set's date and the
 * latest date in the record. `scrub`: takes names out of free text (null drops it); without it all free text is dropped.
 * Same arguments, same bytes. Throws EmrmError `record-malformed`, `deidentify-unsupported`, `deidentify-rule-failed`, `deidentify-key-invalid`.
 */
export function deidentifyFhir(request: {
  readonly bytes: Uint8Array
  readonly rules: RuleSet
  readonly extractKey: Uint8Array
  readonly patientKey: Uint8Array
  readonly asOf?: string
  readonly scrub?: (text: string) => string | null
}): FhirTwin {
  const { rules } = request
  const keys = makeExtractKeys(request.extractKey, request.patientKey)
  const text = textOf(request.bytes)
  if (/^\s*</.test(text)) throw unsupported('FHIR as XML; send it as JSON')
  const record = parseJson(text)
  const type = isObject(record) ? record['resourceType'] : undefined
  if (!isObject(record) || typeof type !== 'string' || !isResourceType(type)) throw malformed('no resource of FHIR R4')
  if (type === 'Binary') throw unsupported('a FHIR Binary holds an opaque file')
  const year =
    request.asOf === undefined
      ? Math.max(Number(rules.date.slice(0, 4)), latestYear(text, YEAR_MAX))
      : Number(request.asOf.slice(0, 4))
  if (!Number.isInteger(year)) throw malformed('asOf is no date')
  const context: ValueContext = {
    rules,
    keys,
    counts: emptyCounts(),
    firstYear: year - rules.oldestYears,
    scrub: request.scrub ?? null,
  }
  const twin = tagged(new Walk(context).record(record, type), rules)
  return { bytes: new TextEncoder().encode(JSON.stringify(twin)), ruleDigest: rules.digest, counts: context.counts }
}

class Walk {
  private readonly context: ValueContext
  private readonly rules: RuleSet

  constructor(context: ValueContext) {
    this.context = context
    this.rules = context.rules
  }

  record(record: JsonObject, type: string): JsonObject {
    try {
      return this.resource(record, this.rules.automaton.root(type, record), true)
    } catch (fault) {
      if (!(fault instanceof RuleFault)) throw fault
      if (this.rules.onFault === 'skip') return this.labelled({ resourceType: type })
      const what = 'a de-identification rule has no answer for this record'
      throw new EmrmError('deidentify-rule-failed', `${what}; correct the rule set`, {
        rules: this.rules.id,
        fault: fault.message,
      })
    }
  }

  private resource(resource: JsonObject, place: Place, label: boolean): JsonObject {
    const twin: JsonObject = { resourceType: place.type, ...this.object(resource, place, Infinity) }
    return label ? this.labelled(twin) : twin
  }

  /** Contained resources carry no label: R4 forbids meta.security there, and the resource around them carries it. */
  private labelled(resource: JsonObject): JsonObject {
    const meta = isObject(resource['meta']) ? resource['meta'] : {}
    const security = Array.isArray(meta['security']) ? meta['security'] : []
    const said = new Set(security.map(coding => (isObject(coding) ? coding['code'] : null)))
    const added = this.rules.labels.filter(code => !said.has(code)).map(code => ({ system: LABEL_SYSTEM, code }))
    return { ...resource, meta: { ...meta, security: [...security, ...added] } }
  }

  private object(object: JsonObject, place: Place, above: number): JsonObject | undefined {
    const twin: JsonObject = {}
    let empty = true
    const put = (key: string, value: Json | undefined): void => {
      if (value === undefined) return
      twin[key] = value
      empty = false
    }
    for (const key of Object.keys(object)) {
      const value = object[key] as Json
      if (key === 'resourceType') continue
      if (!key.startsWith('_')) this.property(object, key, value, place, put)
      else if (!(key.slice(1) in object)) this.property(object, key.slice(1), null, place, put)
    }
    const rule = this.rules.rules[place.rule]
    const limit =
      rule?.method === 'quantity' && QUANTITIES.includes(place.type) ? exceededAge(object, place.type) : null
    if (limit !== null && 'value' in twin) {
      Object.assign(twin, { value: limit, comparator: '>' })
      this.context.counts.aged++
    }
    if (rule?.method === 'substitute' && place.rule !== above && isObject(rule.replaceWith)) {
      this.context.counts.substituted++
      return { ...rule.replaceWith, ...twin }
    }
    return empty ? undefined : twin
  }

  /** A property with the ids and extensions of its primitive values, which JSON keeps apart under `_name`. */
  private property(
    parent: JsonObject,
    key: string,
    value: Json,
    place: Place,
    put: (key: string, value: Json | undefined) => void,
  ): void {
    const beside = parent[`_${key}`] ?? null
    const many = Array.isArray(value) || Array.isArray(beside)
    const values = Array.isArray(value) ? value : [value]
    const extras = Array.isArray(beside) ? beside : [beside]
    const kept: (Json | undefined)[] = []
    const keptExtras: (Json | undefined)[] = []
    for (let index = 0; index < Math.max(values.length, extras.length); index++) {
      const twin = this.node(parent, key, values[index] ?? null, place)
      kept.push(twin === MASKED ? undefined : twin)
      const extra = extras[index] ?? null
      keptExtras.push(
        twin === MASKED ? MASK : extra === null ? undefined : this.extra(key, values[index] ?? null, extra, place),
      )
    }
    if (keptExtras.every(extra => extra === undefined)) {
      const left = kept.filter(one => one !== undefined)
      put(key, left.length === 0 ? undefined : many ? left : left[0])
      return
    }
    const aligned = (list: readonly (Json | undefined)[]): Json | undefined => {
      if (list.every(one => one === undefined)) return undefined
      return many ? list.map(one => one ?? null) : (list[0] ?? null)
    }
    put(key, aligned(kept))
    put(`_${key}`, aligned(keptExtras))
  }

  private node(parent: JsonObject, key: string, value: Json, above: Place): Json | typeof MASKED | undefined {
    if (value === null) return undefined
    const named = isObject(value) ? value['resourceType'] : undefined
    const resourceType = typeof named === 'string' && isResourceType(named) ? named : null
    const place = this.rules.automaton.step(above, key, value, resourceType)
    if (place === null) return this.unknown()
    const rule = this.rules.rules[place.rule]
    if (place.primitive) {
      if (isObject(value) || Array.isArray(value)) return this.unknown()
      if (rule?.method === 'substitute' && place.rule === above.rule) return undefined
      return deidentifyValue(value, place, parent, rule, this.context)
    }
    if (!isObject(value) || isRawNumber(value)) return this.unknown()
    if (rule?.method === 'redact' && place.settled && !this.leavesParts()) {
      this.context.counts.redacted++
      return undefined
    }
    if (resourceType !== null && elementOf(above.type, key)?.type === 'Resource')
      return this.resource(value, place, key !== 'contained')
    return this.object(value, place, above.rule)
  }

  private extra(key: string, value: Json, extra: Json, above: Place): Json | undefined {
    const place = this.rules.automaton.step(above, key, value, null)
    return place?.primitive && isObject(extra) ? this.object(extra, place, Infinity) : this.unknown()
  }

  private leavesParts(): boolean {
    const { dates, zips, ages } = this.rules.partial
    return dates || zips || ages
  }

  private unknown(): undefined {
    this.context.counts.unknown++
    return undefined
  }
}

function tagged(twin: JsonObject, rules: RuleSet): JsonObject {
  const meta = isObject(twin['meta']) ? twin['meta'] : {}
  const tag = Array.isArray(meta['tag']) ? meta['tag'] : []
  const rule = { system: RULES_SYSTEM, version: `${rules.id} ${rules.version}`, code: rules.digest }
  return { ...twin, meta: { ...meta, tag: [...tag, rule] } }
}

function emptyCounts(): FhirCounts {
  return {
    kept: 0,
    redacted: 0,
    hashed: 0,
    shifted: 0,
    generalized: 0,
    substituted: 0,
    perturbed: 0,
    scrubbed: 0,
    unknown: 0,
    aged: 0,
  }
}
