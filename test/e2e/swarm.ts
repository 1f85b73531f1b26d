// A real network for tests and benchmarks: `emrm network create`, then one process for each hospital, on free loopback ports, in a
// temporary folder. Everything goes through the command line that operators use. Every process started here is stopped here, by id.

import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
export const EXECUTABLE: string = join(ROOT, 'bin', 'emrm.ts')
export const PASSWORD = 'correct horse battery staple'
const READY_TIMEOUT_MS = 60_000
const RUN_TIMEOUT_MS = 120_000

export type Ran = {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** The one document of `--json`, or null when stdout holds none. */
  readonly json: Record<string, unknown> | null
}

export type SwarmPeer = {
  readonly home: string
  readonly name: string
  /** Null while stopped. */
  process(): ChildProcess | null
  start(): Promise<void>
  /** Resolves with the exit code when the process is gone (null: killed by a signal). */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** What the peer wrote to stderr since the swarm began. */
  log(): Promise<string>
}

export type Swarm = {
  readonly dir: string
  readonly peers: readonly SwarmPeer[]
  stop(): Promise<void>
}

export type SwarmOptions = {
  readonly hospitals?: number
  /** Replaces chain parameters in every home's genesis before the first start. */
  readonly parameters?: Readonly<Record<string, number>>
  readonly nodeArguments?: readonly string[]
  readonly createArguments?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** How long a peer may take to start; a machine that starts many at once needs more. */
  readonly readyTimeoutMs?: number
}

/** Runs one command of the CLI to its end. */
export function emrm(
  args: readonly string[],
  options: { env?: Record<string, string>; stdin?: Uint8Array | string; timeoutMs?: number } = {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [EXECUTABLE, ...args], {
      env: { ...process.env, EMRM_PASSWORD: PASSWORD, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? RUN_TIMEOUT_MS)
    child.stdout.on('data', chunk => out.push(chunk))
    child.stderr.on('data', chunk => err.push(chunk))
    child.stdin.on('error', () => {})
    child.stdin.end(options.stdin ?? '')
    child.on('error', reject)
    child.on('close', code => {
      clearTimeout(timer)
      const stdout = Buffer.concat(out).toString('utf8')
      resolve({ code: code ?? -1, stdout, stderr: Buffer.concat(err).toString('utf8'), json: parsed(stdout) })
    })
  })
}

/** The stable code of the error that a command printed with `--json`; null when it printed none. */
export const errorCode = (ran: Ran): string | null => {
  const error = ran.json?.['error'] as { readonly code?: string } | undefined
  return error?.code ?? null
}

/** As `emrm`, but anything except exit code 0 fails with what was printed. `--json` is added. */
export async function emrmJson(
  args: readonly string[],
  options: Parameters<typeof emrm>[1] = {},
): Promise<Record<string, unknown>> {
  const ran = await emrm([...args, '--json'], options)
  if (ran.code !== 0 || ran.json === null)
    throw new Error(`emrm ${args.join(' ')}: exit ${ran.code}\n${ran.stdout}\n${ran.stderr}`)
  return ran.json
}

export async function startSwarm(options: SwarmOptions = {}): Promise<Swarm> {
  const swarm = await createSwarm(options)
  try {
    await Promise.all(swarm.peers.map(peer => peer.start()))
    await settled(swarm.peers)
  } catch (error) {
    await swarm.stop()
    throw error
  }
  return swarm
}

