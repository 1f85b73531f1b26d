// Destroys what this hospital holds of a record when the chain has erased it: pieces, the key share, shares that were still to be delivered.
// Without f+1 shares and the ciphertext, in which the commitment's salt stands, the digests on the chain say nothing to anybody. Then it
// signs for that on the chain. It looks at what is, not at what happens: a peer that was away, or whose vault came back from a backup,
// destroys as soon as it knows the erasure.
//
// What "destroyed" means, honestly: files are overwritten and unlinked, which reaches the blocks on a plain disk; a copy-on-write file system, a
// worn flash cell, a database's log, a snapshot and a backup keep their own copies, and are the operator's to destroy.
// Not here: when a record may be erased (ledger/erasure.ts).

import { EmrmError } from '../model/errors.ts'
import type { Identifier, RecordId } from '../model/ids.ts'
import type { Destroyable, RecordDestroyed, RequestResult } from '../model/operations.ts'
import type { Clock, Log } from '../ports.ts'
import type { GuardedVault } from './erasure-guard.ts'
import { institutionOf, type LedgerView } from './ledger-view.ts'
import type { ItemName } from './vault.ts'

/** When a receipt did not reach the chain. */
const AGAIN_MS = 30_000

export type EraserOptions = {
  readonly vault: GuardedVault
  readonly ledger: LedgerView
  /** This institution. */
  readonly self: Identifier
  readonly submit: (operation: RecordDestroyed) => Promise<RequestResult>
  readonly clock: Clock
  readonly log: Log
}

export class Eraser {
  readonly #options: EraserOptions
  /** Destroyed here, and not signed for yet. */
  readonly #unsigned = new Map<RecordId, ReadonlySet<Destroyable>>()
  #swept = -1
  #running: Promise<void> | null = null
  #isWanted = false
  #isStopped = false
  #cancel = (): void => undefined

  constructor(options: EraserOptions) {
    this.#options = options
  }

  /** After each block, and once at the start: destroys and signs what is due. A call while another runs makes that look again. */
  look(): Promise<void> {
    this.#isWanted = true
    this.#running ??= this.#work().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  /** Everything that is held of an erased record; answers what it was since the last receipt. */
  async destroy(record: RecordId): Promise<readonly Destroyable[]> {
    const { vault, log } = this.#options
    const found = new Set(this.#unsigned.get(record))
    // Twice: what was being written meanwhile goes too.
    for (let turn = 0; turn < 2; turn++) {
      for (const thing of await this.#heldOf(record)) found.add(thing)
      await vault.remove(record)
      await vault.settled(record)
    }
    this.#unsigned.set(record, found)
    const destroyed = [...found].sort()
    if (destroyed.length > 0) log.info('record-destroyed', { record, destroyed: destroyed.join(' ') })
    return destroyed
  }

  async #heldOf(record: RecordId): Promise<readonly Destroyable[]> {
    const { vault } = this.#options
    const items = await vault.items(record)
    const kept = (thing: Destroyable, ...names: ItemName[]): Destroyable[] =>
      names.some(name => items.includes(name)) ? [thing] : []
    const cipher = await vault.entry(record).then(
      entry => entry !== null,
      // A damaged list stands beside pieces.
      () => true,
    )
    return [
      ...(cipher ? (['ciphertext'] as const) : []),
      ...kept('deal', 'deal', 'redeal'),
      ...kept('share', 'share', 'next'),
    ]
  }

  async #work(): Promise<void> {
    const { vault, ledger, self, clock } = this.#options
    let hasFailed = false
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false
      const due = new Set(ledger.receiptsOwed(self))
      const count = ledger.erasedCount()
      if (count !== this.#swept) for (const record of await vault.list()) if (ledger.isErased(record)) due.add(record)
      for (const record of due) hasFailed = !(await this.#end(record)) || hasFailed
      if (!hasFailed) this.#swept = count
    }
    if (!hasFailed || this.#isStopped) return
    this.#cancel()
    this.#cancel = clock.after(AGAIN_MS, () => void this.look())
  }

  /** False when it has to be tried again. */
  async #end(record: RecordId): Promise<boolean> {
    const { ledger, self, log } = this.#options
    try {
      const destroyed = await this.destroy(record)
      // One that the authority removed has no voice on the chain any more.
      const isMember = institutionOf(ledger, self)?.removed === false
      if (isMember && !ledger.hasDestroyed(record, self)) {
        const { outcome } = await this.#options.submit({ type: 'record.destroyed', record, destroyed })
        // `already-exists`: the receipt of an earlier try.
        if (outcome.type !== 'done' && !('reason' in outcome && outcome.reason === 'already-exists')) return false
      }
      this.#unsigned.delete(record)
      return true
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      log.warn('record-not-destroyed', { record, reason: error.code })
      return false
    }
  }
}
