// Question: what does a record cost the consortium, in bytes on all disks and on the wire, for each byte of the record, and what does it cost to
// deal its key anew when a hospital leaves? Real peers (a process for each hospital), r = 0, 1, 2 copies beside the custodian's, n = 4 and 7.
// On the wire: payload of TCP between hospitals (Noise and libp2p's framing, the chain's messages for this record and gossip included), less
// what the peers say while nothing happens, measured in the same run. On disk: vaults; the chain's part is a column of its own.
// Estimate: (1 + r) on disk and r on the wire, plus 1.6 KB a share, plus 2 KB of consensus for each of n(n-1) links; 1 on the wire for a read.
// A re-deal: t+n boxes of 1.3 KB, two requests of 0.2 and 0.4 KB in the chain of each, and 2 ms of HPKE for each box made or opened.
//   node test/bench/cost.ts [--smoke]

import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connectApi } from '../../src/api/client.ts'
import { submitOperation } from '../../src/api/operations.ts'
import { homePaths, loadSigningKey } from '../../src/config.ts'
import type { Digest, Identifier, Timestamp } from '../../src/model/ids.ts'
import { addRecord, outFile, type Person, permit, person, request } from '../e2e/people.ts'
import { agreed, eventually, PASSWORD, type Swarm, type SwarmPeer, startSwarm, statusOf } from '../e2e/swarm.ts'
import type { Meter } from './meter.ts'
import { makeRegistrations } from './registrations.ts'

const METER = join(import.meta.dirname, 'meter.ts')
const IDLE_MS = 10_000
const EPOCH = 12
/** Every small record weighs little beside the noise. */
const SMALL_BYTES = 100_000
const SMALL_TIMES = 5

export type Cost = {
  readonly size: number
  readonly n: number
  readonly r: number
  /** Bytes for each byte of the record. */
  readonly vaults: number
  readonly chains: number
  readonly wireToAdd: number
  readonly wireToRead: number
}

export type RedealCost = {
  readonly n: number
  readonly records: number
  /** For each record, all hospitals together. */
  readonly wireBytes: number
  readonly chainBytes: number
  readonly cpuMs: number
}

type Count = { readonly sent: number; readonly cpuMs: number; readonly at: number }
type Rate = { readonly sent: number; readonly cpuMs: number }

const METERS = mkdtempSync(join(tmpdir(), 'emrm-meter-'))
process.once('exit', () => rmSync(METERS, { recursive: true, force: true }))
const meterFile = (pid: number | '%'): string => join(METERS, `${pid}.json`)

/** One number for all peers: what they sent to each other, and their CPU. */
async function count({ peers }: Swarm): Promise<Count> {
  const all = { sent: 0, cpuMs: 0, at: performance.now() }
  for (const peer of peers) {
    const running = peer.process()
    if (running === null) continue
    const file = meterFile(running.pid as number)
    rmSync(file, { force: true })
    running.kill('SIGUSR2')
    const meter = await eventually(async () => JSON.parse(readFileSync(file, 'utf8')) as Meter, 30_000)
    const address = readFileSync(homePaths(peer.home).apiAddress, 'utf8').trim()
    const api = new URL(address.includes('://') ? address : `http://${address}`).port
    for (const [port, bytes] of Object.entries(meter.sent)) if (port !== `in:${api}`) all.sent += bytes
    all.cpuMs += meter.cpuMs
  }
  return all
}

const between = (from: Count, to: Count, idle: Rate): Rate => ({
  sent: to.sent - from.sent - idle.sent * (to.at - from.at),
  cpuMs: to.cpuMs - from.cpuMs - idle.cpuMs * (to.at - from.at),
})

/** What the peers do while nothing happens, for each ms. */
async function idleRate(swarm: Swarm): Promise<Rate> {
  const from = await count(swarm)
  await new Promise(resolve => setTimeout(resolve, IDLE_MS))
  const to = await count(swarm)
  const ms = to.at - from.at
  return { sent: (to.sent - from.sent) / ms, cpuMs: (to.cpuMs - from.cpuMs) / ms }
}

const bytesUnder = (folder: string): number =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
        const found = statSync(join(folder, name), { throwIfNoEntry: false })
        return sum + (found?.isFile() === true ? found.size : 0)
      }, 0)
    : 0

const onDisk = ({ peers }: Swarm, what: 'vault' | 'data'): number =>
  peers.reduce((sum, { home }) => sum + bytesUnder(join(home, what)), 0)

const start = (hospitals: number, parameters: Readonly<Record<string, number>>): Promise<Swarm> => {
  return startSwarm({
    hospitals,
    parameters,
    nodeArguments: ['--import', METER],
    env: { EMRM_LOG_LEVEL: 'warn', EMRM_METER: meterFile('%') },
  })
}

export async function costsOf(n: number, r: number, sizes: readonly number[]): Promise<readonly Cost[]> {
  const swarm = await start(n, { replicas: r })
  try {
    const custodian = swarm.peers[0] as SwarmPeer
    const patient = await person(swarm, custodian, 'patient', ['patient'])
    await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
    const doctors: Person[] = []
    for (const [i, peer] of swarm.peers.entries()) doctors.push(await person(swarm, peer, `doctor-${i}`, ['attending']))
    const idle = await idleRate(swarm)
    const costs: Cost[] = []
    for (const size of sizes) costs.push(await costOf(swarm, { size, n, r, custodian, patient, doctors, idle }))
    return costs
  } finally {
    await swarm.stop()
  }
}

