// The one table of what a REQUEST can ask (contract.md): operation → its fields in wire order, each with its limit. A new operation
// or field of model/operations.ts does not compile until it stands here. Bytes are for ever: a field is never reordered, a name never
// reused; a changed operation gets a new name. Besides: what a request came to (Outcome), which this peer stores beside its blocks.
// Not here: who may ask for it and what it does (ledger).

import { EmrmError } from '../model/errors.ts'
import type { Digest, Identifier, PeerId, PublicKey, RecordId, RequestId, Timestamp } from '../model/ids.ts'
import {
  type AttributeRow,
  type ChainParameters,
  type Confidentiality,
  DESTROYABLES,
  type DenialReason,
  type Grant,
  type Grantee,
  type Operation,
  type Outcome,
  type RefusalReason,
  type RelationRow,
  type Relations,
  type Right,
  type Scope,
  type ShareSignature,
} from '../model/operations.ts'
import {
  ATTRIBUTE_VALUES_MAX,
  ATTRIBUTES_MAX,
  BLOCK_BYTES_MAX,
  BLOCK_REQUESTS_MAX,
  CODE_BYTES_MAX,
  DIGEST_BYTES,
  ED25519_KEY_BYTES,
  EVIDENCE_BYTES_MAX,
  GROUPS_MAX,
  IDENTIFIER_BYTES,
  INSTITUTIONS_MAX,
  LABELS_MAX,
  NAME_BYTES_MAX,
  NOTE_BYTES_MAX,
  PEER_ID_BYTES_MAX,
  PURPOSES_MAX,
  RELATION_ROWS_MAX,
  RELATION_VALUES_MAX,
  REPLICAS_MAX,
  ROLES_MAX,
  SEAL_KEY_BYTES,
  SECP256K1_KEY_BYTES,
  SIGNATURE_BYTES,
  SIGNATURES_MAX,
} from './limits.ts'
import {
  boolean,
  bytes,
  hex,
  type Json,
  JsonFault,
  nullable,
  oneOf,
  type Shape,
  sorted,
  text,
  tuple,
  uint,
  union,
} from './shape.ts'

export const identifier: Shape<Identifier> = hex(IDENTIFIER_BYTES)
export const timestamp: Shape<Timestamp> = uint()
/** Keys that sign for institutions, CAs and the authority are Ed25519. */
export const ed25519Key: Shape<PublicKey> = hex(ED25519_KEY_BYTES)
const userKey: Shape<PublicKey> = hex(ED25519_KEY_BYTES, SECP256K1_KEY_BYTES)
export const peerId: Shape<PeerId> = text(PEER_ID_BYTES_MAX, { min: 1 }) as unknown as Shape<PeerId>
export const sealKey: Shape<string> = hex(SEAL_KEY_BYTES)
export const name: Shape<string> = text(NAME_BYTES_MAX, { min: 1 })
const digest: Shape<Digest> = hex(DIGEST_BYTES)
const requestId: Shape<RequestId> = hex(DIGEST_BYTES)
const recordId: Shape<RecordId> = hex(IDENTIFIER_BYTES)
const code = text(CODE_BYTES_MAX, { min: 1 })
const note = text(NOTE_BYTES_MAX, { note: true })
const right: Shape<Right> = oneOf('read', 'share')
const confidentiality: Shape<Confidentiality> = oneOf('U', 'L', 'M', 'N', 'R', 'V')
const same = (item: string): string => item
const codes = (max: number): Shape<readonly string[]> => sorted(code, max, same)
const scheme: Shape<1 | 2> = uint(2, 1)

const relationRows: Shape<readonly RelationRow[]> = sorted(
  tuple<RelationRow>({ key: code, values: codes(RELATION_VALUES_MAX) }),
  RELATION_ROWS_MAX,
  row => row.key,
)
export const relations: Shape<Relations> = tuple({
  rolePurposes: relationRows,
  rolePermissions: relationRows,
  purposePermissions: relationRows,
})

