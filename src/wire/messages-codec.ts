// The messages of IMPBFT (consensus.md §1.2), their certificates and the records of votes as bytes. Each is a tuple whose first
// element is a tag. Besides: the bytes that a validator signs, ["IMPBFT/1", type, chain id, committee hash, fields…], as one canonical
// tuple, so that no two statements share bytes and no signature of one type, chain or committee verifies as another.
// Not here: whether signatures hold and thresholds are met (verify.ts).

import { fromHex, sha256 } from '../model/hash.ts'
import type { BlockId, Digest, Height, ValidatorIndex, View } from '../model/ids.ts'
import type {
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Signed,
  Unsigned,
  ViewChange,
  VoteClaim,
} from '../model/messages.ts'
import { decodeBlock, type KnownRequests } from './block-codec.ts'
import { must, WireFault } from './fault.ts'
import {
  BLOCK_BYTES_MAX,
  DIGEST_BYTES,
  MESSAGE_BYTES_MAX,
  SIGNATURE_BYTES,
  SIGNATURES_MAX,
  SMALL_MESSAGE_BYTES_MAX,
} from './limits.ts'
import { type Reader, readAll } from './reader.ts'
import type { Item } from './shape.ts'
import { encode } from './writer.ts'

/** First element of a message; a number is never used again for something else. */
const TAG = {
  'PRE-PREPARE': 1,
  COMMIT: 2,
  'BLOCK-ID': 3,
  'VIEW-CHANGE': 4,
  STATUS: 5,
  DECIDED: 6,
  FETCH: 7,
  BODY: 8,
} as const satisfies Record<ConsensusMessage['type'], number>
const FAST = 1
const SLOW = 2
/** Tags of messages that hold a block. */
const LARGE: ReadonlySet<number> = new Set([TAG['PRE-PREPARE'], TAG.DECIDED, TAG.BODY])

export function encodeMessage(message: ConsensusMessage): Uint8Array {
  return encode(messageItem(message))
}

/** Well-formed, not yet checked. `known` saves decoding requests that were seen before. Throws WireFault. */
export function decodeMessage(bytes: Uint8Array, known?: KnownRequests): ConsensusMessage {
  return readAll(bytes, MESSAGE_BYTES_MAX, reader => readMessage(reader, bytes.length, known))
}

export const encodeCertificate = (certificate: DecideCertificate): Uint8Array => encode(decideItem(certificate))
/** Throws WireFault. */
export const decodeCertificate = (bytes: Uint8Array): DecideCertificate =>
  readAll(bytes, SMALL_MESSAGE_BYTES_MAX, readDecideCertificate)

/** What the sender of this message signs. `committeeHash`: of the committee of the message's height. */
export function messageSignedBytes(message: Unsigned, chainId: Digest, committeeHash: Digest): Uint8Array {
  switch (message.type) {
    case 'COMMIT':
    case 'BLOCK-ID':
      return voteSignedBytes(message.type, message, chainId, committeeHash)
    case 'PRE-PREPARE':
      return signedTuple(message.type, chainId, committeeHash, [
        message.height,
        message.view,
        fromHex(message.id),
        sha256(encode(message.justification.map(viewChangeItem))),
      ])
    case 'VIEW-CHANGE':
      return signedTuple(message.type, chainId, committeeHash, [
        message.height,
        message.view,
        claimItem(message.lastVote),
        claimItem(message.highCertificate),
      ])
    case 'STATUS':
      return signedTuple(message.type, chainId, committeeHash, [message.height, message.view])
  }
}

/** The statement that all votes of one certificate sign. */
export const voteSignedBytes = (
  type: 'COMMIT' | 'BLOCK-ID',
  vote: { readonly height: Height; readonly view: View; readonly id: BlockId },
  chainId: Digest,
  committeeHash: Digest,
): Uint8Array => signedTuple(type, chainId, committeeHash, [vote.height, vote.view, fromHex(vote.id)])

const signedTuple = (type: string, chainId: Digest, committeeHash: Digest, fields: readonly Item[]): Uint8Array =>
  encode(['IMPBFT/1', type, fromHex(chainId), fromHex(committeeHash), ...fields])

// ---- writing ----

function messageItem(message: ConsensusMessage): Item {
  const tag = TAG[message.type]
  switch (message.type) {
    case 'PRE-PREPARE':
      return [
        tag,
        message.height,
        message.view,
        fromHex(message.id),
        message.sender,
        message.signature,
        message.block.bytes,
        message.justification.map(viewChangeItem),
        message.parentCertificate === null ? null : decideItem(message.parentCertificate),
      ]
    case 'COMMIT':
    case 'BLOCK-ID':
      return [tag, message.height, message.view, fromHex(message.id), message.sender, message.signature]
    case 'VIEW-CHANGE':
      return [tag, ...viewChangeItem(message)]
    case 'STATUS':
      return [tag, message.height, message.view, message.sender, message.signature]
    case 'DECIDED':
      return [tag, message.block.bytes, decideItem(message.certificate)]
    case 'FETCH':
      return [tag, message.height, fromHex(message.id)]
    case 'BODY':
      return [tag, message.block.bytes]
  }
}

export const viewChangeItem = (message: Omit<ViewChange, 'type'>): readonly Item[] => [
  message.height,
  message.view,
  claimItem(message.lastVote),
  message.highCertificate === null ? null : commitItem(message.highCertificate),
  message.sender,
  message.signature,
]

