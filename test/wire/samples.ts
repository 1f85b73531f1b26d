// One of everything that has bytes: a genesis of four hospitals with real keys, each operation, each message, each record of a vote.
// Keys come from fixed seeds, so that the bytes are the same on every run.

import sodium from 'sodium-native'

import type { Block, Request } from '../../src/model/block.ts'
import type { Committee } from '../../src/model/committee.ts'
import type { Genesis } from '../../src/model/genesis.ts'
import { sha256, toHex } from '../../src/model/hash.ts'
import type { Digest, Height, PublicKey, Timestamp, ValidatorIndex, Verified, View } from '../../src/model/ids.ts'
import type {
  BlockIdVote,
  Commit,
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  PrePrepare,
  Signed,
  SignedMessage,
  Status,
  Unsigned,
  ViewChange,
} from '../../src/model/messages.ts'
import type { Operation, OperationType } from '../../src/model/operations.ts'
import type { Anchor, CertifiedHeader, Handover, Manifest } from '../../src/model/snapshot.ts'
import type { VoteRecord } from '../../src/model/vote-record.ts'
import { chainIdOf, genesisCommittee, makeBlock, parseGenesis, requestsRootOf } from '../../src/wire/codec.ts'
import { makeRequest, signMessage } from '../../src/wire/sign.ts'

export type Key = { readonly publicKey: PublicKey; readonly sign: (bytes: Uint8Array) => Uint8Array }

export function keyOf(name: string): Key {
  const publicKey = new Uint8Array(32)
  const secretKey = new Uint8Array(64)
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, sha256(Buffer.from(name)))
  return {
    publicKey: toHex(publicKey) as PublicKey,
    sign(bytes) {
      const signature = new Uint8Array(64)
      sodium.crypto_sign_detached(signature, bytes, secretKey)
      return signature
    },
  }
}

export const hospitals: readonly Key[] = ['first', 'second', 'third', 'fourth'].map(keyOf)
export const patient: Key = keyOf('patient')
const authority = keyOf('authority')
const ca = keyOf('ca')

const hash = (name: string): Digest => toHex(sha256(Buffer.from(name))) as Digest
const id32 = (name: string): string => hash(name).slice(0, 32)
/** A fixed time: 2026-01-02 03:04:05.678 UTC. */
export const TIME = 1_767_323_045_678 as Timestamp

const relations = {
  rolePurposes: [
    { key: 'attending', values: ['CAREMGT', 'PATSFTY', 'TREAT'] },
    { key: 'emergency', values: ['BTG', 'ETREAT', 'TREAT'] },
  ],
  rolePermissions: [{ key: 'attending', values: ['read', 'share'] }],
  purposePermissions: [{ key: 'TREAT', values: ['read', 'share'] }],
}

const parameters = {
  requestWindowPastMs: 600_000,
  requestWindowFutureMs: 60_000,
  clockDriftMaxMs: 2_000,
  blockRequestsMax: 1_000,
  blockBytesMax: 1_048_576,
  viewTimeoutMs: 1_000,
  viewTimeoutMaxMs: 60_000,
  shareThreshold: 2,
  stalenessMaxMs: 60_000,
  grantMs: 3_600_000,
  emergencyGrantMs: 1_800_000,
  emergencyReviewMs: 259_200_000,
  epochBlocks: 1_000,
  replicas: 2,
  rotationBlocks: 100,
  retentionOutpatientMs: 474_336_000_000,
  retentionInpatientMs: 948_672_000_000,
  snapshotBlocks: 10_000,
}

/** As a person's file would say it. */
export const genesisJson: unknown = {
  version: 1,
  network: 'sample',
  timestamp: TIME,
  f: 1,
  p: 0,
  institutions: hospitals.map((key, i) => ({
    name: `Hospital ${i + 1}`,
    publicKey: key.publicKey,
    peerId: `12D3KooWSample${i + 1}`,
    sealKey: hash(`seal ${i}`).repeat(38),
    region: 'north',
    score: 100 - i,
  })),
  validatorCount: 4,
  authority: { threshold: 1, keys: [authority.publicKey] },
  cas: [{ publicKey: ca.publicKey, institutions: [id32('institution')] }],
  relations,
  parameters,
}
export const genesis: Genesis = parseGenesis(genesisJson)
export const chainId: Digest = chainIdOf(genesis)
export const committee: Committee = genesisCommittee(genesis)

