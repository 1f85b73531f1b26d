// Question: how fast does a large record go from one hospital to a doctor at another, through everything (ciphertext pieces from the vault,
// checked by the reader's peer, handed to the doctor's program, decrypted, checked, written), compared with a plain copy over one libp2p
// stream on the same machine at the same time; and how much memory does each process take?
// Estimate: the stream's own encryption costs 7 ms of CPU a MiB over both ends; ours adds hashing three times (0.6 ms each), one AEAD
// (0.7 ms), two files and one HTTP hop, so about half as much again.
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
  /** Peak resident set in MiB. */
  readonly peakRss: Readonly<Record<string, number>>
  readonly isIdentical: boolean
}

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
  const peersCpu = (): number => swarm.peers.reduce((sum, peer) => sum + cpuOf(peer.process()?.pid as number), 0)
  const beforeAdd = peersCpu()
  const adding = await timed([...nodeArguments, EXECUTABLE, ...add])
  const addCpu = adding.cpuMs + peersCpu() - beforeAdd
  const record = String(JSON.parse(adding.stdout)['record'])
  say(`record add, ${megabytes} MB, two more copies: ${speed(adding.seconds).toFixed(1)} MB/s`)
  const isAway = (peer: SwarmPeer): boolean =>
    !existsSync(join(peer.home, 'vault', record.slice(0, 2), record, 'cipher'))
  const reader = swarm.peers.find(isAway) as SwarmPeer
  const doctor = await person(swarm, reader, 'doctor', ['attending'])

  const plain: number[] = []
  const accessed: number[] = []
  let isIdentical = true
  let programRss = 0
  let accessCpu = 0
  let plainCpu = 0
  for (let round = 0; round < rounds; round++) {
    const out = join(swarm.dir, `out-${round}`)
    const copied = await plainCopy(source, `${out}-plain`)
    plain.push(speed(copied.seconds))
    plainCpu += copied.cpuMs
    const before = peersCpu()
    const ask = ['access', 'request', record, '--home', reader.home, '--key', doctor.key, '--role', 'attending']
    const asking = await timed([...nodeArguments, EXECUTABLE, ...ask, '--purpose', 'TREAT', '--out', out, '--json'])
    accessed.push(speed(asking.seconds))
    accessCpu += asking.cpuMs + peersCpu() - before
    programRss = Math.max(programRss, asking.peakRss)
    isIdentical &&= (await digestOf(out)) === digest
    say(`round ${round + 1}: plain ${plain[round]?.toFixed(1)} MB/s, access ${accessed[round]?.toFixed(1)} MB/s`)
    for (const file of [out, `${out}-plain`]) rmSync(file)
  }
  const peakRss: Record<string, number> = { 'record add': adding.peakRss, 'access request': programRss }
  for (const peer of swarm.peers)
    peakRss[`${peer.name}${peer === custodian ? ' (custodian)' : peer === reader ? ' (reader)' : ''}`] = peakRssOf(
      peer.process()?.pid as number,
    )
  return {
    ...{ megabytes, added: speed(adding.seconds), accessed, plain, peakRss, isIdentical },
    ratio: mean(accessed) / mean(plain),
    cpu: { added: addCpu / megabytes, accessed: accessCpu / megabytes / rounds, plain: plainCpu / megabytes / rounds },
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

type Timed = { readonly seconds: number; readonly peakRss: number; readonly cpuMs: number; readonly stdout: string }

/** Runs a Node program to its end. The peak is read while it runs: it only grows. */
async function timed(args: readonly string[]): Promise<Timed> {
  const began = performance.now()
  const child = run(args)
  let peakRss = 0
  let cpuMs = 0
  const look = setInterval(() => {
    peakRss = peakRssOf(child.pid as number) || peakRss
    cpuMs = cpuOf(child.pid as number) || cpuMs
  }, 20)
  try {
    const stdout = await outputOf(child)
    return { seconds: (performance.now() - began) / 1000, peakRss, cpuMs, stdout }
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
    cpuMs = cpuOf(receiver.pid as number) || cpuMs
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
  return { seconds: Number(seconds[1]), cpuMs: cpuMs + sending.cpuMs }
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
function cpuOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return 0
  }
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
  for (const [name, peak] of Object.entries(figures.peakRss)) print(`peak RSS ${peak} MiB  ${name}`)
}
