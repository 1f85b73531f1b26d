// A question that is granted, to be changed one fact at a time.

import type { Question } from '../../src/access/decide.ts'
import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import { type CompiledPolicy, compilePolicy, type Policy, type RecordFacts } from '../../src/access/policy.ts'
import { type CompiledRelations, compileRelations } from '../../src/access/relations.ts'
import type { Subject } from '../../src/access/session.ts'
import type { Identifier, RecordId, RequestId, Timestamp } from '../../src/model/ids.ts'

export const at = (ms: number): Timestamp => ms as Timestamp
export const id = (name: string): Identifier => name as Identifier
export const recordId = (name: string): RecordId => name as RecordId
export const NOW: Timestamp = at(1000)
export const RELATIONS: CompiledRelations = compileRelations(DEFAULT_RELATIONS)

export const doctor = (change: Partial<Subject> = {}): Subject => ({
  id: id('doctor'),
  institution: id('south'),
  roles: ['attending', 'emergency'],
  groups: ['cardiology', 'oncology'],
  validUntil: at(10_000),
  revoked: false,
  ...change,
})

export const record = (change: Partial<RecordFacts> = {}): RecordFacts => ({
  record: recordId('x-ray'),
  owner: id('patient'),
  kind: 'dicom',
  confidentiality: 'N',
  withdrawn: false,
  twinOf: null,
  twin: null,
  ...change,
})

let serial = 0
export const policy = (change: Partial<Policy> = {}): CompiledPolicy => {
  serial += 1
  return compilePolicy({
    id: `policy-${String(serial).padStart(4, '0')}` as RequestId,
    owner: id('patient'),
    scope: { type: 'all' },
    grantee: { type: 'anyone' },
    effect: 'permit',
    purposes: ['TREAT'],
    rights: ['share'],
    from: at(500),
    to: at(2000),
    anonymous: false,
    labelCeiling: 'R',
    timestamp: at(1),
    ...change,
  })
}

export const question = (change: Partial<Question> = {}): Question => ({
  user: doctor(),
  credentials: [],
  institutionActive: true,
  emergencySuspended: false,
  role: 'attending',
  purpose: 'TREAT',
  right: 'read',
  time: NOW,
  record: record(),
  delegation: null,
  policies: [policy()],
  relations: RELATIONS,
  ...change,
})
