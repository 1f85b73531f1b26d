// A clock that is wrong, or is set back while the peer runs, may cost its own peer its vote on fresh blocks; it costs the others nothing,
// makes no block's date go back, and delays nothing that is a duration.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { asHeight } from '../../src/model/ids.ts'
import { Cluster } from './cluster.ts'

const HOUR = 3_600_000
let cluster: Cluster
before(async () => {
  cluster = await new Cluster().start()
  await cluster.commit(3)
})
after(() => cluster.stop())

async function datesRise(): Promise<void> {
  const { storage, ledger } = cluster.peer(0)
  let last = 0
  for (let height = 1; height <= ledger.head().height; height++) {
    const timestamp = (await storage.blockAt(asHeight(height)))?.block.header.timestamp ?? 0
    assert.ok(timestamp > last)
    last = timestamp
  }
}

test('a validator whose clock is set back an hour follows, and the others go on', async () => {
  cluster.setClock(3, -HOUR)
  const height = cluster.peer(0).ledger.head().height
  await cluster.commit(5)
  await cluster.agreed(height + 5)
  await datesRise()
})

test('its own requests still reach the others at once: durations are not measured by that clock', async () => {
  const before = cluster.timeline.now
  await cluster.submit(3, cluster.anyRequest())
  await cluster.agreed()
  assert.ok(cluster.timeline.now - before < 3_000, `${cluster.timeline.now - before} ms`)
})

test('it knows that it is fresh while it hears the others, and that it is not when it is cut off', async () => {
  assert.ok(cluster.peer(3).driver.staleMs() < 5_000)
  cluster.cutOff(3)
  cluster.setClock(3, -2 * HOUR)
  await cluster.timeline.advance(20_000)
  assert.ok(cluster.peer(3).driver.staleMs() > 15_000)
  assert.ok(cluster.peer(0).driver.staleMs() < 5_000)
  cluster.heal(3)
  await cluster.timeline.advance(5_000)
  assert.ok(cluster.peer(3).driver.staleMs() < 5_000)
})

test('it catches up at once after the clock jumped: what it missed is not waited for until the hour is over', async () => {
  cluster.cutOff(3)
  await cluster.commit(3)
  cluster.setClock(3, -3 * HOUR)
  cluster.heal(3)
  const before = cluster.timeline.now
  await cluster.agreed()
  assert.ok(cluster.timeline.now - before < 5_000)
})

test("a primary whose clock is set back loses the others' votes and is replaced", async () => {
  cluster.setClock(3, 0)
  const { primary } = cluster.peer(0).driver.view()
  cluster.setClock(primary, -HOUR)
  // Right after a block its date, which must be above the parent's, would still be within what the others accept.
  await cluster.timeline.advance(5_000)
  await cluster.submit((primary + 1) % 4, cluster.anyRequest())
  const head = cluster.peer(0).ledger.head()
  const stored = await cluster.peer(0).storage.blockAt(head.height)
  assert.notEqual(stored?.block.header.author, primary)
  await datesRise()
  cluster.setClock(primary, 0)
})
