// How much a vault may hold, and how much it does: a limit that the hospital sets for what it stores, its own records and those of others
// alike. What would not fit is refused before its first byte when its size is known, else at the byte that is too many, and leaves nothing.
// Shares and other small items are counted and never refused: without them records that are here would be lost.
// Not here: a full disk, which each vault meets by itself and gives the same code.

import { EmrmError } from '../model/errors.ts'
import type { RecordId } from '../model/ids.ts'
import type { Vault, VaultEntry } from './vault.ts'
import { vaultFull } from './vault-rules.ts'

export type VaultUsage = {
  readonly usedBytes: number
  /** Null without a limit. */
  readonly quotaBytes: number | null
  /** What the store could still take; null when it does not say. */
  readonly freeBytes: number | null
}

export type LimitedVault = Vault & {
  usage(): Promise<VaultUsage>
  /** The same without waiting; the first call begins to count. */
  lastUsage(): { readonly usedBytes: number | null; readonly quotaBytes: number | null }
  /** For bytes that are about to come. Throws EmrmError `vault-full`. */
  requireRoom(bytes: number): Promise<void>
}

export function limitVault(vault: Vault, quotaBytes: number | null): LimitedVault {
  /** As last counted; null before anybody asked. Counting walks through everything, so it happens seldom. */
  let counted: Promise<number> | null = null
  let isCounting = false
  let lastCount: number | null = null
  /** Since the last count began. */
  let change = 0
  /** Of what is on its way in. */
  let promised = 0

  function count(): Promise<number> {
    change = 0
    isCounting = true
    const found = vault.usedBytes().finally(() => {
      isCounting = false
    })
    found.then(
      bytes => {
        lastCount = bytes
      },
      () => {
        if (counted === found) counted = null
      },
    )
    counted = found
    return found
  }

  const used = async (): Promise<number> => {
    const bytes = await (counted ?? count())
    return bytes + change
  }

  function removed(bytes: number): void {
    // A count that runs may have missed it already: rather too much than too little until the next one.
    if (!isCounting) change -= bytes
  }

  /** Looks and takes in one step, with nothing awaited between: two that come at once see each other. */
  async function promise(bytes: number, own: { bytes: number }): Promise<void> {
    if (quotaBytes !== null) {
      const last = await (counted ?? count())
      const usedBytes = last + change
      if (usedBytes + promised + bytes > quotaBytes) throw vaultFull({ usedBytes, quotaBytes })
    }
    own.bytes += bytes
    promised += bytes
  }

  async function requireFree(bytes: number): Promise<void> {
    const freeBytes = await vault.freeBytes()
    if (freeBytes !== null && bytes > freeBytes) throw vaultFull({ freeBytes })
  }

  async function* watched(source: AsyncIterable<Uint8Array>, own: { bytes: number }): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      await promise(chunk.length, own)
      yield chunk
    }
  }

  /** What was promised is either there or given up when `work` is done. */
  async function storing(work: (own: { bytes: number }) => Promise<VaultEntry>): Promise<VaultEntry> {
    const own = { bytes: 0 }
    try {
      const entry = await work(own)
      change += entry.cipherSize
      return entry
    } finally {
      promised -= own.bytes
    }
  }

  /** Null when the list is damaged. */
  async function sizeOf(record: RecordId): Promise<number | null> {
    try {
      return (await vault.entry(record))?.cipherSize ?? 0
    } catch (error) {
      if (error instanceof EmrmError && error.code === 'piece-corrupt') return null
      throw error
    }
  }

  async function remove(record: RecordId, take: () => Promise<void>): Promise<void> {
    if (counted === null) return take()
    const size = await sizeOf(record)
    await take()
    if (size === null) counted = null
    else removed(size)
  }

  return {
    ...vault,
    put: (record, source) => storing(own => vault.put(record, watched(source, own))),
    putKnown: (claim, leaves, pieces) =>
      storing(async own => {
        await promise(claim.cipherSize, own)
        await requireFree(claim.cipherSize)
        return vault.putKnown(claim, leaves, pieces)
      }),
    removeCipher: record => remove(record, () => vault.removeCipher(record)),
    remove: record => remove(record, () => vault.remove(record)),
    sweep: async () => {
      await vault.sweep()
      if (counted !== null) await count()
    },
    lastUsage: () => {
      // Who asks for the usage itself hears why it fails.
      used().catch(() => undefined)
      return { usedBytes: lastCount === null ? null : lastCount + change, quotaBytes }
    },
    usage: async () => ({ usedBytes: await used(), quotaBytes, freeBytes: await vault.freeBytes() }),
    requireRoom: async bytes => {
      const own = { bytes: 0 }
      await promise(bytes, own)
      promised -= own.bytes
      await requireFree(bytes)
    },
  }
}
