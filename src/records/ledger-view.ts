// What records needs to see of the ledger at its head. src/ledger/views.ts has all of it but `standing`, which the peer makes of the
// contract's own ladder. Answers are of one moment: two calls may see two heads. Not here: how any of it is computed.

import type { Committee } from '../model/committee.ts'
import type { Height, Identifier, PeerId, PublicKey, RecordId, RequestId, Timestamp } from '../model/ids.ts'
import type { ChainParameters, DenialReason, Grant, RecordRegister } from '../model/operations.ts'

export type InstitutionFacts = {
  readonly id: Identifier
  readonly name: string
  readonly publicKey: PublicKey
  readonly peerId: PeerId
  /** X-Wing public key, 1216 bytes as hexadecimal. */
  readonly sealKey: string
  /** Removed by the authority. */
  readonly removed: boolean
}

export type RecordFacts = Omit<RecordRegister, 'type'> & {
  /** Where it was registered, and when. */
  readonly height: number
  readonly time: Timestamp
  readonly withdrawn: boolean
}

export type LedgerView = {
  head(): { readonly height: Height; readonly timestamp: Timestamp }
  parameters(): ChainParameters
  institutions(): readonly InstitutionFacts[]
  committeeAt(height: Height): Committee | null
  record(id: RecordId): RecordFacts | null
  /** All of them, sorted. */
  recordIds(): readonly RecordId[]
  /** Erased by its custodian after the time for which the law keeps it: whatever is left of it has to be destroyed. */
  isErased(record: RecordId): boolean
  /** How many records were erased so far. */
  erasedCount(): number
  /** Erased records for whose destruction the institution must sign and has not. */
  receiptsOwed(institution: Identifier): readonly RecordId[]
  hasDestroyed(record: RecordId, institution: Identifier): boolean
  /** Grants of the right to share, whether or not they still stand. */
  shareGrants(record: RecordId): readonly Grant[]
  grant(id: RequestId): Grant | null
  /**
   * What the ladder of P-47 says at the head of the request that led to this grant: null while it would still be granted.
   * `owner`, `delegate` and `emergency` grants stand until they expire, unless the record was withdrawn or the delegation revoked.
   */
  standing(grant: Grant): DenialReason | null
}

/** The institution behind a connected peer; null for a stranger and for one that was removed. */
export const institutionOfPeer = (ledger: LedgerView, peer: PeerId): InstitutionFacts | null =>
  ledger.institutions().find(({ peerId, removed }) => peerId === peer && !removed) ?? null

export const institutionOf = (ledger: LedgerView, id: Identifier): InstitutionFacts | null =>
  ledger.institutions().find(institution => institution.id === id) ?? null
