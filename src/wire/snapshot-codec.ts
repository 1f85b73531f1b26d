// What travels over /emrm/snapshot/1 and lies in the store of a peer that began with a snapshot: questions, the anchor (two certified
// headers), the manifest (nodes of the state's tree), chunks of the state, and handovers from one committee to the next.
// Not here: whether any of it is true (snapshot/, ledger/snapshot.ts, ledger/handover.ts).

import { blockIdOf } from '../model/hash.ts'
import type { Height } from '../model/ids.ts'
import type { Anchor, CertifiedHeader, Handover, Manifest, StateClaim, TreeNode } from '../model/snapshot.ts'
import { decodeHeader, encodeHeader, HEADER_BYTES_MAX } from './block-codec.ts'
import { must, WireFault } from './fault.ts'
import {
  CHUNK_BYTES_MAX,
  CHUNK_ENTRIES_MAX,
  DIGEST_BYTES,
  MANIFEST_BYTES_MAX,
  MANIFEST_NODES_MAX,
  SMALL_MESSAGE_BYTES_MAX,
  STATE_KEY_BYTES_MAX,
} from './limits.ts'
import { decodeCertificate, encodeCertificate } from './messages-codec.ts'
import { type Reader, readAll } from './reader.ts'
import type { Item } from './shape.ts'
import { encode } from './writer.ts'

const VERSION = 1
const LEAF_BYTES = 2 * DIGEST_BYTES
const PROOF_BYTES_MAX = 256 * DIGEST_BYTES
/** A committee of 200 with names and keys. */
const ENTRY_BYTES_MAX = 128 * 1024
const HANDOVER_BYTES_MAX = 3 * ENTRY_BYTES_MAX
/** A number is never used again for something else. */
const ASK = { offers: 1, handovers: 2, chunk: 3 } as const

export type SnapshotQuestion =
  /** The snapshots that the peer can serve: for each an anchor and a manifest. */
  | { readonly type: 'offers' }
  /** Handovers from this last height of an epoch on. */
  | { readonly type: 'handovers'; readonly from: number }
  | { readonly type: 'chunk'; readonly height: number; readonly depth: number; readonly index: number }

export function encodeSnapshotQuestion(question: SnapshotQuestion): Uint8Array {
  switch (question.type) {
    case 'offers':
      return encode([VERSION, ASK.offers])
    case 'handovers':
      return encode([VERSION, ASK.handovers, question.from])
    case 'chunk':
      return encode([VERSION, ASK.chunk, question.height, question.depth, question.index])
  }
}

/** Throws WireFault. */
export function decodeSnapshotQuestion(bytes: Uint8Array): SnapshotQuestion {
  return readAll(bytes, 64, reader => {
    const arity = reader.list(5)
    must(arity >= 2 && reader.uint() === VERSION, 'unknown-version')
    const kind = reader.uint()
    must(arity === { [ASK.offers]: 2, [ASK.handovers]: 3, [ASK.chunk]: 5 }[kind], 'wrong-arity')
    switch (kind) {
      case ASK.offers:
        return { type: 'offers' }
      case ASK.handovers:
        return { type: 'handovers', from: reader.uint() }
      case ASK.chunk:
        return { type: 'chunk', height: reader.uint(), depth: reader.uint(), index: reader.uint() }
      default:
        throw new WireFault('unknown-type')
    }
  })
}

export const encodeAnchor = ({ at, next }: Anchor): Uint8Array =>
  encode([VERSION, ...certifiedItems(at), ...certifiedItems(next)])

/** Throws WireFault. */
export const decodeAnchor = (bytes: Uint8Array): Anchor =>
  readAll(bytes, 3 * SMALL_MESSAGE_BYTES_MAX, reader => {
    reader.tuple(5)
    must(reader.uint() === VERSION, 'unknown-version')
    return { at: readCertified(reader), next: readCertified(reader) }
  })

export const encodeManifest = ({ height, depth, nodes }: Manifest): Uint8Array =>
  encode([VERSION, height, depth, nodes.map(nodeItem)])

