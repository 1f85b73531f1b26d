// A store that lasts as long as the process: for the simulation and for tests. Same promises as LevelDB's (test/contract), except that
// nothing of it survives. Not here: the order in which a peer writes (driver, outbox).

import { assert } from '../model/errors.ts'
import type { BlockId, Digest, Height, RequestId } from '../model/ids.ts'
import type { Anchor, Handover, Manifest } from '../model/snapshot.ts'
import type { VoteRecord } from '../model/vote-record.ts'
import type { SnapshotStore, Storage, StoredBlock, StoredChange } from '../ports.ts'
import { decodeChunk, encodeStoredBlock } from '../wire/codec.ts'

export function makeMemoryStorage(): Storage {
  const blocks = new Map<Height, StoredBlock>()
  const heights = new Map<BlockId, Height>()
  const requests = new Map<RequestId, { readonly height: Height; readonly index: number }>()
  const votes = new Map<Height, Map<string, VoteRecord>>()
  const entries = new Map<string, Uint8Array>()
  let head = 0 as Height
  let checkpoint: { readonly height: Height; readonly root: Digest | null } = { height: 0 as Height, root: null }

  let base: Anchor | null = null
  const handovers = new Map<Height, Handover>()
  const snapshots = makeMemorySnapshots()

  const apply = (change: StoredChange): void => {
    switch (change.type) {
      case 'vote': {
        const slots = votes.get(change.record.height) ?? new Map<string, VoteRecord>()
        slots.set(slotOf(change.record), change.record)
        votes.set(change.record.height, slots)
        return
      }
      case 'block': {
        const { block, certificate, outcomes } = change
        const { height } = block.header
        blocks.set(height, { block, certificate, outcomes })
        heights.set(block.id, height)
        for (const [index, request] of block.requests.entries())
          if (!requests.has(request.id)) requests.set(request.id, { height, index })
        if (height > head) head = height
        return
      }
      case 'forget-votes':
        votes.delete(change.height)
        return
      case 'checkpoint':
        for (const [key, value] of change.changes)
          if (value === null) entries.delete(key)
          else entries.set(key, value)
        checkpoint = { height: change.height, root: change.root }
        return
      case 'handover':
        handovers.set(change.handover.header.height, change.handover)
        return
    }
  }

  return {
    async write(changes) {
      mustFollow(changes, head, height => blocks.get(height)?.block.id ?? null)
      for (const change of changes) apply(change)
    },
    async loadVotes() {
      const above = [...votes].filter(([height]) => height > head).sort(([a], [b]) => a - b)
      return above.flatMap(([, slots]) => [...slots.values()])
    },
    async head() {
      return head
    },
    async blockAt(height) {
      return blocks.get(height) ?? null
    },
    async frameAt(height) {
      const stored = blocks.get(height)
      return stored === undefined ? null : encodeStoredBlock(stored.block, stored.certificate)
    },
    async heightOf(id) {
      return heights.get(id) ?? null
    },
    async requestAt(id) {
      return requests.get(id) ?? null
    },
    async loadCheckpoint() {
      return { ...checkpoint, entries: new Map(entries) }
    },
    base: () => base,
    async handovers(from, countMax) {
      const found = [...handovers.values()].filter(({ header }) => header.height >= from)
      return found.sort((a, b) => a.header.height - b.header.height).slice(0, countMax)
    },
    snapshots,
    async install(anchor) {
      const { height } = anchor.at.header
      const manifest = await snapshots.manifest(height)
      assert(manifest !== null, `a snapshot at ${height} to install`)
      entries.clear()
      for (let i = 0; i < manifest.nodes.length; i++)
        for (const [key, value] of decodeChunk((await snapshots.chunk(height, i)) as Uint8Array))
          entries.set(key, value)
      checkpoint = { height, root: anchor.next.header.stateRoot }
      for (const voted of [...votes.keys()]) if (voted <= height) votes.delete(voted)
      base = anchor
      if (height > head) head = height
    },
    async close() {},
  }
}

function makeMemorySnapshots(): SnapshotStore {
  const kept = new Map<
    Height,
    { readonly manifest: Manifest; sealed: boolean; readonly chunks: Map<number, Uint8Array> }
  >()
  return {
    list: async () => [...kept].sort(([a], [b]) => a - b).map(([height, { sealed }]) => ({ height, sealed })),
    manifest: async height => kept.get(height)?.manifest ?? null,
    begin: async manifest => void kept.set(manifest.height, { manifest, sealed: false, chunks: new Map() }),
    putChunk: async (height, index, bytes) => void kept.get(height)?.chunks.set(index, bytes),
    chunks: async height => new Set(kept.get(height)?.chunks.keys()),
    chunk: async (height, index) => kept.get(height)?.chunks.get(index) ?? null,
    async seal(height) {
      const found = kept.get(height)
      assert(found !== undefined, `a snapshot at ${height} to seal`)
      found.sealed = true
    },
    forget: async height => void kept.delete(height),
  }
}

/** What a later record of a height replaces (model/vote-record.ts). */
function slotOf(record: VoteRecord): string {
  switch (record.type) {
    case 'view':
    case 'last-vote':
    case 'high-certificate':
      return record.type
    case 'own-proposal':
    case 'view-change':
      return `${record.type} ${record.message.view}`
    case 'body':
      return `${record.type} ${record.block.id}`
  }
}

/** A block stands on the head, fills a gap, or is stored already: a decided block is never replaced by another. */
function mustFollow(changes: readonly StoredChange[], head: Height, idAt: (height: Height) => BlockId | null): void {
  let top: number = head
  for (const change of changes) {
    if (change.type !== 'block') continue
    const { height } = change.block.header
    const again = height <= top && (idAt(height) === null || idAt(height) === change.block.id)
    assert(height === top + 1 || again, `block ${height} neither stands on the stored head ${top} nor is it stored`)
    if (height > top) top = height
  }
}
