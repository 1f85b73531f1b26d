// What can be done with a home whose peer does not run: the same checks, on the same stores, with nothing else awake.
// Not here: a running peer (peer.ts).

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openLevelStorage } from './adapters/level-storage.ts'
import { openVault } from './adapters/open-vault.ts'
import type { PeerConfig } from './config.ts'
import { examineVault, type VaultExamination } from './records/vault-check.ts'
import { limitVault } from './records/vault-limit.ts'
import { type VerifyProgress, type VerifyReport, verifyHome } from './verify-home.ts'
import { genesisCommittee } from './wire/codec.ts'

/** Throws EmrmError `home-in-use`, `vault-unusable`, `vault-full`, … */
export async function examineVaultOffline(config: PeerConfig): Promise<VaultExamination> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  // Opening a vault clears away what nobody writes any more: with the store's lock nobody does.
  const storage = await openLevelStorage(join(config.dataDir, 'chain'))
  try {
    const { vault, close } = await openVault(config.vault)
    try {
      return await examineVault(limitVault(vault, config.vaultQuotaBytes))
    } finally {
      await close()
    }
  } finally {
    await storage.close()
  }
}

/** Throws EmrmError `home-in-use`, `store-corrupt`. */
export async function verifyOffline(config: PeerConfig, onProgress: VerifyProgress): Promise<VerifyReport> {
  const { genesis, chainId } = config
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  const storage = await openLevelStorage(join(config.dataDir, 'chain'))
  try {
    const { vault, close } = await openVault(config.vault)
    const chain = { genesis, chainId, committee: genesisCommittee(genesis) }
    // Who we are stands in a key that is locked: damage is found, what is missing is not.
    try {
      return await verifyHome({ storage, vault, ...chain, self: null, nowMs: Date.now(), onProgress })
    } finally {
      await close()
    }
  } finally {
    await storage.close()
  }
}
