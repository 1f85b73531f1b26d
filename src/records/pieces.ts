// The ciphertext of a record in pieces of 1 MiB under one RFC 6962 root that stands on the chain (`cipherRoot`): any holder may serve any
// range, and the reader checks each piece before it uses it. Not here: where pieces rest (vault.ts) and who may have them (piece-server.ts).

import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import type { Digest, RecordId } from '../model/ids.ts'
import { leafHash, rootOfLeafHashes } from '../model/merkle.ts'
import { equalBytes, regroup } from './bytes.ts'

export const PIECE_BYTES: number = 1024 * 1024
/** 32 GiB: the list of leaf hashes then still fits one frame of 2 MiB. */
export const CIPHER_BYTES_MAX: number = 32 * 1024 * PIECE_BYTES
const LEAF_BYTES = 32

/** What the chain says of a record's ciphertext. */
export type CipherClaim = { readonly record: RecordId; readonly cipherRoot: Digest; readonly cipherSize: number }

export const pieceCount = (cipherSize: number): number => Math.ceil(cipherSize / PIECE_BYTES)

/** Bytes of piece `index`; all have 1 MiB but the last. */
export const pieceLength = (cipherSize: number, index: number): number =>
  Math.max(0, Math.min(PIECE_BYTES, cipherSize - index * PIECE_BYTES))

export const cutPieces = (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> => regroup(source, PIECE_BYTES)

/** Pieces `from` … `to`-1, the next one read while the one before is used. */
export async function* readAhead(
  read: (index: number) => Promise<Uint8Array>,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  const begin = (index: number): Promise<Uint8Array> | null => {
    if (index >= to) return null
    const piece = read(index)
    // A reader may leave before it is its turn.
    piece.catch(() => undefined)
    return piece
  }
  let next = begin(from)
  for (let index = from; next !== null; index++) {
    const piece = await next
    next = begin(index + 1)
    yield piece
  }
}

export const pieceLeaf = (piece: Uint8Array): Uint8Array => leafHash(piece)

export const cipherRootOf = (leaves: readonly Uint8Array[]): Digest => toHex(rootOfLeafHashes(leaves)) as Digest

export const packLeaves = (leaves: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(leaves))

/** Null unless the list is exactly the one that the chain's root commits to. */
export function unpackLeaves(bytes: Uint8Array, claim: CipherClaim): readonly Uint8Array[] | null {
  if (bytes.length !== pieceCount(claim.cipherSize) * LEAF_BYTES) return null
  const leaves: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += LEAF_BYTES) leaves.push(bytes.slice(at, at + LEAF_BYTES))
  return cipherRootOf(leaves) === claim.cipherRoot ? leaves : null
}

/** Whether the bytes are piece `index`; the length is checked first, so that nothing oversized is hashed. */
export const isPiece = (bytes: Uint8Array, index: number, leaves: readonly Uint8Array[], claim: CipherClaim): boolean =>
  index < leaves.length &&
  bytes.length === pieceLength(claim.cipherSize, index) &&
  equalBytes(pieceLeaf(bytes), leaves[index]!)

export const pieceCorrupt = (record: RecordId, piece: number): EmrmError =>
  new EmrmError('piece-corrupt', `piece ${piece} of record ${record} is damaged; it has to come from another holder`, {
    record,
    piece,
  })
