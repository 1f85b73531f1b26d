// node test/sim/run.ts --seeds N --n 4,6,7,10 [--from S] [--blocks B] [--jobs J] · --campaign: 21,000 seeds of up to a hundred blocks, the
// long run of a release · --seed X --trace shows one run, message by message.
// Every tenth seed runs with real signatures, codec and ledger; --real: all of them. Prints violations, each with the line that replays it,
// and how much was done.

import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { add, type Range, runRange, type Tally } from './seeds.ts'

/** Over a million blocks; larger committees cost more for each. */
const CAMPAIGN: readonly (readonly [n: number, seeds: number])[] = [
  [4, 12_000],
  [6, 5_000],
  [7, 2_500],
  [10, 1_500],
]
const CAMPAIGN_BLOCKS = '100'
const RANGE = 25
const PROGRESS_MS = 15_000

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    n: { type: 'string', default: '4' },
    blocks: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    campaign: { type: 'boolean', default: false },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    real: { type: 'boolean', default: false },
  },
})

function plan(): Range[] {
  const blocks = Number(values.blocks ?? (values.campaign ? CAMPAIGN_BLOCKS : '3'))
  const from = Number(values.from)
  const counts = values.campaign
    ? CAMPAIGN
    : values.n.split(',').map(word => [Number(word), Number(values.seeds)] as const)
  return counts.flatMap(([n, seeds]) =>
    Array.from({ length: Math.ceil(seeds / RANGE) }, (_, i) => ({
      ...{ n, blocks, real: values.real },
      from: from + i * RANGE,
      count: Math.min(RANGE, seeds - i * RANGE),
    })),
  )
}

/** Each worker takes the next range when it is done with one. */
async function runAll(ranges: readonly Range[], jobs: number): Promise<Tally[]> {
  const queue = [...ranges]
  const byCommittee = new Map<number, Tally>()
  const startedMs = performance.now()
  let toldMs = startedMs
  const take = (tally: Tally): void => {
    for (const violation of tally.violations) console.log(violation)
    const sum = byCommittee.get(tally.n)
    byCommittee.set(tally.n, sum === undefined ? tally : add(sum, tally))
    if (performance.now() - toldMs < PROGRESS_MS) return
    toldMs = performance.now()
    const all = [...byCommittee.values()].reduce(add)
    const done = ranges.length - queue.length
    process.stderr.write(
      `${done} of ${ranges.length} ranges, ${all.seeds} seeds, ${all.blocks} blocks, ${all.violations.length} violations, ${((toldMs - startedMs) / 1000).toFixed(0)} s\n`,
    )
  }
  await Promise.all(
    Array.from({ length: Math.min(jobs, ranges.length) }, async () => {
      const worker = new Worker(new URL('./seeds.ts', import.meta.url))
      try {
        for (let range = queue.shift(); range !== undefined; range = queue.shift()) {
          worker.postMessage(range)
          // Rejects when the worker fails.
          const [tally] = (await once(worker, 'message')) as [Tally]
          take(tally)
        }
      } finally {
        await worker.terminate()
      }
    }),
  )
  return [...byCommittee.values()].sort((a, b) => a.n - b.n)
}

const report = (name: string, { seeds, violations, blocks, laterViews, slow, events, seconds }: Tally): string =>
  `${name}: ${seeds} seeds, ${violations.length} violations, ${blocks} blocks (${laterViews} in views above 0, ${slow} slow), ` +
  `${events} events, ${(seeds / seconds).toFixed(0)} seeds/s and ${(blocks / seconds).toFixed(0)} blocks/s of one thread`

async function main(): Promise<void> {
  if (values.seed !== undefined) {
    const one = { n: Number(values.n), from: Number(values.seed), count: 1, blocks: Number(values.blocks ?? '3') }
    const trace = values.trace ? (line: string) => console.log(line) : undefined
    const tally = runRange({ ...one, real: values.real }, trace)
    for (const violation of tally.violations) console.log(violation)
    console.log(report(`n=${tally.n}`, tally))
    process.exitCode = tally.violations.length === 0 ? 0 : 1
    return
  }
  const startedMs = performance.now()
  const tallies = await runAll(plan(), Math.max(1, Number(values.jobs)))
  for (const tally of tallies) console.log(report(`n=${tally.n}`, tally))
  const all = tallies.reduce(add)
  if (tallies.length > 1) console.log(report('all', all))
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(0)} s, ${values.jobs} at a time`)
  process.exitCode = all.violations.length === 0 ? 0 : 1
}

await main()
