// Question: how fast does a large record go from one hospital to a doctor at another, through everything (ciphertext pieces from the vault,
// checked by the reader's peer, handed to the doctor's program, decrypted, checked, written), compared with a plain copy over one libp2p
// stream on the same machine at the same time; and how much memory does each process take?
// Estimate: the stream's own encryption costs 6 ms of CPU a MiB over both ends, files included; ours adds hashing three times (0.5 ms each), one
// AEAD (0.6 ms) and one HTTP hop, so a third as much again. Measured against ourselves: the whole program counts, from its start to the
// receipt, of the plain copy the stream alone.
// `--profile DIR` says where the time goes: each process's share of the CPU, and what its JavaScript thread was at. That thread waits while
// others run on a busy machine, so of a profile believe the order and of the CPU figures the size.
//   node test/bench/transfer.ts [--megabytes 1024] [--rounds 2] [--profile DIR]

import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, existsSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { permit, person } from '../e2e/people.ts'
import { EXECUTABLE, PASSWORD, type Swarm, type SwarmPeer, startSwarm } from '../e2e/swarm.ts'
import { costLines, costsOf, profilesIn } from './profile.ts'

const MiB = 1_048_576
/** USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10
const PLAIN_COPY = join(import.meta.dirname, 'plain-copy.ts')

export type TransferFigures = {
  readonly megabytes: number
  /** MB/s: the whole of `record add`, with the ciphertext at two more hospitals. */
  readonly added: number
  /** MB/s: the whole of `access request`, from the start of the program to the file under its name; one figure for each round. */
  readonly accessed: readonly number[]
  /** MB/s of the plain copy, before each access. */
  readonly plain: readonly number[]
  /** Of the means. */
  readonly ratio: number
  /** CPU for each MB, all processes together, in ms: what the clock on a busy machine does not change. */
  readonly cpu: { readonly added: number; readonly accessed: number; readonly plain: number }
  /** The same for each process that took part in the accesses, and its share that the kernel took. */
  readonly cpuBy: Readonly<Record<string, Cpu>>
  /** Who was who, for the profiles. */
  readonly processes: ReadonlyMap<number, string>
  /** Peak resident set in MiB. */
  readonly peakRss: Readonly<Record<string, number>>
  readonly isIdentical: boolean
}

type Cpu = { readonly totalMs: number; readonly systemMs: number }

export type TransferOptions = {
  readonly megabytes: number
  readonly rounds: number
  readonly profileDir: string | null
}

