// The pen: what this peer or its users sign is Verified by having been made here. Ed25519 is deterministic, so the same message gives
// the same bytes, always (a re-send is byte-identical, consensus.md §1.4).
// Not here: keys (identity/keystore), checking what others signed (verify.ts).

import type { Request } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import { identifierOf } from '../model/hash.ts'
import type { Digest, Identifier, PublicKey, SignatureScheme, Timestamp, Verified } from '../model/ids.ts'
import type { SignedMessage, Unsigned } from '../model/messages.ts'
import type { Operation } from '../model/operations.ts'
import type { Signer } from '../ports.ts'
import { messageSignedBytes } from './messages-codec.ts'
import { canonicalStatement, encodeStatement, sealRequest, signedBytesOf } from './request-codec.ts'

/** `committee`: of the message's height. */
export function signMessage(
  message: Unsigned,
  options: { readonly chainId: Digest; readonly committee: Committee; readonly signer: Signer },
): Verified<SignedMessage> {
  const signature = options.signer.sign(messageSignedBytes(message, options.chainId, options.committee.hash))
  return { ...message, signature } as SignedMessage as Verified<SignedMessage>
}

/** `client`: the identifier of the key when nothing else is said; after a rotation, the user's. Lists that are sets may come in any order. Throws EmrmError `request-invalid`. */
export function makeRequest(options: {
  readonly network: Digest
  readonly operation: Operation
  readonly timestamp: Timestamp
  readonly scheme: SignatureScheme
  readonly publicKey: PublicKey
  readonly client?: Identifier
  readonly sign: (bytes: Uint8Array) => Uint8Array
}): Verified<Request> {
  const { sign, client = identifierOf(options.publicKey), ...fields } = options
  const statement = encodeStatement(canonicalStatement({ ...fields, client }))
  return sealRequest(statement, sign(signedBytesOf(fields.network, statement))) as Verified<Request>
}
