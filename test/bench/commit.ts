// Question: how many signed requests of about 250 bytes a second do four real peers commit, with fsync on and every signature checked by
// every peer, and how long does one take? What runs is what a hospital runs: four `emrm start` processes, requests through their HTTP API.
// Estimate: four checks of 42 µs each on two cores bound it at 11,700/s; state tree, codec, network and generator share the same cores.
// Class A of performance.md: every peer verifies each client signature and syncs before it votes.
//   node test/bench/commit.ts [--seconds 20] [--light 20] [--users 4000] [--profile DIR] [--inflight 2000] [--seed 1]

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { type Api, connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'
import { loadKeyFile, signingKeyFromSeed } from '../../src/identity/keystore.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { sha256 } from '../../src/model/hash.ts'
import { asTimestamp, type Digest } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { makeRequest } from '../../src/wire/verify.ts'
import { agreed, createSwarm, PASSWORD, type Swarm, settled } from '../e2e/swarm.ts'
import { type LoadResult, makeLoad, type Signed, seeded } from './load.ts'
import { noteWindow } from './profile.ts'

export type CommitFigures = {
  readonly requestBytes: number
  readonly saturated: LoadResult
  readonly light: LoadResult
  readonly half: LoadResult
  /** CPU of the four peers for each 1,000 requests committed at saturation, ms. */
  readonly cpuMsPer1000: number
  /** CPU of this process, which makes the load on the same cores, for each 1,000 requests, ms. */
  readonly generatorCpuMsPer1000: number
  readonly perSecond: number
  /** Requests in the blocks of the saturated phase, counted from the chain. */
  readonly inChain: number
  readonly blocks: number
  readonly head: string
  readonly height: number
}

export type CommitOptions = {
  readonly seconds: number
  readonly lightPerSecond: number
  readonly users: number
  readonly inFlight: number
  readonly seed: number
  readonly profileDir: string | null
}

export async function measureCommits(
  options: CommitOptions,
  say: (line: string) => void = () => {},
): Promise<CommitFigures> {
  const nodeArguments = options.profileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profileDir}`]
  const swarm = await createSwarm({ nodeArguments, env: { EMRM_LOG_LEVEL: 'warn' } })
  const apis: Api[] = []
  try {
    await Promise.all(swarm.peers.map(peer => peer.start()))
    await settled(swarm.peers)
    for (const peer of swarm.peers) apis.push(await connectApi(homePaths(peer.home)))
    const genesis = (await (apis[0] as Api).call('GET', '/v1/genesis')) as { chainId: Digest }
    const random = seeded(options.seed)
    const users = await registerUsers(swarm, apis[0] as Api, genesis.chainId, options.users)
    const source = makeSource(users, genesis.chainId, apis.length)
    say(`${users.length} patients registered; requests of ${source.sample} bytes`)

    const load = makeLoad(apis, source, random)
    source.prepare(options.lightPerSecond * options.seconds * 2 + 1000)
    const light = await load.open(options.lightPerSecond, options.seconds)
    say(`light load: ${describe(light)}`)

    source.prepare(Math.ceil(options.seconds * 6_000))
    const before = await agreed(swarm.peers)
    const [cpuBefore, ownBefore, fromUs] = [cpuMs(swarm), process.cpuUsage(), nowUs()]
    const saturated = await load.closed(options.inFlight, options.seconds)
    const cpu = cpuMs(swarm) - cpuBefore
    const own = process.cpuUsage(ownBefore)
    if (options.profileDir !== null) await noteWindow(options.profileDir, { fromUs, toUs: nowUs() })
    const after = await agreed(swarm.peers)
    const inChain = await requestsBetween(apis[0] as Api, before.height, after.height)
    say(`saturated: ${describe(saturated)}`)

    const perSecond = saturated.done / saturated.seconds
    source.prepare(Math.ceil(perSecond * options.seconds))
    const half = await load.open(perSecond / 2, options.seconds)
    say(`half load: ${describe(half)}`)
    await load.close()
    const end = await agreed(swarm.peers)
    return {
      requestBytes: source.sample,
      saturated,
      light,
      half,
      cpuMsPer1000: (cpu / inChain) * 1000,
      generatorCpuMsPer1000: (own.user + own.system) / inChain,
      perSecond,
      inChain,
      blocks: after.height - before.height,
      head: end.head,
      height: end.height,
    }
  } finally {
    for (const api of apis) api.close()
    await swarm.stop()
  }
}

/** A CA's requests go the same way as any other. Seeds come from the position: same run, same users. */
async function registerUsers(swarm: Swarm, api: Api, chainId: Digest, count: number): Promise<readonly SigningKey[]> {
  const home = homePaths((swarm.peers[0] as (typeof swarm.peers)[0]).home)
  const ca = await loadKeyFile(home.caKey, PASSWORD)
  if (ca.kind !== 'ed25519') throw new Error('the CA key is not Ed25519')
  const status = (await api.call('GET', '/v1/status')) as { institution: { id: string } }
  const users = Array.from({ length: count }, (_, i) => signingKeyFromSeed(sha256(Buffer.from(`bench user ${i}`))))
  const now = Date.now()
  const requests = users.map((user, i): Signed => {
    const operation = {
      type: 'user.register',
      publicKey: user.publicKey,
      scheme: 1,
      roles: ['patient'],
      groups: [],
      institution: status.institution.id,
      validUntil: asTimestamp(now + 86_400_000),
    } as unknown as Operation
    return sign(ca.key, chainId, operation, now + i)
  })
  let at = 0
  const load = makeLoad([api], { next: () => requests[at++] as Signed, settled: () => {} }, () => 0.5)
  // Twenty in flight leave room for the mempool's limit for one client.
  while (at < requests.length) {
    const ran = await load.closed(Math.min(20, requests.length - at), 0.001)
    if (ran.refused.size > 0) throw new Error(`registration refused: ${[...ran.refused.keys()].join()}`)
  }
  await load.close()
  return users
}

function sign(key: SigningKey, network: Digest, operation: Operation, timestampMs: number): Signed {
  const request = makeRequest({
    network,
    operation,
    timestamp: asTimestamp(timestampMs),
    scheme: 1,
    publicKey: key.publicKey,
    sign: bytes => key.sign(bytes),
  })
  return { id: request.id, bytes: request.bytes }
}

/**
 * Patients who set one policy after another: a permit for a role, each with a timestamp above the last. A patient always asks at the same
 * hospital and waits for one result before the next request, as people do; `users` therefore bounds what can be under way.
 */
function makeSource(users: readonly SigningKey[], chainId: Digest, lanes: number) {
  const idle = Array.from({ length: lanes }, (_, lane) => users.filter((_, i) => i % lanes === lane))
  const ready = new Map<SigningKey, Signed[]>(users.map(user => [user, []]))
  const busy = new Map<string, { readonly user: SigningKey; readonly lane: number }>()
  const last = new Map<SigningKey, number>()
  const one = (user: SigningKey): Signed => {
    const now = Date.now()
    const timestamp = Math.max(now, (last.get(user) ?? 0) + 1)
    last.set(user, timestamp)
    const operation = {
      type: 'policy.set',
      owner: user.identifier,
      scope: { type: 'all' },
      grantee: { type: 'role', role: 'attending' },
      effect: 'permit',
      purposes: ['TREAT'],
      rights: ['read'],
      from: asTimestamp(0),
      to: asTimestamp(now + 86_400_000),
      anonymous: false,
      labelCeiling: 'N',
      timestamp: asTimestamp(timestamp),
    } as unknown as Operation
    return sign(user, chainId, operation, now)
  }
  return {
    sample: one(users[0] as SigningKey).bytes.length,
    /** Signs `count` requests beforehand, so that signing is not part of what is measured. */
    prepare(count: number) {
      const each = Math.ceil(count / users.length)
      for (const [user, queue] of ready) {
        queue.length = 0
        while (queue.length < each) queue.push(one(user))
      }
    },
    next(lane: number): Signed {
      const user = idle[lane]?.shift()
      if (user === undefined) throw new Error('every patient waits for a result; more --users are needed')
      const request = ready.get(user)?.shift() ?? one(user)
      busy.set(request.id, { user, lane })
      return request
    },
    settled(id: string) {
      const done = busy.get(id)
      if (done === undefined) return
      busy.delete(id)
      idle[done.lane]?.push(done.user)
    },
  }
}

async function requestsBetween(api: Api, from: number, to: number): Promise<number> {
  let count = 0
  for (let height = from + 1; height <= to; height++) {
    const block = (await api.call('GET', `/v1/blocks/${height}`)) as { header: { requestCount: number } }
    count += block.header.requestCount
  }
  return count
}

/** On the clock that CPU profiles are written by. */
const nowUs = (): number => Number(process.hrtime.bigint() / 1000n)

/** User and system time of the peers' processes so far, ms. */
function cpuMs(swarm: Swarm): number {
  const ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  return swarm.peers.reduce((sum, peer) => {
    const fields = readFileSync(`/proc/${peer.process()?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + ((Number(fields[11]) + Number(fields[12])) * 1000) / ticks
  }, 0)
}

