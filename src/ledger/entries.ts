// What stands in the state, table by table: the one list of the key space. Ids in keys are hexadecimal; numbers are padded with zeros.
//
//   authority/set                       who may change the consortium, and how many must agree
//   settings/now                        chain parameters, faults to tolerate, relations
//   approval/<digest of operation>      authority keys that have submitted it
//   institution/<id>  ca/<id>  user/<id>
//   credential/<user>/<digest>          attributes and roles for a while, with their status
//   record/<id>  adoption/<record>      the index; a custody hand-over that waits for the new custodian
//   redeal/<record>                     the intent to deal its key to the present committee
//   twins/<original>                    all twins that it ever had
//   visit/<owner>/<custodian>/<encounter>  the last visit: where the retention clock begins
//   sharer/<record>/<institution>       who was granted to share it
//   erasure/<record>                    asked for, erased, who owes a receipt
//   destruction/<record>/<institution>  the receipts
//   policy/<owner>/<scope|grantee>      the one permission value, and the last timestamp (stays after a revoke)
//   delegate/<owner>/<delegate>         the same for delegations
//   decisions/<owner>                   how many decisions there are
//   decision/<owner>/<number>           each of them
//   grant/<request>  receipt/<grant>    emergency/<user>/<grant>
//   evidence/<validator>/<fault>-<height>
//   committee/<from height>             who validates from there on
//   epoch/now  executed/<height>  floor/now  results/now

import type { Delegation } from '../access/delegation.ts'
import type { Policy } from '../access/policy.ts'
import type { Subject } from '../access/session.ts'
import type {
  Digest,
  Identifier,
  PeerId,
  PublicKey,
  RecordId,
  RequestId,
  SignatureScheme,
  Timestamp,
} from '../model/ids.ts'
import type {
  AccessReview,
  ChainParameters,
  CredentialIssue,
  DenialReason,
  Destroyable,
  Grant,
  Purpose,
  RecordRegister,
  Relations,
  Right,
  Role,
} from '../model/operations.ts'

export type Authority = { readonly threshold: number; readonly keys: readonly PublicKey[] }

export type Settings = {
  readonly validatorCount: number
  /** Of the next epoch's committee. */
  readonly f: number
  readonly p: number
  readonly parameters: ChainParameters
  readonly relations: Relations
}

export type Approval = {
  readonly operation: string
  readonly approvals: readonly { readonly key: PublicKey; readonly time: Timestamp }[]
}

export type Institution = {
  readonly id: Identifier
  readonly name: string
  readonly publicKey: PublicKey
  readonly peerId: PeerId
  /** HPKE (X-Wing) public key. */
  readonly sealKey: string
  readonly region: string
  readonly score: number
  /** Removed by the authority; kept, because records and decisions name it. */
  readonly removed: boolean
  /** Faults proved against it. */
  readonly faults: number
}

export type Ca = {
  readonly id: Identifier
  readonly publicKey: PublicKey
  readonly institutions: readonly Identifier[]
  readonly revoked: boolean
}

export type User = Subject & {
  /** The key that acts for the user now; the identifier is that of the first one. */
  readonly publicKey: PublicKey
  readonly scheme: SignatureScheme
  readonly registeredBy: Identifier
  readonly height: number
}

export type CredentialEntry = Omit<CredentialIssue, 'type'> & {
  readonly issuer: Identifier
  readonly height: number
  /** Block time. */
  readonly issued: Timestamp
  readonly revoked: boolean
}

export type RecordEntry = Omit<RecordRegister, 'type'> & {
  readonly height: number
  readonly time: Timestamp
  readonly withdrawn: boolean
  /** Its de-identified twin, when one is registered and not withdrawn. */
  readonly twin: RecordId | null
}

export type Redeal = {
  /** The request's id. */
  readonly intent: RequestId
  readonly record: RecordId
  readonly custodian: Identifier
  readonly recipient: Digest
  /** The key goes to the committee of this height. */
  readonly height: number
  readonly time: Timestamp
  /** From here on no share is released for it. */
  readonly expires: Timestamp
}

export type Adoption = { readonly from: Identifier; readonly to: Identifier }

export type Twins = { readonly twins: readonly RecordId[] }

export type Visit = { readonly last: Timestamp }

export type Sharer = { readonly institution: Identifier }

export type Erasure = {
  readonly record: RecordId
  readonly owner: Identifier
  readonly askedBy: Identifier
  /** Height at which it was asked for. */
  readonly asked: number
  /** Height at which the custodian erased it; null before. */
  readonly erased: number | null
  /** Institutions that must sign for its destruction. */
  readonly owing: readonly Identifier[]
  /** Height at which the last of them had. */
  readonly complete: number | null
}

export type DestructionEntry = {
  readonly record: RecordId
  readonly institution: Identifier
  readonly destroyed: readonly Destroyable[]
  readonly height: number
  readonly time: Timestamp
}

export type PolicyEntry = {
  /** The last accepted one for the key; outlives the policy (P-42). */
  readonly timestamp: Timestamp
  readonly policy: Policy | null
}

export type DelegateEntry = { readonly timestamp: Timestamp; readonly delegation: Delegation | null }

/** What was decided, and from what. */
export type DecisionEntry = {
  readonly request: RequestId
  readonly operation: 'access.request' | 'access.emergency'
  readonly requester: Identifier
  /** Empty when the requester is not registered. */
  readonly institution: Identifier | ''
  readonly role: Role
  readonly purpose: Purpose
  readonly right: Right
  /** As it was asked for. */
  readonly record: RecordId
  readonly height: number
  /** Block time. */
  readonly time: Timestamp
  readonly result: 'granted' | DenialReason
  /** Policy id, `owner`, `delegate`, `emergency`, or empty. */
  readonly basis: string
  /** Timestamp of that policy, 0 when none decided. */
  readonly policyTimestamp: Timestamp
  readonly rulesVersion: number
}

export type DecisionCount = { readonly count: number }

export type Receipt = {
  readonly grant: RequestId
  readonly requester: Identifier
  readonly commitment: Digest
  readonly height: number
  readonly time: Timestamp
}

export type Emergency = {
  readonly grant: RequestId
  readonly user: Identifier
  readonly institution: Identifier
  readonly record: RecordId
  readonly owner: Identifier
  readonly reason: string
  readonly time: Timestamp
  readonly deadline: Timestamp
  readonly verdict: AccessReview['verdict'] | null
  readonly reviewer: Identifier | null
  readonly note: string
}

export type EvidenceEntry = {
  readonly validator: Identifier
  readonly fault: string
  readonly faultHeight: number
  readonly submitter: Identifier
  readonly request: RequestId
  readonly height: number
}

export type CommitteeEntry = {
  readonly from: number
  readonly f: number
  readonly p: number
  readonly hash: Digest
  /** In ranking order. */
  readonly validators: readonly { readonly publicKey: PublicKey; readonly peerId: PeerId; readonly name: string }[]
}

export type Epoch = { readonly start: number; readonly end: number }

export type ExecutedEntry = {
  readonly height: number
  /** No request of the block claims a later time. */
  readonly timestampMax: Timestamp
  /** 32 bytes for each request, in block order. */
  readonly ids: Uint8Array
}

/** Requests that claim this time or an earlier one are stale: which of them were executed is no longer known. */
export type Floor = { readonly timestamp: Timestamp }

export type GrantEntry = Grant

/** Hash chain over what all requests came to. */
export type Results = { readonly digest: Digest }
