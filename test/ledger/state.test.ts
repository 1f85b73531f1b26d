// The state's digest hangs on its content alone, and every key's presence or absence can be proved against it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { verifyStateProof } from '../../src/ledger/proofs.ts'
import { State } from '../../src/ledger/state.ts'
import { fromHex, sha256, toHex } from '../../src/model/hash.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const NAMES = Array.from({ length: 24 }, (_, i) => `key/${i}`)

/** The definition, by recursion over all entries. */
function definition(entries: readonly (readonly [string, Uint8Array])[], depth = 0): Uint8Array {
  if (entries.length === 0) return new Uint8Array(32)
  const hashed = entries.map(([key, value]) => ({ entry: [key, value] as const, path: sha256(bytes(key)) }))
  const only = hashed[0]!
  if (hashed.length === 1) return sha256(Buffer.concat([Buffer.of(0), only.path, sha256(only.entry[1])]))
  const side = (bit: number): Uint8Array =>
    definition(
      hashed.filter(({ path }) => ((path[depth >> 3]! >> (7 - (depth & 7))) & 1) === bit).map(({ entry }) => entry),
      depth + 1,
    )
  return sha256(Buffer.concat([Buffer.of(1), side(0), side(1)]))
}

const newState = (): State => new State(new Set(['key']))

const steps = fc.array(
  fc.record({
    name: fc.constantFrom(...NAMES),
    value: fc.option(fc.constantFrom('a', 'b', 'c'), { freq: 3 }),
    digest: fc.boolean(),
  }),
  { maxLength: 80 },
)

test('an empty state has the digest of nothing', () => {
  assert.equal(newState().root(), '0'.repeat(64))
})

test('the digest is that of the definition, whatever the history and the batches were', () => {
  fc.assert(
    fc.property(steps, list => {
      const state = newState()
      const model = new Map<string, Uint8Array>()
      for (const { name, value, digest } of list) {
        if (value === null) {
          state.delete(name)
          model.delete(name)
        } else {
          state.put(name, bytes(value))
          model.set(name, bytes(value))
        }
        if (digest) assert.equal(state.root(), toHex(definition([...model])))
      }
      assert.equal(state.root(), toHex(definition([...model])))
      const other = newState()
      for (const [name, value] of [...model].reverse()) other.put(name, value)
      assert.equal(other.root(), state.root())
      assert.deepEqual(state.keysUnder('key'), [...model.keys()].sort())
      assert.equal(state.size, model.size)
    }),
    { numRuns: 300 },
  )
})

test('presence and absence are proved, and nothing else is', () => {
  fc.assert(
    fc.property(steps, fc.constantFrom(...NAMES), (list, key) => {
      const state = newState()
      for (const { name, value } of list) if (value !== null) state.put(name, bytes(value))
      const value = state.get(key) ?? null
      const root = fromHex(state.root())
      const proof = state.prove(key)
      assert.equal(verifyStateProof({ root, key, value, proof }), true)
      assert.equal(verifyStateProof({ root, key, value: bytes('z'), proof }), false)
      assert.equal(verifyStateProof({ root, key, value: value === null ? bytes('a') : null, proof }), false)
      assert.equal(verifyStateProof({ root: sha256(root), key, value, proof }), false)
      if (value !== null) assert.equal(verifyStateProof({ root, key: 'key/other', value, proof }), false)
      const short = { ...proof, siblings: proof.siblings.slice(1) }
      if (proof.siblings.length > 0) assert.equal(verifyStateProof({ root, key, value, proof: short }), false)
    }),
  )
})

test('another key’s leaf proves absence only on the path of the key that is absent', () => {
  const state = newState()
  for (const name of NAMES) state.put(name, bytes('a'))
  const root = fromHex(state.root())
  const present = state.prove('key/3')
  for (const name of NAMES)
    assert.equal(verifyStateProof({ root, key: name, value: null, proof: present }), false, name)
})

test('a leaf that stands where its own path does not lead proves nothing, even under a root made for it', () => {
  const bitOf = (name: string): number => sha256(bytes(name))[0]! >> 7
  const left = NAMES.find(name => bitOf(name) === 0)!
  const right = NAMES.find(name => bitOf(name) === 1)!
  const leaf = { keyHash: sha256(bytes(right)), valueHash: sha256(bytes('a')) }
  const hash = sha256(Buffer.concat([Buffer.of(0), leaf.keyHash, leaf.valueHash]))
  const sibling = new Uint8Array(32).fill(7)
  const root = sha256(Buffer.concat([Buffer.of(1), hash, sibling]))
  assert.equal(verifyStateProof({ root, key: left, value: null, proof: { siblings: [sibling], leaf } }), false)
})

test('malformed proofs are false, not errors', () => {
  const root = new Uint8Array(32)
  const key = 'key/1'
  const bad = [
    { siblings: [new Uint8Array(31)], leaf: null },
    { siblings: Array.from({ length: 257 }, () => new Uint8Array(32)), leaf: null },
    { siblings: [], leaf: { keyHash: new Uint8Array(3), valueHash: new Uint8Array(32) } },
  ]
  for (const proof of bad) assert.equal(verifyStateProof({ root, key, value: null, proof }), false)
  assert.equal(
    verifyStateProof({ root: new Uint8Array(0), key, value: null, proof: { siblings: [], leaf: null } }),
    false,
  )
  assert.equal(verifyStateProof({ root, key, value: null, proof: { siblings: [], leaf: null } }), true)
})

test('changes are taken once, deletions among them, and a load leaves none', () => {
  const state = newState()
  state.put('key/2', bytes('a'))
  state.put('key/1', bytes('b'))
  assert.deepEqual([...state.takeChanges().keys()], ['key/1', 'key/2'])
  assert.equal(state.takeChanges().size, 0)
  state.delete('key/1')
  state.delete('key/9')
  assert.deepEqual([...state.takeChanges()], [['key/1', null]])
  state.load([['key/7', bytes('c')]])
  assert.equal(state.takeChanges().size, 0)
  assert.deepEqual(state.keysUnder('key'), ['key/7'])
  const fresh = newState()
  fresh.put('key/7', bytes('c'))
  assert.equal(state.root(), fresh.root())
})

test('ten thousand keys come and go and leave no trace in the digest', () => {
  const state = newState()
  state.put('key/stays', bytes('a'))
  const before = state.root()
  for (let i = 0; i < 10_000; i++) state.put(`key/${i}`, bytes(`${i}`))
  assert.notEqual(state.root(), before)
  for (let i = 0; i < 10_000; i++) state.delete(`key/${i}`)
  assert.equal(state.root(), before)
})
