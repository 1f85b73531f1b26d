// A record's key follows the committee: when hospitals join or leave it, the custodian announces on the chain that it will deal the key anew,
// collects t of the old shares against that announcement, makes the key, checks it (`keyCommit`), deals it to the present committee, forgets
// it, and has the chain count the new deal when 2f+1 have signed for their shares. Until then the old shares stand, so a crash at any point
// leaves the record as readable as before. The same is done when a validator has lost its share with its disk. One record at a time, by itself, slowly: nobody waits for it.
// Not here: what the chain demands (ledger/redeals.ts), the validators' side (share-server.ts, deposit-receiver.ts, share-shelf.ts).

import type { Committee } from '../model/committee.ts'
import { EmrmError } from '../model/errors.ts'
import { digestOf, fromHex, identifierOf } from '../model/hash.ts'
import { asHeight, type Digest, type Identifier, type RecordId, type RequestId } from '../model/ids.ts'
import type { Operation, RequestResult, ShareSignature } from '../model/operations.ts'
import { acksNeeded, dealStands, shareLossBytes } from '../model/redeal.ts'
import { collectShares } from './collect.ts'
import {
  type Acknowledgement,
  type DealtBox,
  decodePendingDeal,
  encodeAcks,
  encodeDeal,
  encodePendingDeal,
  type PendingDeal,
} from './frames.ts'
import { presentCommittee, type RecordFacts, sealersOf } from './ledger-view.ts'
import { type DeliveryOptions, deliverBoxes } from './redeal-delivery.ts'
import { createSealKey, type SealKey } from './seal.ts'
import type { ShareServer } from './share-server.ts'
import { combineShares, dealShares, type OpenedShare, openReleasedShare } from './shares.ts'
import type { Vault } from './vault.ts'

/** Between two records: at most so fast do the shares of a hospital's records move. */
const RECORD_PAUSE_MS = 200
const FIRST_LOOK_MS = 5_000
const LOOK_EVERY_MS = 15_000
/** Who says every hour that it has lost its share makes no more work than this. */
const LOSS_AGAIN_MS = 24 * 60 * 60_000
/** Of a request that the network did not take: the next one would wait as long. */
const CHAIN_STANDS: readonly string[] = ['request-timeout', 'mempool-full']
/** Announcements whose secret key is kept, so that a second try needs no second announcement. */
const ANNOUNCED_MAX = 1000
/** All records are looked at again so often without a change of the committee: custody may have come to us. */
const LOOK_AGAIN_MS = 10 * 60_000
const COLLECT_MS = 60_000

export type RedealerOptions = DeliveryOptions & {
  readonly vault: Vault
  /** This peer's own share. */
  readonly shares: ShareServer
  readonly submit: (operation: Operation) => Promise<RequestResult>
  /** A new deal counts, and some of its boxes are not delivered. */
  readonly onDealt: (record: RecordId) => void
  /** This institution. */
  readonly self: Identifier
}

/** `waiting`: an announcement or signatures are missing now; it is tried again. */
export type Redealt = 'dealt' | 'not-due' | 'shares-insufficient' | 'waiting'

export type RedealReport = {
  /** Records of this institution whose key lies with a former committee, or of which a share is lost. */
  readonly due: number
  /** Dealt anew since the start. */
  readonly dealt: number
  /** Why the last one that could not be dealt could not; null when none. */
  readonly lastFailure: string | null
}

type Announced = { readonly intent: RequestId; readonly recipient: SealKey }

export class Redealer {
  readonly #options: RedealerOptions
  readonly #stopping = new AbortController()
  #cancel = (): void => undefined
  #due = 0
  #dealt = 0
  #lastFailure: string | null = null
  #turn: Promise<unknown> = Promise.resolve()
  readonly #losses = new Map<
    RecordId,
    { readonly shareRoot: Digest; readonly signed: ReadonlyMap<number, Uint8Array> }
  >()
  /** When a lost share was last mended by a new deal, on the steady clock. */
  readonly #mended = new Map<RecordId, number>()
  /** Rounds in a row that left something due: each waits twice as long as the one before. */
  #failedRounds = 0
  readonly #announced = new Map<RecordId, Announced>()
  /** Records of which boxes of a deal that did not count yet are on disk; found once, kept right afterwards. */
  #open: Set<RecordId> | null = null
  /** Committee for which nothing was due, and when that was seen. */
  #settled: { readonly committee: Digest; readonly at: number } | null = null

