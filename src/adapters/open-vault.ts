// Which kind of vault a hospital has: a folder, a PostgreSQL database, or a bucket. Not here: any of them.

import type { Vault } from '../records/vault.ts'
import type { VaultPlace } from '../vault-place.ts'
import { openFileVault } from './file-vault.ts'

/** Throws EmrmError `vault-unusable`. */
export async function openVault(place: VaultPlace): Promise<{ readonly vault: Vault; close(): Promise<void> }> {
  // The clients are loaded here: most hospitals have files, and their peers start without them.
  switch (place.type) {
    case 'folder':
      return { vault: await openFileVault(place.path), close: async () => undefined }
    case 'database': {
      const { openPostgresVault } = await import('./postgres-vault.ts')
      const vault = await openPostgresVault(place.url)
      return { vault, close: () => vault.close() }
    }
    case 'bucket': {
      const { openS3Vault } = await import('./s3-vault.ts')
      const vault = await openS3Vault(place)
      return { vault, close: () => vault.close() }
    }
  }
}
