// A record's entry in the index as a FHIR R4 DocumentReference, for IHE MHD readers. `Attachment.hash` stays empty: FHIR defines it as SHA-1
// of the content, and a bare hash of a small record can be guessed. What the chain commits to stands in an extension.

import type { Timestamp } from '../../model/ids.ts'
import type { RecordRegister } from '../../model/operations.ts'
import * as codes from './codes.ts'
import { coding, concept, type DocumentReference, named } from './shapes.ts'
import { isoTime } from './time.ts'

export type IndexedRecord = Omit<RecordRegister, 'type'> & {
  /** Block time of its registration. */
  readonly time: Timestamp
  readonly withdrawn: boolean
}

/** What the custodian alone knows of it; the chain holds none of it. */
export type LocalFacts = {
  /** FHIR resource type. */
  readonly type: string | null
  readonly loinc: readonly string[]
  readonly date: string | null
  readonly size: number
}

/** FHIR's unsignedInt. */
const SIZE_MAX = 2_147_483_647

export function documentReferenceFor(record: IndexedRecord, local: LocalFacts | null = null): DocumentReference {
  const labels = [
    coding(codes.CONFIDENTIALITY, record.confidentiality),
    ...record.labels.map(code => coding(codes.ACT_CODE, code)),
  ]
  const twin = {
    code: 'transforms',
    target: named(codes.OUR_RECORD, record.twinOf ?? '', 'DocumentReference'),
  } as const
  return {
    resourceType: 'DocumentReference',
    id: record.record,
    meta: { security: labels },
    masterIdentifier: { system: codes.OUR_RECORD, value: record.record },
    status: record.withdrawn ? 'entered-in-error' : 'current',
    ...(local?.loinc[0] === undefined ? {} : { type: concept(codes.LOINC, local.loinc[0]) }),
    category: [
      concept(codes.OUR_KIND, record.kind),
      ...(local === null || local.type === null ? [] : [concept(codes.RESOURCE_TYPES, local.type)]),
    ],
    subject: named(codes.OUR_USER, record.owner, 'Patient'),
    date: isoTime(record.time),
    custodian: named(codes.OUR_INSTITUTION, record.custodian, 'Organization'),
    securityLabel: labels.map(label => ({ coding: [label] })),
    ...(record.twinOf === null ? {} : { relatesTo: [twin] }),
    content: [
      {
        attachment: {
          extension: [{ url: codes.DIGEST_EXTENSION, valueString: record.commitment }],
          contentType: codes.mediaTypeOfKind(record.kind),
          url: `urn:emrm:record:${record.record}`,
          // Of the content; the chain knows the ciphertext's only.
          ...(local === null || local.size > SIZE_MAX ? {} : { size: local.size }),
        },
      },
    ],
    ...(local === null || local.date === null ? {} : { context: { period: { start: local.date } } }),
  }
}