  constructor(options: RedealerOptions) {
    this.#options = options
  }

  start(): void {
    this.#lookLater(FIRST_LOOK_MS)
  }

  stop(): void {
    this.#stopping.abort()
    this.#cancel()
  }

  report(): RedealReport {
    return { due: this.#due, dealt: this.#dealt, lastFailure: this.#lastFailure }
  }

  /** A validator says that its share is lost; what it did not sign as the one that it was dealt to is nothing. */
  noteLoss(record: RecordId, { index, signature }: ShareSignature, by: Identifier): void {
    const { ledger, self, chainId, verifySignature, clock, log } = this.#options
    const entry = ledger.record(record)
    if (entry === null || entry.withdrawn || entry.custodian !== self) return
    const validator = ledger.committeeAt(asHeight(entry.dealtAt))?.validators[index]
    if (validator === undefined || identifierOf(validator.publicKey) !== by) return
    const { shareRoot } = entry
    const signed = shareLossBytes({ chainId, record, index, shareRoot })
    if (!verifySignature(validator.publicKey, signed, signature)) return
    const mendedAt = this.#mended.get(record)
    if (mendedAt !== undefined && clock.steadyMs() - mendedAt < LOSS_AGAIN_MS) return
    const known = this.#losses.get(record)
    const before = known?.shareRoot === shareRoot ? known.signed : new Map<number, Uint8Array>()
    this.#losses.set(record, { shareRoot, signed: new Map([...before, [index, signature]]) })
    this.#settled = null
    log.info('share-loss-noted', { record, index, validator: by })
  }

  /** For the announcement: of the shares under the record's present root. */
  #lossesOf(entry: RecordFacts): readonly ShareSignature[] {
    const known = this.#losses.get(entry.record)
    if (known?.shareRoot !== entry.shareRoot) return []
    return [...known.signed].map(([index, signature]) => ({ index, signature })).sort((a, b) => a.index - b.index)
  }

  #isDue(entry: RecordFacts): boolean {
    const { ledger } = this.#options
    const dealt = ledger.committeeAt(asHeight(entry.dealtAt))
    const stands = dealt !== null && dealStands(dealt, presentCommittee(ledger))
    return !entry.withdrawn && (!stands || this.#lossesOf(entry).length > 0)
  }

  /** Records of this institution whose key does not lie, whole, with the present committee. */
  due(): readonly RecordId[] {
    const { ledger, self } = this.#options
    return ledger.recordIdsOf(self).filter(record => {
      const entry = ledger.record(record)
      return entry !== null && this.#isDue(entry)
    })
  }

