// A snapshot is the whole state at one height, cut into chunks by the path of a key in the state's tree: chunk i of 2^depth holds the keys
// whose SHA-256 begins with the `depth` bits of i. The nodes of the tree at that depth give its root, and a chunk gives its node: so each
// chunk is checked by itself against the digest that a quorum signed (checkpoint.ts), whoever sent it, and before it is kept. It knows keys
// and bytes and nothing of what they mean: a new table of the state is in it without further code.
// Not here: where chunks are kept (adapters), how they travel (snapshot/), their bytes (wire/snapshot-codec.ts).

import { sha256, sha256Into } from '../model/hash.ts'
import type { Digest, Height } from '../model/ids.ts'
import type { TreeNode } from '../model/snapshot.ts'

const HASH = 32
/** A chunk is about this large, or half of it. */
const CHUNK_BYTES = 256 * 1024
/** 4 GiB of state; the list of nodes then has half a megabyte. */
export const DEPTH_MAX = 14
/** Keys hashed between two breaths. */
const KEYS_A_STEP = 512

export type StateCopy = {
  readonly height: Height
  readonly root: Digest
  readonly depth: number
  /** At `depth`, from left to right. */
  readonly nodes: readonly TreeNode[]
  readonly keys: readonly string[]
  readonly values: readonly Uint8Array[]
}

export type Entry = readonly [key: string, value: Uint8Array]

/** The same on every peer, since the state is. */
export function depthFor(stateBytes: number): number {
  let depth = 0
  while (depth < DEPTH_MAX && stateBytes / 2 ** depth > CHUNK_BYTES) depth++
  return depth
}

/** Chunks from left to right, entries in the order of their paths; null now and then, so that the caller can give others a turn. */
export function* chunksOf(copy: StateCopy): Generator<{ readonly index: number; readonly entries: Entry[] } | null> {
  const { keys, values, depth } = copy
  const hashes = Buffer.alloc(keys.length * HASH)
  const starts = new Int32Array(2 ** depth + 1)
  for (const [i, key] of keys.entries()) {
    sha256Into(Buffer.from(key), hashes, i * HASH)
    const next = prefixOf(hashes, i * HASH, depth) + 1
    starts[next] = (starts[next] as number) + 1
    if (i % KEYS_A_STEP === 0) yield null
  }
  for (let i = 1; i < starts.length; i++) starts[i] = (starts[i] as number) + (starts[i - 1] as number)
  const order = new Int32Array(keys.length)
  const at = starts.slice()
  for (let i = 0; i < keys.length; i++) {
    const chunk = prefixOf(hashes, i * HASH, depth)
    order[at[chunk] as number] = i
    at[chunk] = (at[chunk] as number) + 1
  }
  for (let index = 0; index < 2 ** depth; index++) {
    const part = order.subarray(starts[index], starts[index + 1])
    part.sort((a, b) => hashes.compare(hashes, b * HASH, (b + 1) * HASH, a * HASH, (a + 1) * HASH))
    yield { index, entries: [...part].map(i => [keys[i] as string, values[i] as Uint8Array]) }
  }
}

/** The state digest that these nodes give; null when they cannot stand at this depth. */
export function rootOfNodes(nodes: readonly TreeNode[], depth: number): Uint8Array | null {
  if (depth > DEPTH_MAX || nodes.length !== 2 ** depth) return null
  for (const [i, node] of nodes.entries())
    if (node?.type === 'leaf' && prefixOf(node.keyHash, 0, depth) !== i) return null
  let level = nodes
  while (level.length > 1) {
    const above: TreeNode[] = []
    for (let i = 0; i < level.length; i += 2) above.push(joined(level[i] as TreeNode, level[i + 1] as TreeNode))
    level = above
  }
  return hashOf(level[0] as TreeNode)
}

/** Whether these are all the keys under the node at `index`, and no others. False for every malformed chunk. */
export function isChunk(entries: readonly Entry[], place: { depth: number; index: number; node: TreeNode }): boolean {
  const { depth, index, node } = place
  const leaves = entries.map(([key, value]): TreeNode & object => ({
    type: 'leaf',
    keyHash: sha256(Buffer.from(key)),
    valueHash: sha256(value),
  }))
  for (const [i, leaf] of leaves.entries()) {
    if (leaf.type !== 'leaf' || prefixOf(leaf.keyHash, 0, depth) !== index) return false
    const before = leaves[i - 1]
    if (before?.type === 'leaf' && Buffer.compare(before.keyHash, leaf.keyHash) >= 0) return false
  }
  return Buffer.compare(hashOf(subtree(leaves, 0, leaves.length, depth)), hashOf(node)) === 0
}

/** Of leaves in the order of their paths, which agree up to `depth`. */
function subtree(leaves: readonly TreeNode[], from: number, to: number, depth: number): TreeNode {
  if (to - from <= 1) return leaves[from] !== undefined && to > from ? (leaves[from] as TreeNode) : null
  let middle = from
  while (middle < to && !isRight(leaves[middle] as TreeNode, depth)) middle++
  return joined(subtree(leaves, from, middle, depth + 1), subtree(leaves, middle, to, depth + 1))
}

const isRight = (leaf: TreeNode, depth: number): boolean =>
  leaf?.type === 'leaf' && (((leaf.keyHash[depth >> 3] as number) >> (7 - (depth & 7))) & 1) === 1

/** A lone leaf rises in the place of its parent, as in sparse-tree.ts. */
function joined(left: TreeNode, right: TreeNode): TreeNode {
  if (left === null && right?.type !== 'inner') return right
  if (right === null && left?.type !== 'inner') return left
  return { type: 'inner', hash: sha256(Buffer.concat([Buffer.of(1), hashOf(left), hashOf(right)])) }
}

function hashOf(node: TreeNode): Uint8Array {
  if (node === null) return new Uint8Array(HASH)
  return node.type === 'inner' ? node.hash : sha256(Buffer.concat([Buffer.of(0), node.keyHash, node.valueHash]))
}

/** The first `depth` bits as a number. */
function prefixOf(hashes: Uint8Array, from: number, depth: number): number {
  const first = ((hashes[from] as number) << 8) | (hashes[from + 1] as number)
  return first >> (16 - depth)
}
