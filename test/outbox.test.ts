// "Durable before sent" (consensus.md §1.3) at the place that keeps the promise: the queue between a replica and the world.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asHeight, asView } from '../src/model/ids.ts'
import { makeOutbox } from '../src/outbox.ts'
import type { StoredChange } from '../src/ports.ts'

const view = (height: number): StoredChange => ({
  type: 'vote',
  record: { type: 'view', height: asHeight(height), view: asView(0) },
})

const fail = (error: unknown): void => assert.fail(String(error))

/** A disk whose fsyncs end when the test says so. */
function slowDisk() {
  const batches: {
    readonly changes: readonly StoredChange[]
    readonly done: () => void
    readonly fail: (e: Error) => void
  }[] = []
  const write = (changes: readonly StoredChange[]): Promise<void> =>
    new Promise((done, fail) => batches.push({ changes, done, fail }))
  return { batches, write }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

test('a vote is heard only after it is on disk', async () => {
  const disk = slowDisk()
  const outbox = makeOutbox(disk.write, fail)
  const sent: string[] = []
  outbox.persist(view(1))
  outbox.after(() => sent.push('COMMIT'))
  await turn()
  assert.deepEqual(sent, [])
  disk.batches[0]?.done()
  await turn()
  assert.deepEqual(sent, ['COMMIT'])
})

test('what queues behind an fsync shares the next one, and order is kept', async () => {
  const disk = slowDisk()
  const outbox = makeOutbox(disk.write, fail)
  const sent: number[] = []
  for (const height of [1, 2, 3]) {
    outbox.persist(view(height))
    outbox.after(() => sent.push(height))
    if (height === 1) await turn()
  }
  assert.equal(disk.batches.length, 1)
  assert.equal(disk.batches[0]?.changes.length, 1)
  disk.batches[0]?.done()
  await turn()
  assert.deepEqual(sent, [1])
  assert.equal(disk.batches[1]?.changes.length, 2)
  disk.batches[1]?.done()
  await turn()
  assert.deepEqual(sent, [1, 2, 3])
})

test('with nothing to wait for, a message leaves at once', () => {
  const outbox = makeOutbox(() => Promise.resolve(), fail)
  let sent = false
  outbox.after(() => {
    sent = true
  })
  assert.equal(sent, true)
})

test('when the disk refuses, nothing that depended on it is ever sent, and the peer is told', async () => {
  const disk = slowDisk()
  const failures: unknown[] = []
  const outbox = makeOutbox(disk.write, error => failures.push(error))
  let sent = false
  outbox.persist(view(1))
  outbox.after(() => {
    sent = true
  })
  await turn()
  disk.batches[0]?.fail(new Error('no space left'))
  await turn()
  outbox.persist(view(2))
  outbox.after(() => {
    sent = true
  })
  await turn()
  assert.equal(sent, false)
  assert.equal(failures.length, 1)
  assert.equal(disk.batches.length, 1)
})

test('drained waits for the disk and for what hangs on it', async () => {
  const disk = slowDisk()
  const outbox = makeOutbox(disk.write, fail)
  await outbox.drained()
  let drained = false
  outbox.persist(view(1))
  const waiting = outbox.drained().then(() => {
    drained = true
  })
  await turn()
  assert.equal(drained, false)
  disk.batches[0]?.done()
  await waiting
  assert.equal(drained, true)
})
