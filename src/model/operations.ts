// What a REQUEST can ask of the contract (contract.md). Integers and strings only; every list is ordered and bounded by wire/codec.
// An unknown operation, field or code is refused, never ignored. Not here: who may sign what (ledger), how a decision falls (access).

import type { Digest, Identifier, PeerId, PublicKey, RecordId, RequestId, SignatureScheme, Timestamp } from './ids.ts'

/** P-42: `share` includes `read`. */
export type Right = 'read' | 'share'
/** HL7 v3 PurposeOfUse code, for example TREAT. */
export type Purpose = string
/** A role's name, for example `attending`. */
export type Role = string
/** HL7 v3 Confidentiality, U < L < M < N < R < V. */
export type Confidentiality = 'U' | 'L' | 'M' | 'N' | 'R' | 'V'
/** What a record is, by its bytes (records detect it): fhir, dicom, pdf, text, other. */
export type RecordKind = string

export type Scope =
  | { readonly type: 'all' }
  | { readonly type: 'kind'; readonly kind: RecordKind }
  | { readonly type: 'record'; readonly record: RecordId }

export type Grantee =
  | { readonly type: 'anyone' }
  | { readonly type: 'institution'; readonly institution: Identifier }
  | { readonly type: 'user'; readonly user: Identifier }
  | { readonly type: 'role'; readonly role: Role }
  | { readonly type: 'group'; readonly group: string }

/** One row of Rpu, Rpe or PR (P-41). */
export type RelationRow = {
  readonly key: string
  readonly values: readonly string[]
}
export type Relations = {
  /** Rpu: role → purposes. */
  readonly rolePurposes: readonly RelationRow[]
  /** Rpe: role → rights. */
  readonly rolePermissions: readonly RelationRow[]
  /** PR: purpose → rights. */
  readonly purposePermissions: readonly RelationRow[]
}

/** All times in ms, all sizes in bytes. Set in genesis, changed by the authority. */
export type ChainParameters = {
  readonly requestWindowPastMs: number
  readonly requestWindowFutureMs: number
  readonly clockDriftMaxMs: number
  readonly blockRequestsMax: number
  readonly blockBytesMax: number
  /** Base view timeout D0. */
  readonly viewTimeoutMs: number
  readonly viewTimeoutMaxMs: number
  /** t of the key shares, f+1 … n-f. */
  readonly shareThreshold: number
  /** A grant is released only while the releasing peer's head is younger than this. */
  readonly stalenessMaxMs: number
  /** How long a grant may be used. */
  readonly grantMs: number
  readonly emergencyGrantMs: number
  readonly emergencyReviewMs: number
  /** Blocks of an epoch; the committee changes only between epochs. */
  readonly epochBlocks: number
  /** Holders of each record's ciphertext beside its custodian; all peers must find the same ones. */
  readonly replicas: number
  /** The lead goes to the next validator every so many blocks; 0: it stays with who has it (consensus.md §1.5). */
  readonly rotationBlocks: number
  /** How long the law keeps a record after the patient's last visit, or discharge, at its custodian. */
  readonly retentionOutpatientMs: number
  readonly retentionInpatientMs: number
  /** Every so many blocks each peer keeps a snapshot of the state; at the same heights, so that a new peer can fetch one from several. */
  readonly snapshotBlocks: number
}

// ---- consortium: signed by the authority ----
export type InstitutionAdmit = {
  readonly type: 'institution.admit'
  readonly name: string
  readonly publicKey: PublicKey
  readonly peerId: PeerId
  /** HPKE (X-Wing) public key, 1216 bytes as hexadecimal. */
  readonly sealKey: string
  readonly region: string
  readonly score: number
}
export type InstitutionRate = {
  readonly type: 'institution.rate'
  readonly institution: Identifier
  readonly score: number
}
export type InstitutionRemove = {
  readonly type: 'institution.remove'
  readonly institution: Identifier
}
export type ValidatorsSet = {
  readonly type: 'validators.set'
  readonly f: number
  readonly p: number
  readonly parameters: ChainParameters
}
export type CaAuthorize = {
  readonly type: 'ca.authorize'
  readonly publicKey: PublicKey
  readonly institutions: readonly Identifier[]
}
export type CaRevoke = { readonly type: 'ca.revoke'; readonly ca: Identifier }
export type RelationsSet = {
  readonly type: 'relations.set'
  readonly relations: Relations
}

