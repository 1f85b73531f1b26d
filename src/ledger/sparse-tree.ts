// The digest of the state: a compact sparse Merkle tree (contract.md, "State"). Binary; a key's path is the SHA-256 of its name, bit by
// bit; leaf = H(0 ‖ keyHash ‖ valueHash), node = H(1 ‖ left ‖ right), nothing = 32 zero bytes; a subtree with one key is that leaf. So the
// root depends on what is in the state, never on how it came there. A batch recomputes each shared node once.
//
// Nodes live in typed arrays rather than objects: 200 000 keys cost 30 MB and no garbage. A reference is 0 for nothing, +i for inner node
// i, -i for leaf i. Not here: the values (state.ts), the checking of proofs (proofs.ts).

import { sha256Into } from '../model/hash.ts'
import type { TreeNode } from '../model/snapshot.ts'

const HASH = 32
const NOTHING = 0

export type StateProof = {
  /** From the root down. */
  readonly siblings: readonly Uint8Array[]
  /** The leaf where the path ends: the key's own, or another's, or null for nothing; the latter two prove absence. */
  readonly leaf: { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array } | null
}

export class SparseTree {
  #root = NOTHING
  // Inner nodes: hash, and two references. Index 0 is not used.
  #innerHashes = Buffer.alloc(1024 * HASH)
  #left = new Int32Array(1024)
  #right = new Int32Array(1024)
  #innerCount = 1
  readonly #innerFree: number[] = []
  // Leaves: hash, key hash and value hash.
  #leafHashes = Buffer.alloc(1024 * HASH)
  #keyHashes = Buffer.alloc(1024 * HASH)
  #valueHashes = Buffer.alloc(1024 * HASH)
  #leafCount = 1
  readonly #leafFree: number[] = []
  /** The batch under way: references of new leaves, and which of them are deletions. */
  #items = new Int32Array(0)
  readonly #deletions = new Set<number>()
  readonly #leafInput = Buffer.alloc(1 + 2 * HASH)
  readonly #innerInput = Buffer.alloc(1 + 2 * HASH, 1)