/** Throws WireFault. */
export const decodeManifest = (bytes: Uint8Array): Manifest =>
  readAll(bytes, MANIFEST_BYTES_MAX, reader => {
    reader.tuple(4)
    must(reader.uint() === VERSION, 'unknown-version')
    const height = reader.uint() as Height
    const depth = reader.uint()
    const count = reader.list(MANIFEST_NODES_MAX)
    const nodes: TreeNode[] = []
    for (let i = 0; i < count; i++) nodes.push(readNode(reader))
    return { height, depth, nodes }
  })

/** Keys and values in turn. */
export const encodeChunk = (entries: readonly (readonly [string, Uint8Array])[]): Uint8Array =>
  encode([VERSION, entries.flat()])

/** Values are views into `bytes`. Throws WireFault. */
export const decodeChunk = (bytes: Uint8Array): (readonly [key: string, value: Uint8Array])[] =>
  readAll(bytes, CHUNK_BYTES_MAX, reader => {
    reader.tuple(2)
    must(reader.uint() === VERSION, 'unknown-version')
    const count = reader.list(2 * CHUNK_ENTRIES_MAX)
    must(count % 2 === 0, 'wrong-arity')
    const entries: (readonly [string, Uint8Array])[] = []
    for (let i = 0; i < count; i += 2) entries.push([reader.text(STATE_KEY_BYTES_MAX), reader.view(CHUNK_BYTES_MAX)])
    return entries
  })

export const encodeHandover = (handover: Handover): Uint8Array =>
  encode([VERSION, ...certifiedItems(handover), ...claimItems(handover.epoch), ...claimItems(handover.committee)])

/** Throws WireFault. */
export const decodeHandover = (bytes: Uint8Array): Handover =>
  readAll(bytes, HANDOVER_BYTES_MAX, reader => {
    reader.tuple(7)
    must(reader.uint() === VERSION, 'unknown-version')
    return { ...readCertified(reader), epoch: readClaim(reader), committee: readClaim(reader) }
  })

const certifiedItems = ({ header, certificate }: CertifiedHeader): readonly Uint8Array[] => [
  encodeHeader(header),
  encodeCertificate(certificate),
]

function readCertified(reader: Reader): CertifiedHeader {
  const headerBytes = reader.bytes(HEADER_BYTES_MAX)
  const certificate = decodeCertificate(reader.bytes(SMALL_MESSAGE_BYTES_MAX))
  return { header: decodeHeader(headerBytes), id: blockIdOf(headerBytes), certificate }
}

const nodeItem = (node: TreeNode): Uint8Array | null =>
  node === null ? null : node.type === 'inner' ? node.hash : Buffer.concat([node.keyHash, node.valueHash])

function readNode(reader: Reader): TreeNode {
  if (reader.null()) return null
  const bytes = reader.bytes(LEAF_BYTES)
  if (bytes.length === DIGEST_BYTES) return { type: 'inner', hash: bytes }
  must(bytes.length === LEAF_BYTES, 'wrong-length')
  return { type: 'leaf', keyHash: bytes.slice(0, DIGEST_BYTES), valueHash: bytes.slice(DIGEST_BYTES) }
}

/** Value, siblings from the root down, and the leaf where the path ends. */
const claimItems = ({ value, siblings, leaf }: StateClaim): readonly Item[] => [
  value,
  [Buffer.concat(siblings), leaf === null ? null : Buffer.concat([leaf.keyHash, leaf.valueHash])],
]

function readClaim(reader: Reader): StateClaim {
  const value = reader.null() ? null : reader.bytes(ENTRY_BYTES_MAX)
  reader.tuple(2)
  const joined = reader.bytes(PROOF_BYTES_MAX)
  must(joined.length % DIGEST_BYTES === 0, 'wrong-length')
  const siblings: Uint8Array[] = []
  for (let at = 0; at < joined.length; at += DIGEST_BYTES) siblings.push(joined.subarray(at, at + DIGEST_BYTES))
  const leaf = readNode(reader)
  if (leaf?.type === 'inner') throw new WireFault('wrong-length')
  return { value, siblings, leaf: leaf === null ? null : { keyHash: leaf.keyHash, valueHash: leaf.valueHash } }
}
