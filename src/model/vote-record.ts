// What a replica remembers of one height across a crash (consensus.md §1.3). Each kind has one slot for each height
// (`view`, `last-vote`, `high-certificate`) or for each height and view (`own-proposal`, `view-change`, `body` by id);
// a later record replaces the earlier one in its slot.

import type { Block } from './block.ts'
import type { BlockId, Height, View } from './ids.ts'
import type { CommitCertificate, PrePrepare, ViewChange } from './messages.ts'

export type VoteRecord =
  /** Highest view entered or left to. */
  | { readonly type: 'view'; readonly height: Height; readonly view: View }
  /** The last COMMIT that this replica sent, or is about to send. */
  | {
      readonly type: 'last-vote'
      readonly height: Height
      readonly view: View
      readonly id: BlockId
    }
  | {
      readonly type: 'high-certificate'
      readonly height: Height
      readonly certificate: CommitCertificate
    }
  /** Exact VIEW-CHANGE for (height, view): a re-send is byte-identical. */
  | {
      readonly type: 'view-change'
      readonly height: Height
      readonly message: ViewChange
    }
  /** Own PRE-PREPARE, with its body. */
  | {
      readonly type: 'own-proposal'
      readonly height: Height
      readonly message: PrePrepare
    }
  /** Body of a block that this replica voted for. */
  | { readonly type: 'body'; readonly height: Height; readonly block: Block }
