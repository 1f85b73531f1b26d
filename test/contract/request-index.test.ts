// Finding a request in a long chain: runs, the tail, and the way from one to the other.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { bucketOf, findInRun, RequestTail } from '../../src/adapters/request-index.ts'
import type { Block, Request } from '../../src/model/block.ts'
import { digestOf } from '../../src/model/hash.ts'
import type { Height, RequestId } from '../../src/model/ids.ts'

const idOf = (name: string): RequestId => digestOf(Buffer.from(name)) as RequestId
const blockWith = (height: number, ids: readonly RequestId[]): Block =>
  ({ header: { height }, requests: ids.map(id => ({ id }) as Request) }) as unknown as Block

test('every request of a run is found in its bucket, and no other', () => {
  const tail = new RequestTail(0 as Height)
  const ids = Array.from({ length: 300 }, (_, i) => Array.from({ length: 20 }, (_, j) => idOf(`${i}/${j}`)))
  for (const [i, held] of ids.entries()) tail.add(blockWith(i + 1, held))
  const { from, to, buckets } = tail.run()
  assert.deepEqual([from, to], [1, 300])
  for (const [i, held] of ids.entries())
    for (const [index, id] of held.entries())
      assert.deepEqual(findInRun(buckets.get(bucketOf(id))!, id), { height: i + 1, index })
  for (const entries of buckets.values()) assert.equal(findInRun(entries, idOf('absent')), null)
})

test('an id is not found across the border of two entries', () => {
  const tail = new RequestTail(0 as Height)
  tail.add(blockWith(0x01_02_03, [`${'ab'.repeat(16)}${'0'.repeat(32)}` as RequestId]))
  const [entries] = tail.run().buckets.values()
  const twice = Buffer.concat([entries!, entries!])
  const across = twice.subarray(12, 28).toString('hex') + '0'.repeat(32)
  assert.equal(findInRun(twice, across as RequestId), null)
})

test('a tail is full by its requests or by its blocks', () => {
  const wide = new RequestTail(0 as Height)
  for (let height = 1; height <= 8; height++) {
    assert.equal(wide.isFull, false)
    wide.add(
      blockWith(
        height,
        Array.from({ length: 4096 }, (_, i) => idOf(`${height} ${i}`)),
      ),
    )
  }
  assert.equal(wide.isFull, true)
  const long = new RequestTail(10 as Height)
  for (let height = 11; height <= 11 + 4096; height++) {
    assert.equal(long.isFull, false)
    long.add(blockWith(height, []))
  }
  assert.equal(long.isFull, true)
})
