// Where a request stands in the chain, at 0.1 puts for each request instead of one (a put costs 10 µs, compaction included). Requests
// of the newest blocks are held in memory (the tail); when there are enough, they are written as one run: sorted into 4096 buckets by
// the first twelve bits of their id, one value for each bucket and run. All runs of a bucket lie side by side, so a lookup is one
// short range read: 0.4 KB for a million requests, some 400 KB for a hundred million.
// The blocks stay the truth: after a crash the tail is read again from the blocks above the marker. The first place of a request
// counts; a replay that stands in a later block had no effect.

import type { Block } from '../model/block.ts'
import { fromHex } from '../model/hash.ts'
import type { Height, RequestId } from '../model/ids.ts'

export type RequestPlace = { readonly height: Height; readonly index: number }

const RUN_REQUESTS = 32_768
const RUN_BLOCKS = 4_096
const ID_BYTES = 16
const ENTRY_BYTES = 24

export class RequestTail {
  readonly #places = new Map<RequestId, RequestPlace>()
  #from: Height
  #to: Height

  /** `indexed`: every block up to here is in the runs. */
  constructor(indexed: Height) {
    this.#from = (indexed + 1) as Height
    this.#to = indexed
  }

  add(block: Block): void {
    const { height } = block.header
    for (const [index, request] of block.requests.entries())
      if (!this.#places.has(request.id)) this.#places.set(request.id, { height, index })
    if (height > this.#to) this.#to = height
  }

  find(id: RequestId): RequestPlace | null {
    return this.#places.get(id) ?? null
  }

  get isFull(): boolean {
    return this.#places.size >= RUN_REQUESTS || this.#to - this.#from >= RUN_BLOCKS
  }

  /** What is to be written: the run is named by its first height. */
  run(): { readonly from: Height; readonly to: Height; readonly buckets: ReadonlyMap<number, Uint8Array> } {
    const parts = new Map<number, Buffer[]>()
    for (const [id, { height, index }] of this.#places) {
      const entry = Buffer.alloc(ENTRY_BYTES)
      entry.set(fromHex(id.slice(0, 2 * ID_BYTES)))
      entry.writeUIntBE(height, ID_BYTES, 6)
      entry.writeUInt16BE(index, ID_BYTES + 6)
      const bucket = bucketOf(id)
      const part = parts.get(bucket)
      if (part === undefined) parts.set(bucket, [entry])
      else part.push(entry)
    }
    const buckets = new Map<number, Uint8Array>()
    for (const [bucket, entries] of parts) buckets.set(bucket, Buffer.concat(entries))
    return { from: this.#from, to: this.#to, buckets }
  }
}

export const bucketOf = (id: RequestId): number => Number.parseInt(id.slice(0, 3), 16)

/** In one bucket's value of one run. */
export function findInRun(entries: Uint8Array, id: RequestId): RequestPlace | null {
  const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength)
  const wanted = fromHex(id.slice(0, 2 * ID_BYTES))
  for (let at = bytes.indexOf(wanted); at !== -1; at = bytes.indexOf(wanted, at + 1))
    if (at % ENTRY_BYTES === 0)
      return {
        height: bytes.readUIntBE(at + ID_BYTES, 6) as Height,
        index: bytes.readUInt16BE(at + ID_BYTES + 6),
      }
  return null
}
