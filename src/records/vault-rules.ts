// What every vault does alike, whatever it stores into: cutting and checking a ciphertext on its way in, reading all of it again.
// Not here: where it stores (adapters/).

import { EmrmError, type ErrorFacts } from '../model/errors.ts'
import { isHexadecimal, type RecordId } from '../model/ids.ts'
import {
  CIPHER_BYTES_MAX,
  type CipherClaim,
  cutPieces,
  isPiece,
  pieceCorrupt,
  pieceCount,
  pieceLeaf,
} from './pieces.ts'
import { ITEM_BYTES_MAX, type ItemName, isItemName, type Vault, type VaultFault } from './vault.ts'

/** Hands each piece on and notes its leaf hash and the size. Throws EmrmError `record-too-large`. */
export async function* notedPieces(
  record: RecordId,
  source: AsyncIterable<Uint8Array>,
  note: { readonly leaves: Uint8Array[]; size: number },
): AsyncGenerator<Uint8Array> {
  for await (const piece of cutPieces(source)) {
    note.leaves.push(pieceLeaf(piece))
    note.size += piece.length
    if (note.size > CIPHER_BYTES_MAX)
      throw new EmrmError('record-too-large', `a record has at most ${CIPHER_BYTES_MAX} bytes; split it`, { record })
    yield piece
  }
}

/** Hands on only pieces that the claim commits to, in order and complete. Throws EmrmError `piece-corrupt`. */
export async function* checkedPieces(
  claim: CipherClaim,
  leaves: readonly Uint8Array[],
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let index = 0
  for await (const piece of cutPieces(pieces)) {
    if (!isPiece(piece, index, leaves, claim)) throw pieceCorrupt(claim.record, index)
    yield piece
    index++
  }
  if (index !== pieceCount(claim.cipherSize)) throw pieceCorrupt(claim.record, index)
}

/** `verify` of the port, by reading everything through the vault's own checks. */
export async function verifyRecord(
  vault: Vault,
  record: RecordId,
  pace: () => Promise<void> = async () => undefined,
): Promise<readonly VaultFault[]> {
  const faults: VaultFault[] = []
  const failed = async (read: () => Promise<unknown>): Promise<boolean> => {
    try {
      await read()
      return false
    } catch (error) {
      if (error instanceof EmrmError && (error.code === 'piece-corrupt' || error.code === 'share-corrupt')) return true
      throw error
    }
  }
  if (await failed(() => vault.entry(record))) faults.push({ type: 'leaves', record })
  else {
    const count = (await vault.entry(record))?.leaves.length ?? 0
    for (let piece = 0; piece < count; piece++) {
      if (await failed(() => vault.piece(record, piece))) faults.push({ type: 'piece', record, piece })
      await pace()
    }
  }
  for (const item of await vault.items(record))
    if (await failed(() => vault.item(record, item))) faults.push({ type: 'item', record, item })
  return faults
}

/** Record ids become paths and keys: what is not 32 hexadecimal digits never gets there. */
export function checkedRecord(record: RecordId): RecordId {
  if (!isHexadecimal(record, 32)) throw new RangeError('not a record id')
  return record
}

export function checkedItem(item: ItemName): ItemName {
  if (!isItemName(item)) throw new RangeError('not the name of an item')
  return item
}

export function checkedItemBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.length > ITEM_BYTES_MAX) throw new RangeError(`an item of a vault has at most ${ITEM_BYTES_MAX} bytes`)
  return bytes
}

export const vaultFull = (facts: ErrorFacts, cause?: unknown): EmrmError =>
  new EmrmError(
    'vault-full',
    "there is no room in this hospital's vault and nothing was kept; make room or raise its limit (emrm doctor says which)",
    facts,
    cause,
  )

export const recordExists = (record: RecordId): EmrmError =>
  new EmrmError('record-exists', `record ${record} is in the vault already; nothing was changed`, { record })

export const recordNotHeld = (record: RecordId): EmrmError =>
  new EmrmError('record-not-held', `this vault does not hold record ${record}; ask another holder`, { record })

export const shareCorrupt = (record: RecordId): EmrmError =>
  new EmrmError(
    'share-corrupt',
    `a sealed share or acknowledgement of record ${record} is damaged on disk; restore the vault from a backup`,
    { record },
  )
