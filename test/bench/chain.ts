// Question: what does a long chain cost? A chain is made by the ledger and the LevelDB store that a peer runs, with real signatures of
// clients and validators; then, in fresh processes, a restart (the store opened, the state restored, what stands after the last checkpoint executed again),
// lookups by height, by block id, by request and by record, and a peer that is far behind catching up from two others.
// Estimate: a restart reads the small table of heights and the state, so it grows with the state and hardly with the chain; memory is state
// plus caches. Bounds: 100,000 blocks restart in 10 s, lookups within 5 ms.
//   node test/bench/chain.ts [--blocks 100000] [--behind 10000] [--record-every 10] [--plot chain-memory.svg] [--dir DIR (kept)]

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { silentLog } from '../../src/adapters/node-system.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import type { Request } from '../../src/model/block.ts'
import { digestOf, identifierOf } from '../../src/model/hash.ts'
import {
  asHeight,
  type BlockId,
  type RecordId,
  type RequestId,
  type Timestamp,
  type ValidatorIndex,
  type View,
} from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { openChain } from '../../src/open-chain.ts'
import type { StoredChange } from '../../src/ports.ts'
import { makeBlock, requestsRootOf } from '../../src/wire/codec.ts'
import { makeRequest } from '../../src/wire/verify.ts'
import { Cluster } from '../cluster/cluster.ts'
import { type Key, keyOf, TIME } from '../wire/samples.ts'
import { catchUpFrom } from './catch-up.ts'
import { certificateOf } from './certificate.ts'
import { lineChart } from './plot.ts'

const USERS = 1_000
const BLOCK_MS = 1_000
const WRITE_BLOCKS = 64
const LOOKUPS = 2_000
const RESTART_MS_MAX = 10_000
const LOOKUP_MS_MAX = 5

const { values } = parseArgs({
  options: {
    blocks: { type: 'string', default: '100000' },
    behind: { type: 'string', default: '10000' },
    'record-every': { type: 'string', default: '10' },
    plot: { type: 'string', default: 'chain-memory.svg' },
    dir: { type: 'string' },
    stage: { type: 'string' },
  },
})
/** One block in so many registers a record; in the others a patient changes a delegation, which leaves the state as large as it was. */
const RECORD_EVERY = Number(values['record-every'])
const world = new Cluster()
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
const text = (name: string): string => digestOf(Buffer.from(name))
const institution = identifierOf(keyOf('hospital 0').publicKey)
const user = (i: number): Key => keyOf(`patient ${i}`)
const recordAt = (height: number): RecordId => text(`record ${height}`).slice(0, 32) as RecordId

function operationAt(height: number): { readonly by: Key; readonly operation: Operation } {
  const timestamp = (TIME + height * BLOCK_MS) as Timestamp
  if (height <= USERS)
    return {
      by: keyOf('ca'),
      operation: {
        ...{ type: 'user.register', publicKey: user(height - 1).publicKey, scheme: 1, roles: ['patient'], groups: [] },
        ...{ institution, validUntil: (TIME + 1e12) as Timestamp },
      } as Operation,
    }
  const patient = user(height % USERS)
  const owner = identifierOf(patient.publicKey)
  if (height % RECORD_EVERY === 0)
    return {
      by: keyOf('hospital 0'),
      operation: {
        ...{ type: 'record.register', record: recordAt(height), owner, custodian: institution, kind: 'fhir' },
        ...{ confidentiality: 'N', labels: [], commitment: text('c'), cipherRoot: text('r'), cipherSize: 1_000 },
        ...{
          shareRoot: text('s'),
          shareCount: 4,
          threshold: 2,
          keyCommit: text('k'),
          dealtAt: 1,
          twinOf: null,
          twinRules: null,
        },
        ...{ encounter: 'outpatient', lastVisit: 0 },
      } as unknown as Operation,
    }
  const delegate = identifierOf(user((height + 1) % USERS).publicKey)
  return {
    by: patient,
    operation: {
      ...{ type: 'delegate.set', owner, delegate, kind: 'delegate', scope: { type: 'all' } },
      ...{ from: 0 as Timestamp, to: (TIME + 1e12) as Timestamp, timestamp },
    } as Operation,
  }
}

