// A vault that takes nothing of a record that the chain has erased, whoever brings it: a deposit that was on its way, a caretaker that means
// well, a custodian that deals again. What was being written when the record was erased is removed when the writing ends, and whoever signs
// for the destruction waits for that. Not here: the destruction (eraser.ts).

import { EmrmError } from '../model/errors.ts'
import type { RecordId } from '../model/ids.ts'
import type { Vault } from './vault.ts'

export type GuardedVault = Vault & {
  /** Resolves when nothing is being written of the record. */
  settled(record: RecordId): Promise<void>
}

/** `isErased`: at the head. */
export function guardErased(vault: Vault, isErased: (record: RecordId) => boolean): GuardedVault {
  const writing = new Map<RecordId, Set<Promise<unknown>>>()

  async function write<T>(record: RecordId, run: () => Promise<T>): Promise<T> {
    if (isErased(record)) throw recordErased(record)
    const work = run()
    // Whoever waits for it hears nothing of how it ended.
    const ended = work.catch(() => undefined).then(() => (isErased(record) ? vault.remove(record) : undefined))
    const others = writing.get(record) ?? new Set()
    writing.set(record, others.add(ended))
    try {
      const result = await work
      if (!isErased(record)) return result
      await ended
      throw recordErased(record)
    } finally {
      await ended.finally(() => others.delete(ended) && others.size === 0 && writing.delete(record))
    }
  }

  const guards: Omit<GuardedVault, Exclude<keyof Vault, 'put' | 'putKnown' | 'mendPiece' | 'putItem' | 'piece'>> = {
    put: (record, source) => write(record, () => vault.put(record, source)),
    putKnown: (claim, leaves, pieces) => write(claim.record, () => vault.putKnown(claim, leaves, pieces)),
    mendPiece: (record, index, bytes) => write(record, () => vault.mendPiece(record, index, bytes)),
    putItem: (record, item, bytes) => write(record, () => vault.putItem(record, item, bytes)),
    piece: async (record, index) => {
      if (isErased(record)) throw recordErased(record)
      return vault.piece(record, index)
    },
    settled: async record => {
      await Promise.allSettled(writing.get(record) ?? [])
    },
  }
  // What neither writes nor gives out pieces is the vault's own.
  return Object.assign(Object.create(vault) as Vault, guards)
}

const recordErased = (record: RecordId): EmrmError =>
  new EmrmError('record-erased', `record ${record} was erased; nothing of it is kept or given any more`, { record })
