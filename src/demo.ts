// What `npm start` runs: a network of real peer processes on loopback, fresh keys, an invented patient's record shared under a policy,
// one grant and one refusal, each checked. It uses nothing but the command line: what it does, a reader can type.

import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Io } from './cli/session.ts'
import { EXECUTABLE, freeBasePort, type PeerProcess, startPeerProcess, stopped } from './demo/processes.ts'
import { EmrmError } from './model/errors.ts'

const SAMPLE = fileURLToPath(new URL('./demo/sample-bundle.json', import.meta.url))
const BASE_PORT = 9700
const SETTLE_TIMEOUT_MS = 60_000
const POLL_MS = 100

export type DemoOptions = {
  readonly hospitals: number
  /** Null: a temporary directory that goes away with the demo. */
  readonly directory: string | null
  readonly io: Io
  /** The command line: the demo uses nothing else. */
  readonly main: (args: readonly string[], io: Io) => Promise<number>
  readonly signal: AbortSignal
  /** A line for the reader. */
  readonly say: (line: string) => void
}

export type Demo = {
  readonly document: DemoDocument
  readonly peers: readonly PeerProcess[]
  stop(): Promise<void>
}

export type DemoDocument = {
  readonly ok: true
  readonly directory: string
  readonly hospitals: readonly { name: string; home: string; peerId: string; api: string; pid: number }[]
  readonly patient: string
  readonly doctor: string
  readonly record: string
  readonly policy: string
  readonly grant: string
  readonly sha256: string
  readonly refusal: string
  /** All peers agree on these. */
  readonly height: number
  readonly head: string
  readonly stateDigest: string
}