/** The homes, with nothing running yet. */
export async function createSwarm(options: SwarmOptions = {}): Promise<Swarm> {
  const hospitals = options.hospitals ?? 4
  const dir = await mkdtemp(join(tmpdir(), 'emrm-swarm-'))
  const basePort = await freeRange(hospitals * 10)
  await emrmJson(
    [
      'network',
      'create',
      '--dir',
      join(dir, 'net'),
      '--name',
      'test',
      '--hospitals',
      String(hospitals),
      '--base-port',
      String(basePort),
      ...(options.createArguments ?? []),
    ],
    { ...(options.env === undefined ? {} : { env: { ...options.env } }) },
  )
  const homes = Array.from({ length: hospitals }, (_, i) => join(dir, 'net', `hospital-${i + 1}`))
  if (options.parameters !== undefined) for (const home of homes) await overrideParameters(home, options.parameters)
  const peers = homes.map((home, i) => makePeer(home, `hospital-${i + 1}`, options))
  return {
    dir,
    peers,
    async stop() {
      await Promise.all(peers.map(peer => peer.stop('SIGTERM')))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

export async function overrideParameters(home: string, parameters: Readonly<Record<string, number>>): Promise<void> {
  const file = join(home, 'genesis.json')
  const genesis = JSON.parse(await readFile(file, 'utf8'))
  Object.assign(genesis.parameters, parameters)
  await writeFile(file, `${JSON.stringify(genesis, null, 2)}\n`)
}

export function makePeer(home: string, name: string, options: SwarmOptions): SwarmPeer {
  let child: ChildProcess | null = null
  const logFile = `${home}.log`
  return {
    home,
    name,
    process: () => child,
    start() {
      return new Promise((resolve, reject) => {
        const started = spawn(
          process.execPath,
          [...(options.nodeArguments ?? []), EXECUTABLE, 'start', '--home', home],
          {
            env: { ...process.env, EMRM_PASSWORD: PASSWORD, ...options.env },
            stdio: ['ignore', 'pipe', 'pipe'],
          },
        )
        child = started
        const log = createWriteStream(logFile, { flags: 'a' })
        started.stderr.pipe(log)
        let out = ''
        const timer = setTimeout(() => {
          started.kill('SIGKILL')
          reject(new Error(`${name} was not ready in time; see ${logFile}`))
        }, options.readyTimeoutMs ?? READY_TIMEOUT_MS)
        started.stdout.on('data', chunk => {
          out += chunk
          if (!/^ready /m.test(out)) return
          clearTimeout(timer)
          resolve()
        })
        started.on('exit', async code => {
          clearTimeout(timer)
          if (child === started) child = null
          reject(
            new Error(
              `${name} ended with ${code} before it was ready: ${await readFile(logFile, 'utf8').catch(() => '')}`,
            ),
          )
        })
      })
    },
    stop(signal = 'SIGTERM') {
      const running = child
      if (running === null || running.exitCode !== null || running.signalCode !== null) return Promise.resolve(null)
      return new Promise(resolve => {
        const hard = setTimeout(() => running.kill('SIGKILL'), 15_000)
        running.once('exit', code => {
          clearTimeout(hard)
          child = null
          resolve(code)
        })
        running.kill(signal)
      })
    },
    log: () => readFile(logFile, 'utf8').catch(() => ''),
  }
}

export type Status = {
  readonly height: number
  readonly head: string
  readonly view: number
  readonly stateDigest: string
  readonly role: string
  readonly peers: readonly { readonly peerId: string; readonly direct: boolean }[]
  readonly primary: { readonly index: number; readonly name: string } | null
}

/** What `emrm status` prints, asked over the same API without a process for each question. */
export async function statusOf(peer: SwarmPeer): Promise<Status> {
  const api = await connectApi(homePaths(peer.home))
  try {
    return (await api.call('GET', '/v1/status')) as Status
  } finally {
    api.close()
  }
}

/** Waits until every running peer is linked to every other. */
export async function settled(peers: readonly SwarmPeer[], timeoutMs = 60_000): Promise<void> {
  const running = peers.filter(peer => peer.process() !== null)
  await eventually(async () => {
    for (const peer of running) {
      const linked = (await statusOf(peer)).peers.filter(other => other.direct).length
      if (linked < running.length - 1) throw new Error(`${peer.name} has ${linked} links, ${running.length - 1} needed`)
    }
  }, timeoutMs)
}

/** Waits until all of them show one head and one state digest; returns that status. */
export async function agreed(peers: readonly SwarmPeer[], heightMin = 0, timeoutMs = 60_000): Promise<Status> {
  return eventually(async () => {
    const all = await Promise.all(peers.map(statusOf))
    const [first] = all as [Status]
    for (const status of all)
      if (status.head !== first.head || status.stateDigest !== first.stateDigest || status.height < heightMin)
        throw new Error(
          `no agreement yet: ${all.map(s => `${s.height} ${s.head.slice(0, 8)} ${s.stateDigest.slice(0, 8)}`).join(', ')}`,
        )
    return first
  }, timeoutMs)
}

/** Calls until it does not throw; then the last error. */
export async function eventually<T>(call: () => Promise<T>, timeoutMs: number): Promise<T> {
  const until = performance.now() + timeoutMs
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}

/** First of `size` consecutive ports of which the outer ones are free now. */
async function freeRange(size: number): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const base = 20_000 + Math.floor(Math.random() * 300) * 100
    const wanted = Array.from({ length: Math.ceil(size / 10) }, (_, i) => [
      base + 10 * (i + 1),
      base + 10 * (i + 1) + 1,
    ]).flat()
    if ((await Promise.all(wanted.map(isFree))).every(Boolean)) return base
  }
  throw new Error('no free range of ports')
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