/** Memory after every thousandth block: [height, heap in MB, RSS in MB]. */
async function generate(directory: string, blocks: number): Promise<[number, number, number][]> {
  const storage = await openLevelStorage(directory)
  const ledger = makeLedger(world)
  const samples: [number, number, number][] = []
  let changes: StoredChange[] = []
  for (let height = 1; height <= blocks; height++) {
    const { by, operation } = operationAt(height)
    const timestamp = (TIME + height * BLOCK_MS) as Timestamp
    const request: Request = makeRequest({ network: world.chainId, operation, timestamp, scheme: 1, ...by })
    const header = ledger.headerFor({
      ...{ author: 0 as ValidatorIndex, view: 0 as View, nowMs: timestamp },
      ...{ requests: [request], requestsRoot: requestsRootOf([request]) },
    })
    const block = makeBlock(header, [request])
    const { outcomes } = ledger.execute(block)
    if (outcomes[0]?.type !== 'done') throw new Error(`height ${height}: ${JSON.stringify(outcomes[0])}`)
    changes.push({ type: 'block', block, certificate: certificateOf(world, block), outcomes })
    if (changes.length >= WRITE_BLOCKS) {
      changes.push({ type: 'checkpoint', ...ledger.checkpoint() })
      await storage.write(changes)
      changes = []
    }
    if (height % 1_000 === 0) samples.push([height, ...memoryMb()])
  }
  // No checkpoint for the last few: a peer that was killed.
  await storage.write(changes)
  await storage.close()
  return samples
}

function memoryMb(): [number, number] {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return [heapUsed / 1_048_576, rss / 1_048_576]
}

type Restart = {
  readonly restartMs: number
  /** Of all threads; on a busy machine this is the figure. */
  readonly cpuMs: number
  readonly height: number
  readonly stateRoot: string
  readonly heapMb: number
  readonly rssMb: number
  readonly lookups: Readonly<Record<string, Lookup>>
}
type Lookup = readonly [p50: number, p99: number, max: number, cpu99: number]

async function restart(directory: string): Promise<Restart> {
  const start = performance.now()
  const before = process.cpuUsage()
  const storage = await openLevelStorage(directory)
  const { ledger } = await openChain(storage, world, silentLog)
  const restartMs = performance.now() - start
  const { user, system } = process.cpuUsage(before)
  const { height } = ledger.head()
  const ids: BlockId[] = []
  const requests: RequestId[] = []
  const at = (i: number): number => 1 + ((i * 7_919) % height)
  const byHeight = await timeEach(async i => {
    const stored = await storage.blockAt(asHeight(at(i)))
    ids.push(stored?.block.id as BlockId)
    requests.push(stored?.block.requests[0]?.id as RequestId)
  })
  const byId = await timeEach(async i => {
    const found = await storage.heightOf(ids[i] as BlockId)
    if (found !== at(i)) throw new Error('another height')
    await storage.blockAt(found)
  })
  const byRequest = await timeEach(async i => {
    if ((await storage.requestAt(requests[i] as RequestId))?.height !== at(i)) throw new Error('another place')
  })
  const byRecord = await timeEach(async i => {
    const name = recordAt(
      Math.max(Math.ceil(USERS / RECORD_EVERY) + 1, Math.floor(at(i) / RECORD_EVERY)) * RECORD_EVERY,
    )
    if (ledger.views.record(name) === null) throw new Error(`no record ${name}`)
  })
  const [heapMb, rssMb] = memoryMb()
  await storage.close()
  const lookups = { height: byHeight, 'block id': byId, request: byRequest, record: byRecord }
  return { restartMs, cpuMs: (user + system) / 1000, height, stateRoot: ledger.stateRoot(), heapMb, rssMb, lookups }
}

/** Milliseconds by the clock, and p99 of CPU time (all threads): the clock also counts what other programs took. */
async function timeEach(call: (i: number) => Promise<void>): Promise<Lookup> {
  const times: number[] = []
  const cpu: number[] = []
  for (let i = 0; i < LOOKUPS; i++) {
    const [start, before] = [performance.now(), process.cpuUsage()]
    await call(i)
    const { user, system } = process.cpuUsage(before)
    cpu.push((user + system) / 1000)
    times.push(performance.now() - start)
  }
  const at = (values: number[], q: number): number =>
    values.sort((a, b) => a - b)[Math.min(LOOKUPS - 1, Math.floor(LOOKUPS * q))] as number
  return [at(times, 0.5), at(times, 0.99), at(times, 1), at(cpu, 0.99)]
}

