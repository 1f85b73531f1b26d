// All that a peer does with snapshots, for the driver: it keeps them as it executes (writer.ts), serves them (server.ts), and when it is far
// behind begins with one (join.ts), which replaces its state as a whole. Not here: the blocks after it (catch-up.ts).

import type { Ledger } from '../ledger/ledger.ts'
import type { Block } from '../model/block.ts'
import { assert } from '../model/errors.ts'
import type { Digest, PeerId } from '../model/ids.ts'
import type { DecideCertificate } from '../model/messages.ts'
import type { Anchor, HandoverClaim } from '../model/snapshot.ts'
import type { Log, Network, Storage, StoredChange } from '../ports.ts'
import { makeJoiner } from './join.ts'
import { serveSnapshots } from './server.ts'
import { makeSnapshotWriter } from './writer.ts'

/** A peer with blocks of its own goes on from them, unless it is so many snapshots behind. */
const FAR_SNAPSHOTS = 2

type Options = {
  readonly chainId: Digest
  readonly ledger: Ledger
  readonly network: Network
  readonly storage: Storage
  readonly log: Log
  /** Resolves when all that was decided is stored. */
  readonly drained: () => Promise<void>
  readonly persist: (change: StoredChange) => void
  /** The state was replaced; the certificate of its height. */
  readonly onAdopted: (certificate: DecideCertificate) => void
  readonly onFatal: (error: unknown) => void
}

export type Snapshots = {
  /** Blocks above our head from which on a snapshot is fetched rather than the blocks. */
  far(): number
  /** True when the peer stands on a snapshot now. */
  join(peers: readonly PeerId[]): Promise<boolean>
  /** While the state is replaced nothing may be heard: what the replica works on is long decided. */
  isAdopting(): boolean
  /** To be called with `ledger.handover()` of before the block, after it was executed and stored. */
  executed(block: Block, certificate: DecideCertificate, handover: HandoverClaim | null): void
  stop(): Promise<void>
}

export function makeSnapshots(options: Options): Snapshots {
  const { chainId, ledger, network, storage, log } = options
  let adopting: Promise<void> | null = null
  const writer = makeSnapshotWriter({ storage, log })
  const joiner = makeJoiner({
    ...{ network, storage, log, far, adopt },
    known: () => ({ chainId, committeeAt: height => ledger.committeeAt(height), end: ledger.epochEnd() }),
    head: () => ledger.head().height,
  })
  serveSnapshots({ network, storage })

  /** A home with hardly a block of its own begins with a snapshot as soon as there can be one; another when the blocks that it lacks cost more. */
  function far(): number {
    const { snapshotBlocks } = ledger.views.parameters()
    return ledger.head().height < snapshotBlocks ? snapshotBlocks : FAR_SNAPSHOTS * snapshotBlocks
  }

  /** This peer signed nothing above the next height of its old head, which is below the snapshot's: it may go on from there. */
  async function adopt(anchor: Anchor): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    adopting = promise
    try {
      await options.drained()
      await storage.install(anchor)
      const { entries, height, root } = await storage.loadCheckpoint()
      assert(root !== null, 'an installed snapshot is a checkpoint')
      ledger.restore(entries, height, root, anchor.at)
    } catch (error) {
      options.onFatal(error)
      throw error
    } finally {
      adopting = null
      resolve()
    }
    options.onAdopted(anchor.at.certificate)
  }

  return {
    far,
    join: peers => joiner.join(peers),
    isAdopting: () => adopting !== null,
    executed({ header, id }, certificate, handover) {
      if (handover !== null) options.persist({ type: 'handover', handover: { header, id, certificate, ...handover } })
      const copy = ledger.snapshot()
      if (copy !== null) writer.take(copy)
    },
    async stop() {
      joiner.stop()
      await adopting
      await writer.stop()
    },
  }
}
