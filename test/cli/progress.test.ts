// The progress line of a transfer: what it says, that it does not flicker, and that it is for terminals alone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lineOf, makeByteProgress } from '../../src/cli/progress.ts'
import type { Session } from '../../src/cli/session.ts'

const MiB = 1_048_576

function session(isTTY: boolean): { readonly session: Session; readonly lines: string[] } {
  const lines: string[] = []
  const stderr = { isTTY, write: (text: string) => lines.push(text.replace('\r\u001b[K', '')) }
  return { session: { io: { stderr } } as unknown as Session, lines }
}

test('the line says stage, share, bytes, rate and the time that is left, as far as they are known', () => {
  assert.equal(lineOf('deciding', 0, null, 0), 'deciding')
  assert.equal(lineOf('encrypted', 5 * MiB, null, 0), 'encrypted  5.0 MiB')
  assert.equal(lineOf('encrypted', 5 * MiB, null, 2 * MiB), 'encrypted  5.0 MiB  2.0 MiB/s')
  assert.equal(
    lineOf('opening', 25 * MiB, 100 * MiB, 10 * MiB),
    'opening  [######------------------]  25 %  25.0 of 100.0 MiB  10.0 MiB/s  8 s left',
  )
  assert.equal(
    lineOf('opening', 100 * MiB, 100 * MiB, 10 * MiB),
    'opening  [########################] 100 %  100.0 of 100.0 MiB  10.0 MiB/s',
  )
  assert.match(lineOf('opening', 3, 2, 0), / 100 % {2}/)
})

test('a terminal is written to ten times a second and at the end of a stage, nothing else ever', () => {
  const terminal = session(true)
  let now = 0
  const shown = makeByteProgress(terminal.session, () => now)
  for (let bytes = 0; bytes <= 1_000; bytes++) {
    shown.show('opening', bytes * MiB, 1_000 * MiB)
    now++
  }
  assert.ok(terminal.lines.length >= 10 && terminal.lines.length <= 12, `${terminal.lines.length} lines`)
  assert.match(terminal.lines.at(-1)!, /100 % {2}1000\.0 of 1000\.0 MiB {2}10\d\d\.\d MiB\/s$/)
  shown.show('registered', 1_000 * MiB, 1_000 * MiB)
  assert.match(terminal.lines.at(-1)!, /^registered/)

  const piped = session(false)
  makeByteProgress(piped.session).show('opening', 5, 10)
  assert.deepEqual(piped.lines, [])
})
