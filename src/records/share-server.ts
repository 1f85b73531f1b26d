// The door of a record's key: /emrm/share/1. A validator gives its share for a committed grant alone, when the grant still stands at a
// head that is fresh, and when its own hospital's rules do not withhold it; then it seals the share to the grant's recipient key
// (contract.md "Release"). Who cannot prove to be the requester learns nothing: all such answers are `not-available`.
// Not here: the rules (enforcer), the decision (access), the ciphertext (piece-server.ts).

import { EmrmError } from '../model/errors.ts'
import { digestOf } from '../model/hash.ts'
import type { PeerId, RecordId } from '../model/ids.ts'
import type { DenialReason, Grant } from '../model/operations.ts'
import type { Clock, Log } from '../ports.ts'
import { waitFor } from './deadline.ts'
import {
  decodeShareBox,
  decodeShareRequest,
  encodeShareAnswer,
  type ShareAnswer,
  type ShareRefusal,
  type ShareRequest,
} from './frames.ts'
import { institutionOfPeer, type LedgerView, type RecordFacts } from './ledger-view.ts'
import type { SealKey } from './seal.ts'
import { openShareBox, resealShare } from './shares.ts'
import type { Vault } from './vault.ts'

/** The reader's peer may be a block ahead of us. */
const BLOCK_WAIT_MS = 5_000

/** What this hospital says of a grant that the chain has made: it can only narrow. */
export type HouseAnswer = { readonly type: 'release' } | { readonly type: 'withhold'; readonly rule: string }

export type ShareServerOptions = {
  readonly vault: Vault
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
    const { vault, sealKey, log, enforce } = this.#options
    const house = await enforce(grant, entry)
    if (house.type === 'withhold') return refused('withheld', house.rule)
    const stored = await this.#storedShare(grant)
    if (stored === null) {
      this.#options.onDamage(grant.record)
      return refused('no-share')
    }
    const opened = await openShareBox(stored, sealKey, entry, entry.owner)
    if (opened === null) {
      log.error('share-unusable', { record: grant.record, held: (await vault.items(grant.record)).join(' ') })
      return refused('no-share')
    }
    const released = await resealShare({ opened, stored, grant: grant.grant, recipient })
    opened.share.fill(0)
    // Blocks were executed while we asked, read and sealed: a revocation among them counts.
    return this.#refusal(grant) ?? { type: 'released', ...released }
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

  async #storedShare(grant: Grant): Promise<ReturnType<typeof decodeShareBox>> {
    const { vault, log } = this.#options
    try {
      const bytes = await vault.item(grant.record, 'share')
      return bytes === null ? null : decodeShareBox(bytes)
    } catch (error) {
      if (!(error instanceof EmrmError) || error.code !== 'share-corrupt') throw error
      log.error('share-corrupt', { record: grant.record })
      return null
    }
  }
}

const refused = (reason: ShareRefusal, detail: string | DenialReason = ''): ShareAnswer => ({
  type: 'refused',
  reason,
  detail,
})

const NOT_AVAILABLE: ShareAnswer = refused('not-available')
