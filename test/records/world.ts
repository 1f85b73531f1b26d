// A consortium without a chain: n hospitals with vaults, doors and depositors, a ledger that says what the test wrote into it, a network in
// memory on which peers can be away, silent or lying, and a clock that moves only when everybody waits.

import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { createSigningKey } from '../../src/identity/keystore.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { type Committee, makeCommittee } from '../../src/model/committee.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { digestOf, toHex } from '../../src/model/hash.ts'
import {
  asHeight,
  asTimestamp,
  type Digest,
  type Identifier,
  type PeerId,
  type RecordId,
  type RequestId,
  type ValidatorIndex,
} from '../../src/model/ids.ts'
import type {
  ChainParameters,
  DenialReason,
  Grant,
  Operation,
  RecordRegister,
  RefusalReason,
  RequestResult,
} from '../../src/model/operations.ts'
import { acksNeeded, redealAckBytes } from '../../src/model/redeal.ts'
import { type Clock, type Log, type Network, PROTOCOLS, type Protocol } from '../../src/ports.ts'
import { Caretaker } from '../../src/records/caretaker.ts'
import { Depositor } from '../../src/records/deposit.ts'
import { DepositReceiver, type DepositReceiverOptions } from '../../src/records/deposit-receiver.ts'
import { Eraser } from '../../src/records/eraser.ts'
import { guardErased } from '../../src/records/erasure-guard.ts'
import { prepareRecord } from '../../src/records/intake.ts'
import { standardLabels } from '../../src/records/labels/rules.ts'
import type { InstitutionFacts, LedgerView, RecordFacts, RedealFacts } from '../../src/records/ledger-view.ts'
import { PieceServer, type PieceServerOptions } from '../../src/records/piece-server.ts'
import { Redealer } from '../../src/records/redeal.ts'
import { createSealKey, type SealKey } from '../../src/records/seal.ts'
import { type HouseAnswer, ShareServer } from '../../src/records/share-server.ts'
import { ShareShelf } from '../../src/records/share-shelf.ts'
import type { Vault } from '../../src/records/vault.ts'
import { verifySignature } from '../../src/wire/verify.ts'
import { chunked, fill, newIdentifier } from './support.ts'

export const START = 1_800_000_000_000
/** A signal that nobody aborts. */
export const never: AbortSignal = new AbortController().signal

export type Hospital = {
  readonly key: SigningKey
  readonly sealKey: SealKey
  readonly facts: InstitutionFacts
  readonly vault: Vault
  readonly receiver: DepositReceiver
  readonly depositor: Depositor
  readonly shares: ShareServer
  readonly pieces: PieceServer
  readonly caretaker: Caretaker
  readonly shelf: ShareShelf
  readonly redealer: Redealer
  readonly eraser: Eraser
  /** Records of which its servers met damage. */
  readonly damaged: RecordId[]
  readonly network: Pick<Network, 'self' | 'request'>
  /** What it logged: event names. */
  readonly events: string[]
  freshness: number
  house: HouseAnswer
}

