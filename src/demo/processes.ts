// Real peer processes of the demo: `emrm start` for each home, stopped by id, none left behind. They run in a process group of their own,
// so that Ctrl-C reaches the demo alone and each peer is asked to stop once; when the demo is killed, their standard input closes and
// they stop by themselves.

import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

import { EmrmError } from '../model/errors.ts'

export const EXECUTABLE: string = fileURLToPath(new URL('../../bin/emrm.ts', import.meta.url))
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000
const PORT_TRIES = 100

export type PeerProcess = {
  readonly name: string
  readonly home: string
  readonly pid: number
  /** From the ready line. */
  readonly api: string
  /** Resolves when the process is gone. */
  readonly ended: Promise<string>
  stop(): Promise<void>
}

/** Throws EmrmError `peer-start-failed` with the end of the peer's log, or `demo-stopped`. */
export function startPeerProcess(
  home: { readonly name: string; readonly home: string },
  options: { readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Promise<PeerProcess> {
  const logFile = `${home.home}.log`
  const child = spawn(process.execPath, [EXECUTABLE, 'start', '--home', home.home, '--stop-with-stdin', '--json'], {
    env: options.env,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  child.stdin.on('error', () => {})
  child.stderr.pipe(createWriteStream(logFile, { flags: 'a', mode: 0o600 }))
  const ended = new Promise<string>(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`))
  })
  const stop = (): Promise<void> => stopChild(child, ended)
  const ready = new Promise<PeerProcess>((resolve, reject) => {
    const failed = async (how: string): Promise<void> => {
      const log = await readFile(logFile, 'utf8').catch(() => '')
      const said = log.trimEnd().split('\n').at(-1) ?? ''
      reject(
        new EmrmError('peer-start-failed', `${home.name} did not start (${how}): ${said}; its log is ${logFile}`, {
          hospital: home.name,
        }),
      )
    }
    const timer = setTimeout(() => void failed('not ready in time'), READY_TIMEOUT_MS)
    options.signal.addEventListener('abort', () => reject(stopped()), { once: true })
    void ended.then(failed)
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
      const [line, rest] = text.split('\n')
      if (line === undefined || rest === undefined) return
      clearTimeout(timer)
      const { api } = JSON.parse(line) as { api: string }
      resolve({ ...home, pid: child.pid ?? 0, api, ended, stop })
    })
  })
  ready.catch(() => void stop())
  return ready
}

export const stopped = (): EmrmError => new EmrmError('demo-stopped', 'the demo was stopped before it was done')

async function stopChild(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(timer)
}

/** A base port such that hospital i's two ports are free on loopback: `first` when it is, else another. Throws EmrmError `ports-taken`. */
export async function freeBasePort(hospitals: number, first: number): Promise<number> {
  // Below 32768, where outgoing connections take theirs; spread by process id so that two demos do not race for the same ones.
  const others = Array.from({ length: PORT_TRIES }, (_, i) => 10_000 + 10 * ((process.pid * 31 + i * 37) % 2_000))
  for (const base of [first, ...others]) {
    const ports = Array.from({ length: hospitals }, (_, i) => [base + 10 * (i + 1), base + 10 * (i + 1) + 1]).flat()
    const free = await Promise.all(ports.map(isFree))
    if (free.every(Boolean)) return base
  }
  throw new EmrmError('ports-taken', `no ${hospitals * 2} free ports were found on loopback; stop other programs`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
