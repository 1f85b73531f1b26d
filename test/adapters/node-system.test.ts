// The peer's log and clock: one JSON line for each event, nothing below its level, and timers that are longer than Node's.

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { makeLog, silentLog, systemClock } from '../../src/adapters/node-system.ts'

test('each event is one JSON line with its level, time and fields', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'emrm-log-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'logs', 'peer.log')
  const log = makeLog({ level: 'info', file })
  log.debug('unheard')
  log.info('ready', { height: 7 })
  log.warn('message-refused', { reason: 'a\nb' })
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  const [ready, refused, ...rest] = lines.map(line => JSON.parse(line))
  assert.deepEqual(rest, [])
  assert.ok(!Number.isNaN(Date.parse(ready.time)))
  assert.deepEqual({ ...ready, time: '' }, { level: 'info', time: '', height: 7, event: 'ready' })
  assert.equal(refused.reason, 'a\nb')
  assert.equal(refused.level, 'warn')
  assert.equal(silentLog.error('unheard'), undefined)
})

test('a timer calls back once, and not at all after it was cancelled', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let calls = 0
  systemClock.after(10, () => calls++)
  systemClock.after(10, () => calls++)()
  t.mock.timers.tick(10)
  assert.equal(calls, 1)
  t.mock.timers.tick(100)
  assert.equal(calls, 1)
})

test('a wait beyond what setTimeout takes is kept, and cancelled at any stage', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const days30 = 30 * 86_400_000
  let calls = 0
  systemClock.after(days30, () => calls++)
  const cancel = systemClock.after(days30, () => calls++)
  t.mock.timers.tick(2 ** 31 - 1)
  assert.equal(calls, 0)
  cancel()
  t.mock.timers.tick(days30)
  assert.equal(calls, 1)
})