type Liar = (frames: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>

export type World = {
  readonly hospitals: readonly Hospital[]
  readonly ledger: LedgerView
  readonly clock: ManualClock
  readonly chainId: Digest
  readonly records: Map<RecordId, RecordFacts>
  readonly grants: Map<RequestId, Grant>
  /** Reason with which the ladder would deny now. */
  readonly fallen: Map<RequestId, DenialReason>
  /** Peers that cannot be reached. */
  readonly away: Set<PeerId>
  /** Peers that take a request and never answer. */
  readonly silent: Set<PeerId>
  /** Rewrites a peer's answers on one protocol. */
  readonly liars: Map<string, Liar>
  readonly erased: Set<RecordId>
  /** `<record> <institution>`: what it signed to have destroyed. */
  readonly receipts: Map<string, readonly string[]>
  readonly asked: { readonly to: PeerId; readonly protocol: Protocol }[]
  blockTime: number
  /** Of all frames, both ways. */
  bytes: number
  parameters: ChainParameters
  /** All of a deposit but the delivery. */
  add(hospital: Hospital, bytes: Uint8Array, owner?: Identifier): Promise<RecordFacts>
  register(operation: RecordRegister): RecordFacts
  /** From the next height on these validate. */
  elect(hospitals: readonly Hospital[]): void
  readonly redeals: Map<RecordId, RedealFacts>
  /** Called with each operation before it is executed; what it throws, `submit` throws. */
  onSubmit: (operation: Operation) => void
  height: number
  grant(record: RecordFacts, to: Hospital, recipient: SealKey): Grant
  /** By the authority. */
  remove(hospital: Hospital): void
  /** By the custodian: the block is executed everywhere, nobody has looked yet. */
  erase(record: RecordId): void
  nextBlock(): void
}

export type WorldOptions = {
  readonly replicas?: number
  /** The first so many validate; all of them when absent. */
  readonly validators?: number
  readonly vault?: (hospital: number) => Vault | Promise<Vault>
}

export async function makeWorld(n: number, options: WorldOptions = {}): Promise<World> {
  const vaults = await Promise.all(Array.from({ length: n }, (_, i) => (options.vault ?? makeMemoryVault)(i)))
  const chainId = digestOf(fill(4)) as Digest
  const clock = new ManualClock(START)
  const waiting: (() => void)[] = []
  const handlers = new Map<
    PeerId,
    Record<string, (request: AsyncIterable<Uint8Array>, from: PeerId) => AsyncIterable<Uint8Array>>
  >()
  const keys = Array.from({ length: n }, () => ({ key: createSigningKey(), sealKey: createSealKey() }))
  const institutions = keys.map(
    ({ key, sealKey }, i): InstitutionFacts => ({
      id: key.identifier,
      name: `hospital-${i + 1}`,
      publicKey: key.publicKey,
      peerId: `peer-${i + 1}` as PeerId,
      sealKey: sealKey.publicKey,
      removed: false,
    }),
  )
  const committee = committeeOf(institutions.slice(0, options.validators ?? n))
  const committees = [{ from: 1, committee }]
  const removed = new Set<Identifier>()

  const world: Omit<World, 'hospitals' | 'ledger'> & { hospitals: Hospital[]; ledger: LedgerView } = {
    hospitals: [],
    ledger: {
      head: () => ({ height: asHeight(world.height), timestamp: asTimestamp(world.blockTime) }),
      parameters: () => world.parameters,
      institutions: () => institutions.map(each => (removed.has(each.id) ? { ...each, removed: true } : each)),
      committeeAt: height => committees.findLast(({ from }) => from <= height)?.committee ?? null,
      record: id => world.records.get(id) ?? null,
      redeal: id => world.redeals.get(id) ?? null,
      recordIdsOf: custodian =>
        [...world.records.values()].filter(each => each.custodian === custodian).map(each => each.record),
      recordIds: () => [...world.records.keys()].sort(),
      isErased: record => world.erased.has(record),
      erasedCount: () => world.erased.size,
      receiptsOwed: institution => [...world.erased].filter(record => !world.receipts.has(`${record} ${institution}`)),
      hasDestroyed: (record, institution) => world.receipts.has(`${record} ${institution}`),
      shareGrants: record =>
        [...world.grants.values()].filter(each => each.record === record && each.right === 'share'),
      grant: id => world.grants.get(id) ?? null,
      standing: grant => world.fallen.get(grant.grant) ?? null,
    },
    clock,
    chainId,
    records: new Map(),
    grants: new Map(),
    fallen: new Map(),
    redeals: new Map(),
    onSubmit: () => undefined,
    height: 5,
    away: new Set(),
    erased: new Set(),
    receipts: new Map(),
    silent: new Set(),
    liars: new Map(),
    asked: [],
    blockTime: START,
    bytes: 0,
    parameters: {
      shareThreshold: committee.quorum.f + 1,
      stalenessMaxMs: 60_000,
      replicas: options.replicas ?? 1,
    } as ChainParameters,
    add: async (hospital, bytes, owner = newIdentifier()) => {
      const { operation } = await prepareRecord({
        vault: hospital.vault,
        ledger: world.ledger,
        source: chunked(bytes, 70_000),
        owner,
        custodian: hospital.facts.id,
        kind: null,
        confidentiality: 'N',
        labels: [],
        twinOf: null,
        twinRules: null,
        labelRules: standardLabels(),
        indexKey: new Uint8Array(32),
        encounter: 'outpatient',
        lastVisit: asTimestamp(START),
      })
      return world.register(operation)
    },
    register: ({ type: _, ...operation }) => {
      const facts = { ...operation, height: world.height, time: asTimestamp(START), withdrawn: false }
      world.records.set(facts.record, facts)
      return facts
    },
    grant: (record, to, recipient) => {
      const grant: Grant = {
        grant: toHex(fill(32, world.grants.size + 100)) as RequestId,
        record: record.record,
        owner: record.owner,
        requester: newIdentifier(),
        institution: to.facts.id,
        role: 'attending',
        purpose: 'TREAT',
        right: 'read',
        variant: 'original',
        recipient: digestOf(recipient.publicBytes),
        height: world.height,
        time: asTimestamp(START),
        expires: asTimestamp(START + 3_600_000),
        basis: 'owner',
        rulesVersion: 1,
      }
      world.grants.set(grant.grant, grant)
      return grant
    },
    elect: hospitals => {
      world.height += 1
      committees.push({ from: world.height + 1, committee: committeeOf(hospitals.map(({ facts }) => facts)) })
      world.nextBlock()
    },
    remove: hospital => void removed.add(hospital.facts.id),
    erase: record => {
      world.records.set(record, { ...world.records.get(record)!, withdrawn: true })
      world.erased.add(record)
    },
    nextBlock: () => {
      for (const wake of waiting.splice(0)) wake()
    },
  }

  /** What the contract does with the two operations of a re-deal; its rules have tests of their own (test/ledger/redeals.test.ts). */
  async function submit(custodian: Identifier, operation: Operation): Promise<RequestResult> {
    world.onSubmit(operation)
    world.height += 1
    const { height } = world
    const request = toHex(fill(32, 10_000 + height)) as RequestId
    const done: RequestResult = { request, height, index: 0, outcome: { type: 'done' } }
    const refusedAs = (reason: RefusalReason): RequestResult => ({ ...done, outcome: { type: 'refused', reason } })
    if (operation.type === 'record.redeal') {
      const { record, recipient } = operation
      const expires = asTimestamp(world.blockTime + 3_600_000)
      world.redeals.set(record, { intent: request, record, custodian, recipient, height, expires })
    }
    if (operation.type === 'record.reshare') {
      const { record, intent, shareRoot, shareCount, threshold, acks } = operation
      const redeal = world.redeals.get(record)
      const target = redeal?.intent === intent ? world.ledger.committeeAt(asHeight(redeal.height)) : null
      if (target === null || redeal === undefined) return refusedAs('redeal-closed')
      const good = acks.filter(({ index, signature }) =>
        verifySignature(
          target.validators[index]!.publicKey,
          redealAckBytes({ chainId, record, intent, index, shareRoot }),
          signature,
        ),
      )
      if (good.length < acksNeeded(target)) return refusedAs('not-acknowledged')
      const facts = { ...world.records.get(record)!, shareRoot, shareCount, threshold, dealtAt: redeal.height }
      world.records.set(record, facts)
      world.redeals.delete(record)
    }
    world.nextBlock()
    return done
  }

  const networkOf = (self: PeerId): Pick<Network, 'self' | 'request'> => ({
    self,
    request: (to, protocol, frames, signal) => {
      world.asked.push({ to, protocol })
      return exchange(to, protocol, frames, self, signal)
    },
  })

  async function* exchange(
    to: PeerId,
    protocol: Protocol,
    frames: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    from: PeerId,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    if (to === from) throw new Error('a peer dialled itself')
    const handler = handlers.get(to)?.[protocol]
    if (world.away.has(to) || handler === undefined) throw new EmrmError('peer-unreachable', `${to} is away`)
    if (world.silent.has(to)) return void (await abortOf(signal))
    async function* request(): AsyncGenerator<Uint8Array> {
      for await (const frame of frames) {
        world.bytes += frame.length
        yield frame
      }
    }
    const honest = handler(request(), from)
    const answer = (world.liars.get(`${to} ${protocol}`)?.(honest) ?? honest)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await Promise.race([answer.next(), abortOf(signal)])
        if (next.done) return
        world.bytes += next.value.length
        yield next.value
      }
    } catch (error) {
      throw signal.aborted ? error : new EmrmError('peer-refused', `${to} broke off`, {}, error)
    }
  }

  world.hospitals = institutions.map((facts, i): Hospital => {
    const { key, sealKey } = keys[i]!
    const raw = vaults[i]!
    const vault = guardErased(raw, record => world.erased.has(record))
    const events: string[] = []
    const note = (event: string): void => void events.push(event)
    const log: Log = { debug: note, info: note, warn: note, error: note }
    const network = networkOf(facts.peerId)
    const nextBlock = (): Promise<void> => new Promise(resolve => waiting.push(resolve))
    const shelf = new ShareShelf({ vault, log })
    const common = { vault, shelf, self: facts.id, ledger: world.ledger, clock, log, chainId, nextBlock, sealKey }
    const freshness = (): number => hospital.freshness
    const onLoss: DepositReceiverOptions['onLoss'] = (...lost) => hospital.redealer.noteLoss(...lost)
    const receiver = new DepositReceiver({ ...common, freshness, onLoss, sign: bytes => key.sign(bytes) })
    const damaged: RecordId[] = []
    const onDamage = (record: RecordId): void => void damaged.push(record)
    const servers: PieceServerOptions = { vault, ledger: world.ledger, onDamage, clock, log }
    const shares = new ShareServer({ ...common, onDamage, freshness, enforce: () => hospital.house })
    const depositor = new Depositor({ ...common, network, local: receiver, verifySignature })
    const eraser = new Eraser({
      ...{ vault, ledger: world.ledger, self: facts.id, clock, log },
      submit: async ({ record, destroyed }) => {
        if (world.away.has(facts.peerId)) throw new EmrmError('request-timeout', 'no block came')
        world.receipts.set(`${record} ${facts.id}`, destroyed)
        return { request: toHex(fill(32)) as RequestId, height: asHeight(9), index: 0, outcome: { type: 'done' } }
      },
    })
    const hospital: Hospital = {
      key,
      sealKey,
      facts,
      vault: raw,
      eraser,
      receiver,
      depositor,
      shares,
      shelf,
      redealer: new Redealer({
        ...common,
        ...{ network, shares, receiver, verifySignature },
        submit: operation => submit(facts.id, operation),
        onDealt: record => depositor.continueLater(record),
      }),
      pieces: new PieceServer(servers),
      caretaker: new Caretaker({ ...common, network, receiver, eraser, freshness }),
      damaged,
      network,
      events,
      freshness: 0,
      house: { type: 'release' },
    }
    handlers.set(facts.peerId, {
      [PROTOCOLS.deposit]: (request, from) => hospital.receiver.handle(request, from),
      [PROTOCOLS.share]: (request, from) => hospital.shares.handle(request, from),
      [PROTOCOLS.pieces]: (request, from) => hospital.pieces.handle(request, from),
    })
    return hospital
  })
  return world
}

