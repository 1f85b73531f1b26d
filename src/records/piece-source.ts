// The reader's side of /emrm/pieces/1: the ciphertext of a record from whoever holds it, this peer's own vault first, then the custodian,
// then the others. Each piece is checked against the root on the chain before it is passed on; a holder that lies, stalls or breaks off
// is left, and the next one goes on at the same piece. Not here: decrypting (client/open.ts).

import { EmrmError } from '../model/errors.ts'
import type { PeerId, RequestId } from '../model/ids.ts'
import { type Clock, type Log, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import { decodePiecesAnswer, encodePiecesRequest } from './frames.ts'
import { replicaHolders } from './holders.ts'
import { institutionOf, type LedgerView, type RecordFacts } from './ledger-view.ts'
import { isPiece, pieceCount, unpackLeaves } from './pieces.ts'
import type { Vault } from './vault.ts'

/** A holder that sends no piece for so long is left for another. */
const PIECE_IDLE_MS = 15_000

export type PieceSourceOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  readonly network: Pick<Network, 'self' | 'request'>
  readonly clock: Clock
  readonly log: Log
}

/** Throws EmrmError `record-unavailable` when no holder could serve a piece; `holders` counts those that were asked for it. */
export async function* fetchPieces(
  options: PieceSourceOptions,
  wanted: {
    readonly entry: RecordFacts
    readonly grant: RequestId | null
    readonly from: number
    readonly signal: AbortSignal
  },
): AsyncGenerator<Uint8Array> {
  const { entry, signal } = wanted
  const count = pieceCount(entry.cipherSize)
  const progress = { next: wanted.from }
  for await (const piece of ownPieces(options, entry, progress)) yield piece
  const holders = holderPeers(options, entry)
  for (const holder of holders) {
    if (progress.next >= count) return
    signal.throwIfAborted()
    const before = progress.next
    const ended = yield* piecesFrom(options, holder, wanted, progress)
    if (ended !== 'done')
      options.log.info('holder-left', { record: entry.record, holder, reason: ended, pieces: progress.next - before })
  }
  signal.throwIfAborted()
  if (progress.next < count)
    throw new EmrmError(
      'record-unavailable',
      `no holder serves piece ${progress.next} of record ${entry.record} now; try again when the custodian is back`,
      { record: entry.record, piece: progress.next, holders: holders.length },
    )
}

/** From the own vault until a piece is missing or damaged. */
async function* ownPieces(
  { vault, log }: PieceSourceOptions,
  entry: RecordFacts,
  progress: { next: number },
): AsyncGenerator<Uint8Array> {
  try {
    const held = await vault.entry(entry.record)
    if (held === null || held.cipherRoot !== entry.cipherRoot) return
    while (progress.next < held.leaves.length) {
      const piece = await vault.piece(entry.record, progress.next)
      progress.next++
      yield piece
    }
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    log.error(error.code, { record: entry.record, piece: progress.next })
  }
}

type Ended = 'done' | 'refused' | 'leaves-invalid' | 'piece-invalid' | 'broke-off' | 'silent'

async function* piecesFrom(
  { network, clock }: PieceSourceOptions,
  holder: PeerId,
  wanted: { readonly entry: RecordFacts; readonly grant: RequestId | null; readonly signal: AbortSignal },
  progress: { next: number },
): AsyncGenerator<Uint8Array, Ended> {
  const { entry, grant, signal } = wanted
  const count = pieceCount(entry.cipherSize)
  const request = encodePiecesRequest({ record: entry.record, grant, from: progress.next, to: count })
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
        if (progress.next === count) return 'done'
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

function holderPeers({ ledger, network }: PieceSourceOptions, entry: RecordFacts): readonly PeerId[] {
  const custodian = institutionOf(ledger, entry.custodian)
  const others = replicaHolders(entry, ledger)
  const all = custodian === null || custodian.removed ? others : [custodian, ...others]
  return all.map(({ peerId }) => peerId).filter(peer => peer !== network.self)
}
