// A consortium for ledger tests: four hospitals, an authority of three keys (two must agree), a CA for each hospital, and a clock that
// only blocks move. Requests and blocks are made without bytes and signatures: those are wire's, and the ledger must not look at them.

import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import { type Execution, Ledger } from '../../src/ledger/ledger.ts'
import { defaultParameters } from '../../src/ledger/parameters.ts'
import type { Block, Request } from '../../src/model/block.ts'
import { type Committee, committeeHashOf, makeCommittee } from '../../src/model/committee.ts'
import type { Genesis } from '../../src/model/genesis.ts'
import { digestOf, fromHex, identifierOf, sha256 } from '../../src/model/hash.ts'
import type {
  BlockId,
  Digest,
  Identifier,
  PeerId,
  PublicKey,
  RecordId,
  RequestId,
  Timestamp,
  ValidatorIndex,
  View,
} from '../../src/model/ids.ts'
import { leafText } from '../../src/model/merkle.ts'
import type {
  AccessRequest,
  ChainParameters,
  Operation,
  Outcome,
  PolicySet,
  RecordRegister,
  UserRegister,
} from '../../src/model/operations.ts'

export const START = 1_700_000_000_000
export const FOREVER = (START + 1e12) as Timestamp
const text = (value: string): Digest => digestOf(Buffer.from(value))

/** Thirty-two bytes that nobody has the private half of. */
export const keyNamed = (name: string): PublicKey => text(`key ${name}`) as string as PublicKey
export const idNamed = (name: string): Identifier => identifierOf(keyNamed(name))
export const recordNamed = (name: string): RecordId => text(`record ${name}`).slice(0, 32) as RecordId
export const digestNamed = (name: string): Digest => text(name)
export const HOSPITALS = ['north', 'south', 'east', 'west'] as const

export function makeGenesis(change: Partial<Genesis> = {}, parameters: Partial<ChainParameters> = {}): Genesis {
  return {
    version: 1,
    network: 'test',
    timestamp: START as Timestamp,
    f: 1,
    p: 0,
    institutions: HOSPITALS.map((name, i) => ({
      name,
      publicKey: keyNamed(name),
      peerId: `peer-${name}` as PeerId,
      sealKey: 'ab'.repeat(1216),
      region: 'r',
      score: 900 - i * 100,
    })),
    validatorCount: 4,
    authority: { threshold: 2, keys: ['authority-1', 'authority-2', 'authority-3'].map(keyNamed) },
    cas: HOSPITALS.map(name => ({ publicKey: keyNamed(`ca-${name}`), institutions: [idNamed(name)] })),
    relations: DEFAULT_RELATIONS,
    parameters: { ...defaultParameters({ n: 4, f: 1 }), ...parameters },
    ...change,
  }
}

export const chainIdOfTest = (genesis: Genesis): Digest => text(JSON.stringify(genesis))

export function committeeOfTest(genesis: Genesis): Committee {
  const validators = genesis.institutions.slice(0, genesis.validatorCount).map(({ publicKey, peerId, name }, i) => ({
    index: i as ValidatorIndex,
    publicKey,
    peerId,
    name,
  }))
  const keys = validators.map(({ publicKey }) => publicKey)
  return makeCommittee(validators, genesis.f, genesis.p, committeeHashOf(keys, genesis.f, genesis.p))
}

/** What stands for a signature here: wire's are tested there. */
export const signatureOf = (key: PublicKey, bytes: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([fromHex(key), bytes]))

export const makeLedger = (genesis: Genesis, verifyEvidence?: () => boolean): Ledger =>
  new Ledger({
    genesis,
    chainId: chainIdOfTest(genesis),
    committee: committeeOfTest(genesis),
    verifySignature: (key, bytes, signature) => Buffer.compare(signature, signatureOf(key, bytes)) === 0,
    ...(verifyEvidence === undefined ? {} : { verifyEvidence }),
  })

type RequestChange = Partial<Pick<Request, 'network' | 'client' | 'timestamp' | 'publicKey' | 'scheme'>>

/** One ledger and the blocks that it has executed. */
export class World {
  readonly genesis: Genesis
  readonly ledger: Ledger
  readonly blocks: Block[] = []
  /** Block time of the next block. */
  nowMs: number = START
  #serial = 0

  constructor(genesis: Genesis = makeGenesis(), verifyEvidence?: () => boolean) {
    this.genesis = genesis
    this.ledger = makeLedger(genesis, verifyEvidence)
  }

  get views(): Ledger['views'] {
    return this.ledger.views
  }

