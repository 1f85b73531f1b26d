// Question: what does one broken peer of four cost? Two figures: throughput with one peer frozen against all four healthy, in the same run;
// and the time from the death of the primary to the first block of another. Real processes (`emrm start`), requests over their HTTP API.
// Estimate: with one frozen, three sign and check instead of four on two cores, but every block takes the third phase: about as fast, or
// somewhat slower. After the primary's death: one base view timeout, then a view change of two hops.
// Bounds: throughput above 60 % of healthy; first new block within 3 base view timeouts.
//   node test/bench/faults.ts [--seconds 8] [--inflight 400] [--kills 3]

import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { type Api, connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'
import type { Genesis } from '../../src/model/genesis.ts'
import { agreed, createSwarm, eventually, type Status, type Swarm, settled, statusOf } from '../e2e/swarm.ts'
import { makeLoad } from './load.ts'
import { makeRegistrations } from './registrations.ts'

const THROUGHPUT_SHARE_MIN = 0.6
const TIMEOUTS_MAX = 3

type Header = { readonly author: number; readonly birthView: number; readonly height: number }

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    inflight: { type: 'string', default: '400' },
    kills: { type: 'string', default: '3' },
  },
})
const seconds = Number(values.seconds)
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
say(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, n=4 f=1 p=0`)
// The lead stays where it is, so that the peer that is killed leads: with rotation another may lead a moment later anyway.
const swarm = await createSwarm({ env: { EMRM_LOG_LEVEL: 'warn' }, parameters: { rotationBlocks: 0 } })
const held: boolean[] = []
try {
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)
  held.push(await frozenPeer(swarm))
  for (let i = 0; i < Number(values.kills); i++) held.push(await killedPrimary(swarm))
  const end = await agreed(swarm.peers, 0, 120_000)
  say(`head ${end.head} at height ${end.height}, equal on all four peers`)
} finally {
  for (const peer of swarm.peers) peer.process()?.kill('SIGCONT')
  await swarm.stop()
}
process.exitCode = held.every(Boolean) ? 0 : 1

async function frozenPeer({ peers }: Swarm): Promise<boolean> {
  const { primary } = await statusOf(peers[0] as Peer)
  const victim = peers.findLast((_, i) => i !== primary?.index) as Peer
  const others = peers.filter(peer => peer !== victim)
  const apis = await Promise.all(others.map(peer => connectApi(homePaths(peer.home))))
  const load = makeLoad(apis, await makeRegistrations(swarm, apis[0] as Api), Math.random)
  const inFlight = Number(values.inflight)
  await load.closed(inFlight, 2)
  const healthy = await load.closed(inFlight, seconds)
  victim.process()?.kill('SIGSTOP')
  const frozen = await load.closed(inFlight, seconds)
  victim.process()?.kill('SIGCONT')
  const again = await load.closed(inFlight, seconds)
  await load.close()
  for (const api of apis) api.close()
  const caughtUpMs = await timed(() => agreed(peers, 0, 120_000))
  const rate = (result: typeof healthy): number => result.done / result.seconds
  const share = rate(frozen) / rate(healthy)
  say(
    `throughput, requests/s: healthy ${rate(healthy).toFixed(0)} (p99 ${healthy.latencyMs.p99.toFixed(0)} ms), ` +
      `${victim.name} frozen ${rate(frozen).toFixed(0)} (p99 ${frozen.latencyMs.p99.toFixed(0)} ms), back ${rate(again).toFixed(0)}; ` +
      `frozen/healthy ${(share * 100).toFixed(0)} % (bound ${THROUGHPUT_SHARE_MIN * 100} %); all equal ${caughtUpMs.toFixed(0)} ms after the load ended`,
  )
  return share > THROUGHPUT_SHARE_MIN
}

/** Load at the survivors, so that something waits for a block when the primary dies. */
async function killedPrimary({ peers }: Swarm): Promise<boolean> {
  const before = await agreed(peers, 0, 120_000)
  const index = before.primary?.index as number
  const victim = peers[index] as Peer
  const others = peers.filter(peer => peer !== victim)
  const apis = await Promise.all(others.map(peer => connectApi(homePaths(peer.home))))
  const { genesis } = (await (apis[0] as Api).call('GET', '/v1/genesis')) as { genesis: Genesis }
  const { viewTimeoutMs } = genesis.parameters
  const load = makeLoad(apis, await makeRegistrations(swarm, apis[0] as Api), Math.random)
  const loading = load.closed(50, 8)
  await pause(1_500)
  const dead = victim.stop('SIGKILL')
  const killedMs = performance.now()
  let height = ((await (apis[0] as Api).call('GET', '/v1/status')) as Status).height
  let firstMs = Number.NaN
  await eventually(async () => {
    for (;;) {
      const { header } = (await (apis[0] as Api).call('GET', `/v1/blocks/${height}`)) as { header: Header }
      if (header.author !== index) {
        firstMs = performance.now() - killedMs
        return
      }
      height++
    }
  }, 60_000)
  await dead
  await loading
  await load.close()
  for (const api of apis) api.close()
  await victim.start()
  const timeouts = firstMs / viewTimeoutMs
  say(
    `primary ${victim.name} killed: first block of another after ${firstMs.toFixed(0)} ms = ${timeouts.toFixed(2)} × the base view timeout ` +
      `(${viewTimeoutMs} ms; bound ${TIMEOUTS_MAX})`,
  )
  return timeouts < TIMEOUTS_MAX
}

type Peer = Swarm['peers'][number]

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
