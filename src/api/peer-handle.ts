// What the API and the command line need of a running peer: types only. peer.ts builds the thing itself.
// Not here: how any of it is done, and HTTP (server.ts).

import type { Ledger } from '../ledger/ledger.ts'
import type { Views } from '../ledger/views.ts'
import type { Request } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import type { Genesis } from '../model/genesis.ts'
import type { BlockId, Digest, Height, Identifier, PeerId, RecordId, RequestId, Timestamp } from '../model/ids.ts'
import type { Confidentiality, Encounter, Operation, Outcome, RequestResult } from '../model/operations.ts'
import type { Handover } from '../model/snapshot.ts'
import type { Connection, StoredBlock } from '../ports.ts'
import type { Care, CareReport } from '../records/caretaker.ts'
import type { Labelling, LocalEntry } from '../records/local-index.ts'
import type { RedealReport } from '../records/redeal.ts'
import type { ReleasedShare } from '../records/shares.ts'
import type { VaultExamination } from '../records/vault-check.ts'
import type { VerifyProgress, VerifyReport } from '../verify-home.ts'

/** The fields of `emrm status`; scripts rely on their names. */
export type PeerStatus = {
  readonly peerId: PeerId
  readonly institution: { readonly id: Identifier; readonly name: string }
  readonly network: { readonly name: string; readonly chainId: Digest }
  readonly height: number
  readonly head: BlockId
  readonly view: number
  /** Name and peer id of the current primary; null while an observer does not know it. */
  readonly primary: { readonly index: number; readonly peerId: PeerId; readonly name: string } | null
  readonly role: 'primary' | 'validator' | 'observer'
  readonly peers: readonly Connection[]
  readonly mempool: { readonly requests: number; readonly bytes: number }
  /** What the vault holds (null until it was counted) and may hold (null without a limit). */
  readonly vault: { readonly usedBytes: number | null; readonly quotaBytes: number | null }
  /** Digest of the state after executing `height`. */
  readonly stateDigest: Digest
  readonly version: string
}

export type TransactionView = {
  readonly request: Request
  readonly height: number
  readonly block: BlockId
  readonly index: number
  readonly outcome: Outcome
  /** RFC 6962 inclusion proof of the request's bytes, hexadecimal, leaf's sibling first. */
  readonly proof: readonly string[]
  readonly requestCount: number
  readonly requestsRoot: Digest
}

export type AddedRecord = {
  readonly record: RecordId
  readonly height: number
  readonly size: number
  readonly kind: string
  /** As registered: what was given, and what was derived from the record's codes. */
  readonly confidentiality: Confidentiality
  readonly labels: readonly string[]
  readonly labelling: Labelling
  /** When one was asked for: the de-identified twin, or null. */
  readonly twin?: RecordId | null
  /** Digest of the rule set by which the twin was made. */
  readonly twinRules?: Digest
  /** Why there is no twin; the record itself was added. */
  readonly twinRefused?: { readonly code: string; readonly message: string }
}

export type AddRecordOptions = {
  readonly owner: Identifier
  /** Null: detected from the bytes. */
  readonly kind: string | null
  readonly confidentiality: Confidentiality
  readonly labels: readonly string[]
  readonly encounter: Encounter
  /** The visit, or the discharge, that the record is about. */
  readonly lastVisit: Timestamp
  /** Make and register a de-identified twin too, which an anonymous policy releases in place of the record. */
  readonly twin: boolean
  readonly onProgress?: (stage: string, bytes: number) => void
  readonly signal?: AbortSignal
}

export type Release = {
  readonly shares: readonly ReleasedShare[]
  /** Validators that gave no share, and why; `detail`: the house rule (`withheld`), or the ladder's reason. */
  readonly refusals: readonly { readonly institution: string; readonly reason: string; readonly detail?: string }[]
}

export type PeerHandle = {
  readonly genesis: Genesis
  readonly chainId: Digest
  readonly views: Views
  /** Null beyond the present epoch. */
  committeeAt(height: Height): Committee | null
  status(): PeerStatus
  connections(): readonly Connection[]
  /** Of an epoch's last block: also of one before the snapshot with which this home began, which came with it. */
  handover(height: Height): Promise<Handover | null>
  /** A ledger that stands where this home's blocks begin: at genesis, or on a snapshot. Throws EmrmError `snapshot-unproved`. */
  beginning(): Promise<Ledger>
  /** Throws EmrmError `before-snapshot` for one that a home which began with a snapshot cannot have. */
  block(ref: Height | BlockId): Promise<StoredBlock | null>
  transaction(id: RequestId): Promise<TransactionView | null>
  /** Resolves when this peer executed the request. Throws EmrmError `request-invalid`, `mempool-full`, `request-timeout`. */
  submit(bytes: Uint8Array): Promise<RequestResult>
  /** Signs with the institution's key and submits. */
  submitAsInstitution(operation: Operation): Promise<RequestResult>
  /** Encrypts, deposits shares, registers; resolves when the record is available. Constant memory. */
  addRecord(source: AsyncIterable<Uint8Array>, options: AddRecordOptions): Promise<AddedRecord>
  /** What this hospital noted of a record for itself; null when it did not take it in. */
  localEntry(record: RecordId): Promise<LocalEntry | null>
  /** Collects sealed shares for a committed grant from this and other validators. */
  release(grant: RequestId, recipientKey: Uint8Array): Promise<Release>
  /** Ciphertext pieces from `fromPiece` on, from the local vault or another holder, and how many bytes they have. Throws EmrmError `grant-unknown`. */
  ciphertext(
    record: RecordId,
    grant: RequestId,
    fromPiece: number,
  ): { readonly bytes: number; readonly pieces: AsyncIterable<Uint8Array> }
  /** The list of leaf hashes under `cipherRoot`, so that a caller can check each piece. */
  leaves(record: RecordId, grant: RequestId): Promise<readonly Uint8Array[]>
  verify(onProgress?: VerifyProgress): Promise<VerifyReport>
  /** Mends the vault: yields the records with which something was wrong. */
  scrub(signal: AbortSignal): AsyncIterable<Care>
  /** What the last look through the vault found, and how many keys lie with a former committee. */
  careReport(): CareReport & { readonly redeal: RedealReport }
  /** Writes into the vault and reads back, counts it, reads some pieces. Throws EmrmError `vault-unusable`, `vault-full`, … */
  examineVault(): Promise<VaultExamination>
  /** Before bytes are sent. Throws EmrmError `vault-full`. */
  requireRoom(bytes: number): Promise<void>
  stop(): Promise<void>
}
