// node test/sim/run.ts --seeds N --n 4|6|7|10 [--from S] [--blocks B] · --seed X --trace shows one run, message by message.
// Every tenth seed runs with real signatures, codec and ledger; --real: all of them.
// Prints violations, each with the line that replays it, and how much was done.

import { parseArgs } from 'node:util'
import { isReal, World } from './world.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    n: { type: 'string', default: '4' },
    blocks: { type: 'string', default: '3' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    real: { type: 'boolean', default: false },
  },
})

const n = Number(values.n)
const blocks = Number(values.blocks)
const from = Number(values.seed ?? values.from)
const count = values.seed === undefined ? Number(values.seeds) : 1

const startedMs = performance.now()
let violations = 0
let decided = 0
let events = 0
let laterViews = 0
let slow = 0
for (let seed = from; seed < from + count; seed++) {
  const trace = values.trace ? { trace: (line: string) => console.log(line) } : {}
  const outcome = new World({ seed, n, blocks, real: values.real || isReal(seed), ...trace }).run()
  decided += outcome.blocks
  events += outcome.events
  laterViews += outcome.decisions.filter(decision => decision.view > 0).length
  slow += outcome.decisions.filter(decision => decision.path === 'SLOW').length
  if (outcome.violation === null) continue
  violations++
  console.log(
    `${outcome.violation}\n  node test/sim/run.ts --n ${n} --blocks ${blocks} --seed ${seed} ${values.real ? '--real ' : ''}--trace`,
  )
}
const seconds = (performance.now() - startedMs) / 1000
console.log(
  `n=${n}: ${count} seeds, ${violations} violations, ${decided} blocks (${laterViews} in views above 0, ${slow} slow), ${events} events, ${(count / seconds).toFixed(0)} seeds/s, ${(decided / seconds).toFixed(0)} blocks/s`,
)
process.exitCode = violations === 0 ? 0 : 1