  request(by: string, operation: Operation, change: RequestChange = {}): Request {
    const publicKey = change.publicKey ?? keyNamed(by)
    const timestamp = change.timestamp ?? ((this.nowMs + 1000) as Timestamp)
    this.#serial += 1
    const bytes = Buffer.from(`${this.#serial} ${by} ${operation.type}`)
    return {
      ...{ type: 'REQUEST', version: 1, network: change.network ?? this.ledger.chainId },
      ...{ client: change.client ?? idNamed(by), timestamp, operation, scheme: change.scheme ?? 1, publicKey },
      ...{ signature: new Uint8Array(64), id: digestOf(bytes) as RequestId, bytes, leaf: leafText(bytes) },
    }
  }

  block(requests: readonly Request[]): Block {
    const header = this.ledger.headerFor({
      author: 0 as ValidatorIndex,
      view: 0 as View,
      nowMs: this.nowMs,
      requests,
      requestsRoot: digestNamed('requests'),
    })
    return { header, requests, id: text(JSON.stringify(header)) as BlockId, bytes: new Uint8Array(0) }
  }

  /** One block with these requests; block time moves by a second first. */
  executeAll(requests: readonly Request[]): Execution {
    this.nowMs += 1000
    const block = this.block(requests)
    this.blocks.push(block)
    return this.ledger.execute(block)
  }

  /** One block with one operation; what it came to. */
  do(by: string, operation: Operation, change: RequestChange = {}): Outcome {
    return this.executeAll([this.request(by, operation, change)]).outcomes[0]!
  }

  /** Two keys of the authority, one after the other. */
  agree(operation: Operation): Outcome {
    this.do('authority-1', operation)
    return this.do('authority-2', operation)
  }

  wait(ms: number): void {
    this.nowMs += ms
  }

  /** Users `name` at a hospital. */
  register(name: string, institution: (typeof HOSPITALS)[number], change: Partial<UserRegister> = {}): Outcome {
    return this.do(`ca-${institution}`, userRegister(name, institution, change))
  }

  /** Any policy timestamp that is above all earlier ones. */
  policy(by: string, change: Partial<PolicySet> = {}): Outcome {
    return this.do(by, policySet(by, { timestamp: this.nowMs as Timestamp, ...change }))
  }

  ask(by: string, change: Partial<AccessRequest> = {}): Outcome {
    return this.do(by, accessRequest(change))
  }
}

export const userRegister = (name: string, institution: string, change: Partial<UserRegister> = {}): UserRegister => ({
  type: 'user.register',
  publicKey: keyNamed(name),
  scheme: 1,
  roles: ['attending'],
  groups: [],
  institution: idNamed(institution),
  validUntil: FOREVER,
  ...change,
})

export const recordRegister = (name: string, change: Partial<RecordRegister> = {}): RecordRegister => ({
  type: 'record.register',
  record: recordNamed(name),
  owner: idNamed('patient'),
  custodian: idNamed('north'),
  kind: 'fhir',
  confidentiality: 'N',
  labels: [],
  commitment: digestNamed('commitment'),
  cipherRoot: digestNamed('cipher'),
  cipherSize: 1000,
  shareRoot: digestNamed('shares'),
  shareCount: 4,
  threshold: 2,
  keyCommit: digestNamed('content key'),
  dealtAt: 1,
  twinOf: null,
  twinRules: change.twinOf ? digestNamed('rules') : null,
  encounter: 'outpatient',
  lastVisit: START as Timestamp,
  ...change,
})

export const policySet = (owner: string, change: Partial<PolicySet> = {}): PolicySet => ({
  type: 'policy.set',
  owner: idNamed(owner),
  scope: { type: 'all' },
  grantee: { type: 'role', role: 'attending' },
  effect: 'permit',
  purposes: ['TREAT'],
  rights: ['read'],
  from: 0 as Timestamp,
  to: FOREVER,
  anonymous: false,
  labelCeiling: 'R',
  timestamp: START as Timestamp,
  ...change,
})

export const accessRequest = (change: Partial<AccessRequest> = {}): AccessRequest => ({
  type: 'access.request',
  record: recordNamed('x-ray'),
  role: 'attending',
  purpose: 'TREAT',
  right: 'read',
  recipient: digestNamed('recipient'),
  ...change,
})

/** A patient of north with a record there, and a doctor of south. */
export function makeClinic(genesis?: Genesis): World {
  const world = new World(genesis)
  world.register('patient', 'north', { roles: ['patient'] })
  world.register('doctor', 'south')
  world.do('north', recordRegister('x-ray'))
  return world
}

export const reasonOf = (outcome: Outcome): string =>
  outcome.type === 'refused' || outcome.type === 'denied' ? `${outcome.type}: ${outcome.reason}` : outcome.type