/** Each stage in a process of its own: what one leaves in memory must not flatter the next. */
function inChild<T>(stage: string, directory: string): T {
  const args = [
    '--expose-gc',
    import.meta.filename,
    '--stage',
    stage,
    '--dir',
    directory,
    '--record-every',
    values['record-every'],
  ]
  const rest = ['--blocks', values.blocks, '--behind', values.behind]
  const output = execFileSync(process.execPath, [...args, ...rest], {
    encoding: 'utf8',
    maxBuffer: 1e8,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(output) as T
}

async function main(): Promise<boolean> {
  say(
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, one request of about 300 bytes a block`,
  )
  const directory = values.dir ?? (await mkdtemp(join(tmpdir(), 'emrm-chain-')))
  try {
    const began = performance.now()
    const samples = inChild<[number, number, number][]>('generate', join(directory, 'chain'))
    const made = (performance.now() - began) / 1000
    const disk =
      Number(execFileSync('du', ['-sk', join(directory, 'chain')], { encoding: 'utf8' }).split('\t')[0]) / 1024
    say(`${values.blocks} blocks made in ${made.toFixed(0)} s; ${disk.toFixed(0)} MB on disk`)
    const again = inChild<Restart>('restart', join(directory, 'chain'))
    say(
      `restart at height ${again.height}: ${again.restartMs.toFixed(0)} ms (bound ${RESTART_MS_MAX}), ${again.cpuMs.toFixed(0)} ms of CPU, heap ${again.heapMb.toFixed(0)} MB, RSS ${again.rssMb.toFixed(0)} MB`,
    )
    for (const [what, [p50, p99, max, cpu99]] of Object.entries(again.lookups))
      say(
        `lookup by ${what}: p50 ${p50.toFixed(3)} ms, p99 ${p99.toFixed(3)} ms, max ${max.toFixed(2)} ms (bound ${LOOKUP_MS_MAX} at p99); of CPU p99 ${cpu99.toFixed(3)} ms`,
      )
    say(`state root ${again.stateRoot}`)
    const caught = inChild<Awaited<ReturnType<typeof catchUpFrom>>>('catch-up', directory)
    say(
      `${caught.blocks} blocks behind: caught up at ${caught.blocksPerSecond.toFixed(0)} blocks/s from ${caught.servers} peers, every certificate and request checked; ` +
        `${caught.perCpuSecond.toFixed(0)} blocks a CPU-second in all, ${caught.perThreadSecond.toFixed(0)} of the peer's own thread; ` +
        `heap ${caught.memory.at(0)?.[1].toFixed(0)} MB at first, ${caught.memory.at(-1)?.[1].toFixed(0)} MB at last`,
    )
    const series = [
      { name: 'heap while the chain grows, MB', points: samples.map(([x, heap]) => [x, heap] as const) },
      { name: 'RSS while the chain grows, MB', points: samples.map(([x, , rss]) => [x, rss] as const) },
    ]
    await writeFile(
      values.plot,
      lineChart({ title: 'Memory over the height of the chain', x: 'height', y: 'MB', series }),
    )
    say(`plot: ${values.plot}`)
    const slow = Object.values(again.lookups).some(([, p99]) => p99 > LOOKUP_MS_MAX)
    return again.restartMs < RESTART_MS_MAX && !slow
  } finally {
    if (values.dir === undefined) await rm(directory, { recursive: true, force: true })
  }
}

const print = (value: unknown): boolean => process.stdout.write(JSON.stringify(value))
switch (values.stage) {
  case 'generate':
    print(await generate(values.dir as string, Number(values.blocks)))
    break
  case 'restart':
    print(await restart(values.dir as string))
    break
  case 'catch-up':
    print(await catchUpFrom(world, values.dir as string, Number(values.behind)))
    break
  default:
    process.exitCode = (await main()) ? 0 : 1
}
