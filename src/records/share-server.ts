// The door of a record's key: /emrm/share/1. A validator gives its share for a committed grant alone, when the grant still stands at a
// head that is fresh, and when its own hospital's rules do not withhold it; then it seals the share to the grant's recipient key
// (contract.md "Release"). Who cannot prove to be the requester learns nothing: all such answers are `not-available`.
// To a record's custodian a share is also given to deal the key anew, against that announcement on the chain alone.
// Not here: the rules (enforcer), the decision (access), the ciphertext (piece-server.ts).

import { digestOf } from '../model/hash.ts'
import { asHeight, type PeerId, type RecordId } from '../model/ids.ts'
import type { DenialReason, Grant } from '../model/operations.ts'
import { dealStands } from '../model/redeal.ts'
import type { Clock, Log } from '../ports.ts'
import { waitFor } from './deadline.ts'
import {
  decodeShareRequest,
  encodeShareAnswer,
  type ShareAnswer,
  type ShareRefusal,
  type ShareRequest,
} from './frames.ts'
import {
  institutionOfPeer,
  type LedgerView,
  presentCommittee,
  type RecordFacts,
  type RedealFacts,
} from './ledger-view.ts'
import type { SealKey } from './seal.ts'
import type { ShareShelf } from './share-shelf.ts'
import { openShareBox, resealShare } from './shares.ts'
import type { Vault } from './vault.ts'

/** The reader's peer may be a block ahead of us. */
const BLOCK_WAIT_MS = 5_000

/** What this hospital says of a grant that the chain has made: it can only narrow. */
export type HouseAnswer = { readonly type: 'release' } | { readonly type: 'withhold'; readonly rule: string }

