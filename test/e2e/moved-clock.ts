// Loaded into a peer's process before everything else (`--import`): its wall clock is off by what the file `clock-offset-ms` in its home
// says, and follows it while the process runs, as when an operator sets the machine's clock. Not here: durations, which no one sets.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const LOOK_MS = 50

const RealDate = Date
const home = process.argv[process.argv.indexOf('--home') + 1] ?? '.'
let offsetMs = 0
let lookedMs = Number.NEGATIVE_INFINITY

function now(): number {
  if (performance.now() - lookedMs > LOOK_MS) {
    lookedMs = performance.now()
    try {
      offsetMs = Number(readFileSync(join(home, 'clock-offset-ms'), 'utf8'))
    } catch {
      offsetMs = 0
    }
  }
  return RealDate.now() + offsetMs
}

class MovedDate extends RealDate {
  constructor(...given: [] | [number]) {
    super(...((given.length === 0 ? [now()] : given) as [number]))
  }
  static override now(): number {
    return now()
  }
}
globalThis.Date = MovedDate as DateConstructor
