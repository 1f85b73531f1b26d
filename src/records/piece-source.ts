// Where a reader's peer gets ciphertext: from its own vault first, and what is missing or damaged there from all other holders at once.
// Each piece is checked against the root on the chain before it is passed on.
// Not here: who is asked for what (piece-crew.ts), one holder's stream (piece-stream.ts), decrypting (client/open.ts).

import { EmrmError } from '../model/errors.ts'
import type { PeerId, RecordId, RequestId } from '../model/ids.ts'
import type { Clock, Log, Network } from '../ports.ts'
import { holdersOf, standIns } from './holders.ts'
import type { LedgerView, RecordFacts } from './ledger-view.ts'
import { piecesFromAll } from './piece-crew.ts'
import { type Ended, leavesFrom, piecesFrom, type Range } from './piece-stream.ts'
import { pieceCount, readAhead } from './pieces.ts'
import type { Vault } from './vault.ts'

/** Of the own vault in one transfer; after that all comes from elsewhere. */
const OWN_FAULTS_MAX = 8

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
  const { entry } = wanted
  const end = endOf(wanted)
  const progress = { next: wanted.from }
  const own = wanted.elsewhere === true ? null : await ownLeaves(options, entry)
  for (let faults = 0; own !== null && progress.next < end && faults < OWN_FAULTS_MAX; faults++) {
    yield* ownPieces(options, entry, progress, end)
    if (progress.next === end) return
    yield* othersPieces(options, wanted, { from: progress.next, to: progress.next + 1 }, own)
    progress.next++
  }
  if (progress.next < end) yield* othersPieces(options, wanted, { from: progress.next, to: end }, own)
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

/** Asks one holder for pieces and says how that went; what comes is checked and dropped. */
export async function probePiece(options: PieceSourceOptions, holder: PeerId, wanted: PiecesWanted): Promise<Ended> {
  const range = { from: wanted.from, to: endOf(wanted) }
  const pieces = piecesFrom(options, holder, wanted, once(range), { leaves: null })
  for (;;) {
    const next = await pieces.next()
    if (next.done === true) return next.value
  }
}

async function* othersPieces(
  options: PieceSourceOptions,
  wanted: PiecesWanted,
  range: Range,
  leaves: readonly Uint8Array[] | null,
): AsyncGenerator<Uint8Array> {
  const holders = holderPeers(options, wanted.entry)
  const reached = yield* piecesFromAll(options, holders, wanted, range, leaves)
  if (reached < range.to) throw unavailable(wanted.entry, reached, holders.length)
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
  { record }: RecordFacts,
  progress: { next: number },
  end: number,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of readAhead(index => vault.piece(record, index), progress.next, end)) {
      progress.next++
      yield piece
    }
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    log.error(error.code, { record, piece: progress.next })
    onDamage(record)
  }
}

async function* once(range: Range): AsyncGenerator<Range> {
  yield range
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
