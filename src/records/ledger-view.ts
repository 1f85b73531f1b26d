// What records needs to see of the ledger at its head. src/ledger/views.ts has all of it but `standing`, which the peer makes of the
// contract's own ladder. Answers are of one moment: two calls may see two heads. Not here: how any of it is computed.

import type { Committee } from '../model/committee.ts'
import { assert, EmrmError } from '../model/errors.ts'
import { identifierOf } from '../model/hash.ts'
import type { Digest, Height, Identifier, PeerId, PublicKey, RecordId, RequestId, Timestamp } from '../model/ids.ts'
import { nextHeight } from '../model/ids.ts'
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

/** What the chain says of a key that is being dealt anew (ledger/redeals.ts). */
export type RedealFacts = {
  readonly intent: RequestId
  readonly record: RecordId
  readonly custodian: Identifier
  readonly recipient: Digest
  readonly height: number
  readonly expires: Timestamp
}

export type LedgerView = {
  head(): { readonly height: Height; readonly timestamp: Timestamp }
  parameters(): ChainParameters
  /** Removed ones too: a validator stays one until its epoch ends. */
  institutions(): readonly InstitutionFacts[]
  committeeAt(height: Height): Committee | null
  record(id: RecordId): RecordFacts | null
  /** A re-deal of its key that was announced and has not ended. */
  redeal(record: RecordId): RedealFacts | null
  /** All of them, sorted. */
  recordIds(): readonly RecordId[]
  /** Those that this institution is the custodian of. */
  recordIdsOf(custodian: Identifier): readonly RecordId[]
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

/** The committee that will see the next block: to whom a key is dealt now. */
export function presentCommittee(ledger: Pick<LedgerView, 'head' | 'committeeAt'>): Committee {
  const { height } = ledger.head()
  const committee = ledger.committeeAt(nextHeight(height)) ?? ledger.committeeAt(height)
  assert(committee !== null, `a committee at ${height}`)
  return committee
}

/** In committee order, as they are registered. Throws EmrmError `validator-unknown`. */
export const sealersOf = (ledger: LedgerView, { validators }: Committee): readonly InstitutionFacts[] =>
  validators.map(({ publicKey, name }) => {
    const institution = institutionOf(ledger, identifierOf(publicKey))
    if (institution !== null) return institution
    throw new EmrmError('validator-unknown', `validator ${name} is not registered; wait for the next block`, { name })
  })
