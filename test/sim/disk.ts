// A disk with a barrier: what is written is lost by a crash until the next fsync is through. Of writes on the way a crash keeps a
// prefix, of any length. Holds vote records and decided blocks, and outlives the process. Not here: a disk that lies about fsync.

import type { Block } from '../../src/model/block.ts'
import type { Height } from '../../src/model/ids.ts'
import type { DecideCertificate } from '../../src/model/messages.ts'
import type { VoteRecord } from '../../src/model/vote-record.ts'
import type { Random } from './random.ts'

export type Write =
  | { readonly type: 'vote'; readonly record: VoteRecord }
  | { readonly type: 'block'; readonly block: Block; readonly certificate: DecideCertificate }

export class Disk {
  readonly blocks: { readonly block: Block; readonly certificate: DecideCertificate }[] = []
  #slots = new Map<string, VoteRecord>()
  #unsynced: Write[] = []

  write(change: Write): void {
    this.#unsynced.push(change)
  }

  /** The barrier for the first `count` writes that wait. */
  sync(count: number): void {
    for (const change of this.#unsynced.splice(0, count)) this.#apply(change)
  }

  get waiting(): number {
    return this.#unsynced.length
  }

  crash(random: Random): void {
    this.sync(random.chance(0.5) ? 0 : random.between(0, this.#unsynced.length))
    this.#unsynced = []
  }

  lose(): void {
    this.blocks.length = 0
    this.#slots.clear()
    this.#unsynced = []
  }

  records(height: Height): VoteRecord[] {
    return [...this.#slots.values()].filter(record => record.height === height)
  }

  has(accept: (record: VoteRecord) => boolean): boolean {
    for (const record of this.#slots.values()) if (accept(record)) return true
    return false
  }

  #apply(change: Write): void {
    if (change.type === 'vote') {
      this.#slots.set(slotOf(change.record), change.record)
      return
    }
    const { block, certificate } = change
    this.blocks.push({ block, certificate })
    for (const [slot, record] of this.#slots) if (record.height <= block.header.height) this.#slots.delete(slot)
  }
}

/** As in model/vote-record.ts: a later record replaces the earlier one of its slot. */
function slotOf(record: VoteRecord): string {
  switch (record.type) {
    case 'view':
    case 'last-vote':
    case 'high-certificate':
      return `${record.height} ${record.type}`
    case 'own-proposal':
    case 'view-change':
      return `${record.height} ${record.type} ${record.message.view}`
    case 'body':
      return `${record.height} body ${record.block.id}`
  }
}
