// A cluster for tests of what stands around a replica: n real drivers with real signatures, over the network and the store in memory, in
// one process and on time that only the test moves. A peer may crash (its disk stays), lose its disk, be cut off, or have a wrong clock.
// Not here: lost and delayed messages and liars in every step (test/sim), real sockets and disks (test/e2e).

import { setImmediate as turn } from 'node:timers/promises'
import { MemoryHub } from '../../src/adapters/memory-network.ts'
import { makeMemoryStorage } from '../../src/adapters/memory-storage.ts'
import { silentLog } from '../../src/adapters/node-system.ts'
import { type Driver, makeDriver } from '../../src/driver.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { admittedPeers, watchMembership } from '../../src/membership.ts'
import { Mempool } from '../../src/mempool.ts'
import type { Request } from '../../src/model/block.ts'
import type { Committee } from '../../src/model/committee.ts'
import type { Genesis } from '../../src/model/genesis.ts'
import { identifierOf } from '../../src/model/hash.ts'
import type { Digest, Height, Identifier, PeerId, Timestamp, Verified } from '../../src/model/ids.ts'
import type { ChainParameters, Operation, RequestResult } from '../../src/model/operations.ts'
import { openChain } from '../../src/open-chain.ts'
import type { Clock, Log, Network, SignatureJob, Storage } from '../../src/ports.ts'
import { chainIdOf, genesisCommittee, parseGenesis } from '../../src/wire/codec.ts'
import { makeRequest, makeVerifier, type Verifier } from '../../src/wire/verify.ts'
import { genesisJson, type Key, keyOf, TIME } from '../wire/samples.ts'

const STEP_MS = 5
/** Turns of the event loop in which messages and writes of one step settle. */
const TURNS = 6

/** One line of time for all; a peer's wall may show something else. */
export class Timeline {
  #now = 0
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>()

