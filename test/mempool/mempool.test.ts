// The queue keeps its bounds whatever comes, serves clients in turn, and forgets what is over.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Mempool } from '../../src/mempool.ts'
import type { Request } from '../../src/model/block.ts'
import type { Identifier, PublicKey, RequestId, Timestamp, Verified } from '../../src/model/ids.ts'

const NOW = 1_700_000_000_000 as Timestamp

/** Only what the queue looks at. */
const make = (
  client: string,
  number: number,
  change: { timestamp?: number; sizeBytes?: number } = {},
): Verified<Request> =>
  ({
    id: `${client}${number}` as RequestId,
    client: client as Identifier,
    publicKey: client as PublicKey,
    timestamp: (change.timestamp ?? NOW) as Timestamp,
    bytes: new Uint8Array(change.sizeBytes ?? 100),
  }) as Verified<Request>

const EVERYTHING = { countMax: 1000, bytesMax: 1_000_000 }
const idsOf = (requests: readonly Request[]): string[] => requests.map(request => request.id)

test('a request is kept once', () => {
  const mempool = new Mempool()
  assert.equal(mempool.add(make('a', 1), NOW), 'added')
  assert.equal(mempool.add(make('a', 1), NOW), 'duplicate')
  assert.equal(mempool.size, 1)
  assert.equal(mempool.bytes, 100)
})

test('a request outside the window around block time is not kept; its edges are', () => {
  const mempool = new Mempool({ windowPastMs: 1000, windowFutureMs: 100 })
  const at = (timestamp: number, number: number): string => mempool.add(make('a', number, { timestamp }), NOW)
  assert.equal(at(NOW - 1001, 1), 'stale')
  assert.equal(at(NOW + 101, 2), 'stale')
  assert.equal(at(NOW - 1000, 3), 'added')
  assert.equal(at(NOW + 100, 4), 'added')
})

test('count, bytes and each client are bounded', () => {
  const mempool = new Mempool({ countMax: 4, bytesMax: 1000, clientCountMax: 2 })
  assert.equal(mempool.add(make('a', 1), NOW), 'added')
  assert.equal(mempool.add(make('a', 2), NOW), 'added')
  assert.equal(mempool.add(make('a', 3), NOW), 'client-limit')
  assert.equal(mempool.add(make('b', 1, { sizeBytes: 801 }), NOW), 'full')
  assert.equal(mempool.add(make('b', 1, { sizeBytes: 800 }), NOW), 'added')
  mempool.remove(['b1' as RequestId])
  mempool.add(make('b', 2), NOW)
  assert.equal(mempool.add(make('c', 1), NOW), 'added')
  assert.equal(mempool.add(make('d', 1), NOW), 'full')
})

test('clients are served in turn, each in the order in which it sent; nothing is removed', () => {
  const mempool = new Mempool()
  for (const number of [1, 2, 3]) mempool.add(make('a', number), NOW)
  for (const number of [1, 2]) mempool.add(make('b', number), NOW)
  mempool.add(make('c', 1), NOW)
  assert.deepEqual(idsOf(mempool.take(EVERYTHING)), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
  assert.deepEqual(idsOf(mempool.take({ ...EVERYTHING, countMax: 2 })), ['a1', 'b1'])
  assert.equal(mempool.size, 6)
})

test('a client that was served goes to the end of the line', () => {
  const mempool = new Mempool()
  for (const client of ['a', 'b', 'c']) for (const number of [1, 2]) mempool.add(make(client, number), NOW)
  const one = { ...EVERYTHING, countMax: 1 }
  const served: string[] = []
  for (let i = 0; i < 6; i++) {
    const taken = mempool.take(one)
    served.push(...idsOf(taken))
    mempool.remove(taken.map(request => request.id))
  }
  assert.deepEqual(served, ['a1', 'b1', 'c1', 'a2', 'b2', 'c2'])
  assert.equal(mempool.size, 0)
  assert.equal(mempool.bytes, 0)
})

test('what is taken fits into the block with its header, and a client’s order holds when one request does not fit', () => {
  const mempool = new Mempool()
  mempool.add(make('a', 1, { sizeBytes: 400 }), NOW)
  mempool.add(make('a', 2, { sizeBytes: 5000 }), NOW)
  mempool.add(make('a', 3, { sizeBytes: 10 }), NOW)
  mempool.add(make('b', 1, { sizeBytes: 400 }), NOW)
  assert.deepEqual(idsOf(mempool.take({ countMax: 10, bytesMax: 1024 + 810 })), ['a1', 'b1'])
  assert.deepEqual(idsOf(mempool.take({ countMax: 10, bytesMax: 1024 + 809 })), ['a1'])
})

test('what the contract would refuse as stale is dropped', () => {
  const mempool = new Mempool({ windowPastMs: 10_000 })
  mempool.add(make('a', 1, { timestamp: NOW - 9000 }), NOW)
  mempool.add(make('a', 2, { timestamp: NOW }), NOW)
  mempool.expire((NOW + 500) as Timestamp)
  assert.equal(mempool.size, 2)
  mempool.expire((NOW + 2000) as Timestamp)
  assert.deepEqual(idsOf(mempool.take(EVERYTHING)), ['a2'])
})

test('after any history the count, the bytes and what can be taken agree', () => {
  const step = fc.record({
    client: fc.constantFrom('a', 'b', 'c'),
    number: fc.nat({ max: 9 }),
    remove: fc.boolean(),
    sizeBytes: fc.integer({ min: 1, max: 300 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), steps => {
      const mempool = new Mempool({ countMax: 12, bytesMax: 2000, clientCountMax: 6 })
      const model = new Map<string, number>()
      for (const { client, number, remove, sizeBytes } of steps) {
        const request = make(client, number, { sizeBytes })
        if (remove) {
          mempool.remove([request.id])
          model.delete(request.id)
        } else if (mempool.add(request, NOW) === 'added') model.set(request.id, sizeBytes)
        assert.ok(mempool.size <= 12 && mempool.bytes <= 2000)
      }
      assert.deepEqual(idsOf(mempool.take(EVERYTHING)).sort(), [...model.keys()].sort())
      assert.equal(mempool.size, model.size)
      assert.equal(
        mempool.bytes,
        [...model.values()].reduce((sum, size) => sum + size, 0),
      )
    }),
  )
})

test('who writes the name of another into requests uses up their own room, not the other’s', () => {
  const mempool = new Mempool({ clientCountMax: 2 })
  const forged = (number: number): Verified<Request> => ({ ...make('a', number), publicKey: 'mallory' as PublicKey })
  for (const number of [7, 8]) assert.equal(mempool.add(forged(number), NOW), 'added')
  assert.equal(mempool.add(forged(9), NOW), 'client-limit')
  assert.equal(mempool.add(make('a', 1), NOW), 'added')
})