  /** All that is due, once. */
  async round(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options
    this.#open ??= await this.#findOpen()
    const dueNow = this.due()
    const due = [...new Set([...this.#open, ...dueNow])]
    this.#due = dueNow.length
    this.#lastFailure = null
    if (due.length > 0) log.info('redeal-due', { records: due.length })
    for (const [i, record] of due.entries()) {
      if (signal.aborted) return
      if (i > 0) await new Promise<void>(resolve => void clock.after(RECORD_PAUSE_MS, resolve))
      const result = await this.redeal(record, signal).catch(error => this.#failureOf(record, error))
      if (result !== 'dealt' && result !== 'not-due') this.#lastFailure = result
    }
    this.#due = this.due().length
  }

  /** One record that fails must not keep the others waiting, unless the chain is what failed. */
  #failureOf(record: RecordId, error: unknown): string {
    if (!(error instanceof EmrmError) || CHAIN_STANDS.includes(error.code)) throw error
    this.#options.log.warn('redeal-failed', { record, reason: error.code })
    return error.code
  }

  async #findOpen(): Promise<Set<RecordId>> {
    const { vault } = this.#options
    const found = new Set<RecordId>()
    for (const record of await vault.list()) if ((await vault.items(record)).includes('redeal')) found.add(record)
    return found
  }

  /** One record, after the one that is under way. Throws what `submit` throws: the chain does not move now. */
  redeal(record: RecordId, outer: AbortSignal): Promise<Redealt> {
    const signal = AbortSignal.any([outer, this.#stopping.signal])
    const turn = this.#turn.then(() => this.#redeal(record, signal))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #redeal(record: RecordId, signal: AbortSignal): Promise<Redealt> {
    const { ledger, self, log } = this.#options
    const entry = ledger.record(record)
    const found = await this.#pending(record)
    const kept = found !== null && this.#targetOf(record, found.intent) !== null ? found : null
    // A crash came between the chain and our own disk.
    if (found !== null && found.shareRoot === entry?.shareRoot) await this.#finish(found, [])
    else if (kept === null) await this.#forget(record)
    if (entry === null || entry.custodian !== self || !this.#isDue(entry)) return 'not-due'
    const pending = kept ?? (await this.#dealAnew(entry, signal))
    if (typeof pending === 'string') return pending
    const target = this.#targetOf(record, pending.intent)
    if (target === null) return 'waiting'
    const acks = await deliverBoxes(this.#options, entry, pending, acksNeeded(target), signal)
    log.debug('redeal-acknowledged', { record, acks: acks.length, needed: acksNeeded(target) })
    if (acks.length < acksNeeded(target)) return 'waiting'
    const { intent, shareRoot, shareCount, threshold } = pending
    const { outcome } = await this.#options.submit({
      ...{ type: 'record.reshare', record, intent, shareRoot, shareCount, threshold },
      acks: acks.map(({ index, signature }) => ({ index, signature })),
    })
    if (outcome.type !== 'done') {
      await this.#forget(record)
      return 'waiting'
    }
    await this.#finish(pending, acks)
    if (this.#losses.delete(record)) this.#mended.set(record, this.#options.clock.steadyMs())
    this.#dealt++
    log.info('record-redealt', { record, validators: shareCount, threshold, acknowledged: acks.length })
    return 'dealt'
  }

  /** Null when the chain refuses. One that still stands is used again: each is a request in everybody's chain. */
  async #announce(entry: RecordFacts): Promise<Announced | null> {
    const { record } = entry
    const { ledger, clock, submit } = this.#options
    const known = this.#announced.get(record)
    const standing = ledger.redeal(record)
    if (known !== undefined && standing !== null && clock.nowMs() + COLLECT_MS < standing.expires)
      if (this.#targetOf(record, known.intent) !== null) return known
    const recipient = createSealKey()
    const { request, outcome } = await submit({
      ...{ type: 'record.redeal', record, recipient: digestOf(recipient.publicBytes) },
      losses: this.#lossesOf(entry),
    })
    if (outcome.type !== 'done') return null
    const [oldest] = this.#announced.keys()
    if (oldest !== undefined && this.#announced.size >= ANNOUNCED_MAX) this.#announced.delete(oldest)
    const announced = { intent: request, recipient }
    this.#announced.set(record, announced)
    return announced
  }

  /** The committee that an announcement deals to; null when it does not stand any more, or the committee has changed again. */
  #targetOf(record: RecordId, intent: RequestId): Committee | null {
    const { ledger } = this.#options
    const announced = ledger.redeal(record)
    const target = announced?.intent === intent ? ledger.committeeAt(asHeight(announced.height)) : null
    return target !== null && dealStands(target, presentCommittee(ledger)) ? target : null
  }

  /** Announces, collects, deals; the boxes are on disk when this resolves, and the key is nowhere. */
  async #dealAnew(entry: RecordFacts, signal: AbortSignal): Promise<PendingDeal | Redealt> {
    const { vault, ledger, network, shares: local, clock, log } = this.#options
    const { record, owner } = entry
    const announced = await this.#announce(entry)
    if (announced === null) return 'waiting'
    const { intent, recipient } = announced
    const wanted = { entry, grant: intent, recipient: recipient.publicBytes, isRedeal: true as const }
    const { shares, refusals } = await collectShares(
      { ledger, network, local, clock },
      { ...wanted, signal: AbortSignal.any([signal, AbortSignal.timeout(COLLECT_MS)]) },
    )
    const opened: OpenedShare[] = []
    for (const share of shares) {
      const one = await openReleasedShare(share, recipient, entry, intent)
      if (one !== null) opened.push(one)
    }
    const combined = await combineShares(opened, entry, entry.threshold)
    for (const { share } of opened) share.fill(0)
    if (combined.type === 'insufficient') {
      const why = refusals.map(({ institution, reason }) => `${institution} ${reason}`).join(', ')
      log.warn('redeal-shares-insufficient', { record, have: combined.have, need: combined.need, refusals: why })
      return 'shares-insufficient'
    }
    try {
      const target = this.#targetOf(record, intent)
      if (target === null) return 'waiting'
      const { f, n } = target.quorum
      const validators = sealersOf(ledger, target)
      const threshold = Math.max(2, f + 1, Math.min(ledger.parameters().shareThreshold, n - f))
      const sealKeys = validators.map(({ sealKey }) => fromHex(sealKey))
      const deal = await dealShares({ contentKey: combined.contentKey, record, owner, threshold, sealKeys })
      const boxes = deal.boxes.map((box, i): DealtBox => ({ ...box, validator: validators[i]!.id }))
      const { shareRoot, shareCount } = deal.claim
      const pending = { intent, shareRoot, shareCount, threshold, boxes }
      await vault.putItem(record, 'redeal', encodePendingDeal(pending))
      this.#open?.add(record)
      this.#announced.delete(record)
      return pending
    } finally {
      combined.contentKey.fill(0)
    }
  }

  /** The chain counts the new deal: what is not delivered goes the way of an upload's boxes (deposit.ts). In this order, for a crash between. */
  async #finish({ boxes }: PendingDeal, acks: readonly Acknowledgement[]): Promise<void> {
    const { vault, onDealt } = this.#options
    const record = boxes[0]?.record
    if (record === undefined) return
    await vault.putItem(record, 'acks', encodeAcks(acks))
    if (acks.length < boxes.length) await vault.putItem(record, 'deal', encodeDeal(boxes))
    else await vault.removeItem(record, 'deal')
    await this.#forget(record)
    if (acks.length < boxes.length) onDealt(record)
  }

  async #forget(record: RecordId): Promise<void> {
    await this.#options.vault.removeItem(record, 'redeal')
    this.#open?.delete(record)
  }

  async #pending(record: RecordId): Promise<PendingDeal | null> {
    try {
      const bytes = await this.#options.vault.item(record, 'redeal')
      return bytes === null ? null : decodePendingDeal(bytes)
    } catch (error) {
      // Made again.
      if (error instanceof EmrmError && error.code === 'share-corrupt') return null
      throw error
    }
  }

  #lookLater(ms: number): void {
    const { clock, ledger, log } = this.#options
    this.#cancel = clock.after(ms, async () => {
      try {
        const committee = presentCommittee(ledger).hash
        const at = clock.steadyMs()
        const isSettled = this.#settled?.committee === committee && at - this.#settled.at < LOOK_AGAIN_MS
        if (!isSettled) await this.round(this.#stopping.signal)
        if (!isSettled) this.#settled = this.#due === 0 ? { committee, at } : null
        this.#failedRounds = this.#due === 0 ? 0 : this.#failedRounds + 1
      } catch (error) {
        this.#failedRounds++
        this.#lastFailure = error instanceof EmrmError ? error.code : String(error)
        if (!this.#stopping.signal.aborted) log.warn('redeal-failed', { reason: this.#lastFailure })
      }
      const waitMs = Math.min(LOOK_EVERY_MS * 2 ** this.#failedRounds, LOOK_AGAIN_MS)
      if (!this.#stopping.signal.aborted) this.#lookLater(waitMs)
    })
  }
}