async function costOf(
  swarm: Swarm,
  stage: {
    readonly size: number
    readonly n: number
    readonly r: number
    readonly custodian: SwarmPeer
    readonly patient: Person
    readonly doctors: readonly Person[]
    readonly idle: Rate
  },
): Promise<Cost> {
  const { size, n, r, custodian, patient, doctors, idle } = stage
  const times = size < SMALL_BYTES ? SMALL_TIMES : 1
  const all = size * times
  const vaults = onDisk(swarm, 'vault')
  const chains = onDisk(swarm, 'data')
  const first = await count(swarm)
  const records: string[] = []
  for (let i = 0; i < times; i++) records.push(await addRecord(swarm, custodian, patient, randomBytes(size)))
  await agreed(swarm.peers)
  const second = await count(swarm)
  const cost = { vaults: (onDisk(swarm, 'vault') - vaults) / all, chains: (onDisk(swarm, 'data') - chains) / all }
  const third = await count(swarm)
  for (const record of records) {
    const holds = ({ home }: SwarmPeer): boolean => existsSync(join(home, 'vault', record.slice(0, 2), record, 'index'))
    const doctor = doctors.find(({ peer }) => !holds(peer)) ?? (doctors[0] as Person)
    const ran = await request(doctor, record, 'attending', 'TREAT', outFile(swarm))
    if (ran.code !== 0) throw new Error(ran.stderr)
  }
  const fourth = await count(swarm)
  const [wireToAdd, wireToRead] = [between(first, second, idle).sent / all, between(third, fourth, idle).sent / all]
  return { size, n, r, ...cost, wireToAdd, wireToRead }
}

/** n+1 hospitals, then one is removed by the authority. */
export async function redealCostOf(n: number, records: number): Promise<RedealCost> {
  const swarm = await start(n + 1, { epochBlocks: EPOCH, replicas: 0 })
  try {
    const custodian = swarm.peers[0] as SwarmPeer
    const patient = await person(swarm, custodian, 'patient', ['patient'])
    for (let i = 0; i < records; i++) await addRecord(swarm, custodian, patient, randomBytes(1000))
    const leaver = swarm.peers[n] as SwarmPeer
    const { institution } = (await statusOf(leaver)) as unknown as { institution: { id: Identifier } }
    const api = await connectApi(homePaths(custodian.home))
    try {
      const { chainId } = (await api.call('GET', '/v1/genesis')) as { chainId: Digest }
      const key = await loadSigningKey(join(swarm.dir, 'net', 'authority', 'authority.key'), PASSWORD)
      const signing = { key, chainId, timestamp: Date.now() as Timestamp }
      await submitOperation(api, signing, { type: 'institution.remove', institution: institution.id })
      await leaver.stop()
      const idle = await idleRate(swarm)
      const source = await makeRegistrations(swarm, api)
      const { height } = await statusOf(custodian)
      const end = (Math.floor(height / EPOCH) + 1) * EPOCH
      for (let now = height; now <= end; ) now = Number((await api.submit(source.next(0).bytes))['height'])
      const from = await count(swarm)
      const chains = onDisk(swarm, 'data')
      await eventually(async () => {
        const { redeal } = (await api.call('GET', '/v1/vault')) as { redeal: { due: number; dealt: number } }
        if (redeal.dealt < records) throw new Error(`${redeal.dealt} of ${records} records dealt anew`)
      }, 300_000)
      const { sent, cpuMs } = between(from, await count(swarm), idle)
      const chainBytes = (onDisk(swarm, 'data') - chains) / records
      return { n, records, wireBytes: sent / records, chainBytes, cpuMs: cpuMs / records }
    } finally {
      api.close()
    }
  } finally {
    await swarm.stop()
  }
}

if (process.argv[1] === import.meta.filename) {
  const { smoke } = parseArgs({ options: { smoke: { type: 'boolean' } } }).values
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const cells = (values: readonly number[]): string => values.map(value => value.toFixed(3).padStart(9)).join('')
  say('      bytes  n  r   vaults   chains   to add  to read   (bytes for each byte of the record)')
  for (const n of smoke ? [4] : [4, 7])
    for (const r of smoke ? [1] : [0, 1, 2])
      for (const cost of await costsOf(n, r, smoke ? [20_000] : [20_000, 3_000_000, 50_000_000])) {
        const { size, vaults, chains, wireToAdd, wireToRead } = cost
        say(`${String(size).padStart(11)}  ${n}  ${r}${cells([vaults, chains, wireToAdd, wireToRead])}`)
      }
  say('  n  records  on the wire  chains  CPU ms   (for each record that is dealt anew, all hospitals together)')
  for (const n of smoke ? [4] : [4, 7]) {
    const { records, wireBytes, chainBytes, cpuMs } = await redealCostOf(n, smoke ? 2 : 20)
    const figures = [wireBytes, chainBytes].map(value => String(Math.round(value)).padStart(11)).join('')
    say(`  ${n}  ${String(records).padStart(7)}${figures}  ${cpuMs.toFixed(1).padStart(6)}`)
  }
}
