// Serves ciphertext: /emrm/pieces/1. To the institution of a live grant, and to those that hold the record themselves or may come to (holders.ts);
// to anybody else every record is `not-available`. Ciphertext says nothing without shares, but how much of it there is, does.
// Not here: shares (share-server.ts), the reader's side (piece-source.ts).

import { EmrmError } from '../model/errors.ts'
import type { PeerId, RecordId } from '../model/ids.ts'
import type { Clock, Log } from '../ports.ts'
import { decodePiecesRequest, encodePiecesAnswer, type PiecesRequest } from './frames.ts'
import { mayHold } from './holders.ts'
import { type InstitutionFacts, institutionOfPeer, type LedgerView } from './ledger-view.ts'
import { packLeaves, readAhead } from './pieces.ts'
import type { Vault, VaultEntry } from './vault.ts'

export type PieceServerOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  /** Something of this record is damaged here. */
  readonly onDamage: (record: RecordId) => void
  readonly clock: Clock
  readonly log: Log
}

export class PieceServer {
  readonly #options: PieceServerOptions

  constructor(options: PieceServerOptions) {
    this.#options = options
  }

  /** Handler of PROTOCOLS.pieces. Whether the asker may have them is looked at again for each range. */
  async *handle(request: AsyncIterable<Uint8Array>, from: PeerId): AsyncGenerator<Uint8Array> {
    const sent = { record: '', pieces: 0, bytes: 0 }
    try {
      for await (const frame of request) {
        const asked = decodePiecesRequest(frame)
        const held = asked && (await this.#heldFor(asked, from))
        if (!asked || !held) {
          yield encodePiecesAnswer({ type: 'refused', reason: 'not-available' })
          return
        }
        yield encodePiecesAnswer({ type: 'pieces' })
        if (asked.leaves) yield packLeaves(held.leaves)
        sent.record = asked.record
        const to = Math.min(asked.to, held.leaves.length)
        for await (const piece of readAhead(index => this.#piece(held, index), asked.from, to)) {
          sent.pieces++
          sent.bytes += piece.length
          yield piece
        }
      }
    } finally {
      if (sent.pieces > 0) this.#options.log.info('pieces-served', { ...sent, to: from })
    }
  }

  async #piece(held: VaultEntry, index: number): Promise<Uint8Array> {
    try {
      return await this.#options.vault.piece(held.record, index)
    } catch (error) {
      // The stream breaks off and the reader goes on with another holder; our operator has to know.
      if (error instanceof EmrmError) {
        this.#options.log.error(error.code, { record: held.record, piece: index })
        this.#options.onDamage(held.record)
      }
      throw error
    }
  }

  async #heldFor(asked: PiecesRequest, from: PeerId): Promise<VaultEntry | null> {
    const { vault, ledger, log } = this.#options
    const institution = institutionOfPeer(ledger, from)
    const entry = ledger.record(asked.record)
    if (institution === null || entry === null || entry.withdrawn) return null
    if (!mayHold(entry, institution.id, ledger) && !this.#hasGrant(asked, institution)) return null
    const held = await vault.entry(asked.record)
    if (held === null) return null
    if (held.cipherRoot === entry.cipherRoot && held.cipherSize === entry.cipherSize) return held
    log.error('ciphertext-not-registered', { record: asked.record })
    return null
  }

  #hasGrant({ grant: id, record }: PiecesRequest, institution: InstitutionFacts): boolean {
    const { ledger, clock } = this.#options
    const grant = id === null ? null : ledger.grant(id)
    if (grant === null || grant.record !== record || grant.institution !== institution.id) return false
    return ledger.head().timestamp < grant.expires && clock.nowMs() < grant.expires
  }
}
