// Blocks and requests as every peer sees them (P-10 … P-12, P-34). Plain data; bytes are wire/codec's, hashes wire/verify's.

import type {
  BlockId,
  Digest,
  Height,
  Identifier,
  PublicKey,
  RequestId,
  SignatureScheme,
  Timestamp,
  ValidatorIndex,
  View,
} from './ids.ts'
import type { Operation } from './operations.ts'

/** ⟨REQUEST, o, t, c⟩ of P-34. `client` (P-32) is the identifier of `publicKey`, or the user for whom the registry says that it acts. */
export type Request = {
  readonly type: 'REQUEST'
  readonly version: 1
  /** Chain id: a request for another network is refused. */
  readonly network: Digest
  readonly client: Identifier
  readonly timestamp: Timestamp
  readonly operation: Operation
  readonly scheme: SignatureScheme
  readonly publicKey: PublicKey
  readonly signature: Uint8Array
  /** SHA-256 of the signed bytes; computed on decoding, not carried. */
  readonly id: RequestId
  /** Exact canonical bytes, signature included; kept so that nobody encodes twice. */
  readonly bytes: Uint8Array
  /** Their leaf hash in a block's tree (model/merkle.ts `leafText`); kept so that nobody hashes twice. */
  readonly leaf: string
}

export type BlockHeader = {
  readonly version: 1
  readonly chainId: Digest
  readonly height: Height
  /** Id of the block at height-1; the chain id itself at height 1 (P-11). */
  readonly parentId: BlockId
  /** The first proposer, never changed by a re-proposal. */
  readonly author: ValidatorIndex
  /** The view of the first proposal. */
  readonly birthView: View
  /** Block time, ms, strictly above the parent's. The only clock that the contract knows. */
  readonly timestamp: Timestamp
  /** RFC 6962 root over the requests' exact bytes (P-10). */
  readonly requestsRoot: Digest
  readonly requestCount: number
  /** Digest of the state after executing height-1. */
  readonly stateRoot: Digest
  /** Version of the contract's rules that executes this block. */
  readonly rulesVersion: number
}

export type Block = {
  readonly header: BlockHeader
  readonly requests: readonly Request[]
  /** SHA-256 of the header's exact bytes; computed on decoding or building. */
  readonly id: BlockId
  /** Exact canonical bytes of the whole block. */
  readonly bytes: Uint8Array
}
