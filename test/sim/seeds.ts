// A range of seeds, run one after the other: what a campaign is made of. As a worker thread it takes ranges as messages and answers each
// with its tally. Not here: what the command line says (run.ts).

import { parentPort } from 'node:worker_threads'
import { isReal, World } from './world.ts'

export type Range = {
  readonly n: number
  readonly from: number
  readonly count: number
  readonly blocks: number
  /** All with real parts, instead of every tenth. */
  readonly real: boolean
}
export type Tally = {
  readonly n: number
  readonly seeds: number
  readonly blocks: number
  readonly events: number
  readonly laterViews: number
  readonly slow: number
  readonly seconds: number
  /** Each with the line that replays it. */
  readonly violations: readonly string[]
}

export function runRange(range: Range, trace?: (line: string) => void): Tally {
  const { n, from, count, blocks, real } = range
  const startedMs = performance.now()
  const violations: string[] = []
  const sum = { blocks: 0, events: 0, laterViews: 0, slow: 0 }
  for (let seed = from; seed < from + count; seed++) {
    const outcome = new World({ seed, n, blocks, real: real || isReal(seed), ...(trace ? { trace } : {}) }).run()
    sum.blocks += outcome.blocks
    sum.events += outcome.events
    sum.laterViews += outcome.decisions.filter(decision => decision.view > 0).length
    sum.slow += outcome.decisions.filter(decision => decision.path === 'SLOW').length
    if (outcome.violation === null) continue
    const how = `node test/sim/run.ts --n ${n} --blocks ${blocks} --seed ${seed}${real ? ' --real' : ''} --trace`
    violations.push(`${outcome.violation}\n  ${how}`)
  }
  return { n, seeds: count, ...sum, seconds: (performance.now() - startedMs) / 1000, violations }
}

export function add(a: Tally, b: Tally): Tally {
  return {
    n: a.n,
    seeds: a.seeds + b.seeds,
    blocks: a.blocks + b.blocks,
    events: a.events + b.events,
    laterViews: a.laterViews + b.laterViews,
    slow: a.slow + b.slow,
    seconds: a.seconds + b.seconds,
    violations: [...a.violations, ...b.violations],
  }
}

parentPort?.on('message', (range: Range) => parentPort?.postMessage(runRange(range)))
