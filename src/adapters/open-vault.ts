// Which kind of vault a hospital has: a folder, or a PostgreSQL database. Not here: either of them.

import type { Vault } from '../records/vault.ts'
import { openFileVault } from './file-vault.ts'

export type VaultPlace = { readonly vaultDir: string; readonly vaultUrl: string | null }

/** Throws EmrmError `vault-unusable`. */
export async function openVault(place: VaultPlace): Promise<{ readonly vault: Vault; close(): Promise<void> }> {
  if (place.vaultUrl === null) return { vault: await openFileVault(place.vaultDir), close: async () => undefined }
  // Loaded here: most hospitals have files, and their peers start without the driver.
  const { openPostgresVault } = await import('./postgres-vault.ts')
  const vault = await openPostgresVault(place.vaultUrl)
  return { vault, close: () => vault.close() }
}