// ---- identity: signed by a CA ----
export type UserRegister = {
  readonly type: 'user.register'
  readonly publicKey: PublicKey
  readonly scheme: SignatureScheme
  readonly roles: readonly Role[]
  readonly groups: readonly string[]
  readonly institution: Identifier
  readonly validUntil: Timestamp
}
export type UserRevoke = {
  readonly type: 'user.revoke'
  readonly user: Identifier
}
/** By the CA or the user: the identifier stays, the key that acts for it changes. */
export type UserRotateKey = {
  readonly type: 'user.rotate-key'
  readonly user: Identifier
  readonly publicKey: PublicKey
  readonly scheme: SignatureScheme
}

// ---- credentials: signed by a CA, for users that are registered ----
/** Att_u of P-44: an attribute's name and its values, for example `specialty`: `cardiology`. */
export type AttributeRow = RelationRow
export type CredentialIssue = {
  readonly type: 'credential.issue'
  /** SHA-256 of the exact JWS that travels off the chain (identity/credential.ts). */
  readonly credential: Digest
  readonly user: Identifier
  /** The key that it is bound to (`cnf`): the user's present one. Another key later ends it. */
  readonly publicKey: PublicKey
  readonly roles: readonly Role[]
  readonly attributes: readonly AttributeRow[]
  /** Holds while block time < validUntil. */
  readonly validUntil: Timestamp
}
export type CredentialRevoke = {
  readonly type: 'credential.revoke'
  readonly user: Identifier
  readonly credential: Digest
}

// ---- records: signed by the custodian institution ----
export type Encounter = 'outpatient' | 'inpatient'
export type RecordRegister = {
  readonly type: 'record.register'
  readonly record: RecordId
  readonly owner: Identifier
  readonly custodian: Identifier
  readonly kind: RecordKind
  readonly confidentiality: Confidentiality
  /** Sensitivity codes of HL7 v3 ActCode, sorted. */
  readonly labels: readonly string[]
  /** Salted digest of the plaintext (P-12): SHA-256('emrm/commitment/1' ‖ salt32 ‖ SHA-256(plaintext)). */
  readonly commitment: Digest
  /** RFC 6962 root over 1 MiB pieces of the ciphertext. */
  readonly cipherRoot: Digest
  readonly cipherSize: number
  /** RFC 6962 root over the share commitments, in committee order. */
  readonly shareRoot: Digest
  readonly shareCount: number
  /** t that the key was dealt with: the parameter of the time, which may have changed since. */
  readonly threshold: number
  /** SHA-256('emrm/key/1' ‖ record ‖ content key). */
  readonly keyCommit: Digest
  /** A height whose committee the key was dealt to: not always that of the block that registers. */
  readonly dealtAt: number
  /** The original of which this is the de-identified twin. */
  readonly twinOf: RecordId | null
  /** Of a twin: digest of the rule set that made it (P-42). */
  readonly twinRules: Digest | null
  /** Which retention rule holds. */
  readonly encounter: Encounter
  /** The visit, or the discharge, that the record is about: the retention clock begins here. */
  readonly lastVisit: Timestamp
}
export type RecordWithdraw = {
  readonly type: 'record.withdraw'
  readonly record: RecordId
}
export type RecordAdopt = {
  readonly type: 'record.adopt'
  readonly record: RecordId
  readonly custodian: Identifier
}

/**
 * The committee is another than the one that holds the key, or some of that one have lost their shares: the custodian announces that it will
 * collect the key and deal it anew.
 */
