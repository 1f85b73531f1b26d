// The reader's side of /emrm/pieces/1: the ciphertext of a record from whoever holds it, this peer's own vault first, then the custodian,
// then the others. Each piece is checked against the root on the chain before it is passed on; a holder that lies, stalls or breaks off
// is left, and the next one goes on at the same piece. Not here: decrypting (client/open.ts).

import { EmrmError } from '../model/errors.ts'
import type { PeerId, RecordId, RequestId } from '../model/ids.ts'
import { type Clock, type Log, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import { decodePiecesAnswer, encodePiecesRequest } from './frames.ts'
import { holdersOf, standIns } from './holders.ts'
import type { LedgerView, RecordFacts } from './ledger-view.ts'
import { isPiece, pieceCount, readAhead, unpackLeaves } from './pieces.ts'
import type { Vault } from './vault.ts'

/** A holder that sends no piece for so long is left for another. */
const PIECE_IDLE_MS = 15_000

export type PieceSourceOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  readonly network: Pick<Network, 'self' | 'request'>
  /** Something of this record is damaged here. */
  readonly onDamage: (record: RecordId) => void
  readonly clock: Clock
  readonly log: Log
}

export type PiecesWanted = {
  readonly entry: RecordFacts
  /** What entitles us; null when this institution is a holder itself. */
  readonly grant: RequestId | null
  readonly from: number
  /** Up to this piece, without it; all of them when absent. */
  readonly to?: number
  /** Not from the own vault. */
  readonly elsewhere?: boolean
  readonly signal: AbortSignal
}

const endOf = ({ entry, to }: PiecesWanted): number => {
  const count = pieceCount(entry.cipherSize)
  return to === undefined ? count : Math.min(to, count)
}

/** Throws EmrmError `record-unavailable` when no holder could serve a piece; `holders` counts those that were asked for it. */
export async function* fetchPieces(options: PieceSourceOptions, wanted: PiecesWanted): AsyncGenerator<Uint8Array> {
  const { entry, signal } = wanted
  const end = endOf(wanted)
  const progress = { next: wanted.from }
  if (wanted.elsewhere !== true) yield* ownPieces(options, wanted, progress)
  const holders = holderPeers(options, entry)
  for (const holder of holders) {
    if (progress.next >= end) return
    signal.throwIfAborted()
    const before = progress.next
    const ended = yield* piecesFrom(options, holder, wanted, progress)
    if (ended !== 'done')
      options.log.info('holder-left', { record: entry.record, holder, reason: ended, pieces: progress.next - before })
  }
  signal.throwIfAborted()
  if (progress.next < end) throw unavailable(entry, progress.next, holders.length)
}

/** The list of leaf hashes, from the own vault or whoever else has it. Throws EmrmError `record-unavailable`. */
export async function fetchLeaves(
  options: PieceSourceOptions,
  wanted: Pick<PiecesWanted, 'entry' | 'grant' | 'elsewhere' | 'signal'>,
): Promise<readonly Uint8Array[]> {
  const { entry, signal } = wanted
  const own = wanted.elsewhere === true ? null : await ownLeaves(options, entry)
  if (own !== null) return own
  const holders = holderPeers(options, entry)
  for (const holder of holders) {
    signal.throwIfAborted()
    const leaves = await leavesFrom(options, holder, wanted)
    if (leaves !== null) return leaves
  }
  throw unavailable(entry, 0, holders.length)
}

async function ownLeaves(
  { vault, onDamage, log }: PieceSourceOptions,
  entry: RecordFacts,
): Promise<readonly Uint8Array[] | null> {
  try {
    const held = await vault.entry(entry.record)
    return held?.cipherRoot === entry.cipherRoot ? held.leaves : null
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    log.error(error.code, { record: entry.record })
    onDamage(entry.record)
    return null
  }
}

/** From the own vault until a piece is missing or damaged. */
async function* ownPieces(
  { vault, onDamage, log }: PieceSourceOptions,
  wanted: PiecesWanted,
  progress: { next: number },
): AsyncGenerator<Uint8Array> {
  const { entry } = wanted
  try {
    const held = await vault.entry(entry.record)
    if (held === null || held.cipherRoot !== entry.cipherRoot) return
    for await (const piece of readAhead(index => vault.piece(entry.record, index), progress.next, endOf(wanted))) {
      progress.next++
      yield piece
    }
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    log.error(error.code, { record: entry.record, piece: progress.next })
    onDamage(entry.record)
  }
}

/** How a holder's answer ended. */
export type Ended = 'done' | 'refused' | 'leaves-invalid' | 'piece-invalid' | 'broke-off' | 'silent'

async function* piecesFrom(
  { network, clock }: PieceSourceOptions,
  holder: PeerId,
  wanted: PiecesWanted,
  progress: { next: number },
): AsyncGenerator<Uint8Array, Ended> {
  const { entry, grant, signal } = wanted
  const end = endOf(wanted)
  const request = encodePiecesRequest({ record: entry.record, grant, from: progress.next, to: end })
  const idle = idleSignal(clock, PIECE_IDLE_MS, signal)
  let frame = 0
  let leaves: readonly Uint8Array[] | null = null
  try {
    for await (const bytes of network.request(holder, PROTOCOLS.pieces, [request], idle.signal)) {
      if (frame === 0 && decodePiecesAnswer(bytes)?.type !== 'pieces') return 'refused'
      if (frame === 1) {
        leaves = unpackLeaves(bytes, entry)
        if (leaves === null) return 'leaves-invalid'
      }
      if (frame > 1) {
        if (leaves === null || !isPiece(bytes, progress.next, leaves, entry)) return 'piece-invalid'
        progress.next++
        // The reader's own pace does not count against the holder.
        idle.pause()
        yield bytes
        if (progress.next === end) return 'done'
      }
      idle.touch()
      frame++
    }
    return 'broke-off'
  } catch (error) {
    if (signal.aborted) throw error
    if (idle.signal.aborted) return 'silent'
    if (error instanceof EmrmError) return 'broke-off'
    throw error
  } finally {
    idle.end()
  }
}

/** Asks one holder for pieces and says how that went; what comes is checked and dropped. */
export async function probePiece(options: PieceSourceOptions, holder: PeerId, wanted: PiecesWanted): Promise<Ended> {
  const pieces = piecesFrom(options, holder, wanted, { next: wanted.from })
  for (;;) {
    const next = await pieces.next()
    if (next.done === true) return next.value
  }
}

async function leavesFrom(
  { network, clock }: PieceSourceOptions,
  holder: PeerId,
  { entry, grant, signal }: Pick<PiecesWanted, 'entry' | 'grant' | 'signal'>,
): Promise<readonly Uint8Array[] | null> {
  const request = encodePiecesRequest({ record: entry.record, grant, from: 0, to: 0 })
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

const unavailable = (entry: RecordFacts, piece: number, holders: number): EmrmError =>
  new EmrmError(
    'record-unavailable',
    `no holder serves piece ${piece} of record ${entry.record} now; try again when the custodian is back`,
    { record: entry.record, piece, holders },
  )

function holderPeers({ ledger, network }: PieceSourceOptions, entry: RecordFacts): readonly PeerId[] {
  const all = [...holdersOf(entry, ledger), ...standIns(entry, ledger)]
  return [...new Map(all.map(holder => [holder.id, holder])).values()]
    .map(({ peerId }) => peerId)
    .filter(peer => peer !== network.self)
}
