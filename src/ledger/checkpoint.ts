// A checkpoint is the state at a height: keys that changed since the one before, under one root. Restoring believes nothing: the root is
// computed again from the entries before they are used. That the root is the agreed one, the next block's header shows.

import type { Block } from '../model/block.ts'
import { EmrmError } from '../model/errors.ts'
import type { Digest, Height } from '../model/ids.ts'
import type { Store } from './store.ts'

/** What a state needs to know of the block at its height. */
export type HeadBlock = Pick<Block, 'header' | 'id'>

export type Checkpoint = {
  readonly height: Height
  readonly root: Digest
  /** null deletes. */
  readonly changes: ReadonlyMap<string, Uint8Array | null>
}

/** Throws EmrmError `checkpoint-corrupt`; the store is then not fit for use. */
export function restoreStore(
  store: Store,
  saved: {
    readonly entries: ReadonlyMap<string, Uint8Array>
    readonly height: Height
    readonly root: Digest
    readonly headBlock: HeadBlock
    readonly chainId: Digest
  },
): void {
  const { height, headBlock } = saved
  const fail = (what: string): never => {
    throw new EmrmError('checkpoint-corrupt', `checkpoint at ${height}: ${what}; delete it and replay the chain`, {
      height,
    })
  }
  if (headBlock.header.height !== height) fail(`the block beside it is number ${headBlock.header.height}`)
  if (headBlock.header.chainId !== saved.chainId) fail('it belongs to another chain')
  store.load(saved.entries)
  if (store.state.root() !== saved.root) fail('its entries do not give its root')
  if (store.settings.get('now') === undefined) fail('it has no settings')
  store.announce()
}
