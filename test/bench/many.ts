// Question: do sixteen real peers (f = 5) on one machine commit requests, and how many? Sixteen `emrm start` processes, requests through
// the HTTP API of four of them. Estimate: each request is checked sixteen times on the same cores, and each block needs 16 × 15 votes
// twice, so on two cores a few tens to a few hundred requests a second.
//   node test/bench/many.ts [--hospitals 16] [--seconds 10] [--inflight 100]

import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'
import { agreed, createSwarm, settled, statusOf } from '../e2e/swarm.ts'
import { makeLoad } from './load.ts'
import { makeRegistrations } from './registrations.ts'

const GATEWAYS = 4
const START_MS_MAX = 300_000

const { values } = parseArgs({
  options: {
    hospitals: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '10' },
    inflight: { type: 'string', default: '100' },
  },
})
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
const swarm = await createSwarm({
  hospitals: Number(values.hospitals),
  env: { EMRM_LOG_LEVEL: 'warn' },
  readyTimeoutMs: START_MS_MAX,
})
try {
  const began = performance.now()
  // Opening a key file costs 64 MiB and a second of one core: a few at a time.
  for (let i = 0; i < swarm.peers.length; i += GATEWAYS)
    await Promise.all(swarm.peers.slice(i, i + GATEWAYS).map(peer => peer.start()))
  await settled(swarm.peers, START_MS_MAX)
  say(
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, n=${swarm.peers.length}`,
  )
  say(`all started and linked to all after ${((performance.now() - began) / 1000).toFixed(0)} s`)
  const apis = await Promise.all(swarm.peers.slice(0, GATEWAYS).map(peer => connectApi(homePaths(peer.home))))
  const load = makeLoad(apis, await makeRegistrations(swarm, apis[0] as (typeof apis)[0]), Math.random)
  const result = await load.closed(Number(values.inflight), Number(values.seconds))
  await load.close()
  for (const api of apis) api.close()
  const end = await agreed(swarm.peers, 1, 120_000)
  const views = await Promise.all(swarm.peers.map(async peer => (await statusOf(peer)).role))
  say(
    `${result.done} requests in ${result.seconds.toFixed(1)} s = ${(result.done / result.seconds).toFixed(0)}/s, ` +
      `p50 ${result.latencyMs.p50.toFixed(0)} ms, p99 ${result.latencyMs.p99.toFixed(0)} ms, refused ${[...result.refused.values()].reduce((a, b) => a + b, 0)}`,
  )
  say(`head ${end.head} at height ${end.height}, equal on all ${views.length} peers`)
  process.exitCode = result.done > 0 ? 0 : 1
} finally {
  await swarm.stop()
}
