// What a peer keeps or hands on whole: the records of its votes (consensus.md §1.3), blocks with their certificates (also the frames
// of /emrm/blocks/1), and what each request of a block came to.
// Not here: keys and checksums of the store (adapters/level-storage.ts).

import type { Block } from '../model/block.ts'
import { fromHex } from '../model/hash.ts'
import type { BlockId, View } from '../model/ids.ts'
import type { DecideCertificate } from '../model/messages.ts'
import type { Outcome } from '../model/operations.ts'
import type { VoteRecord } from '../model/vote-record.ts'
import { decodeBlock, type KnownRequests } from './block-codec.ts'
import { must, WireFault } from './fault.ts'
import {
  BLOCK_BYTES_MAX,
  BLOCK_REQUESTS_MAX,
  DIGEST_BYTES,
  MESSAGE_BYTES_MAX,
  SMALL_MESSAGE_BYTES_MAX,
} from './limits.ts'
import {
  commitItem,
  decodeCertificate,
  decodeMessage,
  encodeCertificate,
  encodeMessage,
  readCommitCertificate,
  readHeight,
} from './messages-codec.ts'
import { outcome } from './operations-codec.ts'
import { readAll } from './reader.ts'
import { list } from './shape.ts'
import { encode } from './writer.ts'

const VERSION = 1
/** A number is never used again for something else. */
const RECORD = {
  view: 1,
  'last-vote': 2,
  'high-certificate': 3,
  'view-change': 4,
  'own-proposal': 5,
  body: 6,
} as const satisfies Record<VoteRecord['type'], number>

export function encodeVoteRecord(record: VoteRecord): Uint8Array {
  const head = [VERSION, RECORD[record.type], record.height]
  switch (record.type) {
    case 'view':
      return encode([...head, record.view])
    case 'last-vote':
      return encode([...head, record.view, fromHex(record.id)])
    case 'high-certificate':
      return encode([...head, commitItem(record.certificate)])
    case 'view-change':
    case 'own-proposal':
      return encode([...head, encodeMessage(record.message)])
    case 'body':
      return encode([...head, record.block.bytes])
  }
}

/** Throws WireFault. */
export function decodeVoteRecord(bytes: Uint8Array): VoteRecord {
  return readAll(bytes, MESSAGE_BYTES_MAX + 64, reader => {
    const arity = reader.list(5)
    must(arity >= 4 && reader.uint() === VERSION, 'unknown-version')
    const kind = reader.uint()
    must(arity === (kind === RECORD['last-vote'] ? 5 : 4), 'wrong-arity')
    const height = readHeight(reader)
    switch (kind) {
      case RECORD.view:
        return { type: 'view', height, view: reader.uint() as View }
      case RECORD['last-vote']:
        return { type: 'last-vote', height, view: reader.uint() as View, id: reader.hex(DIGEST_BYTES) as BlockId }
      case RECORD['high-certificate']:
        return { type: 'high-certificate', height, certificate: readCommitCertificate(reader) }
      case RECORD['view-change']: {
        const message = decodeMessage(reader.view(SMALL_MESSAGE_BYTES_MAX))
        must(message.type === 'VIEW-CHANGE', 'unknown-type')
        return { type: 'view-change', height, message }
      }
      case RECORD['own-proposal']: {
        const message = decodeMessage(reader.view(MESSAGE_BYTES_MAX))
        must(message.type === 'PRE-PREPARE', 'unknown-type')
        return { type: 'own-proposal', height, message }
      }
      case RECORD.body:
        return { type: 'body', height, block: decodeBlock(reader.view(BLOCK_BYTES_MAX)) }
      default:
        throw new WireFault('unknown-type')
    }
  })
}

const outcomes = list(outcome, BLOCK_REQUESTS_MAX)
/** A grant has some 300 bytes. */
const OUTCOMES_BYTES_MAX = BLOCK_REQUESTS_MAX * 1024