const describe = (result: LoadResult): string =>
  `${(result.done / result.seconds).toFixed(0)} requests/s, p50 ${result.latencyMs.p50.toFixed(1)} ms, p99 ${result.latencyMs.p99.toFixed(1)} ms` +
  (result.refused.size === 0 ? '' : `, REFUSED ${JSON.stringify([...result.refused])}`)

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      light: { type: 'string', default: '20' },
      users: { type: 'string', default: '4000' },
      inflight: { type: 'string', default: '2000' },
      seed: { type: 'string', default: '1' },
      profile: { type: 'string' },
    },
  })
  process.stdout.write(
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, n=4 f=1 p=0, class A, seed ${values.seed}\n`,
  )
  const figures = await measureCommits(
    {
      seconds: Number(values.seconds),
      lightPerSecond: Number(values.light),
      users: Number(values.users),
      inFlight: Number(values.inflight),
      seed: Number(values.seed),
      profileDir: values.profile ?? null,
    },
    line => process.stdout.write(`${line}\n`),
  )
  const floor = 2_000_000 / (4 * 42)
  process.stdout.write(
    `CPU of the four peers: ${figures.cpuMsPer1000.toFixed(0)} ms for 1,000 requests; the signature checks alone are 168 ms\n` +
      `CPU of the generator: ${figures.generatorCpuMsPer1000.toFixed(0)} ms for 1,000 requests; ${(figures.inChain / figures.blocks).toFixed(0)} requests a block\n` +
      `${((figures.perSecond / floor) * 100).toFixed(0)} % of the bound that four checks of 42 µs on two cores set (${floor.toFixed(0)}/s)\n` +
      `head ${figures.head} at height ${figures.height}, equal on all four peers\n`,
  )
}
