// The smallest ledger that consensus can stand on: a chain of headers, a state digest that depends on every request in its order.
// Hashes are 53-bit and cheap, since nobody attacks them here. Not here: the real ledger (real-parts.ts).

import type { BlockFault } from '../../src/consensus/environment.ts'
import type { Block, BlockHeader, Request } from '../../src/model/block.ts'
import type {
  BlockId,
  Digest,
  Height,
  PublicKey,
  RequestId,
  Timestamp,
  ValidatorIndex,
  View,
} from '../../src/model/ids.ts'

export type Head = {
  readonly height: Height
  readonly id: BlockId
  readonly timestamp: Timestamp
  /** base(h) of the next height. */
  readonly author: ValidatorIndex
}

export type Application = {
  head(): Head
  checkBlock(block: Block, fresh: boolean, nowMs: number): BlockFault | null
  build(options: {
    readonly author: ValidatorIndex
    readonly view: View
    readonly nowMs: number
    readonly requests: readonly Request[]
  }): Block
  /** Returns the requests that ran; the real ledger refuses one that ran before and leaves it in its block. */
  execute(block: Block): readonly RequestId[]
  isExecuted(id: RequestId): boolean
}

export const CLOCK_DRIFT_MAX_MS = 2_000
const CHAIN = 'c0' as Digest
export const GENESIS: Head = {
  height: 0 as Height,
  id: CHAIN as string as BlockId,
  timestamp: 0 as Timestamp,
  author: 0 as ValidatorIndex,
}

/** `leadAfter`: base of the next height; the author keeps the lead unless something else is said. */
export function makeApplication(leadAfter = (header: BlockHeader): ValidatorIndex => header.author): Application {
  let head = GENESIS
  let state = 'genesis'
  const executed = new Set<RequestId>()
  return {
    head: () => head,
    isExecuted: id => executed.has(id),
    checkBlock(block, fresh, nowMs) {
      const { header, requests } = block
      const wrong = (reason: string): BlockFault => ({ kind: 'deterministic', reason })
      if (header.parentId !== head.id || header.height !== head.height + 1) return wrong('parent')
      if (header.timestamp <= head.timestamp) return wrong('timestamp')
      if (header.stateRoot !== hashOf(state)) return wrong('state')
      if (header.requestsRoot !== rootOf(requests) || header.requestCount !== requests.length) return wrong('requests')
      if (requests.some(request => executed.has(request.id))) return wrong('executed before')
      if (new Set(requests.map(request => request.id)).size !== requests.length) return wrong('twice')
      if (fresh && Math.abs(header.timestamp - nowMs) > CLOCK_DRIFT_MAX_MS) return { kind: 'local', reason: 'clock' }
      return null
    },
    build({ author, view, nowMs, requests }) {
      const header: BlockHeader = {
        version: 1,
        chainId: CHAIN,
        height: (head.height + 1) as Height,
        parentId: head.id,
        author,
        birthView: view,
        timestamp: Math.max(Math.floor(nowMs), head.timestamp + 1) as Timestamp,
        requestsRoot: rootOf(requests),
        requestCount: requests.length,
        stateRoot: hashOf(state),
        rulesVersion: 1,
      }
      return sealBlock(header, requests)
    },
    execute(block) {
      head = {
        height: block.header.height,
        id: block.id,
        timestamp: block.header.timestamp,
        author: leadAfter(block.header),
      }
      for (const request of block.requests) executed.add(request.id)
      state = hashOf(`${state} ${block.header.requestsRoot}`)
      return block.requests.map(request => request.id)
    },
  }
}

export function sealBlock(header: BlockHeader, requests: readonly Request[]): Block {
  const { height, parentId, author, birthView, timestamp, requestsRoot, stateRoot } = header
  const fields = [height, parentId, author, birthView, timestamp, requestsRoot, stateRoot].join(' ')
  return { header, requests, id: hashOf(fields) as BlockId, bytes: new Uint8Array(0) }
}

/** Of one of three clients. */
export const makeSimRequest = (number: number): Request =>
  ({
    id: `r${number}` as RequestId,
    publicKey: `client${number % 3}` as PublicKey,
    timestamp: 0 as Timestamp,
    bytes: REQUEST_BYTES,
  }) as Request

/** Whether a block is what its id says: what wire finds out by hashing. */
export function isSealed(block: Block): boolean {
  const known = sealed.get(block)
  if (known !== undefined) return known
  const answer = sealBlock(block.header, []).id === block.id && block.header.requestsRoot === rootOf(block.requests)
  sealed.set(block, answer)
  return answer
}
const sealed = new WeakMap<Block, boolean>()
const REQUEST_BYTES = new Uint8Array(250)

const rootOf = (requests: readonly Request[]): Digest => hashOf(requests.map(request => request.id).join())

/** cyrb53: two 32-bit multiply-xor lanes. */
export function hashOf(text: string): Digest {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    a = Math.imul(a ^ c, 2654435761)
    b = Math.imul(b ^ c, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return ((b >>> 0).toString(16).padStart(8, '0') + (a >>> 0).toString(16).padStart(8, '0')) as Digest
}