function committeeOf(institutions: readonly InstitutionFacts[]): Committee {
  const validators = institutions.map(({ publicKey, peerId, name }, index) => ({
    index: index as ValidatorIndex,
    publicKey,
    peerId,
    name,
  }))
  return makeCommittee(validators, Math.floor((institutions.length - 1) / 3), 0, digestOf(fill(9)))
}

const abortOf = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const fail = (): void => reject(signal.reason)
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })

/** How often the hospitals have logged one of these events. */
export const countOf = (world: World, ...events: readonly string[]): number =>
  world.hospitals.reduce((count, hospital) => count + hospital.events.filter(event => events.includes(event)).length, 0)

export class ManualClock implements Clock {
  #now: number
  readonly #timers = new Map<object, { readonly at: number; readonly callback: () => void }>()

  constructor(now: number) {
    this.#now = now
  }

  nowMs(): number {
    return this.#now
  }

  steadyMs(): number {
    return this.#now
  }

  after(ms: number, callback: () => void): () => void {
    const timer = {}
    this.#timers.set(timer, { at: this.#now + ms, callback })
    return () => void this.#timers.delete(timer)
  }

  advance(ms: number): void {
    this.#now += ms
    for (const [timer, { at, callback }] of [...this.#timers].sort(([, a], [, b]) => a.at - b.at))
      if (at <= this.#now && this.#timers.delete(timer)) callback()
  }

  /**
   * Lets time pass, one timer at a time, but only while nothing else happens. `isReady` says when the real work of others (cryptography
   * on other threads, which nobody can see from here) is done.
   */
  async run<T>(work: Promise<T>, isReady: () => boolean = () => true): Promise<T> {
    let isOver = false
    const settled = work.finally(() => {
      isOver = true
    })
    settled.catch(() => undefined)
    while (!isOver) {
      for (let i = 0; i < 200 && !isOver; i++) await new Promise(resolve => setImmediate(resolve))
      const next = Math.min(...[...this.#timers.values()].map(({ at }) => at))
      if (!isOver && isReady() && Number.isFinite(next)) this.advance(next - this.#now)
    }
    return settled
  }
}
