// What of a large record's ciphertext has arrived, in a hidden file beside the one that is asked for: an access that was cut off goes on
// where it stopped. While all goes well only the first piece stands here, which holds head and nonce; with the content key the others can be
// made again from the record as far as it was opened, and are when it stays unfinished. So a large record is written once, and what stays of
// one that was cut off is ciphertext. Each piece is checked before it is kept and before it is used: the file need not be trusted or kept safe.
// Not here: decrypting (open.ts), and the file under its own name (output-file.ts).

import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { sealAgain } from '../records/envelope.ts'
import { type CipherClaim, cutPieces, isPiece, PIECE_BYTES, pieceCount, pieceLength } from '../records/pieces.ts'
import { onOutput } from './output-file.ts'

export type Partial = {
  /** All pieces in order: those that are here, then those of `fetch`, which is asked from the first that is not. */
  pieces(fetch: (from: number) => AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>
  /** The first piece, as it came. */
  keepHead(piece: Uint8Array): Promise<void>
  /**
   * Keeps what `opened`, the record as far as it was written, and `recent`, pieces by their number, hold beyond what is here.
   * Throws EmrmError `output-failed`.
   */
  takeOver(contentKey: Uint8Array, opened: string, recent?: ReadonlyMap<number, Uint8Array>): Promise<void>
  /** Pieces that did not have to be fetched. */
  readonly resumed: number
  close(): Promise<void>
  /** Closes and removes it. */
  discard(): Promise<void>
}

/**
 * `path`: where the record goes. `leaves`: the list that gives the claim's root. `onKept`: bytes that are here, while more are taken over.
 * The name holds the record, so that none goes on with another's pieces. Throws EmrmError `output-failed`.
 */
export async function openPartial(
  path: string,
  claim: CipherClaim,
  leaves: readonly Uint8Array[],
  onKept: (bytes: number) => void = () => {},
): Promise<Partial> {
  const target = resolve(path)
  const file = join(dirname(target), `.${basename(target)}.${claim.record}.part`)
  const handle = await onOutput(path, () => openOrMake(file))
  const count = pieceCount(claim.cipherSize)
  let resumed = 0

  const isHere = (piece: Uint8Array, index: number): boolean => isPiece(piece, index, leaves, claim)
  const readKept = (index: number): Promise<Uint8Array> =>
    onOutput(path, () => readPiece(handle, index, pieceLength(claim.cipherSize, index)))
  const keep = (index: number, piece: Uint8Array): Promise<void> =>
    onOutput(path, () => writeAll(handle, piece, index * PIECE_BYTES))

  /** From the first that is not here. */
  async function* remade(
    contentKey: Uint8Array,
    opened: string,
    head: Uint8Array,
    from: number,
  ): AsyncGenerator<Uint8Array> {
    const plaintext = (start: number): AsyncIterable<Uint8Array> =>
      createReadStream(opened, { start, highWaterMark: PIECE_BYTES })
    yield* cutPieces(sealAgain({ contentKey, record: claim.record, head, from: from * PIECE_BYTES, plaintext }))
  }

  return {
    async *pieces(fetch) {
      for (; resumed < count; resumed++) {
        const piece = await readKept(resumed)
        if (!isHere(piece, resumed)) break
        yield piece
      }
      await onOutput(path, () => handle.truncate(Math.min(resumed * PIECE_BYTES, claim.cipherSize)))
      if (resumed < count) yield* fetch(resumed)
    },
    async keepHead(piece) {
      if (resumed === 0) await keep(0, piece)
    },
    async takeOver(contentKey, opened, recent = new Map()) {
      // Those before were checked when they were read.
      let next = resumed
      while (next < count && isHere(await readKept(next), next)) next++
      if (next > 0 && next < count)
        for await (const piece of remade(contentKey, opened, await readKept(0), next)) {
          if (!isHere(piece, next)) break
          await keep(next++, piece)
          onKept(next * PIECE_BYTES)
        }
      for (let piece = recent.get(next); piece !== undefined && isHere(piece, next); piece = recent.get(next))
        await keep(next++, piece)
    },
    get resumed() {
      return resumed
    },
    close: () => handle.close(),
    async discard() {
      await handle.close()
      await rm(file, { force: true })
    },
  }
}

async function openOrMake(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return open(file, 'w+', 0o600)
  }
}

/** Shorter when the file is. */
async function readPiece(handle: FileHandle, index: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let read = 0
  while (read < length) {
    const { bytesRead } = await handle.read(bytes, read, length - read, index * PIECE_BYTES + read)
    if (bytesRead === 0) break
    read += bytesRead
  }
  return bytes.subarray(0, read)
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0
  while (written < bytes.length)
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten
}
