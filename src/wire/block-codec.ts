// Blocks as bytes: [1, header, [request, …]], where header and requests are byte strings. The block's id is SHA-256 of the header's
// exact bytes (P-11, P-36), and the header holds the RFC 6962 root over the requests' exact bytes (P-10): a decoded block is always
// whole, since one whose root or count differs is refused right here.
// Not here: signatures of the requests (verify.ts), whether the block stands on its parent (ledger, consensus).

import type { Block, BlockHeader, Request } from '../model/block.ts'
import { assert } from '../model/errors.ts'
import { blockIdOf, toHex } from '../model/hash.ts'
import type { BlockId, Digest } from '../model/ids.ts'
import { leafText, rootOfLeafTexts } from '../model/merkle.ts'
import type { DecideCertificate } from '../model/messages.ts'
import { must } from './fault.ts'
import { BLOCK_BYTES_MAX, BLOCK_REQUESTS_MAX, DIGEST_BYTES, REQUEST_BYTES_MAX, SIGNATURES_MAX } from './limits.ts'
import { readAll } from './reader.ts'
import { decodeRequest, requestToJson } from './request-codec.ts'
import { hex, type Json, type Shape, tuple, uint } from './shape.ts'
import { encode } from './writer.ts'

const VERSION = 1
export const HEADER_BYTES_MAX = 512

const digest: Shape<Digest> = hex(DIGEST_BYTES)
const blockId: Shape<BlockId> = hex(DIGEST_BYTES)

const header: Shape<BlockHeader> = tuple<BlockHeader>({
  version: uint(VERSION, VERSION),
  chainId: digest,
  height: uint(Number.MAX_SAFE_INTEGER, 1),
  parentId: blockId,
  author: uint(SIGNATURES_MAX - 1),
  birthView: uint(),
  timestamp: uint(),
  requestsRoot: digest,
  requestCount: uint(BLOCK_REQUESTS_MAX),
  stateRoot: digest,
  rulesVersion: uint(),
})

/** Requests that were seen before, by the leaf hash of their bytes: equal hash, equal bytes. */
export type KnownRequests = (leaf: string) => Request | undefined

/** Bytes whose SHA-256 is the block's id. */
export const encodeHeader = (value: BlockHeader): Uint8Array => encode(header.write(value))
/** Throws WireFault. */
export const decodeHeader = (bytes: Uint8Array): BlockHeader => readAll(bytes, HEADER_BYTES_MAX, header.read)

/** The root for a header over these requests. */
export const requestsRootOf = (requests: readonly Request[]): Digest =>
  toHex(rootOfLeafTexts(requests.map(request => request.leaf))) as Digest

/** Caller computed root and count from these requests. */
export function makeBlock(value: BlockHeader, requests: readonly Request[]): Block {
  assert(value.requestCount === requests.length, 'the header counts the requests of its block')
  assert(value.requestsRoot === requestsRootOf(requests), 'the header has the root of its requests')
  const headerBytes = encodeHeader(value)
  const bytes = encode([VERSION, headerBytes, requests.map(request => request.bytes)])
  assert(bytes.length <= BLOCK_BYTES_MAX, `a block of ${bytes.length} bytes is above the hard cap`)
  return { header: value, requests, id: blockIdOf(headerBytes), bytes }
}

/** Well-formed and whole; signatures are not checked. `known` saves decoding. Throws WireFault. */
export function decodeBlock(bytes: Uint8Array, known: KnownRequests = () => undefined): Block {
  return readAll(bytes, BLOCK_BYTES_MAX, reader => {
    reader.tuple(3)
    must(reader.uint() === VERSION, 'unknown-version')
    const headerBytes = reader.view(HEADER_BYTES_MAX)
    const value = decodeHeader(headerBytes)
    const count = reader.list(BLOCK_REQUESTS_MAX)
    must(count === value.requestCount, 'request-count')
    const views: Uint8Array[] = []
    for (let i = 0; i < count; i++) views.push(reader.view(REQUEST_BYTES_MAX))
    const leaves = views.map(leafText)
    // The root first: a header that does not fit costs no decoding.
    must(toHex(rootOfLeafTexts(leaves)) === value.requestsRoot, 'requests-root')
    const requests = leaves.map((leaf, i) => known(leaf) ?? decodeRequest(views[i] as Uint8Array, leaf))
    return { header: value, requests, id: blockIdOf(headerBytes), bytes }
  })
}

/** For people and `--json`. */
export const blockToJson = (block: Block): Json => ({
  id: block.id,
  header: header.toJson(block.header),
  requests: block.requests.map(requestToJson),
  sizeBytes: block.bytes.length,
})

export const certificateToJson = (certificate: DecideCertificate): Json => ({
  path: certificate.path,
  height: certificate.height,
  view: certificate.view,
  id: certificate.id,
  votes: certificate.votes.map(vote => ({ sender: vote.sender, signature: toHex(vote.signature) })),
})