type Sample<T extends OperationType> = Extract<Operation, { readonly type: T }>
/** In wire order; the compiler wants one of each. */
export const operations: { readonly [T in OperationType]: Sample<T> } = {
  'institution.admit': {
    type: 'institution.admit',
    name: 'St. Nikolaus, Zürich',
    publicKey: keyOf('fifth').publicKey,
    peerId: '12D3KooWFifth',
    sealKey: hash('seal').repeat(38),
    region: 'south',
    score: 77,
  },
  'institution.rate': { type: 'institution.rate', institution: id32('institution'), score: 3 },
  'institution.remove': { type: 'institution.remove', institution: id32('institution') },
  'validators.set': { type: 'validators.set', f: 1, p: 0, parameters },
  'ca.authorize': { type: 'ca.authorize', publicKey: ca.publicKey, institutions: [id32('institution')] },
  'ca.revoke': { type: 'ca.revoke', ca: id32('ca') },
  'relations.set': { type: 'relations.set', relations },
  'user.register': {
    type: 'user.register',
    publicKey: patient.publicKey,
    scheme: 1,
    roles: ['attending', 'patient'],
    groups: ['cardiology'],
    institution: id32('institution'),
    validUntil: TIME + 1,
  },
  'user.revoke': { type: 'user.revoke', user: id32('user') },
  'user.rotate-key': { type: 'user.rotate-key', user: id32('user'), publicKey: `02${hash('curve')}`, scheme: 2 },
  'credential.issue': {
    type: 'credential.issue',
    credential: hash('credential'),
    user: id32('user'),
    publicKey: patient.publicKey,
    roles: ['attending', 'emergency'],
    attributes: [
      { key: 'department', values: ['cardiology'] },
      { key: 'licence', values: ['110-2026-7'] },
    ],
    validUntil: TIME,
  },
  'credential.revoke': { type: 'credential.revoke', user: id32('user'), credential: hash('credential') },
  'record.register': {
    type: 'record.register',
    record: id32('record'),
    owner: id32('owner'),
    custodian: id32('institution'),
    kind: 'fhir',
    confidentiality: 'R',
    labels: ['HIV', 'PSY'],
    commitment: hash('commitment'),
    cipherRoot: hash('cipher'),
    cipherSize: 2 ** 40,
    shareRoot: hash('shares'),
    shareCount: 4,
    threshold: 2,
    keyCommit: hash('key'),
    dealtAt: 12,
    twinOf: id32('original'),
    twinRules: hash('rules'),
    encounter: 'inpatient',
    lastVisit: TIME,
  },
  'record.withdraw': { type: 'record.withdraw', record: id32('record') },
  'record.adopt': { type: 'record.adopt', record: id32('record'), custodian: id32('institution') },
  'record.redeal': {
    type: 'record.redeal',
    record: id32('record'),
    recipient: hash('recipient'),
    losses: [{ index: 3, signature: new Uint8Array(64).fill(9) }],
  },
  'record.reshare': {
    type: 'record.reshare',
    record: id32('record'),
    intent: hash('intent'),
    shareRoot: hash('new shares'),
    shareCount: 4,
    threshold: 2,
    acks: [0, 2, 3].map(index => ({ index, signature: new Uint8Array(64).fill(index + 1) })),
  },
  'record.ask-erasure': { type: 'record.ask-erasure', record: id32('record') },
  'record.erase': { type: 'record.erase', record: id32('record') },
  'record.destroyed': { type: 'record.destroyed', record: id32('record'), destroyed: ['ciphertext', 'share'] },
  'policy.set': {
    type: 'policy.set',
    owner: id32('owner'),
    scope: { type: 'kind', kind: 'fhir' },
    grantee: { type: 'institution', institution: id32('institution') },
    effect: 'permit',
    purposes: ['HRESCH', 'TREAT'],
    rights: ['read', 'share'],
    from: TIME,
    to: TIME + 86_400_000,
    anonymous: true,
    labelCeiling: 'N',
    timestamp: TIME,
  },
  'policy.revoke': { type: 'policy.revoke', owner: id32('owner'), policy: hash('policy'), timestamp: TIME },
  'delegate.set': {
    type: 'delegate.set',
    owner: id32('owner'),
    delegate: id32('delegate'),
    kind: 'guardian',
    scope: { type: 'record', record: id32('record') },
    from: 0,
    to: TIME,
    timestamp: TIME,
  },
  'delegate.revoke': { type: 'delegate.revoke', owner: id32('owner'), delegate: id32('delegate'), timestamp: TIME },
  'access.request': {
    type: 'access.request',
    record: id32('record'),
    role: 'attending',
    purpose: '',
    right: 'read',
    recipient: hash('recipient'),
  },
  'access.emergency': {
    type: 'access.emergency',
    record: id32('record'),
    role: 'emergency',
    reason: 'Unconscious,\nno relative at hand.',
    recipient: hash('recipient'),
  },
  'access.receipt': { type: 'access.receipt', grant: hash('grant'), sha256Commitment: hash('commitment') },
  'access.review': { type: 'access.review', grant: hash('grant'), verdict: 'justified', note: '' },
  'evidence.submit': {
    type: 'evidence.submit',
    validator: id32('institution'),
    fault: 'two-commits-in-one-view',
    height: 7,
    first: new Uint8Array([1, 2, 3]),
    second: new Uint8Array(0),
  },
} as unknown as { readonly [T in OperationType]: Sample<T> }

