// A peer that is far behind, as a measurement: two peers that hold a chain on disk serve it over the network in memory to a third with an
// empty LevelDB, all three in this process; CPU time is told without what the serving costs. Not here: making the chain (chain.ts).

import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openLevelStorage } from '../../src/adapters/level-storage.ts'
import { MemoryHub } from '../../src/adapters/memory-network.ts'
import { silentLog, systemClock } from '../../src/adapters/node-system.ts'
import { makeSignatureChecker } from '../../src/adapters/signature-checker.ts'
import { makeBlockServer } from '../../src/block-server.ts'
import { makeDriver } from '../../src/driver.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import { admittedPeers } from '../../src/membership.ts'
import { Mempool } from '../../src/mempool.ts'
import { asHeight, type Height } from '../../src/model/ids.ts'
import type { Storage } from '../../src/ports.ts'
import { makeVerifier } from '../../src/wire/verify.ts'
import { type Cluster, peerIdOf } from '../cluster/cluster.ts'
import { keyOf } from '../wire/samples.ts'

const SERVERS = 2

export async function catchUpFrom(
  world: Cluster,
  directory: string,
  behind: number,
): Promise<{
  readonly blocks: number
  readonly servers: number
  readonly blocksPerSecond: number
  /** Without the servers' part. */
  readonly perCpuSecond: number
  readonly perThreadSecond: number
  readonly memory: readonly (readonly [height: number, heapMb: number])[]
}> {
  const hub = new MemoryHub()
  const ledger = makeLedger(world)
  const admitted = admittedPeers(ledger)
  const source = await openLevelStorage(join(directory, 'chain'))
  const target = Math.min(behind, await source.head())
  // As if the chain ended there.
  const cut: Pick<Storage, 'head' | 'frameAt' | 'blockAt' | 'heightOf'> = {
    head: async () => asHeight(target),
    frameAt: height => source.frameAt(height),
    blockAt: height => source.blockAt(height),
    heightOf: id => source.heightOf(id),
  }
  let asked = 0
  for (let i = 0; i < SERVERS; i++) {
    const network = hub.network({ self: peerIdOf(i), admitted })
    makeBlockServer({ network, storage: cut as Storage, clock: systemClock, drained: async () => {}, tell: () => {} })
    asked++
    await network.start()
  }
  await mkdir(join(directory, 'late'))
  const storage = await openLevelStorage(join(directory, 'late'))
  const network = hub.network({ self: peerIdOf(3), admitted })
  const memory: [number, number][] = []
  const { promise: done, resolve, reject } = Promise.withResolvers<void>()
  const signatures = makeSignatureChecker()
  const driver = makeDriver({
    ...{ chainId: world.chainId, ledger, mempool: new Mempool(), storage, network, clock: systemClock, log: silentLog },
    ...{ signer: keyOf('hospital 3'), headCertificate: null, restored: [], signFrom: 1 as Height },
    verifier: makeVerifier({ chainId: world.chainId, committeeAt: height => ledger.committeeAt(height) }),
    onSignFrom: async () => {},
    pacemaker: { viewTimeoutMs: 60_000, viewTimeoutMaxMs: 60_000, resendMs: 15_000 },
    onExecuted: block => {
      const { height } = block.header
      if (height % 1_000 === 0) {
        globalThis.gc?.()
        memory.push([height, process.memoryUsage().heapUsed / 1_048_576])
      }
      if (height === target) resolve()
    },
    signatures,
    onAdopted: () => {},
    onFatal: reject,
  })
  const servingSeconds = await costOfServing(cut, target)
  const start = performance.now()
  const before = cpuSeconds()
  await network.start()
  driver.start()
  await done
  const seconds = (performance.now() - start) / 1000
  const after = cpuSeconds()
  const cpu = { all: after.all - before.all - servingSeconds, thread: after.thread - before.thread - servingSeconds }
  await driver.stop()
  await signatures.close()
  await storage.close()
  await source.close()
  await rm(join(directory, 'late'), { recursive: true })
  const rates = {
    blocksPerSecond: target / seconds,
    perCpuSecond: target / cpu.all,
    perThreadSecond: target / cpu.thread,
  }
  return { blocks: target, servers: asked, ...rates, memory }
}

/** Of the whole process (threads that check signatures and those of LevelDB with it), and of this thread alone. */
function cpuSeconds(): { readonly all: number; readonly thread: number } {
  const { user, system } = process.cpuUsage()
  const own = process.threadCpuUsage()
  return { all: (user + system) / 1e6, thread: (own.user + own.system) / 1e6 }
}

/** What the servers do in this process is not the late peer's work: measured alone, and taken off. */
async function costOfServing(storage: Pick<Storage, 'frameAt'>, blocks: number): Promise<number> {
  const before = cpuSeconds()
  for (let height = 1; height <= blocks; height++) await storage.frameAt(asHeight(height))
  return cpuSeconds().thread - before.thread
}