export type RecordRedeal = {
  readonly type: 'record.redeal'
  readonly record: RecordId
  /** SHA-256 of the X-Wing public key to which the validators seal their shares. */
  readonly recipient: Digest
  /** By validators that were dealt a share and have it no more (model/redeal.ts), by index; empty when the committee has changed. */
  readonly losses: readonly ShareSignature[]
}
/** The key lies with the new committee: from here on the shares under the former root are worth nothing. */
export type RecordReshare = {
  readonly type: 'record.reshare'
  readonly record: RecordId
  /** The `record.redeal` that this ends. */
  readonly intent: RequestId
  readonly shareRoot: Digest
  readonly shareCount: number
  readonly threshold: number
  /** By at least 2f+1 validators of the committee of the intent's height (model/redeal.ts), by index. */
  readonly acks: readonly ShareSignature[]
}
export type ShareSignature = { readonly index: number; readonly signature: Uint8Array }
// ---- the end of a record: asked for by the patient or a guardian, executed by the custodian, signed for by everyone who held it ----
export type RecordAskErasure = { readonly type: 'record.ask-erasure'; readonly record: RecordId }
export type RecordErase = { readonly type: 'record.erase'; readonly record: RecordId }
/** Of the key's shares (`deal`: those that a custodian had still to deliver) and of the pieces. */
export type Destroyable = 'ciphertext' | 'deal' | 'share'
export const DESTROYABLES: readonly Destroyable[] = ['ciphertext', 'deal', 'share']
export type RecordDestroyed = {
  readonly type: 'record.destroyed'
  readonly record: RecordId
  /** Sorted; empty: nothing was held. */
  readonly destroyed: readonly Destroyable[]
}

// ---- policy: signed by the patient or a guardian ----
export type PolicySet = {
  readonly type: 'policy.set'
  readonly owner: Identifier
  readonly scope: Scope
  readonly grantee: Grantee
  readonly effect: 'permit' | 'deny'
  /** UP: usage purposes, sorted. */
  readonly purposes: readonly Purpose[]
  readonly rights: readonly Right[]
  /** In force while from <= block time < to. */
  readonly from: Timestamp
  readonly to: Timestamp
  readonly anonymous: boolean
  /** Records above this confidentiality are withheld. */
  readonly labelCeiling: Confidentiality
  /** Strictly above the last accepted one for (owner, scope, grantee): one permission value is set once (P-42). */
  readonly timestamp: Timestamp
}
export type PolicyRevoke = {
  readonly type: 'policy.revoke'
  readonly owner: Identifier
  readonly policy: RequestId
  readonly timestamp: Timestamp
}
export type DelegateSet = {
  readonly type: 'delegate.set'
  readonly owner: Identifier
  readonly delegate: Identifier
  /** `guardian` may also set policies; `delegate` reads. No re-delegation. */
  readonly kind: 'delegate' | 'guardian'
  readonly scope: Scope
  readonly from: Timestamp
  readonly to: Timestamp
  readonly timestamp: Timestamp
}
export type DelegateRevoke = {
  readonly type: 'delegate.revoke'
  readonly owner: Identifier
  readonly delegate: Identifier
  readonly timestamp: Timestamp
}

// ---- access: signed by the requester ----
export type AccessRequest = {
  readonly type: 'access.request'
  readonly record: RecordId
  /** The session's role (P-40): one at a time. */
  readonly role: Role
  /** AP; the empty string means that none was given, which is refused as `purpose-required`. */
  readonly purpose: Purpose
  readonly right: Right
  /** SHA-256 of the X-Wing public key to which the shares are sealed; the key itself goes to the enforcers. */
  readonly recipient: Digest
}
export type AccessEmergency = {
  readonly type: 'access.emergency'
  readonly record: RecordId
  readonly role: Role
  readonly reason: string
  readonly recipient: Digest
}
/** The requester opened what was granted. */
export type AccessReceipt = {
  readonly type: 'access.receipt'
  readonly grant: RequestId
  readonly sha256Commitment: Digest
}
export type AccessReview = {
  readonly type: 'access.review'
  readonly grant: RequestId
  readonly verdict: 'justified' | 'rejected'
  readonly note: string
}

