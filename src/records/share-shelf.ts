// This validator's own shares of records' keys: the one that counts, and the one of a deal that does not count yet. Which of them counts, the
// chain says: the share under the record's `shareRoot`. A new one takes the old one's place only then, and one at a time, so that a crash
// at any point leaves one of them whole. Not here: taking shares in (deposit-receiver.ts) and giving them out (share-server.ts).

import { EmrmError } from '../model/errors.ts'
import type { RecordId, RequestId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import { decodeNextShare, decodeShareBox, encodeNextShare, encodeShareBox, type NextShare } from './frames.ts'
import { isCommitted, type ShareBox, type ShareClaim } from './shares.ts'
import type { ItemName, Vault } from './vault.ts'

type Kept = 'kept' | 'other-share-held'

export class ShareShelf {
  readonly #vault: Vault
  readonly #log: Log
  /** The last step with each record that is under way: two at once could remove what the other has just put. */
  readonly #turns = new Map<RecordId, Promise<unknown>>()

  constructor({ vault, log }: { readonly vault: Vault; readonly log: Log }) {
    this.#vault = vault
    this.#log = log
  }

  /** The share that counts by this claim, null when there is none or it is damaged. */
  own(claim: ShareClaim): Promise<ShareBox | null> {
    return this.#inTurn(claim.record, () => this.#settle(claim))
  }

  /**
   * The first share stays: the reader counts on one share for each validator. One that does not count is replaced only by who knows the
   * head: to an old chain the newest share is such a one.
   */
  keep(claim: ShareClaim, box: ShareBox, isFresh: boolean): Promise<Kept> {
    return this.#inTurn(claim.record, async () => {
      const held = await this.#settle(claim)
      if (held === null && !isFresh && (await this.#read(box.record, 'share', decodeShareBox)) !== null)
        return 'other-share-held'
      if (held === null) await this.#vault.putItem(box.record, 'share', encodeShareBox(box))
      return held === null || held.index === box.index ? 'kept' : 'other-share-held'
    })
  }

  /** One for each announcement: a dealer that sends two could have one of them count and the other one be kept. */
  keepNext(claim: ShareClaim, next: NextShare): Promise<Kept> {
    return this.#inTurn(claim.record, async () => {
      await this.#settle(claim)
      const held = await this.#read(next.record, 'next', decodeNextShare)
      if (held?.intent === next.intent) return held.shareRoot === next.shareRoot ? 'kept' : 'other-share-held'
      await this.#vault.putItem(next.record, 'next', encodeNextShare(next))
      return 'kept'
    })
  }

  /** Throws away what counts no more. Only for who knows the head: an old chain would call a new share old. */
  tidy(claim: ShareClaim, announced: RequestId | null): Promise<void> {
    return this.#inTurn(claim.record, async () => {
      const { record } = claim
      await this.#settle(claim)
      const share = await this.#read(record, 'share', decodeShareBox)
      if (share !== null && !isCommitted(share, claim)) await this.#drop(record, 'share')
      const next = await this.#read(record, 'next', decodeNextShare)
      if (next !== null && next.intent !== announced) await this.#drop(record, 'next')
    })
  }

  async #settle(claim: ShareClaim): Promise<ShareBox | null> {
    const { record } = claim
    const next = await this.#read(record, 'next', decodeNextShare)
    if (next !== null && next.shareRoot === claim.shareRoot && isCommitted(next, claim)) {
      const { intent: _, shareRoot: __, shareCount: ___, ...box } = next
      await this.#vault.putItem(record, 'share', encodeShareBox(box))
      await this.#vault.removeItem(record, 'next')
      this.#log.info('share-renewed', { record, index: box.index })
      return box
    }
    const share = await this.#read(record, 'share', decodeShareBox)
    return share !== null && isCommitted(share, claim) ? share : null
  }

  async #drop(record: RecordId, item: 'share' | 'next'): Promise<void> {
    await this.#vault.removeItem(record, item)
    this.#log.info('share-dropped', { record, item })
  }

  /** A damaged one is none: what comes in takes its place. */
  async #read<T>(record: RecordId, item: ItemName, decode: (bytes: Uint8Array) => T | null): Promise<T | null> {
    try {
      const bytes = await this.#vault.item(record, item)
      return bytes === null ? null : decode(bytes)
    } catch (error) {
      if (!(error instanceof EmrmError) || error.code !== 'share-corrupt') throw error
      this.#log.error('share-corrupt', { record, item })
      return null
    }
  }

  #inTurn<T>(record: RecordId, step: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(record) ?? Promise.resolve()).then(step, step)
    this.#turns.set(record, turn)
    const done = (): void => {
      if (this.#turns.get(record) === turn) this.#turns.delete(record)
    }
    turn.then(done, done)
    return turn
  }
}