export const parameters: Shape<ChainParameters> = tuple({
  requestWindowPastMs: uint(),
  requestWindowFutureMs: uint(),
  clockDriftMaxMs: uint(),
  blockRequestsMax: uint(BLOCK_REQUESTS_MAX, 1),
  blockBytesMax: uint(BLOCK_BYTES_MAX, 1),
  viewTimeoutMs: uint(Number.MAX_SAFE_INTEGER, 1),
  viewTimeoutMaxMs: uint(Number.MAX_SAFE_INTEGER, 1),
  shareThreshold: uint(SIGNATURES_MAX, 1),
  stalenessMaxMs: uint(),
  grantMs: uint(),
  emergencyGrantMs: uint(),
  emergencyReviewMs: uint(),
  epochBlocks: uint(Number.MAX_SAFE_INTEGER, 1),
  replicas: uint(REPLICAS_MAX),
  rotationBlocks: uint(),
  retentionOutpatientMs: uint(),
  retentionInpatientMs: uint(),
  snapshotBlocks: uint(Number.MAX_SAFE_INTEGER, 1),
})

const attributes: Shape<readonly AttributeRow[]> = sorted(
  tuple<AttributeRow>({ key: code, values: codes(ATTRIBUTE_VALUES_MAX) }),
  ATTRIBUTES_MAX,
  row => row.key,
)

const scope: Shape<Scope> = union<Scope>({ all: {}, kind: { kind: code }, record: { record: recordId } })

const grantee: Shape<Grantee> = union<Grantee>({
  anyone: {},
  institution: { institution: identifier },
  user: { user: identifier },
  role: { role: code },
  group: { group: code },
})

export const caInstitutions: Shape<readonly Identifier[]> = sorted(identifier, INSTITUTIONS_MAX, same)

const shareSignatures: Shape<readonly ShareSignature[]> = sorted(
  tuple<ShareSignature>({ index: uint(SIGNATURES_MAX - 1), signature: bytes(SIGNATURE_BYTES) }),
  SIGNATURES_MAX,
  ack => String(ack.index).padStart(3, '0'),
)

export const operation: Shape<Operation> = union<Operation>({
  'institution.admit': { name, publicKey: ed25519Key, peerId, sealKey, region: name, score: uint() },
  'institution.rate': { institution: identifier, score: uint() },
  'institution.remove': { institution: identifier },
  'validators.set': { f: uint(), p: uint(), parameters },
  'ca.authorize': { publicKey: ed25519Key, institutions: caInstitutions },
  'ca.revoke': { ca: identifier },
  'relations.set': { relations },
  'user.register': {
    publicKey: userKey,
    scheme,
    roles: codes(ROLES_MAX),
    groups: codes(GROUPS_MAX),
    institution: identifier,
    validUntil: timestamp,
  },
  'user.revoke': { user: identifier },
  'user.rotate-key': { user: identifier, publicKey: userKey, scheme },
  'credential.issue': {
    credential: digest,
    user: identifier,
    publicKey: userKey,
    roles: codes(ROLES_MAX),
    attributes,
    validUntil: timestamp,
  },
  'credential.revoke': { user: identifier, credential: digest },
  'record.register': {
    record: recordId,
    owner: identifier,
    custodian: identifier,
    kind: code,
    confidentiality,
    labels: codes(LABELS_MAX),
    commitment: digest,
    cipherRoot: digest,
    cipherSize: uint(),
    shareRoot: digest,
    shareCount: uint(),
    threshold: uint(SIGNATURES_MAX, 2),
    keyCommit: digest,
    dealtAt: uint(Number.MAX_SAFE_INTEGER, 1),
    twinOf: nullable(recordId),
    twinRules: nullable(digest),
    encounter: oneOf('outpatient', 'inpatient'),
    lastVisit: timestamp,
  },
  'record.withdraw': { record: recordId },
  'record.adopt': { record: recordId, custodian: identifier },
  'record.redeal': { record: recordId, recipient: digest, losses: shareSignatures },
  'record.reshare': {
    record: recordId,
    intent: requestId,
    shareRoot: digest,
    shareCount: uint(SIGNATURES_MAX, 2),
    threshold: uint(SIGNATURES_MAX, 2),
    acks: shareSignatures,
  },
  'record.ask-erasure': { record: recordId },
  'record.erase': { record: recordId },
  'record.destroyed': { record: recordId, destroyed: sorted(oneOf(...DESTROYABLES), DESTROYABLES.length, same) },
  'policy.set': {
    owner: identifier,
    scope,
    grantee,
    effect: oneOf('permit', 'deny'),
    purposes: codes(PURPOSES_MAX),
    rights: sorted(right, 2, same),
    from: timestamp,
    to: timestamp,
    anonymous: boolean,
    labelCeiling: confidentiality,
    timestamp,
  },
  'policy.revoke': { owner: identifier, policy: requestId, timestamp },
  'delegate.set': {
    owner: identifier,
    delegate: identifier,
    kind: oneOf('delegate', 'guardian'),
    scope,
    from: timestamp,
    to: timestamp,
    timestamp,
  },
  'delegate.revoke': { owner: identifier, delegate: identifier, timestamp },
  'access.request': { record: recordId, role: code, purpose: text(CODE_BYTES_MAX), right, recipient: digest },
  'access.emergency': { record: recordId, role: code, reason: note, recipient: digest },
  'access.receipt': { grant: requestId, sha256Commitment: digest },
  'access.review': { grant: requestId, verdict: oneOf('justified', 'rejected'), note },
  'evidence.submit': {
    validator: identifier,
    fault: code,
    height: uint(),
    first: bytes(EVIDENCE_BYTES_MAX),
    second: bytes(EVIDENCE_BYTES_MAX),
  },
})

