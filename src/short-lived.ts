// What a transfer costs most, unless something is done: buffers that are dead a moment after they were made. V8 frees dead young objects
// in a scavenge, which takes a millisecond, but begins one only when their JavaScript side fills the young space; the bytes of buffers lie
// outside. So every 64 MiB of them it marks the whole heap instead, on all cores, and until then keeps what is dead. Measured: more than
// half of the CPU time of both peers of a transfer, and a third of their memory. Whoever moves large buffers says so here, and the
// scavenge comes in time. And since the buffers under way count as growth of the heap too, which V8 allows a third of before it marks,
// it may grow threefold here. What is not dead so soon, a piece of a record that waits for its turn, would outlive two scavenges and then be
// freed by none: its memory is lent, and used again when it comes back. Not here: buffers that stay.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const HEAP_GROWING_PERCENT = 200
/** Large against what a scavenge costs, small against the processor's cache and the 64 MiB. */
const SCAVENGE_EVERY_BYTES = 16 * 1024 * 1024

type Collect = (options: { readonly type: 'minor' }) => void

let used = 0
let collect: Collect | null = null

/** So many bytes of buffers were made that will soon be dead. */
export function noteShortLived(bytes: number): void {
  used += bytes
  if (used < SCAVENGE_EVERY_BYTES) return
  used = 0
  collect ??= findCollector()
  collect({ type: 'minor' })
}

/** Node has no call for a scavenge; V8 has, for whoever sets the flag, and only contexts made after that see it. */
function findCollector(): Collect {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`)
  setFlagsFromString('--expose-gc')
  const found: unknown = runInNewContext('globalThis.gc')
  setFlagsFromString('--no-expose-gc')
  return typeof found === 'function' ? (found as Collect) : () => undefined
}

/** The size of all that is lent: a piece of a record. */
const LENT_BYTES = 1_048_576
/** What lies here unused at most, and for how long. More than all transfers of a peer hold at once: else some would be made anew all the time. */
const SPARE_MAX = 64
const SPARE_MS = 10_000

const spare: Uint8Array<ArrayBuffer>[] = []
const lent = new WeakSet<Uint8Array>()
let drop: NodeJS.Timeout | null = null

/** Memory that nobody has cleared; the caller fills all of it. */
export function borrow(bytes: number): Uint8Array<ArrayBuffer> {
  const memory = (bytes === LENT_BYTES ? spare.pop() : undefined) ?? uncleared(bytes)
  if (bytes === LENT_BYTES) lent.add(memory)
  return memory
}

/** Only by whoever knows that nobody reads it any more; what is not given back is collected like any other. What was not lent is left alone. */
export function giveBack(memory: Uint8Array): void {
  if (!lent.delete(memory) || spare.length >= SPARE_MAX) return
  spare.push(memory as Uint8Array<ArrayBuffer>)
  drop ??= setTimeout(dropSpare, SPARE_MS).unref()
  drop.refresh()
}

function dropSpare(): void {
  spare.length = 0
  drop = null
}

const uncleared = (bytes: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer)
