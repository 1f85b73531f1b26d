// Snapshots of the state: chunks that are checked one by one, and the committee of a height proved by one header for each epoch.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { readHandover } from '../../src/ledger/handover.ts'
import { chunksOf, depthFor, type Entry, isChunk, rootOfNodes, type StateCopy } from '../../src/ledger/snapshot.ts'
import { SparseTree } from '../../src/ledger/sparse-tree.ts'
import { asHeight, type Digest, type Height } from '../../src/model/ids.ts'
import type { HandoverClaim, TreeNode } from '../../src/model/snapshot.ts'
import { idNamed, makeGenesis, World } from './world.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const same = (a: Uint8Array | null, b: Uint8Array): boolean => a !== null && Buffer.compare(a, b) === 0

function copyOf(entries: readonly Entry[], depth: number): StateCopy & { readonly tree: SparseTree } {
  const tree = new SparseTree()
  tree.update(entries, entries.length)
  const [keys, values] = [entries.map(([key]) => key), entries.map(([, value]) => value)]
  return { height: 1 as Height, root: '' as Digest, depth, nodes: tree.nodesAt(depth), keys, values, tree }
}

const chunks = (copy: StateCopy): Entry[][] =>
  [...chunksOf(copy)].flatMap(chunk => (chunk === null ? [] : [chunk.entries]))
const numbered = (count: number): Entry[] => Array.from({ length: count }, (_, i) => [`key/${i}`, bytes(`value ${i}`)])
const holds = ({ depth, nodes }: StateCopy, index: number, entries: readonly Entry[]): boolean =>
  isChunk(entries, { depth, index, node: nodes[index] as TreeNode })

test('for any state and any depth the nodes give the digest, and each chunk gives its node', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { maxLength: 60 }), fc.integer({ min: 0, max: 9 }), (keys, depth) => {
      const copy = copyOf(
        keys.map((key, i) => [key, bytes(String(i))]),
        depth,
      )
      assert.ok(same(rootOfNodes(copy.nodes, depth), copy.tree.root()))
      const found = chunks(copy)
      assert.equal(found.length, 2 ** depth)
      for (const [index, entries] of found.entries()) assert.ok(holds(copy, index, entries), `chunk ${index}`)
      assert.deepEqual(new Set(found.flat().map(([key]) => key)), new Set(keys))
    }),
    { seed: 20_261_127, numRuns: 60 },
  )
})

test('a chunk with one value changed, one key more, one less, or twice, in another order or at another place is refused', () => {
  const copy = copyOf(numbered(200), 3)
  const [first, second] = chunks(copy) as [Entry[], Entry[]]
  const [[key, value], ...rest] = first as [Entry, ...Entry[]]
  assert.ok(holds(copy, 0, first))
  for (const [what, wrong] of Object.entries({
    changed: [[key, bytes('another')], ...rest],
    less: rest,
    more: [...first, ['key/200', bytes('x')]],
    twice: [[key, value], ...first],
    order: [...rest, [key, value]],
    place: second,
    empty: [],
  } as Record<string, Entry[]>))
    assert.equal(holds(copy, 0, wrong), false, what)
})

test('nodes that do not stand where they say, or are too many, give no digest or another', () => {
  const copy = copyOf([['only', bytes('one')]], 3)
  const at = copy.nodes.findIndex(node => node !== null)
  // A lone leaf gives the same digest wherever it is said to stand: its own hash says where it does.
  const moved = copy.nodes.map((_, i) => (i === (at ^ 1) ? (copy.nodes[at] as TreeNode) : null))
  assert.equal(rootOfNodes(moved, 3), null)
  assert.equal(rootOfNodes(copy.nodes.slice(1), 3), null)
  assert.equal(rootOfNodes([], 40), null)
  const many = copyOf(numbered(100), 2)
  const [a, b, ...others] = many.nodes as [TreeNode, TreeNode, ...TreeNode[]]
  assert.ok(!same(rootOfNodes([b, a, ...others], 2), many.tree.root()))
})

