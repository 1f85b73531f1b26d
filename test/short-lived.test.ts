// Buffers that die at once cost scavenges of the young space, not collections of the whole heap.

import assert from 'node:assert/strict'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { test } from 'node:test'
import { borrow, giveBack, noteShortLived } from '../src/short-lived.ts'

const MiB = 1_048_576
const { NODE_PERFORMANCE_GC_MINOR: MINOR, NODE_PERFORMANCE_GC_MAJOR: MAJOR } = constants

test('a gigabyte of buffers, each dead at once, is freed by scavenges and never stays', async () => {
  const count = { minor: 0, major: 0 }
  const note = (entries: readonly unknown[]): void => {
    for (const { detail } of entries as readonly { detail: { kind: number } }[])
      if (detail.kind === MINOR) count.minor++
      else if (detail.kind === MAJOR) count.major++
  }
  const observer = new PerformanceObserver(list => note(list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  let peak = 0
  for (let i = 0; i < 1_024; i++) {
    Buffer.allocUnsafeSlow(MiB)
    noteShortLived(MiB)
    peak = Math.max(peak, process.memoryUsage().arrayBuffers)
  }
  for (let turn = 0; turn < 100 && count.minor < 50; turn++) await new Promise(resolve => setImmediate(resolve))
  observer.disconnect()
  assert.ok(count.minor >= 50, `${count.minor} scavenges`)
  assert.ok(count.major <= 4, `${count.major} collections of everything`)
  assert.ok(peak < 48 * MiB, `${peak / MiB} MiB at a time`)
})

test('memory of a piece is used again when it was given back, once, and only then', () => {
  const first = borrow(MiB)
  assert.notEqual(borrow(MiB).buffer, first.buffer)
  giveBack(first)
  giveBack(first)
  assert.equal(borrow(MiB), first)
  assert.notEqual(borrow(MiB), first)
})

test('what was not lent, a view of what was, and other sizes are left alone', () => {
  const own = new Uint8Array(MiB)
  const lent = borrow(MiB)
  const small = borrow(1_000)
  for (const memory of [own, lent.subarray(0), small]) giveBack(memory)
  const next = [borrow(MiB), borrow(MiB), borrow(MiB)].map(({ buffer }) => buffer)
  for (const memory of [own, lent, small]) assert.equal(next.includes(memory.buffer), false)
  assert.equal(small.byteLength, 1_000)
})