export const requestOf = (operation: Operation, key: Key = patient, timestamp: number = TIME): Verified<Request> =>
  makeRequest({
    network: chainId,
    operation,
    timestamp: timestamp as Timestamp,
    scheme: 1,
    publicKey: key.publicKey,
    sign: key.sign,
  })

export const requests: readonly Request[] = [
  requestOf(operations['policy.set']),
  requestOf(operations['access.request']),
]

export function blockOf(changes: Partial<Block['header']> = {}, held: readonly Request[] = requests): Block {
  return makeBlock(
    {
      version: 1,
      chainId,
      height: 2 as Height,
      parentId: hash('parent') as Block['id'],
      author: 1 as ValidatorIndex,
      birthView: 0 as View,
      timestamp: TIME,
      requestsRoot: requestsRootOf(held),
      requestCount: held.length,
      stateRoot: hash('state'),
      rulesVersion: 1,
      ...changes,
    },
    held,
  )
}

/** Signed by hospital `message.sender`. */
export const sign = <M extends Unsigned>(message: M): M & Signed =>
  signMessage(message, {
    chainId,
    committee,
    signer: hospitals[message.sender] as Key,
  }) as SignedMessage as M & Signed

const at = (index: number): ValidatorIndex => index as ValidatorIndex
type Statement = { readonly height: Height; readonly view: View; readonly id: Block['id'] }

export const votes = (type: 'COMMIT' | 'BLOCK-ID', statement: Statement, senders: readonly number[]): Signed[] =>
  senders.map(sender => {
    const { height, view, id } = statement
    const { signature } = sign({ type, height, view, id, sender: at(sender) } as Unsigned)
    return { sender: at(sender), signature }
  })

export const commitCertificate = (statement: Statement, senders: readonly number[]): CommitCertificate => ({
  ...statement,
  commits: votes('COMMIT', statement, senders),
})

export const decideCertificate = (
  path: 'FAST' | 'SLOW',
  statement: Statement,
  senders: readonly number[],
): DecideCertificate => ({
  path,
  ...statement,
  votes: votes(path === 'FAST' ? 'COMMIT' : 'BLOCK-ID', statement, senders),
})

