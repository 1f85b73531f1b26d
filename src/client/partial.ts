// What of a large record's ciphertext has arrived, in a hidden file beside the one that is asked for: an access that was cut off goes on
// where it stopped. It holds ciphertext only, and each piece is checked again before it is used, so it need not be trusted or kept safe.
// Not here: decrypting, and the file under its own name (open.ts).

import { type FileHandle, open, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { type CipherClaim, isPiece, PIECE_BYTES, pieceCount, pieceLength } from '../records/pieces.ts'
import { onOutput } from './open.ts'

export type Partial = {
  /** All pieces in order: those that are here, then those of `fetch`, which is asked from the first that is not. */
  pieces(fetch: (from: number) => AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>
  /** A piece that came from `fetch` and was checked. */
  keep(index: number, piece: Uint8Array): Promise<void>
  /** Pieces that did not have to be fetched. */
  readonly resumed: number
  close(): Promise<void>
  /** Closes and removes it. */
  discard(): Promise<void>
}

/** `path`: where the record goes. `leaves`: the list that gives the claim's root. The name holds the record, so that none goes on with another's pieces. */
export async function openPartial(path: string, claim: CipherClaim, leaves: readonly Uint8Array[]): Promise<Partial> {
  const target = resolve(path)
  const file = join(dirname(target), `.${basename(target)}.${claim.record}.part`)
  const handle = await onOutput(path, () => openOrMake(file))
  const count = pieceCount(claim.cipherSize)
  let resumed = 0
  return {
    async *pieces(fetch) {
      for (; resumed < count; resumed++) {
        const piece = await readPiece(handle, resumed, pieceLength(claim.cipherSize, resumed))
        if (!isPiece(piece, resumed, leaves, claim)) break
        yield piece
      }
      const size = Math.min(resumed * PIECE_BYTES, claim.cipherSize)
      await onOutput(path, () => handle.truncate(size))
      if (resumed < count) yield* fetch(resumed)
    },
    async keep(index, piece) {
      if (index >= resumed) await onOutput(path, () => writeAll(handle, piece, index * PIECE_BYTES))
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