  /** A copy: 32 bytes. */
  root(): Uint8Array {
    return new Uint8Array(this.#hashOf(this.#root))
  }

  /** Sets (bytes) or deletes (null) each key once. */
  update(changes: Iterable<readonly [key: string, value: Uint8Array | null]>, count: number): void {
    this.#items = new Int32Array(count)
    let used = 0
    for (const [key, value] of changes) this.#items[used++] = this.#makeLeaf(key, value)
    this.#root = this.#apply(this.#root, 0, used, 0)
    for (const leaf of this.#deletions) this.#leafFree.push(-leaf)
    this.#deletions.clear()
    this.#items = new Int32Array(0)
  }

  prove(key: string): StateProof {
    const path = Buffer.alloc(HASH)
    sha256Into(Buffer.from(key), path, 0)
    const siblings: Uint8Array[] = []
    let at = this.#root
    for (let depth = 0; at > 0; depth++) {
      const right = bitAt(path, 0, depth) === 1
      siblings.push(new Uint8Array(this.#hashOf((right ? this.#left : this.#right)[at]!)))
      at = (right ? this.#right : this.#left)[at]!
    }
    if (at === NOTHING) return { siblings, leaf: null }
    return { siblings, leaf: this.#leafAt(at) }
  }

  #leafAt(at: number): { readonly keyHash: Uint8Array; readonly valueHash: Uint8Array } {
    const from = -at * HASH
    const copy = (pool: Buffer): Uint8Array => new Uint8Array(pool.subarray(from, from + HASH))
    return { keyHash: copy(this.#keyHashes), valueHash: copy(this.#valueHashes) }
  }

  /** The nodes at `depth`, from left to right. A leaf that stands higher up is named where its path leads. */
  nodesAt(depth: number): readonly TreeNode[] {
    const nodes = new Array<TreeNode>(2 ** depth).fill(null)
    const walk = (at: number, level: number, place: number): void => {
      if (at > 0 && level < depth) {
        walk(this.#left[at]!, level + 1, 2 * place)
        walk(this.#right[at]!, level + 1, 2 * place + 1)
      } else if (at > 0) nodes[place] = { type: 'inner', hash: new Uint8Array(this.#hashOf(at)) }
      else if (at < 0) {
        const leaf = this.#leafAt(at)
        let path = place
        for (let i = level; i < depth; i++) path = 2 * path + bitAt(leaf.keyHash, 0, i)
        nodes[path] = { type: 'leaf', ...leaf }
      }
    }
    walk(this.#root, 0, 0)
    return nodes
  }

  /** Applies items [from, to) to the subtree `at`; answers what stands there now. */
  #apply(at: number, from: number, to: number, depth: number): number {
    if (from === to) return at
    if (at <= 0) return this.#build(at, from, to, depth)
    const middle = this.#partition(from, to, depth)
    const left = this.#apply(this.#left[at]!, from, middle, depth + 1)
    const right = this.#apply(this.#right[at]!, middle, to, depth + 1)
    return this.#join(at, left, right)
  }

  /** Nothing, or one leaf, and items: the leaf joins the items unless one of them replaces it. */
  #build(old: number, from: number, to: number, depth: number): number {
    let kept = old
    let end = from
    for (let i = from; i < to; i++) {
      const item = this.#items[i]!
      if (kept < 0 && this.#sameKey(item, kept)) {
        this.#leafFree.push(-kept)
        kept = NOTHING
      }
      if (!this.#deletions.has(item)) this.#items[end++] = item
    }
    if (kept === NOTHING) return this.#grow(from, end, depth)
    if (end === from) return kept
    return this.#growWith(kept, from, end, depth)
  }

  #grow(from: number, to: number, depth: number): number {
    if (from === to) return NOTHING
    if (to - from === 1) return this.#items[from]!
    const middle = this.#partition(from, to, depth)
    return this.#join(this.#newInner(), this.#grow(from, middle, depth + 1), this.#grow(middle, to, depth + 1))
  }

  #growWith(extra: number, from: number, to: number, depth: number): number {
    if (from === to) return extra
    const middle = this.#partition(from, to, depth)
    const toRight = bitAt(this.#keyHashes, -extra * HASH, depth) === 1
    const left = toRight ? this.#grow(from, middle, depth + 1) : this.#growWith(extra, from, middle, depth + 1)
    const right = toRight ? this.#growWith(extra, middle, to, depth + 1) : this.#grow(middle, to, depth + 1)
    return this.#join(this.#newInner(), left, right)
  }

  /** Node `at` with these children; a lone leaf rises in its place. */
  #join(at: number, left: number, right: number): number {
    if ((left === NOTHING && right <= 0) || (right === NOTHING && left <= 0)) {
      this.#innerFree.push(at)
      return left === NOTHING ? right : left
    }
    this.#left[at] = left
    this.#right[at] = right
    this.#copyHash(left, 1)
    this.#copyHash(right, 1 + HASH)
    sha256Into(this.#innerInput, this.#innerHashes, at * HASH)
    return at
  }

  /** Items with bit 0 at `depth` first; answers where those with bit 1 begin. */
  #partition(from: number, to: number, depth: number): number {
    const items = this.#items
    let low = from
    let high = to
    while (low < high) {
      const item = items[low]!
      if (bitAt(this.#keyHashes, -item * HASH, depth) === 0) low++
      else {
        high--
        items[low] = items[high]!
        items[high] = item
      }
    }
    return low
  }

  #makeLeaf(key: string, value: Uint8Array | null): number {
    const index = this.#leafFree.pop() ?? this.#leafCount++
    if ((index + 1) * HASH > this.#leafHashes.length) {
      this.#leafHashes = doubled(this.#leafHashes)
      this.#keyHashes = doubled(this.#keyHashes)
      this.#valueHashes = doubled(this.#valueHashes)
    }
    const at = index * HASH
    sha256Into(Buffer.from(key), this.#keyHashes, at)
    if (value === null) this.#deletions.add(-index)
    else {
      sha256Into(value, this.#valueHashes, at)
      this.#keyHashes.copy(this.#leafInput, 1, at, at + HASH)
      this.#valueHashes.copy(this.#leafInput, 1 + HASH, at, at + HASH)
      sha256Into(this.#leafInput, this.#leafHashes, at)
    }
    return -index
  }

  #newInner(): number {
    const index = this.#innerFree.pop() ?? this.#innerCount++
    if (index >= this.#left.length) {
      this.#innerHashes = doubled(this.#innerHashes)
      this.#left = doubledReferences(this.#left)
      this.#right = doubledReferences(this.#right)
    }
    return index
  }

  #copyHash(at: number, offset: number): void {
    const from = at > 0 ? at * HASH : -at * HASH
    if (at === NOTHING) this.#innerInput.fill(0, offset, offset + HASH)
    else (at > 0 ? this.#innerHashes : this.#leafHashes).copy(this.#innerInput, offset, from, from + HASH)
  }

  #hashOf(at: number): Uint8Array {
    if (at === NOTHING) return ZERO
    return at > 0
      ? this.#innerHashes.subarray(at * HASH, at * HASH + HASH)
      : this.#leafHashes.subarray(-at * HASH, -at * HASH + HASH)
  }

  #sameKey(a: number, b: number): boolean {
    const [i, j] = [-a * HASH, -b * HASH]
    return this.#keyHashes.compare(this.#keyHashes, i, i + HASH, j, j + HASH) === 0
  }
}

const ZERO = new Uint8Array(HASH)

/** Bit `depth` of the hash that begins at `from`, most significant first. */
const bitAt = (bytes: Uint8Array, from: number, depth: number): number =>
  (bytes[from + (depth >> 3)]! >> (7 - (depth & 7))) & 1

function doubled(pool: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  const larger = Buffer.alloc(pool.length * 2)
  larger.set(pool)
  return larger
}

function doubledReferences(pool: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(pool.length * 2)
  larger.set(pool)
  return larger
}