export const statementOf = (block: Block, view = 0): Statement => ({
  height: block.header.height,
  view: view as View,
  id: block.id,
})

/** The first block and the second on top of it. */
export const first: Block = blockOf({ height: 1 as Height, parentId: chainId as Block['id'], author: at(0) })
export const block: Block = blockOf({ parentId: first.id })
const here = statementOf(block)
export const parentCertificate: DecideCertificate = decideCertificate('SLOW', statementOf(first), [0, 1, 3])

export const commit = sign({ type: 'COMMIT', ...here, sender: at(2) }) as Commit
export const blockIdVote = sign({ type: 'BLOCK-ID', ...here, sender: at(2) }) as BlockIdVote
export const status = sign({ type: 'STATUS', height: here.height, view: here.view, sender: at(3) }) as Status
export const highCertificate: CommitCertificate = commitCertificate(here, [0, 1, 2])
export const viewChange = (sender: number, view = 1, changes: Partial<ViewChange> = {}): ViewChange =>
  sign({
    type: 'VIEW-CHANGE',
    height: here.height,
    view: view as View,
    lastVote: { view: here.view, id: here.id },
    highCertificate,
    sender: at(sender),
    ...changes,
  })
export const prePrepare: PrePrepare = sign({
  type: 'PRE-PREPARE',
  ...here,
  sender: at(1),
  block,
  justification: [],
  parentCertificate,
})
export const secondProposal: PrePrepare = sign({
  type: 'PRE-PREPARE',
  ...statementOf(block, 1),
  sender: at(2),
  block,
  justification: [viewChange(0), viewChange(1, 1, { lastVote: null, highCertificate: null }), viewChange(3)],
  parentCertificate,
})

export const messages: Readonly<Record<string, ConsensusMessage>> = {
  'PRE-PREPARE': prePrepare,
  'PRE-PREPARE of view 1': secondProposal,
  COMMIT: commit,
  'BLOCK-ID': blockIdVote,
  'VIEW-CHANGE': viewChange(0),
  'VIEW-CHANGE without claims': viewChange(1, 1, { lastVote: null, highCertificate: null }),
  STATUS: status,
  DECIDED: { type: 'DECIDED', block, certificate: decideCertificate('FAST', here, [0, 1, 2, 3]) },
  FETCH: { type: 'FETCH', height: here.height, id: here.id },
  BODY: { type: 'BODY', block },
}

export const voteRecords: readonly VoteRecord[] = [
  { type: 'view', height: here.height, view: 3 as View },
  { type: 'last-vote', height: here.height, view: here.view, id: here.id },
  { type: 'high-certificate', height: here.height, certificate: highCertificate },
  { type: 'view-change', height: here.height, message: viewChange(0) },
  { type: 'own-proposal', height: here.height, message: prePrepare },
  { type: 'body', height: here.height, block },
]

const certified = (of: Block, senders: readonly number[]): CertifiedHeader => ({
  header: of.header,
  id: of.id,
  certificate: decideCertificate('SLOW', statementOf(of), senders),
})
const hash32 = (name: string): Uint8Array => new Uint8Array(Buffer.from(hash(name), 'hex'))
const someLeaf = { keyHash: hash32('key'), valueHash: hash32('value') }

/** What a snapshot hangs on, its nodes, one chunk, and a handover. */
export const anchor: Anchor = { at: certified(first, [0, 1, 3]), next: certified(block, [0, 1, 2]) }
export const manifest: Manifest = {
  height: first.header.height,
  depth: 2,
  nodes: [null, { type: 'leaf', ...someLeaf }, { type: 'inner', hash: hash32('node') }, null],
}
export const chunk: readonly (readonly [string, Uint8Array])[] = [
  ['user/刘', hash32('one')],
  ['epoch/now', new Uint8Array([1, 2, 3])],
]
export const handover: Handover = {
  ...certified(first, [0, 1, 2]),
  epoch: { value: new Uint8Array([1]), siblings: [hash32('a'), hash32('b')], leaf: someLeaf },
  committee: { value: null, siblings: [], leaf: null },
}
