// The reader's side of one stream of /emrm/pieces/1: ranges are asked of one holder as they come, and each piece is checked against the
// root on the chain before anyone sees it. How the holder's answer ended is an answer too, never an error.
// Not here: whom to ask for what (piece-crew.ts), the own vault (piece-source.ts).

import { EmrmError } from '../model/errors.ts'
import type { PeerId, RequestId } from '../model/ids.ts'
import { type Clock, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import { decodePiecesAnswer, encodePiecesRequest } from './frames.ts'
import type { RecordFacts } from './ledger-view.ts'
import { isPiece, unpackLeaves } from './pieces.ts'

/** A holder that was asked and sends nothing for so long is left for another. */
const PIECE_IDLE_MS = 15_000

export type PieceStreamOptions = {
  readonly network: Pick<Network, 'self' | 'request'>
  readonly clock: Clock
}

export type Wanted = {
  readonly entry: RecordFacts
  /** What entitles us; null when this institution is a holder itself. */
  readonly grant: RequestId | null
  readonly signal: AbortSignal
}

/** Pieces `from` … `to`-1; at least one. */
export type Range = { readonly from: number; readonly to: number }

/** The list that gives the root, once somebody sent it. */
export type Known = { leaves: readonly Uint8Array[] | null }

export type Piece = { readonly index: number; readonly bytes: Uint8Array }

/** How a holder's answer ended. */
export type Ended = 'done' | 'refused' | 'leaves-invalid' | 'piece-invalid' | 'broke-off' | 'silent'

type Asked = { next: number; readonly to: number; expects: 'answer' | 'leaves' | 'pieces'; readonly leaves: boolean }

/** Throws only when `signal` aborts. */
export async function* piecesFrom(
  { network, clock }: PieceStreamOptions,
  holder: PeerId,
  { entry, grant, signal }: Wanted,
  ranges: AsyncIterable<Range>,
  known: Known,
): AsyncGenerator<Piece, Ended> {
  const idle = idleSignal(clock, PIECE_IDLE_MS, signal)
  idle.pause()
  const open: Asked[] = []
  async function* requests(): AsyncGenerator<Uint8Array> {
    for await (const { from, to } of ranges) {
      const leaves = known.leaves === null
      open.push({ next: from, to, expects: 'answer', leaves })
      if (open.length === 1) idle.touch()
      yield encodePiecesRequest({ record: entry.record, grant, from, to, leaves })
    }
  }
  try {
    for await (const bytes of network.request(holder, PROTOCOLS.pieces, requests(), idle.signal)) {
      const asked = open[0]
      if (asked === undefined) return 'refused'
      if (asked.expects === 'answer') {
        if (decodePiecesAnswer(bytes)?.type !== 'pieces') return 'refused'
        asked.expects = asked.leaves ? 'leaves' : 'pieces'
      } else if (asked.expects === 'leaves') {
        const leaves = unpackLeaves(bytes, entry)
        if (leaves === null) return 'leaves-invalid'
        known.leaves ??= leaves
        asked.expects = 'pieces'
      } else {
        const index = asked.next++
        if (known.leaves === null || !isPiece(bytes, index, known.leaves, entry)) return 'piece-invalid'
        if (asked.next === asked.to) open.shift()
        // The reader's own pace does not count against the holder.
        idle.pause()
        yield { index, bytes }
      }
      if (open.length > 0) idle.touch()
    }
    return open.length === 0 ? 'done' : 'broke-off'
  } catch (error) {
    if (signal.aborted) throw error
    if (idle.signal.aborted) return 'silent'
    if (error instanceof EmrmError) return 'broke-off'
    throw error
  } finally {
    idle.end()
  }
}

/** Null when this holder does not give it. */
export async function leavesFrom(
  { network, clock }: PieceStreamOptions,
  holder: PeerId,
  { entry, grant, signal }: Wanted,
): Promise<readonly Uint8Array[] | null> {
  const request = encodePiecesRequest({ record: entry.record, grant, from: 0, to: 0, leaves: true })
  const idle = idleSignal(clock, PIECE_IDLE_MS, signal)
  let frame = 0
  try {
    for await (const bytes of network.request(holder, PROTOCOLS.pieces, [request], idle.signal)) {
      if (frame === 1) return unpackLeaves(bytes, entry)
      if (decodePiecesAnswer(bytes)?.type !== 'pieces') return null
      idle.touch()
      frame++
    }
    return null
  } catch (error) {
    if (signal.aborted) throw error
    if (idle.signal.aborted || error instanceof EmrmError) return null
    throw error
  } finally {
    idle.end()
  }
}
