// RFC 6962 trees against the vectors of transparency-dev/merkle, and against the recursive definition of the standard.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256, toHex } from '../../src/model/hash.ts'
import {
  inclusionProof,
  inclusionProofOfLeafHashes,
  leafHash,
  leafText,
  merkleRoot,
  rootOfLeafHashes,
  rootOfLeafTexts,
  verifyInclusion,
} from '../../src/model/merkle.ts'

const VECTORS = join(import.meta.dirname, '../../../shared/data/merkle-rfc6962/testdata/inclusion')

type Vector = {
  leafIdx: number
  treeSize: number
  root: string | null
  leafHash: string | null
  proof: string[] | null
  desc: string
  wantErr: boolean
}

const base64 = (text: string | null): Uint8Array => new Uint8Array(Buffer.from(text ?? '', 'base64'))

test('the verifier agrees with every published inclusion vector', t => {
  if (!existsSync(VECTORS)) return t.skip('../shared/data/merkle-rfc6962 is absent')
  const files = readdirSync(VECTORS, {
    recursive: true,
    encoding: 'utf8',
  }).filter(name => name.endsWith('.json'))
  assert.ok(files.length >= 40)
  let accepted = 0
  for (const file of files) {
    const vector = JSON.parse(readFileSync(join(VECTORS, file), 'utf8')) as Vector
    const holds = verifyInclusion({
      leafHash: base64(vector.leafHash),
      index: vector.leafIdx,
      size: vector.treeSize,
      proof: (vector.proof ?? []).map(base64),
      root: base64(vector.root),
    })
    assert.equal(holds, !vector.wantErr, `${file}: ${vector.desc}`)
    if (holds) accepted += 1
  }
  assert.ok(accepted >= 3)
})

test('the roots of the standard’s eight example leaves', () => {
  const leaves = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ].map(hex => new Uint8Array(Buffer.from(hex, 'hex')))
  assert.equal(toHex(merkleRoot([])), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  assert.equal(
    toHex(merkleRoot(leaves.slice(0, 1))),
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  )
  assert.equal(
    toHex(merkleRoot(leaves.slice(0, 3))),
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  )
  assert.equal(toHex(merkleRoot(leaves)), '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328')
})

/** The standard's own words: split at the largest power of two below n. */
function definition(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return leafHash(leaves[0]!)
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(Buffer.concat([Buffer.of(1), definition(leaves.slice(0, k)), definition(leaves.slice(k))]))
}

test('every leaf of every tree proves its place, and no other', () => {
  const leaf = fc.uint8Array({ maxLength: 40 })
  fc.assert(
    // Equal leaves prove each other's places.
    fc.property(
      fc.uniqueArray(leaf, { minLength: 1, maxLength: 40, selector: toHex }),
      fc.nat(),
      fc.nat(),
      (leaves, pick, other) => {
        const index = pick % leaves.length
        const root = merkleRoot(leaves)
        assert.deepEqual(root, definition(leaves))
        const proof = inclusionProof(leaves, index)
        const claim = {
          leafHash: leafHash(leaves[index]!),
          index,
          size: leaves.length,
          proof,
          root,
        }
        assert.equal(verifyInclusion(claim), true)
        const elsewhere = other % leaves.length
        if (elsewhere !== index) assert.equal(verifyInclusion({ ...claim, index: elsewhere }), false)
        assert.equal(verifyInclusion({ ...claim, leafHash: leafHash(new Uint8Array(41)) }), false)
        assert.equal(verifyInclusion({ ...claim, proof: [...proof, root] }), false)
        if (proof.length > 0) assert.equal(verifyInclusion({ ...claim, proof: proof.slice(1) }), false)
      },
    ),
  )
})

test('a proof for a leaf that is not in the list cannot be asked for', () => {
  const hashes = [leafHash(new Uint8Array(1))]
  assert.deepEqual(rootOfLeafHashes(hashes), hashes[0])
  assert.deepEqual(inclusionProofOfLeafHashes(hashes, 0), [])
  for (const index of [-1, 1, 0.5]) assert.throws(() => inclusionProofOfLeafHashes(hashes, index), RangeError)
  const empty = {
    leafHash: hashes[0]!,
    index: 0,
    size: 0,
    proof: [],
    root: hashes[0]!,
  }
  assert.equal(verifyInclusion(empty), false)
})

test('a node cannot be passed off as a leaf', () => {
  const [a, b] = [new Uint8Array([1]), new Uint8Array([2])]
  const inner = Buffer.concat([leafHash(a), leafHash(b)])
  assert.notDeepEqual(merkleRoot([inner]), merkleRoot([a, b]))
})

test('leaf hashes as texts are the same hashes, for short and long leaves, one after the other', () => {
  for (const length of [0, 1, 259, 1023, 1024, 16_384, 65_536, 65_537, 200_000, 3]) {
    const leaf = new Uint8Array(length).map((_, i) => i * 7 + length)
    assert.equal(Buffer.from(leafText(leaf), 'latin1').toString('hex'), toHex(leafHash(leaf)))
  }
})

test('the root over texts is the root over the hashes, for each size', () => {
  for (let size = 0; size < 70; size++) {
    const leaves = Array.from({ length: size }, (_, i) => Uint8Array.of(i, size))
    assert.equal(toHex(rootOfLeafTexts(leaves.map(leafText))), toHex(merkleRoot(leaves)))
  }
})
