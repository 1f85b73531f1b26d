// Question: what does a million requests cost on disk? Full blocks of small signed requests go through the ledger into the LevelDB store as a
// peer writes them: the vote with the block's body before the decision, block, outcomes and certificate after it, a checkpoint now and then.
// Told as it lies there when the peer stops, and after LevelDB compacted itself (votes of decided heights are gone then), and of what.
// Estimate: request 250 B once in the block, outcome some 2 B, index 24 B, state as large as what the requests leave in it: here a user of 230 B.
//   node test/bench/disk.ts [--blocks 100] [--requests 1000]

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openDatabase } from '../../src/adapters/level-database.ts'
import { TABLE, within } from '../../src/adapters/level-keys.ts'
import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import type { Request } from '../../src/model/block.ts'
import { digestOf, identifierOf } from '../../src/model/hash.ts'
import { asHeight, type PublicKey, type Timestamp, type ValidatorIndex, type View } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import type { StoredChange } from '../../src/ports.ts'
import { makeBlock, requestsRootOf } from '../../src/wire/codec.ts'
import { makeRequest } from '../../src/wire/verify.ts'
import { Cluster } from '../cluster/cluster.ts'
import { keyOf, TIME } from '../wire/samples.ts'
import { certificateOf } from './certificate.ts'

const BLOCK_MS = 1_000
const CHECKPOINT_BLOCKS = 64

const { values } = parseArgs({
  options: { blocks: { type: 'string', default: '100' }, requests: { type: 'string', default: '1000' } },
})
const [blocks, requestsEach] = [Number(values.blocks), Number(values.requests)]
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
const world = new Cluster()
const institution = identifierOf(keyOf('hospital 0').publicKey)

const requestAt = (height: number, i: number): Request =>
  makeRequest({
    ...{ network: world.chainId, scheme: 1, ...keyOf('ca') },
    timestamp: (TIME + height * BLOCK_MS) as Timestamp,
    operation: {
      ...{ type: 'user.register', publicKey: digestOf(Buffer.from(`${height} ${i}`)) as string as PublicKey },
      ...{ scheme: 1, roles: ['patient'], groups: [], institution, validUntil: (TIME + 1e12) as Timestamp },
    } as Operation,
  })

async function fill(directory: string): Promise<number> {
  const storage = await openLevelStorage(directory)
  const ledger = makeLedger(world)
  let bytes = 0
  for (let height = 1; height <= blocks; height++) {
    const requests = Array.from({ length: requestsEach }, (_, i) => requestAt(height, i))
    for (const request of requests) bytes += request.bytes.length
    const nowMs = TIME + height * BLOCK_MS
    const place = { author: 0 as ValidatorIndex, view: 0 as View, nowMs }
    const block = makeBlock(ledger.headerFor({ ...place, requests, requestsRoot: requestsRootOf(requests) }), requests)
    const at = asHeight(height)
    await storage.write([
      { type: 'vote', record: { type: 'body', height: at, block } },
      { type: 'vote', record: { type: 'last-vote', height: at, view: 0 as View, id: block.id } },
    ])
    const { outcomes } = ledger.execute(block)
    if (outcomes.some(({ type }) => type !== 'done')) throw new Error(`height ${height}: not all are done`)
    const changes: StoredChange[] = [
      { type: 'block', block, certificate: certificateOf(world, block), outcomes },
      { type: 'forget-votes', height: at },
    ]
    if (height % CHECKPOINT_BLOCKS === 0 || height === blocks)
      changes.push({ type: 'checkpoint', ...ledger.checkpoint() })
    await storage.write(changes)
  }
  await storage.close()
  return bytes
}

async function bytesIn(directory: string): Promise<number> {
  let sum = 0
  for (const name of await readdir(directory)) sum += (await stat(join(directory, name))).size
  return sum
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'emrm-disk-'))
  try {
    const count = blocks * requestsEach
    const bytes = await fill(directory)
    say(`${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}`)
    say(
      `${blocks} blocks of ${requestsEach} requests of ${(bytes / count).toFixed(0)} bytes, n = 4, 3 signatures a block`,
    )
    const each = (sum: number): string => `${(sum / count).toFixed(0)} bytes a request`
    say(`when the peer stops: ${each(await bytesIn(directory))}, vote log and write-ahead log included`)
    const database = await openDatabase(directory)
    await database.compactRange(Buffer.from([0]), Buffer.from([255]))
    const parts: string[] = []
    for (const name of Object.keys(TABLE) as (keyof typeof TABLE)[]) {
      let sum = 0
      for await (const [key, value] of database.iterator(within(name))) sum += key.length + value.length
      if (sum / count >= 1) parts.push(`${name} ${(sum / count).toFixed(0)}`)
    }
    await database.close()
    const compact = await bytesIn(directory)
    say(`compacted: ${each(compact)}, of which ${parts.join(', ')}`)
    say(`a million such requests: ${(((compact / count) * 1e6) / 2 ** 20).toFixed(0)} MB`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

await main()