  clock(offsetMs: () => number): Clock {
    return {
      nowMs: () => TIME + this.#now + offsetMs(),
      steadyMs: () => this.#now,
      after: (ms, run) => {
        const timer = { at: this.#now + Math.max(0, ms), run }
        this.#timers.add(timer)
        return () => void this.#timers.delete(timer)
      },
    }
  }

  get now(): number {
    return this.#now
  }

  async advance(ms: number): Promise<void> {
    for (const end = this.#now + ms; this.#now < end; ) {
      this.#now += STEP_MS
      const due = [...this.#timers].filter(({ at }) => at <= this.#now).sort((a, b) => a.at - b.at)
      for (const timer of due) if (this.#timers.delete(timer)) timer.run()
      for (let i = 0; i < TURNS; i++) await turn()
    }
  }
}

export type ClusterPeer = {
  readonly index: number
  readonly key: Key
  readonly peerId: PeerId
  readonly identifier: Identifier
  readonly ledger: Ledger
  readonly driver: Driver
  readonly network: Network
  readonly storage: Storage
  readonly mempool: Mempool
  /** What `onFatal` was told. */
  readonly fatal: unknown
  /** Where the lost-disk rule let it sign again. */
  readonly signsFrom: Height | null
}

export type ClusterOptions = {
  /** Institutions of the genesis; the first `validators` of them validate. */
  readonly peers?: number
  readonly validators?: number
  readonly parameters?: Partial<ChainParameters>
  readonly log?: (index: number) => Log
  /** In place of a thread. */
  readonly checkSignatures?: (jobs: readonly SignatureJob[]) => readonly boolean[]
  /** Of those that are not to run from the start. */
  readonly absent?: readonly number[]
}

export class Cluster {
  readonly hub: MemoryHub = new MemoryHub()
  readonly timeline: Timeline = new Timeline()
  readonly genesis: Genesis
  readonly chainId: Digest
  readonly committee: Committee
  readonly authority: Key = keyOf('authority')
  readonly ca: Key = keyOf('ca')
  readonly #options: ClusterOptions
  readonly #offsets: number[] = []
  readonly #peers = new Map<number, Slot>()
  readonly #disks = new Map<number, Storage>()
  #serial = 0

  constructor(options: ClusterOptions = {}) {
    this.#options = options
    this.genesis = makeGenesis(options)
    this.chainId = chainIdOf(this.genesis)
    this.committee = genesisCommittee(this.genesis)
  }

  async start(): Promise<this> {
    for (const i of this.genesis.institutions.keys())
      if (this.#options.absent?.includes(i) !== true) await this.startPeer(i)
    return this
  }

  /** As bytes come in at one peer's door. */
  verify(index: number, bytes: Uint8Array): ReturnType<Verifier['request']> {
    return (this.peer(index) as Slot).verifier.request(bytes)
  }

  /** With what is on its disk; `signFrom` null: as one that lost it. */
  async startPeer(index: number, signFrom: Height | null = 1 as Height): Promise<ClusterPeer> {
    const key = keyOf(`hospital ${index}`)
    const { chainId } = this
    const storage = this.#disks.get(index) ?? makeMemoryStorage()
    this.#disks.set(index, storage)
    const log = this.#options.log?.(index) ?? silentLog
    const clock = this.timeline.clock(() => this.#offsets[index] ?? 0)
    const { ledger, headCertificate } = await openChain(storage, this, log)
    const network = this.hub.network({ self: peerIdOf(index), admitted: admittedPeers(ledger) })
    const mempool = new Mempool()
    const { viewTimeoutMs, viewTimeoutMaxMs } = ledger.views.parameters()
    const slot: Slot = {
      ...{
        index,
        key,
        peerId: network.self,
        identifier: identifierOf(key.publicKey),
        ledger,
        network,
        storage,
        mempool,
      },
      ...{ fatal: null, signsFrom: signFrom, driver: null as unknown as Driver },
      verifier: makeVerifier({ chainId, committeeAt: height => ledger.committeeAt(height) }),
    }
    slot.driver = makeDriver({
      ...{ chainId, ledger, mempool, storage, network, clock, log, headCertificate, signFrom, signer: key },
      verifier: slot.verifier,
      // None here: each block is then checked where it is taken.
      signatures: { check: async jobs => this.#options.checkSignatures?.(jobs) ?? [] },
      restored: await storage.loadVotes(),
      onSignFrom: async height => {
        slot.signsFrom = height
      },
      pacemaker: { viewTimeoutMs, viewTimeoutMaxMs, resendMs: Math.floor(viewTimeoutMs / 4) },
      onExecuted: watchMembership(ledger, peers => network.admit(peers)),
      onAdopted: () => network.admit(admittedPeers(ledger)),
      onFatal: error => {
        slot.fatal = error
      },
    })
    this.#peers.set(index, slot)
    await network.start()
    slot.driver.start()
    return slot
  }

  /** Its disk stays. Orderly: what it wrote is there; power loss is the simulation's. */
  async stopPeer(index: number): Promise<void> {
    const peer = this.peer(index)
    this.#peers.delete(index)
    await peer.network.stop()
    await peer.driver.stop()
  }

  loseDisk(index: number): void {
    this.#disks.delete(index)
  }

  /** Of one peer's wall clock, from now on. */
  setClock(index: number, offsetMs: number): void {
    this.#offsets[index] = offsetMs
  }

  cutOff(index: number): void {
    for (const other of this.genesis.institutions.keys())
      if (other !== index) this.hub.cut(peerIdOf(index), peerIdOf(other))
  }

  heal(index: number): void {
    for (const other of this.genesis.institutions.keys())
      if (other !== index) this.hub.heal(peerIdOf(index), peerIdOf(other))
  }

  peer(index: number): ClusterPeer {
    const found = this.#peers.get(index)
    if (found === undefined) throw new Error(`peer ${index} does not run`)
    return found
  }

  get running(): readonly ClusterPeer[] {
    return [...this.#peers.values()]
  }

  /** By Unix time of a right clock. */
  request(by: Key, operation: Operation): Verified<Request> {
    const timestamp = (TIME + this.timeline.now) as Timestamp
    return makeRequest({ network: this.chainId, operation, timestamp, scheme: 1, ...by })
  }

  /** Any request that the contract accepts and that is unlike all others. */
  anyRequest(): Verified<Request> {
    const institution = identifierOf(keyOf('hospital 0').publicKey)
    return this.request(this.ca, {
      type: 'user.register',
      publicKey: keyOf(`user ${this.#serial++}`).publicKey,
      ...{ scheme: 1, roles: ['patient'], groups: [], institution, validUntil: (TIME + 1e12) as Timestamp },
    } as Operation)
  }

  /** Submits to one peer and moves time until it was executed there. */
  async submit(index: number, request: Verified<Request>): Promise<RequestResult> {
    const done: { result?: RequestResult; error?: unknown } = {}
    this.peer(index)
      .driver.submit(request, 60_000)
      .then(
        result => {
          done.result = result
        },
        error => {
          done.error = error ?? new Error('refused')
        },
      )
    await this.until(() => done.result !== undefined || done.error !== undefined, 61_000)
    if (done.result === undefined) throw done.error
    return done.result
  }

  /** One block after the other, each with one request. */
  async commit(blocks: number, at = 0): Promise<void> {
    for (let i = 0; i < blocks; i++) await this.submit(at, this.anyRequest())
  }

  async until(holds: () => boolean, timeoutMs = 60_000): Promise<void> {
    for (const end = this.timeline.now + timeoutMs; !holds(); ) {
      if (this.timeline.now >= end)
        throw new Error(
          `not within ${timeoutMs} ms of the cluster's time: ${this.running
            .map(({ index, ledger, driver }) => `${index} at ${ledger.head().height} view ${driver.view().view}`)
            .join(', ')}`,
        )
      await this.timeline.advance(STEP_MS)
    }
  }

  /** Moves time until all running peers have one head, at least this high. */
  async agreed(heightMin = 0, timeoutMs = 60_000): Promise<void> {
    await this.until(() => {
      const [first, ...others] = this.running.map(({ ledger }) => ledger)
      if (first === undefined || first.head().height < heightMin) return false
      return others.every(ledger => ledger.head().id === first.head().id && ledger.stateRoot() === first.stateRoot())
    }, timeoutMs)
  }

  async stop(): Promise<void> {
    for (const { index } of this.running) await this.stopPeer(index)
  }
}

type Slot = { -readonly [K in keyof ClusterPeer]: ClusterPeer[K] } & { readonly verifier: Verifier }

export const peerIdOf = (index: number): PeerId => `peer-${index}` as PeerId

function makeGenesis({ peers = 4, validators = peers, parameters = {} }: ClusterOptions): Genesis {
  const sample = genesisJson as Record<string, unknown> & { institutions: readonly { sealKey: string }[] }
  const keys = Array.from({ length: peers }, (_, i) => keyOf(`hospital ${i}`).publicKey)
  return parseGenesis({
    ...sample,
    network: 'cluster',
    f: Math.floor((validators - 1) / 3),
    p: 0,
    institutions: keys.map((publicKey, i) => ({
      ...sample.institutions[0],
      ...{ name: `Hospital ${i}`, publicKey, peerId: peerIdOf(i), score: 1_000 - i },
    })),
    validatorCount: validators,
    cas: [{ publicKey: keyOf('ca').publicKey, institutions: keys.map(identifierOf) }],
    parameters: {
      ...(sample['parameters'] as object),
      shareThreshold: Math.floor((validators - 1) / 3) + 1,
      ...parameters,
    },
  })
}
