// The state from which a home's blocks go on, checked again from genesis: genesis itself, or the snapshot with which the home began, with the
// handovers, the headers and every chunk that prove it. For `emrm verify` and `emrm replay`, which trust nothing on disk.
// Not here: the blocks after it (verify-home.ts, replay.ts).

import type { Ledger } from '../ledger/ledger.ts'
import { type Entry, isChunk } from '../ledger/snapshot.ts'
import { EmrmError } from '../model/errors.ts'
import type { Digest, Height } from '../model/ids.ts'
import type { Storage } from '../ports.ts'
import { decodeChunk } from '../wire/codec.ts'
import { HANDOVERS_MAX } from './server.ts'
import { CommitteePath } from './trust.ts'

/** Height 0 when the home has its blocks from genesis on. */
export const baseHeight = (storage: Pick<Storage, 'base'>): Height => storage.base()?.at.header.height ?? (0 as Height)

/** Stands the ledger, which is at genesis, where the home's blocks go on. Throws EmrmError `snapshot-unproved`, `checkpoint-corrupt`. */
export async function standOnBase(ledger: Ledger, chainId: Digest, storage: Storage): Promise<void> {
  const anchor = storage.base()
  if (anchor === null) return
  const { height } = anchor.at.header
  const fail = (reason: string): never => {
    throw new EmrmError(
      'snapshot-unproved',
      `the snapshot at ${height}, with which this home began, does not follow from genesis (${reason}); move the data folder away and start again`,
      { height, reason },
    )
  }
  const committeeAt = (at: Height) => ledger.committeeAt(at)
  const path = new CommitteePath({ chainId, committeeAt, end: ledger.epochEnd() })
  while (path.end < anchor.next.header.height) {
    const handovers = await storage.handovers(path.end, HANDOVERS_MAX)
    if (handovers.length === 0) fail('handovers-missing')
    for (const handover of handovers) if (!path.follow(handover)) fail('handover')
  }
  const manifest = await storage.snapshots.manifest(height)
  if (manifest === null) return fail('manifest-missing')
  const lie = path.lieOf(anchor, manifest)
  if (lie !== null) fail(lie)
  const entries: Entry[] = []
  for (const [index, node] of manifest.nodes.entries()) {
    const bytes = await storage.snapshots.chunk(height, index)
    if (bytes === null) return fail('chunk-missing')
    const chunk = decodeChunk(bytes)
    if (!isChunk(chunk, { depth: manifest.depth, index, node })) fail('chunk-differs')
    for (const entry of chunk) entries.push(entry)
  }
  ledger.restore(new Map(entries), height, anchor.next.header.stateRoot, anchor.at)
}

/** What is asked for lies before this home's first block, or may: the answer "there is none" would be a lie. */
export const beforeSnapshot = (storage: Pick<Storage, 'base'>): EmrmError => {
  const from = baseHeight(storage) + 1
  return new EmrmError(
    'before-snapshot',
    `this hospital began with a snapshot and has the blocks from ${from} on; ask a hospital that has been there longer, or from this height on`,
    { from },
  )
}
