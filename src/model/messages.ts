// The messages of IMPBFT (consensus.md §1.2). All are signed over
// "IMPBFT/1" | type | chainId | committee hash | fields, so that no signature of one type verifies as another.
// `sender` is the validator's position in the committee. Certificates are transferable: signatures, not MACs.

import type { Block } from './block.ts'
import type { BlockId, Height, ValidatorIndex, View } from './ids.ts'

export type Signed = {
  readonly sender: ValidatorIndex
  readonly signature: Uint8Array
}

/** Signed fields: h, v, id, H(justification). The block itself hangs on its id. */
export type PrePrepare = Signed & {
  readonly type: 'PRE-PREPARE'
  readonly height: Height
  readonly view: View
  readonly id: BlockId
  readonly block: Block
  /** Empty in view 0; else exactly n-f VIEW-CHANGEs for (h,v), ordered by sender. The highest claim's certificate hangs on its VIEW-CHANGE. */
  readonly justification: readonly ViewChange[]
  /** DECIDE-CERT(h-1); null only at the first height. */
  readonly parentCertificate: DecideCertificate | null
}

export type Commit = Signed & {
  readonly type: 'COMMIT'
  readonly height: Height
  readonly view: View
  readonly id: BlockId
}
export type BlockIdVote = Signed & {
  readonly type: 'BLOCK-ID'
  readonly height: Height
  readonly view: View
  readonly id: BlockId
}

/** A vote that a VIEW-CHANGE reports: (w, id). */
export type VoteClaim = { readonly view: View; readonly id: BlockId }

/** CC(h,w,id): q COMMITs of distinct validators, ordered by sender. */
export type CommitCertificate = {
  readonly height: Height
  readonly view: View
  readonly id: BlockId
  readonly commits: readonly Signed[]
}

/** Signed fields: h, v (target), lastVote, (view, id) of highCertificate. The certificate itself is attached. */
export type ViewChange = Signed & {
  readonly type: 'VIEW-CHANGE'
  readonly height: Height
  readonly view: View
  readonly lastVote: VoteClaim | null
  readonly highCertificate: CommitCertificate | null
}

/** FAST: n-p COMMITs, SLOW: r BLOCK-IDs, for one (h,w,id); ordered by sender. Final for ever. */
export type DecideCertificate = {
  readonly path: 'FAST' | 'SLOW'
  readonly height: Height
  readonly view: View
  readonly id: BlockId
  readonly votes: readonly Signed[]
}

export type Status = Signed & {
  readonly type: 'STATUS'
  readonly height: Height
  readonly view: View
}
/** Answer to a message for a height that the sender has decided: self-authenticating, unsigned. */
export type Decided = {
  readonly type: 'DECIDED'
  readonly block: Block
  readonly certificate: DecideCertificate
}
/** Unsigned: asks for the body of a block by its id. */
export type Fetch = {
  readonly type: 'FETCH'
  readonly height: Height
  readonly id: BlockId
}
/** Unsigned, self-authenticating by id. */
export type Body = { readonly type: 'BODY'; readonly block: Block }

export type SignedMessage = PrePrepare | Commit | BlockIdVote | ViewChange | Status
export type ConsensusMessage = SignedMessage | Decided | Fetch | Body

type WithoutSignature<M> = M extends SignedMessage ? Omit<M, 'signature'> : never
/** What a replica hands to its signer. */
export type Unsigned = WithoutSignature<SignedMessage>

/** Evidence of a lie: a transferable pair of signatures by one validator (consensus.md §1.8, E1 … E7). */
export type FaultName =
  | 'two-proposals-in-one-view' // E1
  | 'two-commits-in-one-view' // E2
  | 'two-block-ids-in-one-view' // E3
  | 'two-view-changes-for-one-view' // E4
  | 'vote-hidden-in-view-change' // E5
  | 'certificate-hidden-in-view-change' // E6
  | 'unjustified-proposal' // E7

export type Evidence = {
  readonly fault: FaultName
  readonly height: Height
  readonly replica: ValidatorIndex
  readonly first: SignedMessage
  readonly second: SignedMessage | null
}
