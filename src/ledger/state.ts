// The state that every peer computes from the same blocks: names of keys to canonical bytes, in memory, under one digest (contract.md,
// "State"). Knows which keys changed since the last digest and since the last checkpoint. Not here: what the keys mean (tables.ts).

import { toHex } from '../model/hash.ts'
import type { Digest } from '../model/ids.ts'
import { depthFor, type StateCopy } from './snapshot.ts'
import { SparseTree, type StateProof } from './sparse-tree.ts'

export class State {
  readonly #entries = new Map<string, Uint8Array>()
  readonly #tree = new SparseTree()
  /** Changed since the tree was brought up to date. */
  readonly #pending = new Set<string>()
  /** Changed since the last checkpoint. */
  readonly #unsaved = new Set<string>()
  /** Keys by table, for the tables that are scanned: `policy/<owner>/<key>` stands under `policy/<owner>`. */
  readonly #groups = new Map<string, Set<string>>()
  readonly #scanned: ReadonlySet<string>
  #root: Digest | null = null
  /** Of all keys and values. */
  #bytes = 0

  /** `scanned`: tables (first part of a key) whose keys `keysUnder` can list. */
  constructor(scanned: ReadonlySet<string>) {
    this.#scanned = scanned
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Uint8Array | undefined {
    return this.#entries.get(key)
  }

  put(key: string, value: Uint8Array): void {
    const before = this.#entries.get(key)
    if (before === undefined) this.#group(key)?.add(key)
    this.#bytes += before === undefined ? key.length + value.length : value.length - before.length
    this.#entries.set(key, value)
    this.#changed(key)
  }

  delete(key: string): void {
    const before = this.#entries.get(key)
    if (before === undefined) return
    this.#entries.delete(key)
    this.#bytes -= key.length + before.length
    this.#group(key)?.delete(key)
    this.#changed(key)
  }

  /** Sorted: iteration order must not tell how the state came about. */
  keysUnder(group: string): readonly string[] {
    return [...(this.#groups.get(group) ?? [])].sort()
  }

  countUnder(group: string): number {
    return this.#groups.get(group)?.size ?? 0
  }

  entries(): IterableIterator<[string, Uint8Array]> {
    return this.#entries.entries()
  }

  /** Digest of all entries. Cost in proportion to the keys changed since the last call. */
  root(): Digest {
    if (this.#root === null || this.#pending.size > 0) {
      const changes: (readonly [string, Uint8Array | null])[] = []
      for (const key of this.#pending) changes.push([key, this.#entries.get(key) ?? null])
      this.#tree.update(changes, changes.length)
      this.#pending.clear()
      this.#root = toHex(this.#tree.root()) as Digest
    }
    return this.#root
  }

  /** Against `root()`. */
  prove(key: string): StateProof {
    this.root()
    return this.#tree.prove(key)
  }

  /** All of it as it is now; values are never changed in place, so this copies names only: some 10 ms for 200 000 keys. */
  copy(): Omit<StateCopy, 'height'> {
    const root = this.root()
    const depth = depthFor(this.#bytes)
    const nodes = this.#tree.nodesAt(depth)
    return { root, depth, nodes, keys: [...this.#entries.keys()], values: [...this.#entries.values()] }
  }

  /** What changed since the last call (null: deleted). A key that came and went in between is reported as deleted. */
  takeChanges(): ReadonlyMap<string, Uint8Array | null> {
    const changes = new Map<string, Uint8Array | null>()
    for (const key of [...this.#unsaved].sort()) changes.set(key, this.#entries.get(key) ?? null)
    this.#unsaved.clear()
    return changes
  }

  /** Replaces everything; nothing is unsaved afterwards. */
  load(entries: Iterable<readonly [string, Uint8Array]>): void {
    for (const key of [...this.#entries.keys()]) this.delete(key)
    for (const [key, value] of entries) this.put(key, value)
    this.root()
    this.#unsaved.clear()
  }

  #changed(key: string): void {
    this.#pending.add(key)
    this.#unsaved.add(key)
  }

  #group(key: string): Set<string> | null {
    if (!this.#scanned.has(key.slice(0, key.indexOf('/')))) return null
    const name = key.slice(0, key.lastIndexOf('/'))
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = new Set()
      this.#groups.set(name, group)
    }
    return group
  }
}
