// Nouns of a chain that began before this peer's first block: where it begins, and what proves that (snapshot/, ledger/snapshot.ts,
// ledger/handover.ts). Not here: how any of it is checked.

import type { BlockHeader } from './block.ts'
import type { BlockId, Height } from './ids.ts'
import type { DecideCertificate } from './messages.ts'

/** A node of the state's tree: nothing, the one key that stands below it, or two children. */
export type TreeNode =
  | null
  | { readonly type: 'leaf'; readonly keyHash: Uint8Array; readonly valueHash: Uint8Array }
  | { readonly type: 'inner'; readonly hash: Uint8Array }

/** A header with what makes it final. */
export type CertifiedHeader = {
  readonly header: BlockHeader
  readonly id: BlockId
  readonly certificate: DecideCertificate
}

/** What a snapshot hangs on: the header of its height, and the next one, which carries the digest of its state. */
export type Anchor = { readonly at: CertifiedHeader; readonly next: CertifiedHeader }

/** `nodes`: of the state's tree at `depth`, from left to right; one chunk each. */
export type Manifest = { readonly height: Height; readonly depth: number; readonly nodes: readonly TreeNode[] }

/** That a key of the state has this value (null: is absent), for a digest that stands elsewhere. */
export type StateClaim = {
  readonly value: Uint8Array | null
  readonly siblings: readonly Uint8Array[]
  readonly leaf: { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array } | null
}

/** What the state says before an epoch's last block of the epoch after it: until when it lasts, and who decides in it (null: the same). */
export type HandoverClaim = { readonly epoch: StateClaim; readonly committee: StateClaim }

/** The last header of an epoch, signed by its committee, and what its state digest says of the next. */
export type Handover = CertifiedHeader & HandoverClaim
