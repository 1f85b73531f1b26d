// What can be done with a home whose peer does not run: the same checks, on the same stores, with nothing else awake.
// Not here: a running peer (peer.ts).

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openLevelStorage } from './adapters/level-storage.ts'
import { openVault } from './adapters/open-vault.ts'
import type { PeerConfig } from './config.ts'
import { type VerifyProgress, type VerifyReport, verifyHome } from './verify-home.ts'
import { genesisCommittee } from './wire/codec.ts'

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
