// Does our evaluator say what Cedar says? 100,000 random (state, request) pairs by default; expected well under a minute on one core,
// since Cedar answers some 4,000 questions a second. Usage: node test/bench/oracle.ts [pairs] [seed]

import { runOracle } from '../access/oracle.ts'

const pairs = Number(process.argv[2] ?? 100_000)
const seed = Number(process.argv[3] ?? 1)
const start = process.hrtime.bigint()
const tally = runOracle({ seed, pairs, each: 50 })
const seconds = Number(process.hrtime.bigint() - start) / 1e9
for (const [outcome, count] of Object.entries(tally).sort(([, a], [, b]) => b - a))
  process.stdout.write(`${String(count).padStart(7)}  ${outcome}\n`)
process.stdout.write(`${pairs} pairs, seed ${seed}: Cedar and we agree on all of them (${seconds.toFixed(1)} s)\n`)
