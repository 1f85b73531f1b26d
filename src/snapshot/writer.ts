// Keeps snapshots of this peer's state: at the heights that the chain's parameter names, in the background, chunk by chunk. The newest two
// stay, so that who fetches one can finish while the next is made, and the one with which this home began, since its blocks hang on it.
// Not here: what a chunk is (ledger/snapshot.ts), serving them (server.ts).

import { setImmediate as breath } from 'node:timers/promises'
import { chunksOf, type StateCopy } from '../ledger/snapshot.ts'
import { EmrmError } from '../model/errors.ts'
import type { Height } from '../model/ids.ts'
import type { Log, Storage } from '../ports.ts'
import { encodeChunk } from '../wire/codec.ts'

const KEPT = 2

export type SnapshotWriter = {
  /** Returns at once. Does nothing while the one before is still being written. */
  take(copy: StateCopy): void
  /** Resolves when nothing is being written any more; one that is not complete is left out and forgotten by the next start. */
  stop(): Promise<void>
}

export function makeSnapshotWriter(options: {
  readonly storage: Pick<Storage, 'snapshots' | 'base'>
  readonly log: Log
}): SnapshotWriter {
  const { log } = options
  const { snapshots } = options.storage
  let writing: Promise<void> | null = null
  let stopped = false

  async function write(copy: StateCopy): Promise<void> {
    const { height, depth, nodes } = copy
    await snapshots.begin({ height, depth, nodes })
    for (const chunk of chunksOf(copy)) {
      if (stopped) return
      if (chunk === null) await breath()
      else await snapshots.putChunk(height, chunk.index, encodeChunk(chunk.entries))
    }
    await snapshots.seal(height)
    log.info('snapshot-kept', { height, chunks: nodes.length, keys: copy.keys.length })
    await prune(height)
  }

  /** One that is not sealed and stands above is being fetched, and not ours. */
  async function prune(newest: Height): Promise<void> {
    const own = (await snapshots.list()).filter(({ height }) => height <= newest)
    const sealed = own.filter(snapshot => snapshot.sealed).map(({ height }) => height)
    const kept = new Set<Height | undefined>([...sealed.slice(-KEPT), options.storage.base()?.at.header.height])
    for (const { height } of own) if (!kept.has(height)) await snapshots.forget(height)
  }

  return {
    take(copy) {
      if (writing !== null || stopped) return log.warn('snapshot-left-out', { height: copy.height })
      writing = write(copy)
        .catch(error => {
          // A peer without this snapshot is whole; when the disk fails, the next vote says so.
          log.error('snapshot-failed', {
            height: copy.height,
            reason: error instanceof EmrmError ? error.code : String(error),
          })
        })
        .finally(() => {
          writing = null
        })
    },
    async stop() {
      stopped = true
      await writing
    },
  }
}