const STORED_BYTES_MAX = BLOCK_BYTES_MAX + SMALL_MESSAGE_BYTES_MAX
const BATCH_BLOCKS_MAX = 1_024

/** In the order of the block's requests. */
export const encodeOutcomes = (value: readonly Outcome[]): Uint8Array => encode(outcomes.write(value))
/** Throws WireFault. */
export const decodeOutcomes = (bytes: Uint8Array): readonly Outcome[] =>
  readAll(bytes, OUTCOMES_BYTES_MAX, outcomes.read)

/** A block and what makes it final. */
export const encodeStoredBlock = (block: Block, certificate: DecideCertificate): Uint8Array =>
  encode([VERSION, block.bytes, encodeCertificate(certificate)])

/** Several blocks on their way: few frames cost less than many. */
export const encodeBlockBatch = (frames: readonly Uint8Array[]): Uint8Array => encode([VERSION, [...frames]])

/** Views of stored blocks, not decoded. Throws WireFault. */
export const decodeBlockBatch = (bytes: Uint8Array): readonly Uint8Array[] =>
  readAll(bytes, STORED_BYTES_MAX + BATCH_BLOCKS_MAX, reader => {
    reader.tuple(2)
    must(reader.uint() === VERSION, 'unknown-version')
    const count = reader.list(BATCH_BLOCKS_MAX)
    const frames: Uint8Array[] = []
    for (let i = 0; i < count; i++) frames.push(reader.view(STORED_BYTES_MAX))
    return frames
  })

/** What the store keeps under one key: a block, what makes it final, what its requests came to. */
export const encodeKeptBlock = (kept: KeptBlock): Uint8Array =>
  encode([VERSION, kept.block.bytes, encodeCertificate(kept.certificate), encodeOutcomes(kept.outcomes)])

/** What is handed on of a kept block: the same bytes without the outcomes, which each peer computes. Throws WireFault. */
export function storedOfKept(kept: Uint8Array): Uint8Array {
  return readAll(kept, BLOCK_BYTES_MAX + SMALL_MESSAGE_BYTES_MAX + OUTCOMES_BYTES_MAX, reader => {
    reader.tuple(4)
    must(reader.uint() === VERSION, 'unknown-version')
    const block = reader.view(BLOCK_BYTES_MAX)
    const certificate = reader.view(SMALL_MESSAGE_BYTES_MAX)
    reader.view(OUTCOMES_BYTES_MAX)
    return encode([VERSION, block, certificate])
  })
}

export type KeptBlock = {
  readonly block: Block
  readonly certificate: DecideCertificate
  readonly outcomes: readonly Outcome[]
}

/** Id, root and count hold; signatures are not checked. Throws WireFault. */
export function decodeKeptBlock(bytes: Uint8Array): KeptBlock {
  return readAll(bytes, BLOCK_BYTES_MAX + SMALL_MESSAGE_BYTES_MAX + OUTCOMES_BYTES_MAX, reader => {
    reader.tuple(4)
    must(reader.uint() === VERSION, 'unknown-version')
    const block = decodeBlock(reader.view(BLOCK_BYTES_MAX))
    const certificate = decodeCertificate(reader.view(SMALL_MESSAGE_BYTES_MAX))
    return { block, certificate, outcomes: decodeOutcomes(reader.view(OUTCOMES_BYTES_MAX)) }
  })
}

/** Well-formed, not yet checked: see `Verifier.decided`. Throws WireFault. */
export function decodeStoredBlock(
  bytes: Uint8Array,
  known?: KnownRequests,
): { readonly block: Block; readonly certificate: DecideCertificate } {
  return readAll(bytes, STORED_BYTES_MAX, reader => {
    reader.tuple(3)
    must(reader.uint() === VERSION, 'unknown-version')
    const block = decodeBlock(reader.view(BLOCK_BYTES_MAX), known)
    return { block, certificate: decodeCertificate(reader.view(SMALL_MESSAGE_BYTES_MAX)) }
  })
}
