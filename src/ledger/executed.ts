// At most once (P-34): a request runs while its timestamp lies within the window around block time, and its id is not among those
// executed in that window. One state key for each block holds the ids; a Set in memory finds them. What fell out of the window is
// forgotten, and a floor remembers until when, so that widening the window later cannot let an old request in again.

import type { Request } from '../model/block.ts'
import { fromHex, toHex } from '../model/hash.ts'
import type { Digest, RequestId, Timestamp } from '../model/ids.ts'
import type { RefusalReason } from '../model/operations.ts'
import type { Store } from './store.ts'

const ID_BYTES = 32

export class Executed {
  readonly #store: Store
  readonly #ids = new Set<RequestId>()
  /** Blocks still in the window, oldest first. */
  #blocks: { readonly name: string; readonly timestampMax: Timestamp; readonly ids: readonly RequestId[] }[] = []
  /** Of the block under way. */
  #current: RequestId[] = []
  #timestampMax = 0

  constructor(store: Store) {
    this.#store = store
  }

  has(id: RequestId): boolean {
    return this.#ids.has(id)
  }

  /** Why this request may not run now; null when it may, and is then counted as executed. */
  admit(request: Request, network: Digest, time: Timestamp): RefusalReason | null {
    if (request.network !== network) return 'wrong-network'
    const { requestWindowPastMs, requestWindowFutureMs } = this.#store.now().parameters
    if (request.timestamp < time - requestWindowPastMs || request.timestamp <= this.#floor()) return 'stale'
    if (request.timestamp > time + requestWindowFutureMs) return 'future'
    if (this.#ids.has(request.id)) return 'replayed'
    this.#ids.add(request.id)
    this.#current.push(request.id)
    this.#timestampMax = Math.max(this.#timestampMax, request.timestamp)
    return null
  }

  endBlock(height: number, time: Timestamp): void {
    if (this.#current.length > 0) {
      const name = String(height).padStart(16, '0')
      const ids = Buffer.alloc(this.#current.length * ID_BYTES)
      for (const [i, id] of this.#current.entries()) ids.set(fromHex(id), i * ID_BYTES)
      const timestampMax = this.#timestampMax as Timestamp
      this.#store.executed.put(name, { height, timestampMax, ids })
      this.#blocks.push({ name, timestampMax, ids: this.#current })
      this.#current = []
      this.#timestampMax = 0
    }
    this.#forget(time)
  }

  /** Reads everything from the state again, after a restore. */
  reload(): void {
    this.#ids.clear()
    this.#blocks = this.#store.executed.under().map(({ height, timestampMax, ids }) => {
      const list: RequestId[] = []
      for (let at = 0; at < ids.length; at += ID_BYTES) list.push(toHex(ids.subarray(at, at + ID_BYTES)) as RequestId)
      for (const id of list) this.#ids.add(id)
      return { name: String(height).padStart(16, '0'), timestampMax, ids: list }
    })
  }

  /** From the oldest block on, while none of its requests could be admitted any more. */
  #forget(time: Timestamp): void {
    const begin = time - this.#store.now().parameters.requestWindowPastMs
    let gone = 0
    let floor: number = this.#floor()
    for (const block of this.#blocks) {
      if (block.timestampMax >= begin) break
      for (const id of block.ids) this.#ids.delete(id)
      this.#store.executed.delete(block.name)
      floor = Math.max(floor, block.timestampMax)
      gone += 1
    }
    if (gone === 0) return
    this.#blocks = this.#blocks.slice(gone)
    this.#store.floors.put('now', { timestamp: floor as Timestamp })
  }

  #floor(): number {
    return this.#store.floors.get('now')?.timestamp ?? -1
  }
}