export type ShareServerOptions = {
  readonly vault: Vault
  readonly shelf: ShareShelf
  readonly ledger: LedgerView
  /** This validator's share is damaged or missing. */
  readonly onDamage: (record: RecordId) => void
  readonly sealKey: SealKey
  /** Milliseconds since a quorum confirmed that our head is the head; grows while we are cut off. */
  readonly freshness: () => number
  /** May take time: the rules may live in a thread of their own. */
  readonly enforce: (grant: Grant, record: RecordFacts) => HouseAnswer | Promise<HouseAnswer>
  readonly nextBlock: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

export class ShareServer {
  readonly #options: ShareServerOptions

  constructor(options: ShareServerOptions) {
    this.#options = options
  }

  /** Handler of PROTOCOLS.share. */
  async *handle(request: AsyncIterable<Uint8Array>, from: PeerId): AsyncGenerator<Uint8Array> {
    for await (const frame of request) {
      const asked = decodeShareRequest(frame)
      yield encodeShareAnswer(asked === null ? NOT_AVAILABLE : await this.answer(asked, from))
      return
    }
  }

  /** Also called by this peer for its own users. */
  async answer(request: ShareRequest, from: PeerId): Promise<ShareAnswer> {
    const { ledger, nextBlock, clock, log } = this.#options
    if (institutionOfPeer(ledger, from) === null) return NOT_AVAILABLE
    if (request.redeal !== undefined) return this.#answerCustodian(request, request.redeal, from)
    const found = (): Grant | null => ledger.grant(request.grant)
    const grant = await waitFor({ found, nextBlock, clock, ms: BLOCK_WAIT_MS })
    // The key itself is known to the requester alone; the chain carries its digest.
    if (grant === null || digestOf(request.recipient) !== grant.recipient) return NOT_AVAILABLE
    const answer = await this.#release(grant, request.recipient)
    const { record } = grant
    if (answer.type === 'released')
      log.info('share-released', { grant: grant.grant, record, index: answer.index, from })
    else log.info('share-withheld', { grant: grant.grant, record, reason: answer.reason, detail: answer.detail, from })
    return answer
  }

  async #release(grant: Grant, recipient: Uint8Array): Promise<ShareAnswer> {
    const before = this.#refusal(grant)
    if (before !== null) return before
    const entry = this.#options.ledger.record(grant.record)
    if (entry === null) return NOT_AVAILABLE
    const house = await this.#options.enforce(grant, entry)
    if (house.type === 'withhold') return refused('withheld', house.rule)
    const released = await this.#reseal(entry, grant.grant, recipient)
    // Blocks were executed while we asked, read and sealed: a revocation among them counts.
    return this.#refusal(grant) ?? released
  }

  async #reseal(entry: RecordFacts, grant: Grant['grant'], recipient: Uint8Array): Promise<ShareAnswer> {
    const { vault, shelf, sealKey, log } = this.#options
    const { record } = entry
    const stored = await shelf.own(entry)
    if (stored === null) {
      this.#options.onDamage(record)
      return refused('no-share')
    }
    const opened = await openShareBox(stored, sealKey, entry, entry.owner)
    if (opened === null) {
      log.error('share-unusable', { record, held: (await vault.items(record)).join(' ') })
      return refused('no-share')
    }
    const released = await resealShare({ opened, stored, grant, recipient })
    opened.share.fill(0)
    return { type: 'released', ...released }
  }

  /**
   * The house's rules are not asked: they speak of who may read, and a hospital that kept its share back from the next committee would
   * bury the record with itself.
   */
  async #answerCustodian(
    { grant: intent, recipient }: ShareRequest,
    record: RecordId,
    from: PeerId,
  ): Promise<ShareAnswer> {
    const { ledger, nextBlock, clock, log } = this.#options
    const found = (): RedealFacts | null => (ledger.redeal(record)?.intent === intent ? ledger.redeal(record) : null)
    const announced = await waitFor({ found, nextBlock, clock, ms: BLOCK_WAIT_MS })
    const entry = ledger.record(record)
    const asker = institutionOfPeer(ledger, from)?.id
    if (announced === null || entry === null || asker !== entry.custodian || announced.custodian !== asker)
      return NOT_AVAILABLE
    if (digestOf(recipient) !== announced.recipient) return NOT_AVAILABLE
    const before = this.#redealRefusal(announced)
    const released = before ?? (await this.#reseal(entry, intent, recipient))
    const answer = this.#redealRefusal(announced) ?? released
    if (answer.type === 'released') log.info('share-released-to-redeal', { record, intent, index: answer.index, from })
    else log.info('share-withheld', { record, grant: intent, reason: answer.reason, from })
    return answer
  }

  #redealRefusal({ record, intent, height, expires }: RedealFacts): ShareAnswer | null {
    const { ledger, freshness, clock } = this.#options
    if (ledger.redeal(record)?.intent !== intent) return NOT_AVAILABLE
    if (ledger.record(record)?.withdrawn !== false) return refused('record-withdrawn')
    if (ledger.head().timestamp >= expires || clock.nowMs() >= expires) return refused('grant-expired')
    if (freshness() > ledger.parameters().stalenessMaxMs) return refused('policy-stale')
    const target = ledger.committeeAt(asHeight(height))
    const present = presentCommittee(ledger)
    return target === null || !dealStands(target, present) ? refused('grant-expired') : null
  }

  /** Null when nothing on the chain stands against the release at this moment. */
  #refusal(grant: Grant): ShareAnswer | null {
    const { ledger, freshness, clock } = this.#options
    const entry = ledger.record(grant.record)
    if (entry === null) return NOT_AVAILABLE
    if (entry.withdrawn) return refused('record-withdrawn')
    if (ledger.head().timestamp >= grant.expires || clock.nowMs() >= grant.expires) return refused('grant-expired')
    if (freshness() > ledger.parameters().stalenessMaxMs) return refused('policy-stale')
    const reason = ledger.standing(grant)
    return reason === null ? null : refused('policy-revoked', reason)
  }
}

const refused = (reason: ShareRefusal, detail: string | DenialReason = ''): ShareAnswer => ({
  type: 'refused',
  reason,
  detail,
})

const NOT_AVAILABLE: ShareAnswer = refused('not-available')
