// What a custodian notes of a record for itself: what it is (FHIR type, LOINC codes), of which date, how long, and how it came to its
// labels. It lies sealed in the custodian's own vault, beside the record, and never goes to the chain, to another peer or into a log: it
// says what the record is about. Whoever holds the vault without the institution's key reads none of it.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import { fromHex } from '../model/hash.ts'
import type { Digest, RecordId } from '../model/ids.ts'
import type { FhirResource } from './kind.ts'
import type { Labels } from './labels/derive.ts'
import type { Vault } from './vault.ts'

export type RecordFindings = {
  /** FHIR resource type; null for other kinds. */
  readonly type: string | null
  /** What the resource is, not what it mentions: of a Bundle, what its entries are. */
  readonly loinc: readonly string[]
  /** As the resource says it: a FHIR date or dateTime. */
  readonly date: string | null
}

export type Labelling = {
  /** By the custodian; the floor. */
  readonly given: Labels
  /** Rules that held, by name. */
  readonly rules: readonly string[]
  readonly ruleSet: { readonly id: string; readonly version: string; readonly digest: Digest }
  /** Why the given labels stand as they are: nothing in it can be read. */
  readonly unread: 'not-fhir' | 'too-large' | null
}

export type LocalEntry = RecordFindings & {
  /** Bytes of the record itself. */
  readonly size: number
  readonly labelling: Labelling
}

const LOINC_MAX = 16
const DATE_LENGTH_MAX = 40
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** In order of what says best when it was true of the patient. Dots go into a Period. */
const DATES = [
  ...['effectiveDateTime', 'effectivePeriod.start', 'effectiveInstant', 'performedDateTime', 'performedPeriod.start'],
  ...[
    'occurrenceDateTime',
    'occurrencePeriod.start',
    'started',
    'onsetDateTime',
    'period.start',
    'context.period.start',
  ],
  ...['authoredOn', 'recordedDate', 'dateTime', 'date', 'created', 'dateWritten', 'issued', 'timestamp', 'recorded'],
] as const

export function findingsOf(resource: FhirResource | null): RecordFindings {
  if (resource === null) return { type: null, loinc: [], date: null }
  const entries = resource.resourceType === 'Bundle' ? bundled(resource) : []
  const loinc = new Set<string>()
  let date = dateOf(resource)
  for (const one of [resource, ...entries]) {
    for (const code of [...loincIn(one['code']), ...loincIn(one['type'])]) if (loinc.size < LOINC_MAX) loinc.add(code)
    // A document's own date; a mere collection has none.
    if (one['resourceType'] === 'Composition') date = dateOf(one) ?? date
  }
  return { type: resource.resourceType, loinc: [...loinc], date }
}

/** From the institution's secret key; another purpose, another key. */
export const localIndexKey = (seed: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', seed, new Uint8Array(0), 'emrm/local-index/1', 32))

export function sealEntry(key: Uint8Array, record: RecordId, entry: LocalEntry): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(fromHex(record))
  const plain = Buffer.from(JSON.stringify({ version: 1, ...entry }), 'utf8')
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Null when this vault has none of the record. Throws EmrmError `local-index-corrupt`, `share-corrupt`. */
export async function readEntry(vault: Vault, key: Uint8Array, record: RecordId): Promise<LocalEntry | null> {
  const sealed = await vault.item(record, 'facts')
  if (sealed === null) return null
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES))
    decipher.setAAD(fromHex(record))
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES)
    const plain = Buffer.concat([decipher.update(body), decipher.final()])
    const { version: _, ...entry } = JSON.parse(plain.toString('utf8')) as LocalEntry & { readonly version: 1 }
    return entry
  } catch (cause) {
    throw new EmrmError(
      'local-index-corrupt',
      `what this hospital noted of record ${record} does not open; restore the vault from a backup made with this institution's key`,
      { record },
      cause,
    )
  }
}

const bundled = (bundle: FhirResource): readonly Fields[] =>
  listIn(bundle['entry']).map(entry => objectIn(objectIn(entry)['resource']))

const loincIn = (concept: unknown): readonly string[] =>
  listIn(objectIn(concept)['coding']).flatMap(coding => {
    const { system, code } = objectIn(coding)
    return (system === 'http://loinc.org' || system === 'http://loinc.org/') &&
      typeof code === 'string' &&
      code.length <= 20
      ? [code]
      : []
  })

function dateOf(resource: Fields): string | null {
  for (const path of DATES) {
    let value: unknown = resource
    for (const part of path.split('.')) value = objectIn(value)[part]
    if (typeof value === 'string' && value.length <= DATE_LENGTH_MAX && /^\d{4}(-\d\d(-\d\d)?)?(T|$)/.test(value))
      return value
  }
  return null
}

type Fields = Readonly<Record<string, unknown>>
const objectIn = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
