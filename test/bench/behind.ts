// Question: what does a peer that is thousands of blocks behind cost, itself and the others? Four real processes, blocks of one request; one
// peer has none of them, comes while the others go on under load, and catches up by ranges from them.
// Told: its blocks a second and a CPU-second; what the others commit without it, while it catches up, and after; CPU time of the others for
// each request, which says what serving costs them, whatever else the machine does.
// Estimate: a block costs it 4 signatures (170 µs), 100 µs on the wire and 150 µs to execute and store; serving one costs a peer some 30 µs.
// With --yield the late peer runs at the lowest priority (root only): on a machine of its own it would not take the others' cores, and what
// is left of their slowing down is what serving costs them.
//   node test/bench/behind.ts [--blocks 10000] [--seconds 10] [--inflight 32] [--yield]

import { readFile } from 'node:fs/promises'
import { constants, cpus, getPriority, setPriority } from 'node:os'
import { parseArgs } from 'node:util'
import { type Api, connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'
import { agreed, createSwarm, type SwarmPeer, settled, statusOf } from '../e2e/swarm.ts'
import { makeLoad } from './load.ts'
import { layChain } from './ready-chain.ts'
import { makeRegistrations } from './registrations.ts'

/** Of `utime` and `stime` in /proc. */
const TICKS_A_SECOND = 100

const { values } = parseArgs({
  options: {
    blocks: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '10' },
    inflight: { type: 'string', default: '32' },
    yield: { type: 'boolean', default: false },
  },
})
const [blocks, seconds, inFlight] = [values.blocks, values.seconds, values.inflight].map(Number) as [
  number,
  number,
  number,
]
const say = (line: string): boolean => process.stdout.write(`${line}\n`)

async function cpuOf(peers: readonly SwarmPeer[]): Promise<number> {
  let ticks = 0
  for (const peer of peers) {
    const stat = await readFile(`/proc/${peer.process()?.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_A_SECOND
}

/** A process inherits the priority of who starts it. */
async function startLate(peer: SwarmPeer): Promise<void> {
  const own = getPriority()
  if (values.yield) setPriority(constants.priority.PRIORITY_LOW)
  const started = peer.start()
  if (values.yield) setPriority(own)
  await started
}

type Phase = { readonly perSecond: number; readonly cpuMs: number; readonly cpu: number }

say(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, n=4 f=1 p=0, one request a block`,
)
// By ranges and not by a snapshot: that is the question.
const parameters = { blockRequestsMax: 1, snapshotBlocks: 1_000_000_000 }
const swarm = await createSwarm({ parameters, env: { EMRM_LOG_LEVEL: 'warn' } })
try {
  const late = swarm.peers[3] as SwarmPeer
  const others = swarm.peers.slice(0, 3)
  await layChain(others, blocks)
  await Promise.all(others.map(peer => peer.start()))
  await settled(others)
  const apis = await Promise.all(others.map(peer => connectApi(homePaths(peer.home))))
  const load = makeLoad(apis, await makeRegistrations(swarm, apis[0] as Api), Math.random)
  const measured = async (run: () => Promise<number>): Promise<Phase> => {
    const [cpu, start] = [await cpuOf(others), performance.now()]
    const done = await run()
    const perSecond = done / ((performance.now() - start) / 1000)
    const used = (await cpuOf(others)) - cpu
    return { perSecond, cpuMs: (used / done) * 1000, cpu: used }
  }
  const loaded = async (): Promise<number> => (await load.closed(inFlight, seconds)).done
  await load.closed(inFlight, 2)
  const without = await measured(loaded)
  const target = (await statusOf(others[0] as SwarmPeer)).height
  const start = performance.now()
  await startLate(late)
  const began = await cpuOf([late])
  let caughtUp: { readonly seconds: number; readonly cpu: number } | null = null
  const watching = (async () => {
    while ((await statusOf(late)).height < target) await new Promise(resolve => setTimeout(resolve, 50))
    caughtUp = { seconds: (performance.now() - start) / 1000, cpu: (await cpuOf([late])) - began }
  })()
  const during = await measured(async () => {
    let done = 0
    while (caughtUp === null) done += (await load.closed(inFlight, 2)).done
    return done
  })
  await watching
  const after = await measured(loaded)
  await load.close()
  for (const api of apis) api.close()
  const { seconds: took, cpu } = caughtUp as unknown as { readonly seconds: number; readonly cpu: number }
  say(
    `${target} blocks behind: there after ${took.toFixed(1)} s (${(target / took).toFixed(0)} blocks/s), ${(target / cpu).toFixed(0)} blocks a CPU-second`,
  )
  const print = ({ perSecond, cpuMs }: Phase): string =>
    `${perSecond.toFixed(0)} requests/s, ${cpuMs.toFixed(2)} CPU-ms each`
  say(
    `the three others: without it ${print(without)}; while it catches up ${print(during)}; afterwards ${print(after)}`,
  )
  say(
    `while it catches up they do ${((during.perSecond / without.perSecond) * 100).toFixed(0)} % of what they did without it, and use ${during.cpu.toFixed(1)} CPU-s in all, serving included`,
  )
  const end = await agreed(swarm.peers, target, 120_000)
  say(`head ${end.head} at height ${end.height}, equal on all four peers`)
} finally {
  await swarm.stop()
}