// ---- faults: signed by a validator ----
export type EvidenceSubmit = {
  readonly type: 'evidence.submit'
  readonly validator: Identifier
  readonly fault: string
  readonly height: number
  readonly first: Uint8Array
  readonly second: Uint8Array
}

export type Operation =
  | InstitutionAdmit
  | InstitutionRate
  | InstitutionRemove
  | ValidatorsSet
  | CaAuthorize
  | CaRevoke
  | RelationsSet
  | UserRegister
  | UserRevoke
  | UserRotateKey
  | CredentialIssue
  | CredentialRevoke
  | RecordRegister
  | RecordWithdraw
  | RecordAdopt
  | RecordRedeal
  | RecordReshare
  | RecordAskErasure
  | RecordErase
  | RecordDestroyed
  | PolicySet
  | PolicyRevoke
  | DelegateSet
  | DelegateRevoke
  | AccessRequest
  | AccessEmergency
  | AccessReceipt
  | AccessReview
  | EvidenceSubmit

export type OperationType = Operation['type']

/** The first failing rung of the ladder names the denial (P-47). A record that does not exist is `no-policy`: a stranger cannot tell the two apart. */
export type DenialReason =
  | 'requester-unknown'
  | 'credential-expired'
  | 'credential-revoked'
  | 'role-not-held'
  | 'purpose-required'
  | 'role-purpose'
  | 'role-permission'
  | 'purpose-permission'
  | 'no-policy'
  | 'patient-denied'
  | 'window-not-open'
  | 'window-closed'
  | 'no-right'
  | 'purpose-mismatch'
  | 'label-withheld'
  | 'record-withdrawn'
  | 'emergency-not-provisioned'
  | 'emergency-suspended'

/** Why a request that stands in a block had no effect; it is on the chain all the same. */
export type RefusalReason =
  | 'replayed'
  | 'stale'
  | 'future'
  | 'wrong-network'
  | 'not-authorized'
  | 'unknown-institution'
  | 'unknown-user'
  | 'unknown-credential'
  | 'unknown-record'
  | 'unknown-policy'
  | 'unknown-grant'
  | 'unknown-code'
  | 'already-exists'
  | 'timestamp-not-above-last'
  | 'window-empty'
  | 'invalid-operation'
  | 'review-closed'
  | 'redeal-closed'
  | 'not-acknowledged'
  | 'retention-not-over'
  | 'erasure-not-asked'
  | 'record-not-erased'
  | 'record-erased'

/** A grant as the chain records it; everything that the decision was made from is in it, so it can be recomputed for ever. */
export type Grant = {
  /** The request's id. */
  readonly grant: RequestId
  readonly record: RecordId
  readonly owner: Identifier
  readonly requester: Identifier
  readonly institution: Identifier
  readonly role: Role
  readonly purpose: Purpose
  readonly right: Right
  readonly variant: 'original' | 'deidentified'
  readonly recipient: Digest
  readonly height: number
  readonly time: Timestamp
  readonly expires: Timestamp
  /** Policy that decided, or `owner`, `delegate`, `emergency`. */
  readonly basis: string
  readonly rulesVersion: number
}

/** What a request came to (the REPLY of P-37). */
export type Outcome =
  | { readonly type: 'done' }
  | { readonly type: 'refused'; readonly reason: RefusalReason }
  | { readonly type: 'granted'; readonly grant: Grant }
  | { readonly type: 'denied'; readonly reason: DenialReason }

export type RequestResult = {
  readonly request: RequestId
  readonly height: number
  readonly index: number
  readonly outcome: Outcome
}