const claimItem = (claim: VoteClaim | null): Item => (claim === null ? null : [claim.view, fromHex(claim.id)])

export const commitItem = (certificate: CommitCertificate): readonly Item[] => [
  certificate.height,
  certificate.view,
  fromHex(certificate.id),
  signedItems(certificate.commits),
]

const decideItem = (certificate: DecideCertificate): readonly Item[] => [
  certificate.path === 'FAST' ? FAST : SLOW,
  certificate.height,
  certificate.view,
  fromHex(certificate.id),
  signedItems(certificate.votes),
]

const signedItems = (votes: readonly Signed[]): Item => votes.map(vote => [vote.sender, vote.signature])

// ---- reading ----

export function readMessage(reader: Reader, sizeBytes: number, known?: KnownRequests): ConsensusMessage {
  const arity = reader.list(9)
  must(arity > 0, 'wrong-arity')
  const tag = reader.uint()
  must(sizeBytes <= SMALL_MESSAGE_BYTES_MAX || LARGE.has(tag), 'too-large')
  const rest = (count: number): void => must(arity === count + 1, 'wrong-arity')
  switch (tag) {
    case TAG['PRE-PREPARE']: {
      rest(8)
      const vote = readVote(reader)
      const signed = readSigned(reader)
      const block = decodeBlock(reader.view(BLOCK_BYTES_MAX), known)
      const justification = readList(reader, readViewChangeTuple)
      mustAscend(justification)
      const parentCertificate = reader.null() ? null : readDecideCertificate(reader)
      return { type: 'PRE-PREPARE', ...vote, ...signed, block, justification, parentCertificate }
    }
    case TAG.COMMIT:
      rest(5)
      return { type: 'COMMIT', ...readVote(reader), ...readSigned(reader) }
    case TAG['BLOCK-ID']:
      rest(5)
      return { type: 'BLOCK-ID', ...readVote(reader), ...readSigned(reader) }
    case TAG['VIEW-CHANGE']:
      rest(6)
      return readViewChange(reader)
    case TAG.STATUS:
      rest(4)
      return { type: 'STATUS', height: readHeight(reader), view: readView(reader), ...readSigned(reader) }
    case TAG.DECIDED: {
      rest(2)
      const block = decodeBlock(reader.view(BLOCK_BYTES_MAX), known)
      return { type: 'DECIDED', block, certificate: readDecideCertificate(reader) }
    }
    case TAG.FETCH:
      rest(2)
      return { type: 'FETCH', height: readHeight(reader), id: readId(reader) }
    case TAG.BODY:
      rest(1)
      return { type: 'BODY', block: decodeBlock(reader.view(BLOCK_BYTES_MAX), known) }
    default:
      throw new WireFault('unknown-type')
  }
}

const readVote = (reader: Reader): { height: Height; view: View; id: BlockId } => ({
  height: readHeight(reader),
  view: readView(reader),
  id: readId(reader),
})

export function readHeight(reader: Reader): Height {
  const height = reader.uint()
  must(height > 0, 'height-zero')
  return height as Height
}

const readView = (reader: Reader): View => reader.uint() as View
const readId = (reader: Reader): BlockId => reader.hex(DIGEST_BYTES) as BlockId

const readSigned = (reader: Reader): Signed => ({
  sender: reader.uint(SIGNATURES_MAX - 1) as ValidatorIndex,
  signature: reader.fixed(SIGNATURE_BYTES),
})

/** After the arity, which the caller checked. */
export function readViewChange(reader: Reader): ViewChange {
  const height = readHeight(reader)
  const view = readView(reader)
  const lastVote = reader.null() ? null : readClaim(reader)
  const highCertificate = reader.null() ? null : readCommitCertificate(reader)
  return { type: 'VIEW-CHANGE', height, view, lastVote, highCertificate, ...readSigned(reader) }
}

export function readViewChangeTuple(reader: Reader): ViewChange {
  reader.tuple(6)
  return readViewChange(reader)
}

function readClaim(reader: Reader): VoteClaim {
  reader.tuple(2)
  return { view: readView(reader), id: readId(reader) }
}

export function readCommitCertificate(reader: Reader): CommitCertificate {
  reader.tuple(4)
  return { ...readVote(reader), commits: readSignedList(reader) }
}

function readDecideCertificate(reader: Reader): DecideCertificate {
  reader.tuple(5)
  const path = reader.uint()
  must(path === FAST || path === SLOW, 'unknown-path')
  return { path: path === FAST ? 'FAST' : 'SLOW', ...readVote(reader), votes: readSignedList(reader) }
}

function readSignedList(reader: Reader): readonly Signed[] {
  const votes = readList(reader, each => {
    each.tuple(2)
    return readSigned(each)
  })
  mustAscend(votes)
  return votes
}

function readList<T>(reader: Reader, read: (reader: Reader) => T): T[] {
  const length = reader.list(SIGNATURES_MAX)
  const items: T[] = []
  for (let i = 0; i < length; i++) items.push(read(reader))
  return items
}

/** Distinct and in order at once: a validator that signs twice must not count twice, and a set has one form. */
function mustAscend(items: readonly Signed[]): void {
  for (let i = 1; i < items.length; i++)
    must((items[i - 1] as Signed).sender < (items[i] as Signed).sender, 'senders-not-ascending')
}