/** Resolves when everything was shown and checked, with the peers still running. Throws EmrmError `demo-failed`, `demo-stopped` or what a command throws. */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const { signal, say } = options
  const directory = resolve(options.directory ?? (await mkdtemp(join(tmpdir(), 'emrm-demo-'))))
  const peers: PeerProcess[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(peers.map(peer => peer.stop()))
    if (options.directory === null) await rm(directory, { recursive: true, force: true })
  }
  try {
    const stage = await prepareStage(directory, options)
    say(
      `EMRM demo: ${options.hospitals} hospitals on this machine, fresh keys, an invented patient; all of it in ${directory}`,
    )
    const homes = await foundNetwork(stage, options)
    say('\nThe hospitals start, each a process of its own.')
    const started = await Promise.allSettled(homes.map(home => startPeerProcess(home, { env: stage.env, signal })))
    for (const start of started) if (start.status === 'fulfilled') peers.push(start.value)
    for (const start of started) if (start.status === 'rejected') throw start.reason
    for (const [i, { name, api, pid }] of peers.entries())
      say(`  ${name}  libp2p 127.0.0.1:${homes[i]?.port}  api ${api}  process ${pid}  ${homes[i]?.peerId}`)
    await linked(stage, homes)
    const shown = await shareRecord(stage, homes, say)
    const agreed = await agree(stage, homes)
    say(`\nAll ${homes.length} hospitals agree: height ${agreed.height}, head ${agreed.head}`)
    const hospitals = homes.map(({ name, home, peerId }, i) => ({
      ...{ name, home, peerId },
      api: peers[i]?.api ?? '',
      pid: peers[i]?.pid ?? 0,
    }))
    return { document: { ok: true, directory, hospitals, ...shown, ...agreed }, peers, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

type Home = { readonly name: string; readonly home: string; readonly peerId: string; readonly port: number }
type Json = Readonly<Record<string, unknown>>

type Stage = {
  readonly directory: string
  readonly signal: AbortSignal
  readonly env: NodeJS.ProcessEnv
  /** Runs a command as a terminal would, in this process; answers its document and exit code. */
  run(args: readonly string[], exitCode?: number): Promise<Json>
}

async function prepareStage(directory: string, { io, main, signal }: DemoOptions): Promise<Stage> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const passwordFile = join(directory, 'password')
  const secret = { mode: 0o600, flag: 'wx' } as const
  await writeFile(passwordFile, `${randomBytes(15).toString('base64url')}\n`, secret).catch(cause => {
    throw new EmrmError(
      'directory-not-empty',
      `${directory} holds a demo or cannot be written; choose another --dir, or start its homes with "emrm start"`,
      { directory },
      cause,
    )
  })
  const { EMRM_PASSWORD: _, ...inherited } = process.env
  const env = { ...inherited, EMRM_PASSWORD_FILE: passwordFile }
  return {
    ...{ directory, signal, env },
    async run(args, exitCode = 0) {
      if (signal.aborted) throw stopped()
      let stdout = ''
      const quiet: Io = {
        ...io,
        env,
        stdout: { write: text => (stdout += text) },
        stderr: { write: () => true },
      }
      const code = await main([...args, '--json'], quiet)
      const document = JSON.parse(stdout) as Json
      if (code !== exitCode) throw failedCommand(args, code, document)
      return document
    },
  }
}

function failedCommand(args: readonly string[], code: number, document: Json): EmrmError {
  const { error } = document as { error?: { code: string; message: string } }
  return new EmrmError(
    'demo-failed',
    `emrm ${args.slice(0, 2).join(' ')} ended with ${code}: ${error === undefined ? JSON.stringify(document) : `${error.code}: ${error.message}`}`,
    { command: args.join(' '), exitCode: code },
  )
}

async function foundNetwork(stage: Stage, { hospitals, say }: DemoOptions): Promise<readonly Home[]> {
  const directory = join(stage.directory, 'net')
  const basePort = await freeBasePort(hospitals, BASE_PORT)
  const made = (await stage.run([
    ...['network', 'create', '--dir', directory, '--name', 'demo', '--hospitals', String(hospitals)],
    ...['--base-port', String(basePort)],
  ])) as Json & { hospitals: readonly Home[] }
  say(`The authority founds the network "demo": chain ${made['chainId']}, f=${made['f']} Byzantine hospitals tolerated`)
  return made.hospitals
}

/** Everybody is connected to everybody. */
async function linked(stage: Stage, homes: readonly Home[]): Promise<void> {
  await eventually('the hospitals did not find each other', async () => {
    for (const { home } of homes) {
      const { peers } = (await stage.run(['peers', '--home', home])) as { peers: readonly { direct: boolean }[] }
      if (peers.filter(({ direct }) => direct).length < homes.length - 1) return null
    }
    return true
  })
}

async function agree(
  stage: Stage,
  homes: readonly Home[],
): Promise<{ readonly height: number; readonly head: string; readonly stateDigest: string }> {
  return eventually('the hospitals do not show the same head', async () => {
    const all = await Promise.all(homes.map(({ home }) => stage.run(['status', '--home', home])))
    const [first, ...others] = all.map(({ height, head, stateDigest }) => ({ height, head, stateDigest }))
    const same = others.every(other => JSON.stringify(other) === JSON.stringify(first))
    return same ? (first as { height: number; head: string; stateDigest: string }) : null
  })
}

async function eventually<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  const until = performance.now() + SETTLE_TIMEOUT_MS
  for (;;) {
    const found = await look()
    if (found !== null) return found
    if (performance.now() > until)
      throw new EmrmError('demo-failed', `${what} in ${SETTLE_TIMEOUT_MS} ms; see the logs`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

type Shown = Pick<DemoDocument, 'patient' | 'doctor' | 'record' | 'policy' | 'grant' | 'sha256' | 'refusal'>

async function shareRecord(stage: Stage, homes: readonly Home[], say: DemoOptions['say']): Promise<Shown> {
  const [first, second] = homes as readonly [Home, Home]
  const file = (name: string): string => join(stage.directory, name)
  const register = (home: Home, roles: readonly string[], name: string, out: string): Promise<Json> =>
    stage.run([
      ...['user', 'register', '--home', home.home, '--name', name, '--out', file(out)],
      ...roles.flatMap(role => ['--role', role]),
    ])

  say('\nPeople get keys; their hospitals’ certificate authorities register them.')
  const [patient, doctor] = await Promise.all([
    register(first, ['patient'], 'patient of the demo', 'patient.key'),
    register(second, ['attending', 'researcher'], 'doctor of the demo', 'doctor.key'),
  ])
  say(`  patient ${patient['user']} at ${first.name}, height ${patient['height']}`)
  say(`  doctor  ${doctor['user']} at ${second.name}, height ${doctor['height']} (attending and researcher)`)

  const added = await stage.run(['record', 'add', SAMPLE, '--home', first.home, '--patient', String(patient['user'])])
  const record = String(added['record'])
  say(
    `\n${first.name} adds a FHIR record: encrypted there, its key in shares at ${homes.length} hospitals, its digest on the chain.`,
  )
  say(`  record ${record}, ${added['size']} bytes, height ${added['height']}`)

  const ask = (role: string, purpose: string, out: string): readonly string[] => [
    ...['access', 'request', record, '--home', second.home, '--key', file('doctor.key')],
    ...['--role', role, '--purpose', purpose, '--out', file(out)],
  ]
  const policy = await stage.run([
    ...['policy', 'set', '--home', first.home, '--key', file('patient.key')],
    ...['--grantee', `institution:${second.name}`, '--purpose', 'TREAT', '--right', 'read'],
  ])
  say(`\nThe patient permits ${second.name} to read, for treatment only.`)
  say(`  policy ${policy['policy']}, height ${policy['height']}`)

  const granted = await stage.run(ask('attending', 'TREAT', 'record.json'))
  await requireSame(SAMPLE, file('record.json'))
  say('\nThe doctor asks for it, to treat.')
  say(`  GRANTED  grant ${granted['grant']}, height ${granted['height']}`)
  say(
    `  ${granted['bytes']} bytes in ${file('record.json')}, byte for byte what was added, sha256 ${granted['sha256']}`,
  )

  const refused = await stage.run(ask('researcher', 'HRESCH', 'research.json'), 3)
  if (refused['reason'] !== 'purpose-mismatch')
    throw new EmrmError('demo-failed', `the refusal says ${refused['reason']}, not purpose-mismatch`)
  say('\nThe doctor asks again, for research.')
  say(`  DENIED   ${refused['reason']}, height ${refused['height']}: the patient did not allow that purpose`)

  return {
    patient: String(patient['user']),
    doctor: String(doctor['user']),
    record,
    policy: String(policy['policy']),
    grant: String(granted['grant']),
    sha256: String(granted['sha256']),
    refusal: String(refused['reason']),
  }
}

async function requireSame(expected: string, actual: string): Promise<void> {
  if (!(await readFile(expected)).equals(await readFile(actual)))
    throw new EmrmError('demo-failed', 'what the doctor got is not what the hospital added')
}

/** Commands that work as they stand, in a shell of the reader. */
export function whatNext({ directory, hospitals, record }: DemoDocument): readonly string[] {
  const home = (i: number): string => hospitals[i]?.home ?? ''
  const key = (name: string): string => join(directory, `${name}.key`)
  return [
    'Try next, in another terminal:',
    `  export EMRM_PASSWORD_FILE=${join(directory, 'password')}`,
    `  emrm() { ${process.execPath} ${EXECUTABLE} "$@"; }`,
    `  emrm audit --home ${home(0)} --key ${key('patient')}`,
    `  emrm explain ${record} --home ${home(0)} --key ${key('patient')}`,
    `  emrm policy set --home ${home(0)} --key ${key('patient')} --grantee role:researcher --purpose HRESCH --right read`,
    `  emrm access request ${record} --home ${home(1)} --key ${key('doctor')} --role researcher --purpose HRESCH --out ${join(directory, 'research.json')}`,
    `  emrm status --home ${home(2)}`,
    `  emrm verify --home ${home(3)}`,
  ]
}