/** Strict; lists that are sets may come in any order. Throws EmrmError `request-invalid` with the `field`. */
export const operationFromJson = (json: unknown): Operation =>
  parsed(() => operation.fromJson(json, ''), 'request-invalid', 'the operation')
export const operationToJson = (value: Operation): Json => operation.toJson(value)

/** The same operation with its sets in wire order. Throws EmrmError `request-invalid` when it breaks a limit. */
export const canonicalOperation = (value: Operation): Operation =>
  parsed(() => operation.fromJson(operation.toJson(value), ''), 'request-invalid', 'the operation')

/** Turns a JsonFault into the error that its reader can act on. */
export function parsed<T>(parse: () => T, code: string, what: string): T {
  try {
    return parse()
  } catch (fault) {
    if (!(fault instanceof JsonFault)) throw fault
    throw new EmrmError(code, `${what} is refused: ${fault.message}; correct that field`, { field: fault.path })
  }
}

/** Every word of a closed set, checked by the compiler against its type. */
const words = <T extends string>(all: Readonly<Record<T, true>>): Shape<T> => oneOf(...(Object.keys(all) as T[]))

const denial = words<DenialReason>({
  'requester-unknown': true,
  'credential-expired': true,
  'credential-revoked': true,
  'role-not-held': true,
  'purpose-required': true,
  'role-purpose': true,
  'role-permission': true,
  'purpose-permission': true,
  'no-policy': true,
  'patient-denied': true,
  'window-not-open': true,
  'window-closed': true,
  'no-right': true,
  'purpose-mismatch': true,
  'label-withheld': true,
  'record-withdrawn': true,
  'emergency-not-provisioned': true,
  'emergency-suspended': true,
})

const refusal = words<RefusalReason>({
  replayed: true,
  stale: true,
  future: true,
  'wrong-network': true,
  'not-authorized': true,
  'unknown-institution': true,
  'unknown-user': true,
  'unknown-credential': true,
  'unknown-record': true,
  'unknown-policy': true,
  'unknown-grant': true,
  'unknown-code': true,
  'already-exists': true,
  'timestamp-not-above-last': true,
  'window-empty': true,
  'invalid-operation': true,
  'review-closed': true,
  'redeal-closed': true,
  'not-acknowledged': true,
  'retention-not-over': true,
  'erasure-not-asked': true,
  'record-not-erased': true,
  'record-erased': true,
})

const grant: Shape<Grant> = tuple({
  grant: requestId,
  record: recordId,
  owner: identifier,
  requester: identifier,
  institution: identifier,
  role: text(CODE_BYTES_MAX),
  purpose: text(CODE_BYTES_MAX),
  right,
  variant: oneOf('original', 'deidentified'),
  recipient: digest,
  height: uint(),
  time: timestamp,
  expires: timestamp,
  basis: text(NAME_BYTES_MAX),
  rulesVersion: uint(),
})

export const outcome: Shape<Outcome> = union<Outcome>({
  done: {},
  refused: { reason: refusal },
  granted: { grant },
  denied: { reason: denial },
})

export const outcomeToJson = (value: Outcome): Json => outcome.toJson(value)