export async function measureTransfer(options: TransferOptions, say: (line: string) => void): Promise<TransferFigures> {
  const nodeArguments = options.profileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profileDir}`]
  const swarm = await startSwarm({ nodeArguments, env: { EMRM_LOG_LEVEL: 'warn' } })
  try {
    return await measureOn(swarm, options, nodeArguments, say)
  } finally {
    await swarm.stop()
  }
}

async function measureOn(
  swarm: Swarm,
  { megabytes, rounds }: TransferOptions,
  nodeArguments: readonly string[],
  say: (line: string) => void,
): Promise<TransferFigures> {
  const bytes = megabytes * 1_000_000
  const speed = (seconds: number): number => megabytes / seconds
  const custodian = swarm.peers[0] as SwarmPeer
  const source = join(swarm.dir, 'source')
  const digest = await writeRandom(source, bytes)
  const patient = await person(swarm, custodian, 'patient', ['patient'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])

  const add = ['record', 'add', source, '--kind', 'other', '--home', custodian.home, '--patient', patient.id, '--json']
  const pidOf = (peer: SwarmPeer): number => peer.process()?.pid as number
  const peersCpu = (): number => swarm.peers.reduce((sum, peer) => sum + cpuOf(pidOf(peer)).totalMs, 0)
  const beforeAdd = peersCpu()
  const adding = await timed([...nodeArguments, EXECUTABLE, ...add])
  const addCpu = adding.cpu.totalMs + peersCpu() - beforeAdd
  const record = String(JSON.parse(adding.stdout)['record'])
  say(`record add, ${megabytes} MB, two more copies: ${speed(adding.seconds).toFixed(1)} MB/s`)
  const isAway = (peer: SwarmPeer): boolean =>
    !existsSync(join(peer.home, 'vault', record.slice(0, 2), record, 'cipher'))
  const reader = swarm.peers.find(isAway) as SwarmPeer
  const doctor = await person(swarm, reader, 'doctor', ['attending'])
  const nameOf = (peer: SwarmPeer): string =>
    `${peer.name}${peer === custodian ? ' (custodian)' : peer === reader ? ' (reader)' : ''}`
  const processes = new Map([
    [adding.pid, 'record add'],
    ...swarm.peers.map(peer => [pidOf(peer), nameOf(peer)] as const),
  ])
  const cpuBy: Record<string, Cpu> = {}
  const charge = (name: string, { totalMs, systemMs }: Cpu): void => {
    const sum = cpuBy[name] ?? { totalMs: 0, systemMs: 0 }
    const each = megabytes * rounds
    cpuBy[name] = { totalMs: sum.totalMs + totalMs / each, systemMs: sum.systemMs + systemMs / each }
  }

  const plain: number[] = []
  const accessed: number[] = []
  let isIdentical = true
  let programRss = 0
  let plainCpu = 0
  // Memory that was not used for a while costs a virtual machine several times as much to write to. So a copy that is not counted goes first,
  // and each that is counted writes into what the one before has just freed.
  await plainCopy(source, join(swarm.dir, 'first'))
  rmSync(join(swarm.dir, 'first'))
  for (let round = 0; round < rounds; round++) {
    const out = join(swarm.dir, `out-${round}`)
    const copied = await plainCopy(source, `${out}-plain`)
    rmSync(`${out}-plain`)
    plain.push(speed(copied.seconds))
    plainCpu += copied.cpuMs
    const before = swarm.peers.map(peer => cpuOf(pidOf(peer)))
    const ask = ['access', 'request', record, '--home', reader.home, '--key', doctor.key, '--role', 'attending']
    const asking = await timed([...nodeArguments, EXECUTABLE, ...ask, '--purpose', 'TREAT', '--out', out, '--json'])
    accessed.push(speed(asking.seconds))
    processes.set(asking.pid, 'access request')
    charge('access request', asking.cpu)
    swarm.peers.forEach((peer, i) => {
      charge(nameOf(peer), difference(cpuOf(pidOf(peer)), before[i] as Cpu))
    })
    programRss = Math.max(programRss, asking.peakRss)
    isIdentical &&= (await digestOf(out)) === digest
    say(`round ${round + 1}: plain ${plain[round]?.toFixed(1)} MB/s, access ${accessed[round]?.toFixed(1)} MB/s`)
    rmSync(out)
  }
  const peakRss: Record<string, number> = { 'record add': adding.peakRss, 'access request': programRss }
  for (const peer of swarm.peers) peakRss[nameOf(peer)] = peakRssOf(pidOf(peer))
  return {
    ...{ megabytes, added: speed(adding.seconds), accessed, plain, peakRss, isIdentical },
    ratio: mean(accessed) / mean(plain),
    cpu: {
      added: addCpu / megabytes,
      accessed: Object.values(cpuBy).reduce((sum, { totalMs }) => sum + totalMs, 0),
      plain: plainCpu / megabytes / rounds,
    },
    ...{ cpuBy, processes },
  }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

async function writeRandom(file: string, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  const handle = await open(file, 'w')
  for (let left = bytes; left > 0; left -= MiB) {
    const chunk = randomBytes(Math.min(left, MiB))
    hash.update(chunk)
    await handle.writeFile(chunk)
  }
  await handle.close()
  return hash.digest('hex')
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, { highWaterMark: MiB })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

type Timed = {
  readonly pid: number
  readonly seconds: number
  readonly peakRss: number
  readonly cpu: Cpu
  readonly stdout: string
}

/** Runs a Node program to its end. The peak is read while it runs: it only grows. */
async function timed(args: readonly string[]): Promise<Timed> {
  const began = performance.now()
  const child = run(args)
  const pid = child.pid as number
  let peakRss = 0
  let cpu: Cpu = { totalMs: 0, systemMs: 0 }
  const look = setInterval(() => {
    peakRss = peakRssOf(pid) || peakRss
    const now = cpuOf(pid)
    if (now.totalMs > 0) cpu = now
  }, 20)
  try {
    const stdout = await outputOf(child)
    return { pid, seconds: (performance.now() - began) / 1000, peakRss, cpu, stdout }
  } finally {
    clearInterval(look)
  }
}

/** Seconds from the first byte to the last, as the receiver sees it; CPU of both sides. */
async function plainCopy(
  source: string,
  target: string,
): Promise<{ readonly seconds: number; readonly cpuMs: number }> {
  const receiver = run([PLAIN_COPY, 'receive', target])
  const output = outputOf(receiver)
  let cpuMs = 0
  const look = setInterval(() => {
    cpuMs = cpuOf(receiver.pid as number).totalMs || cpuMs
  }, 20)
  const address = await new Promise<string>((resolve, reject) => {
    let seen = ''
    receiver.stdout?.on('data', chunk => {
      seen += chunk
      const found = /^address (\S+)\n/.exec(seen)
      if (found !== null) resolve(found[1] as string)
    })
    output.catch(reject)
  })
  const sending = await timed([PLAIN_COPY, 'send', source, address])
  const seconds = /^seconds (\S+)$/m.exec(await output)
  clearInterval(look)
  if (seconds === null) throw new Error('the plain copy did not say how long it took')
  return { seconds: Number(seconds[1]), cpuMs: cpuMs + sending.cpu.totalMs }
}

const run = (args: readonly string[]): ChildProcess =>
  spawn(process.execPath, args, {
    env: { ...process.env, EMRM_PASSWORD: PASSWORD },
    stdio: ['ignore', 'pipe', 'inherit'],
  })

function outputOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let stdout = ''
    child.stdout?.on('data', chunk => {
      stdout += chunk
    })
    child.on('error', reject)
    child.on('close', code => (code === 0 ? resolve(stdout) : reject(new Error(`exit ${code}: ${stdout}`))))
  })
}

/** VmHWM in MiB; 0 when the process is gone. */
function peakRssOf(pid: number): number {
  try {
    return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024)
  } catch {
    return 0
  }
}

/** User and system time so far; 0 when the process is gone. */
function cpuOf(pid: number): Cpu {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    const systemMs = Number(fields[12]) * TICK_MS
    return { totalMs: Number(fields[11]) * TICK_MS + systemMs, systemMs }
  } catch {
    return { totalMs: 0, systemMs: 0 }
  }
}

const difference = (after: Cpu, before: Cpu): Cpu => ({
  totalMs: after.totalMs - before.totalMs,
  systemMs: after.systemMs - before.systemMs,
})

/** What each process's JavaScript thread was at, over the whole run. */
function profileLines(directory: string, processes: ReadonlyMap<number, string>): string[] {
  const files = new Map<string, string[]>()
  for (const file of profilesIn(directory)) {
    const name = processes.get(Number(/\.(\d+)\.\d+\.\d+\.cpuprofile$/.exec(file)?.[1]))
    if (name !== undefined) files.set(name, [...(files.get(name) ?? []), file])
  }
  return [...files].flatMap(([name, of]) => {
    const { busyUs, places, functions } = costsOf(of)
    const shown = [...costLines(places, busyUs, 8), '        of these', ...costLines(functions, busyUs, 8)]
    return [`\n${name}: ${(busyUs / 1e6).toFixed(1)} s busy`, ...shown]
  })
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '1024' },
      rounds: { type: 'string', default: '2' },
      profile: { type: 'string' },
    },
  })
  const print = (line: string): void => void process.stdout.write(`${line}\n`)
  const figures = await measureTransfer(
    { megabytes: Number(values.megabytes), rounds: Number(values.rounds), profileDir: values.profile ?? null },
    print,
  )
  print(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}`)
  print(`byte-identical: ${figures.isIdentical ? 'yes' : 'NO'}; access / plain = ${figures.ratio.toFixed(2)}`)
  const { added, accessed, plain } = figures.cpu
  print(`CPU for each MB: access ${accessed.toFixed(1)} ms, plain ${plain.toFixed(1)} ms, add ${added.toFixed(1)} ms`)
  print(`CPU access / plain = ${(accessed / plain).toFixed(2)}`)
  for (const [name, { totalMs, systemMs }] of Object.entries(figures.cpuBy))
    print(`  ${totalMs.toFixed(2).padStart(6)} ms a MB, ${systemMs.toFixed(2)} of it in the kernel  ${name}`)
  for (const [name, peak] of Object.entries(figures.peakRss)) print(`peak RSS ${peak} MiB  ${name}`)
  if (values.profile !== undefined) for (const line of profileLines(values.profile, figures.processes)) print(line)
}
