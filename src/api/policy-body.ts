// A policy as JSON, read strictly: what the preview takes. A policy that is set comes signed, in canonical bytes, never this way.

import { isPurpose } from '../access/purposes.ts'
import { CONFIDENTIALITIES, RIGHTS } from '../access/sets.ts'
import { EmrmError } from '../model/errors.ts'
import { type Identifier, isHexadecimal, type RecordId, type Timestamp } from '../model/ids.ts'
import type { Grantee, PolicySet, Scope } from '../model/operations.ts'
import { readFlag, readList, readObject, readOneOf, readText, readWhole, refuse } from '../shape.ts'
import { PURPOSES_MAX } from '../wire/limits.ts'

const FIELDS = [
  'type',
  'owner',
  'scope',
  'grantee',
  'effect',
  'purposes',
  'rights',
  'from',
  'to',
  'anonymous',
  'labelCeiling',
  'timestamp',
]

/** Throws EmrmError `config-invalid` (names the field), `purpose-unknown`, `window-empty`. */
export function decodePolicy(body: unknown): PolicySet {
  const fields = readObject(body, 'policy', FIELDS)
  const time = (key: string): Timestamp => readWhole(fields[key], `policy.${key}`, 0, 253_402_300_799_999) as Timestamp
  const policy: PolicySet = {
    type: readOneOf(fields['type'], 'policy.type', ['policy.set']),
    owner: readIdentifier(fields['owner'], 'policy.owner'),
    scope: readScope(fields['scope']),
    grantee: readGrantee(fields['grantee']),
    effect: readOneOf(fields['effect'], 'policy.effect', ['permit', 'deny']),
    purposes: readList(fields['purposes'], 'policy.purposes', PURPOSES_MAX, readText),
    rights: readList(fields['rights'], 'policy.rights', 2, (right, where) => readOneOf(right, where, RIGHTS)),
    from: time('from'),
    to: time('to'),
    anonymous: readFlag(fields['anonymous'], 'policy.anonymous'),
    labelCeiling: readOneOf(fields['labelCeiling'], 'policy.labelCeiling', CONFIDENTIALITIES),
    timestamp: time('timestamp'),
  }
  const unknown = policy.purposes.find(purpose => !isPurpose(purpose))
  if (unknown !== undefined)
    throw new EmrmError(
      'purpose-unknown',
      `${unknown} is not an HL7 PurposeOfUse code; TREAT, HRESCH, HPAYMT are some`,
      { purpose: unknown },
    )
  if (policy.from >= policy.to)
    throw new EmrmError('window-empty', 'the window ends before it begins; correct from and to')
  return policy
}

function readScope(value: unknown): Scope {
  const type = readOneOf(readObject(value, 'policy.scope', ['type', 'kind?', 'record?'])['type'], 'policy.scope.type', [
    'all',
    'kind',
    'record',
  ])
  if (type === 'all')
    return { type: readOneOf(readObject(value, 'policy.scope', ['type'])['type'], 'policy.scope', ['all']) }
  const scope = readObject(value, 'policy.scope', ['type', type])
  return type === 'kind'
    ? { type, kind: readText(scope['kind'], 'policy.scope.kind', 64) }
    : { type, record: readIdentifier(scope['record'], 'policy.scope.record') as string as RecordId }
}

function readGrantee(value: unknown): Grantee {
  const types = ['anyone', 'institution', 'user', 'role', 'group'] as const
  const where = 'policy.grantee'
  const type = readOneOf(
    readObject(value, where, ['type', 'institution?', 'user?', 'role?', 'group?'])['type'],
    `${where}.type`,
    types,
  )
  if (type === 'anyone') {
    readObject(value, where, ['type'])
    return { type }
  }
  const field = readObject(value, where, ['type', type])[type]
  if (type === 'institution') return { type, institution: readIdentifier(field, `${where}.institution`) }
  if (type === 'user') return { type, user: readIdentifier(field, `${where}.user`) }
  const name = readText(field, `${where}.${type}`, 64)
  return type === 'role' ? { type, role: name } : { type, group: name }
}

function readIdentifier(value: unknown, where: string): Identifier {
  const text = readText(value, where, 32)
  if (!isHexadecimal(text, 32)) throw refuse(where, 'must be 32 hexadecimal digits')
  return text as Identifier
}
