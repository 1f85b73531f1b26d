// The halves of an evidence of a fault (consensus.md §1.8) as bytes. A half is [the statement that was signed, its signature]: the exact
// canonical tuple of messages-codec.ts, without what hung on the message unsigned. So a proposal's half has two hundred bytes whatever
// its block weighs, and two different sets of signatures behind one claim are no contradiction. For E7 the second half is what the
// proposal's signature covers by digest: its justification and its block's header.
// Not here: what contradicts what (evidence.ts of the peer).

import type { BlockHeader } from '../model/block.ts'
import { blockIdOf, sha256, toHex } from '../model/hash.ts'
import type { BlockId, Digest, Height, View } from '../model/ids.ts'
import type { PrePrepare, SignedMessage, ViewChange, VoteClaim } from '../model/messages.ts'
import { decodeHeader, encodeHeader } from './block-codec.ts'
import { must } from './fault.ts'
import { DIGEST_BYTES, EVIDENCE_BYTES_MAX, SIGNATURE_BYTES, SIGNATURES_MAX } from './limits.ts'
import { messageSignedBytes, readViewChangeTuple, viewChangeItem } from './messages-codec.ts'
import { type Reader, readAll } from './reader.ts'
import { encode } from './writer.ts'

type Place = { readonly height: Height; readonly view: View }
export type Statement =
  | (Place & { readonly type: 'COMMIT' | 'BLOCK-ID'; readonly id: BlockId })
  | (Place & { readonly type: 'PRE-PREPARE'; readonly id: BlockId; readonly justificationDigest: Digest })
  | (Place & {
      readonly type: 'VIEW-CHANGE'
      readonly lastVote: VoteClaim | null
      readonly highCertificate: VoteClaim | null
    })

export type SignedStatement = {
  readonly statement: Statement
  readonly chainId: Digest
  readonly committeeHash: Digest
  readonly signedBytes: Uint8Array
  readonly signature: Uint8Array
}

export const encodeHalf = (message: SignedMessage, chainId: Digest, committeeHash: Digest): Uint8Array =>
  encode([messageSignedBytes(message, chainId, committeeHash), message.signature])

/** Throws WireFault. */
export function decodeHalf(bytes: Uint8Array): SignedStatement {
  return readAll(bytes, EVIDENCE_BYTES_MAX, reader => {
    reader.tuple(2)
    const signedBytes = reader.bytes(EVIDENCE_BYTES_MAX)
    return {
      ...readAll(signedBytes, EVIDENCE_BYTES_MAX, readStatement),
      signedBytes,
      signature: reader.fixed(SIGNATURE_BYTES),
    }
  })
}

/** May be longer than a request holds: the caller looks. */
export const encodeGrounds = ({ justification, block }: PrePrepare): Uint8Array =>
  encode([justification.map(viewChangeItem), encodeHeader(block.header)])

export type Grounds = {
  readonly justification: readonly ViewChange[]
  readonly justificationDigest: Digest
  readonly header: BlockHeader
  readonly id: BlockId
}

/** Throws WireFault. */
export function decodeGrounds(bytes: Uint8Array): Grounds {
  return readAll(bytes, EVIDENCE_BYTES_MAX, reader => {
    reader.tuple(2)
    const count = reader.list(SIGNATURES_MAX)
    const justification: ViewChange[] = []
    for (let i = 0; i < count; i++) justification.push(readViewChangeTuple(reader))
    const headerBytes = reader.view(EVIDENCE_BYTES_MAX)
    const justificationDigest = toHex(sha256(encode(justification.map(viewChangeItem)))) as Digest
    return { justification, justificationDigest, header: decodeHeader(headerBytes), id: blockIdOf(headerBytes) }
  })
}

type Opened = Omit<SignedStatement, 'signedBytes' | 'signature'>

function readStatement(reader: Reader): Opened {
  const arity = reader.list(8)
  must(reader.text(16) === 'IMPBFT/1', 'unknown-version')
  const type = reader.text(16)
  const chainId = reader.hex(DIGEST_BYTES) as Digest
  const committeeHash = reader.hex(DIGEST_BYTES) as Digest
  const height = reader.uint() as Height
  const view = reader.uint() as View
  const place = { height, view }
  switch (type) {
    case 'COMMIT':
    case 'BLOCK-ID':
      must(arity === 7, 'wrong-arity')
      return { statement: { type, ...place, id: readId(reader) }, chainId, committeeHash }
    case 'PRE-PREPARE': {
      must(arity === 8, 'wrong-arity')
      const id = readId(reader)
      const justificationDigest = reader.hex(DIGEST_BYTES) as Digest
      return { statement: { type, ...place, id, justificationDigest }, chainId, committeeHash }
    }
    case 'VIEW-CHANGE': {
      must(arity === 8, 'wrong-arity')
      const lastVote = readClaim(reader)
      const highCertificate = readClaim(reader)
      return { statement: { type, ...place, lastVote, highCertificate }, chainId, committeeHash }
    }
  }
  must(false, 'unknown-type')
}

const readId = (reader: Reader): BlockId => reader.hex(DIGEST_BYTES) as BlockId

function readClaim(reader: Reader): VoteClaim | null {
  if (reader.null()) return null
  reader.tuple(2)
  return { view: reader.uint() as View, id: readId(reader) }
}
