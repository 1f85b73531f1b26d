// The port of the off-chain store (P-33): ciphertext in checked pieces, and the small sealed things that belong to a record: this
// validator's share box, the boxes that a custodian has to deliver, the acknowledgements it got. Nothing in a vault is readable
// without the committee. Adapters: file-vault.ts, postgres-vault.ts, s3-vault.ts and, for tests, memory-vault.ts. Not here: who may read (share-server.ts).

import type { Digest, RecordId } from '../model/ids.ts'
import type { CipherClaim } from './pieces.ts'

/** What a vault knows of a ciphertext without opening it. */
export type VaultEntry = {
  readonly record: RecordId
  readonly cipherRoot: Digest
  readonly cipherSize: number
  readonly leaves: readonly Uint8Array[]
}

/**
 * `share`: this validator's own box. `deal`: a custodian's boxes for all validators. `acks`: what the validators answered.
 * `copies`: a mark that further holders may still lack the ciphertext. `facts`: what a custodian notes for itself (local-index.ts), sealed.
 * `next`: this validator's box of a deal that does not count yet. `redeal`: a custodian's boxes of such a deal.
 */
const ITEM_NAMES = ['share', 'deal', 'acks', 'copies', 'facts', 'next', 'redeal'] as const
export type ItemName = (typeof ITEM_NAMES)[number]

/** A deal for 200 validators has 300 KiB. */
export const ITEM_BYTES_MAX: number = 1024 * 1024

export const isItemName = (name: string): name is ItemName => (ITEM_NAMES as readonly string[]).includes(name)

export type VaultFault =
  | { readonly type: 'piece'; readonly record: RecordId; readonly piece: number }
  | { readonly type: 'leaves'; readonly record: RecordId }
  | { readonly type: 'item'; readonly record: RecordId; readonly item: ItemName }

export type Vault = {
  /**
   * Stores a new ciphertext; it is durable, complete and listed when this resolves, and absent when this throws.
   * Throws EmrmError `record-exists`, `record-too-large`, `vault-full`, `vault-write-failed`, and what `source` throws.
   */
  put(record: RecordId, source: AsyncIterable<Uint8Array>): Promise<VaultEntry>
  /** The same for a ciphertext that the chain already knows: every piece is checked before it is written. Throws EmrmError `piece-corrupt`. */
  putKnown(claim: CipherClaim, leaves: readonly Uint8Array[], pieces: AsyncIterable<Uint8Array>): Promise<VaultEntry>
  /** Null when this vault has no ciphertext of the record. Throws EmrmError `piece-corrupt` when the list does not give the root. */
  entry(record: RecordId): Promise<VaultEntry | null>
  /** One piece, checked against its leaf hash. Throws EmrmError `piece-corrupt`, `record-not-held`. */
  piece(record: RecordId, index: number): Promise<Uint8Array>
  /**
   * Writes a piece again that was found damaged; durable when this resolves. Until then a reader gets the old bytes or an error, never
   * anything else. Throws EmrmError `piece-corrupt` when the bytes are not that piece, `record-not-held`.
   */
  mendPiece(record: RecordId, index: number, bytes: Uint8Array): Promise<void>
  /** The ciphertext alone, also one whose list is damaged; the items stay. */
  removeCipher(record: RecordId): Promise<void>
  /** Replaces what stood there; durable when this resolves. */
  putItem(record: RecordId, item: ItemName, bytes: Uint8Array): Promise<void>
  /** Throws EmrmError `share-corrupt` when the bytes are not those that were put. */
  item(record: RecordId, item: ItemName): Promise<Uint8Array | null>
  removeItem(record: RecordId, item: ItemName): Promise<void>
  items(record: RecordId): Promise<readonly ItemName[]>
  /** Every record of which anything is held, sorted. */
  list(): Promise<readonly RecordId[]>
  /** Ciphertext and items, overwritten first where the medium allows that; to remove what is not there is no error. */
  remove(record: RecordId): Promise<void>
  /** Reads all that is held of a record again and names what is damaged. `pace` is awaited after each piece. */
  verify(record: RecordId, pace?: () => Promise<void>): Promise<readonly VaultFault[]>
  /** Removes what belongs to no ciphertext: what a crash or a removal that failed left. What is on its way in stays. */
  sweep(): Promise<void>
  /** What all of it takes, counted anew: a walk through everything, minutes in a large vault. */
  usedBytes(): Promise<number>
  /** What the store could still take; null when it does not say. */
  freeBytes(): Promise<number | null>
}
