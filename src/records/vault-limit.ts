// How much a vault may hold, and how much it does: a limit that the hospital sets for what it stores, its own records and those of others
// alike. What would not fit is refused before its first byte when its size is known, else at the byte that is too many, and leaves nothing.
// Shares and other small items are counted and never refused: without them records that are here would be lost.
// Not here: a full disk, which each vault meets by itself and gives the same code.

import { EmrmError } from '../model/errors.ts'
import type { RecordId } from '../model/ids.ts'
import type { Vault } from './vault.ts'
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

  async function requireQuota(bytes: number): Promise<void> {
    if (quotaBytes === null) return
    const usedBytes = await used()
    if (usedBytes + promised + bytes > quotaBytes) throw vaultFull({ usedBytes, quotaBytes })
  }

  async function requireRoom(bytes: number): Promise<void> {
    await requireQuota(bytes)
    const freeBytes = await vault.freeBytes()
    if (freeBytes !== null && promised + bytes > freeBytes) throw vaultFull({ freeBytes })
  }

  async function* watched(source: AsyncIterable<Uint8Array>, own: { bytes: number }): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      await requireQuota(chunk.length)
      own.bytes += chunk.length
      promised += chunk.length
      yield chunk
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
    put: async (record, source) => {
      const own = { bytes: 0 }
      try {
        const entry = await vault.put(record, watched(source, own))
        change += entry.cipherSize
        return entry
      } finally {
        promised -= own.bytes
      }
    },
    putKnown: async (claim, leaves, pieces) => {
      await requireRoom(claim.cipherSize)
      promised += claim.cipherSize
      try {
        const entry = await vault.putKnown(claim, leaves, pieces)
        change += entry.cipherSize
        return entry
      } finally {
        promised -= claim.cipherSize
      }
    },
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
    requireRoom,
  }
}
