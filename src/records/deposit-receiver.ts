// The receiving side of /emrm/deposit/1: a validator takes its share of a record that stands on the chain, opens it, checks it and signs
// for it; any institution takes a copy of the ciphertext. Both are taken from the record's custodian alone, and a share that is not the
// committed one is refused, so that a cheating uploader is found at once and not by the first reader.
// A share of a key that is dealt anew is taken against the announcement on the chain, and kept beside the old one until it counts.
// Not here: the custodian's side (deposit.ts, redeal.ts), giving shares out (share-server.ts).

import { EmrmError } from '../model/errors.ts'
import { fromHex, identifierOf } from '../model/hash.ts'
import { asHeight, type Digest, type Identifier, type PeerId, type RecordId } from '../model/ids.ts'
import type { ShareSignature } from '../model/operations.ts'
import { redealAckBytes, shareLossBytes } from '../model/redeal.ts'
import type { Clock, Log } from '../ports.ts'
import { u32 } from './bytes.ts'
import { waitFor } from './deadline.ts'
import { type DepositAnswer, decodeDeal, decodeDepositRequest, encodeDepositAnswer, type NextShare } from './frames.ts'
import { institutionOf, institutionOfPeer, type LedgerView, type RecordFacts } from './ledger-view.ts'
import { unpackLeaves } from './pieces.ts'
import type { SealKey } from './seal.ts'
import type { ShareShelf } from './share-shelf.ts'
import { openShareBox, type ShareBox } from './shares.ts'
import type { Vault } from './vault.ts'

/** How long a deposit may be ahead of the block that registers its record. */
const BLOCK_WAIT_MS = 10_000

export type DepositReceiverOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  readonly shelf: ShareShelf
  /** This institution. */
  readonly self: Identifier
  readonly sealKey: SealKey
  /** Signs with the institution's key. */
  readonly sign: (bytes: Uint8Array) => Uint8Array
  readonly chainId: Digest
  /** Milliseconds since a quorum confirmed that our head is the head. */
  readonly freshness: () => number
  /** A validator has lost its share of a record of ours, and its box is there no more. */
  readonly onLoss: (record: RecordId, loss: ShareSignature, validator: Identifier) => void
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
    if (deposit.type === 'next') return this.takeNext(deposit, from)
    if (deposit.type === 'want') return this.#giveBoxAgain(deposit.record, deposit.loss, from)
    return this.#takeCipher(deposit.record, frames, from)
  }

  /** Also called by the custodian's own peer for its own share. */
  async takeShare(stored: ShareBox, from: PeerId): Promise<DepositAnswer> {
    const { shelf, ledger, sealKey, sign, chainId, log } = this.#options
    const entry = await this.#entryFrom(stored.record, from)
    if (entry === null) return refused('not-available')
    const opened = await openShareBox(stored, sealKey, entry, entry.owner)
    if (opened === null) {
      log.warn('share-refused', { record: stored.record, index: stored.index, from })
      return refused('share-invalid')
    }
    opened.share.fill(0)
    const kept = await shelf.keep(entry, stored, this.#isFresh())
    if (kept !== 'kept') return refused(kept)
    if (ledger.record(stored.record)?.withdrawn !== false) return refused('not-available')
    const signature = sign(ackSignedBytes(chainId, stored.record, stored.index, entry.shareRoot))
    log.info('share-deposited', { record: stored.record, index: stored.index })
    return { type: 'ack', signature }
  }

  /** What this validator signs when it has lost its share; null when it was dealt none. */
  loss({ record, shareRoot, dealtAt }: RecordFacts): ShareSignature | null {
    const { ledger, self, sign, chainId } = this.#options
    const validators = ledger.committeeAt(asHeight(dealtAt))?.validators ?? []
    const index = validators.findIndex(({ publicKey }) => identifierOf(publicKey) === self)
    return index < 0 ? null : { index, signature: sign(shareLossBytes({ chainId, record, index, shareRoot })) }
  }

  /** A validator's own box, to that validator, while the deal is still here (deposit.ts destroys it when all have signed). */
  async #giveBoxAgain(record: RecordId, loss: ShareSignature, from: PeerId): Promise<DepositAnswer> {
    const { vault, ledger, onLoss } = this.#options
    const asker = institutionOfPeer(ledger, from)
    if (asker === null || ledger.record(record)?.withdrawn !== false) return refused('not-available')
    const bytes = await vault.item(record, 'deal')
    const box = bytes === null ? undefined : decodeDeal(bytes)?.find(({ validator }) => validator === asker.id)
    if (box === undefined) {
      onLoss(record, loss, asker.id)
      return refused('not-available')
    }
    const { validator: _, ...rest } = box
    return { type: 'box', ...rest }
  }

  /** A share of a deal that will count when enough validators have signed for theirs. Also called by the custodian's own peer. */
  async takeNext(next: NextShare, from: PeerId): Promise<DepositAnswer> {
    const { shelf, ledger, sealKey, sign, chainId, nextBlock, clock, log } = this.#options
    const { record, intent, index, shareRoot, shareCount } = next
    const announced = await waitFor({
      found: () => (ledger.redeal(record)?.intent === intent ? ledger.redeal(record) : null),
      ...{ nextBlock, clock, ms: BLOCK_WAIT_MS },
    })
    const entry = ledger.record(record)
    if (announced === null || entry === null || entry.withdrawn || !this.#isFresh()) return refused('not-available')
    if (announced.custodian !== entry.custodian || !isPeerOf(ledger, entry.custodian, from))
      return refused('not-available')
    const validators = ledger.committeeAt(asHeight(announced.height))?.validators ?? []
    const own = validators[index]
    if (own === undefined || identifierOf(own.publicKey) !== this.#options.self || shareCount !== validators.length)
      return refused('share-invalid')
    const claim = { record, shareRoot, shareCount, keyCommit: entry.keyCommit }
    const opened = await openShareBox(next, sealKey, claim, entry.owner)
    if (opened === null) {
      log.warn('share-refused', { record, index, from })
      return refused('share-invalid')
    }
    opened.share.fill(0)
    const kept = await shelf.keepNext(entry, next)
    if (kept !== 'kept') return refused(kept)
    log.info('share-redeposited', { record, index })
    return { type: 'ack', signature: sign(redealAckBytes({ chainId, record, intent, index, shareRoot })) }
  }

  #isFresh(): boolean {
    const { ledger, freshness } = this.#options
    return freshness() <= ledger.parameters().stalenessMaxMs
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