test('chunks stay between an eighth and a quarter of a megabyte, whatever the state’s size', () => {
  assert.equal(depthFor(0), 0)
  assert.equal(depthFor(256 * 1024), 0)
  assert.equal(depthFor(256 * 1024 + 1), 1)
  assert.equal(depthFor(60 * 1024 * 1024), 8)
  assert.equal(depthFor(1e15), 14)
})

test('a copy of the state stays what it was while blocks go on, also for tables that nobody thought of', () => {
  const world = new World(makeGenesis({}, { snapshotBlocks: 2 }))
  assert.equal(world.ledger.snapshot(), null, 'not at genesis')
  world.executeAll([])
  assert.equal(world.ledger.snapshot(), null, 'nor between')
  world.executeAll([])
  const copy = world.ledger.snapshot() as StateCopy
  world.agree({ type: 'institution.rate', institution: idNamed('west'), score: 5 })
  assert.notEqual(world.ledger.stateRoot(), copy.root)
  assert.equal(Buffer.from(rootOfNodes(copy.nodes, copy.depth) as Uint8Array).toString('hex'), copy.root)
  for (const [index, entries] of chunks(copy).entries()) assert.ok(holds(copy, index, entries))
})

type Step = { readonly claim: HandoverClaim; readonly root: Digest; readonly end: Height }

/** Epochs of five blocks; in the second `west` becomes the first. */
function epochs(count: number): { readonly world: World; readonly steps: readonly Step[] } {
  const world = new World(makeGenesis({}, { epochBlocks: 5 }))
  const steps: Step[] = []
  world.agree({ type: 'institution.rate', institution: idNamed('west'), score: 2000 })
  while (steps.length < count) {
    const claim = world.ledger.handover()
    const end = asHeight(world.ledger.head().height + 1)
    if (claim !== null) steps.push({ claim, root: world.ledger.stateRoot(), end })
    world.executeAll([])
  }
  return { world, steps }
}

test('before the last block of an epoch, and no other, the state proves who decides in the next one and until when', () => {
  const { world, steps } = epochs(3)
  assert.deepEqual(
    steps.map(({ end }) => end),
    [5, 10, 15],
  )
  const read = steps.map(({ claim, root, end }) => readHandover(claim, { root, end }))
  assert.deepEqual(
    read.map(next => next?.end),
    [10, 15, 20],
  )
  assert.deepEqual(read[0]?.committee, world.ledger.committeeAt(asHeight(6)))
  assert.deepEqual([read[1]?.committee, read[2]?.committee], [null, null], 'the same committee goes on')
})

test('epochs of a single block hand over, too', () => {
  const world = new World(makeGenesis({}, { epochBlocks: 1 }))
  assert.equal(world.ledger.epochEnd(), 2)
  world.executeAll([])
  const claim = world.ledger.handover() as HandoverClaim
  assert.equal(readHandover(claim, { root: world.ledger.stateRoot(), end: asHeight(2) })?.end, 3)
})

test('a handover that hides a new committee, or is of another state or another height, proves nothing', () => {
  const { steps } = epochs(2)
  const [first, second] = steps as [Step, Step]
  const { claim, root, end } = first
  const hidden = { ...claim, committee: { ...claim.committee, value: null } }
  assert.equal(readHandover(hidden, { root, end }), null)
  const absent = { ...claim, committee: second.claim.committee }
  assert.equal(readHandover(absent, { root, end }), null, 'a proof of absence from another state')
  assert.equal(readHandover(claim, { root: second.root, end }), null)
  assert.equal(readHandover(claim, { root, end: asHeight(10) }), null)
  const longer = { ...claim, epoch: { ...claim.epoch, value: second.claim.epoch.value } }
  assert.equal(readHandover(longer, { root, end }), null)
})
