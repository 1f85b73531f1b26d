// The receiving side of /emrm/deposit/1: a validator takes its share of a record that stands on the chain, opens it, checks it and signs
// for it; any institution takes a copy of the ciphertext. Both are taken from the record's custodian alone, and a share that is not the
// committed one is refused, so that a cheating uploader is found at once and not by the first reader.
// Not here: the custodian's side (deposit.ts), giving shares out (share-server.ts).

import { EmrmError } from '../model/errors.ts'
import { fromHex } from '../model/hash.ts'
import type { Digest, Identifier, PeerId, RecordId } from '../model/ids.ts'
import type { Clock, Log } from '../ports.ts'
import { u32 } from './bytes.ts'
import { waitFor } from './deadline.ts'
import {
  type DepositAnswer,
  decodeDeal,
  decodeDepositRequest,
  decodeShareBox,
  encodeDepositAnswer,
  encodeShareBox,
} from './frames.ts'
import { institutionOf, institutionOfPeer, type LedgerView, type RecordFacts } from './ledger-view.ts'
import { unpackLeaves } from './pieces.ts'
import type { SealKey } from './seal.ts'
import { openShareBox, type ShareBox } from './shares.ts'
import type { Vault } from './vault.ts'

/** How long a deposit may be ahead of the block that registers its record. */
const BLOCK_WAIT_MS = 10_000

export type DepositReceiverOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  readonly sealKey: SealKey
  /** Signs with the institution's key. */
  readonly sign: (bytes: Uint8Array) => Uint8Array
  readonly chainId: Digest
  /** Resolves when the next block was executed. */
  readonly nextBlock: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** What a validator signs when it has its share: domain ‖ 0 ‖ chain id ‖ record ‖ index ‖ shareRoot. */
export const ackSignedBytes = (chainId: Digest, record: RecordId, index: number, shareRoot: Digest): Uint8Array =>
  Buffer.concat([
    Buffer.from('emrm/deposit-ack/1\0'),
    fromHex(chainId),
    fromHex(record),
    u32(index),
    fromHex(shareRoot),
  ])

export class DepositReceiver {
  readonly #options: DepositReceiverOptions

  constructor(options: DepositReceiverOptions) {
    this.#options = options
  }

  /** Handler of PROTOCOLS.deposit. */
  async *handle(request: AsyncIterable<Uint8Array>, from: PeerId): AsyncGenerator<Uint8Array> {
    yield encodeDepositAnswer(await this.#answer(request, from))
  }

  async #answer(request: AsyncIterable<Uint8Array>, from: PeerId): Promise<DepositAnswer> {
    const frames = request[Symbol.asyncIterator]()
    const first = await frames.next()
    const deposit = first.done ? null : decodeDepositRequest(first.value)
    if (deposit === null) return refused('frame-invalid')
    if (deposit.type === 'share') return this.takeShare(deposit, from)
    if (deposit.type === 'want') return this.#giveBoxAgain(deposit.record, from)
    return this.#takeCipher(deposit.record, frames, from)
  }

  /** Also called by the custodian's own peer for its own share. */
  async takeShare(stored: ShareBox, from: PeerId): Promise<DepositAnswer> {
    const { vault, ledger, sealKey, sign, chainId, log } = this.#options
    const entry = await this.#entryFrom(stored.record, from)
    if (entry === null) return refused('not-available')
    const opened = await openShareBox(stored, sealKey, entry, entry.owner)
    if (opened === null) {
      log.warn('share-refused', { record: stored.record, index: stored.index, from })
      return refused('share-invalid')
    }
    opened.share.fill(0)
    const held = await this.#heldIndex(stored.record)
    // The first share stays: the reader counts on one share for each validator.
    if (held !== null && held !== stored.index) return refused('other-share-held')
    if (held === null) await vault.putItem(stored.record, 'share', encodeShareBox(stored))
    if (ledger.record(stored.record)?.withdrawn !== false) return refused('not-available')
    const signature = sign(ackSignedBytes(chainId, stored.record, stored.index, entry.shareRoot))
    log.info('share-deposited', { record: stored.record, index: stored.index })
    return { type: 'ack', signature }
  }

  /** A validator's own box, to that validator, while the deal is still here (deposit.ts destroys it when all have signed). */
  async #giveBoxAgain(record: RecordId, from: PeerId): Promise<DepositAnswer> {
    const { vault, ledger } = this.#options
    const asker = institutionOfPeer(ledger, from)
    if (ledger.record(record)?.withdrawn !== false) return refused('not-available')
    const bytes = asker === null ? null : await vault.item(record, 'deal')
    const box = bytes === null ? undefined : decodeDeal(bytes)?.find(({ validator }) => validator === asker?.id)
    if (box === undefined) return refused('not-available')
    const { validator: _, ...rest } = box
    return { type: 'box', ...rest }
  }

  /** A damaged share is replaced by the one that comes in. */
  async #heldIndex(record: RecordId): Promise<number | null> {
    try {
      const bytes = await this.#options.vault.item(record, 'share')
      return bytes === null ? null : (decodeShareBox(bytes)?.index ?? null)
    } catch (error) {
      if (error instanceof EmrmError && error.code === 'share-corrupt') return null
      throw error
    }
  }

  async #takeCipher(record: RecordId, frames: AsyncIterator<Uint8Array>, from: PeerId): Promise<DepositAnswer> {
    const { vault, log } = this.#options
    const entry = await this.#entryFrom(record, from)
    if (entry === null) return refused('not-available')
    if ((await vault.entry(record)) !== null) return { type: 'stored' }
    const { value, done } = await frames.next()
    const leaves = done ? null : unpackLeaves(value, entry)
    if (leaves === null) return refused('leaves-invalid')
    try {
      await vault.putKnown(entry, leaves, { [Symbol.asyncIterator]: () => frames })
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      if (error.code === 'piece-corrupt') log.warn('ciphertext-refused', { record, from })
      return refused(error.code)
    }
    return { type: 'stored' }
  }

  /** The record on the chain, when the sender is its custodian; waits for a block that is on its way. */
  async #entryFrom(record: RecordId, from: PeerId): Promise<RecordFacts | null> {
    const { ledger, nextBlock, clock } = this.#options
    const entry = await waitFor({ found: () => ledger.record(record), nextBlock, clock, ms: BLOCK_WAIT_MS })
    if (entry === null || entry.withdrawn) return null
    return isPeerOf(ledger, entry.custodian, from) ? entry : null
  }
}

const isPeerOf = (ledger: LedgerView, id: Identifier, peer: PeerId): boolean => {
  const institution = institutionOf(ledger, id)
  return institution !== null && !institution.removed && institution.peerId === peer
}

const refused = (reason: string): DepositAnswer => ({ type: 'refused', reason })
