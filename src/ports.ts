// What the peer needs of the world, in our words. Adapters implement these; peer.ts alone builds them.
// Not here: what travels through them (wire/codec makes the bytes), and records' bytes (records/vault declares that port).

import type { Block } from './model/block.ts'
import type { BlockId, Digest, Height, PeerId, PublicKey, RequestId, View } from './model/ids.ts'
import type { DecideCertificate } from './model/messages.ts'
import type { Outcome } from './model/operations.ts'
import type { Anchor, Handover, Manifest } from './model/snapshot.ts'
import type { VoteRecord } from './model/vote-record.ts'

/** Gossip topics, one for each message kind; the version stands last. */
export const TOPICS = {
  request: '/emrm/request/1',
  prePrepare: '/emrm/pre-prepare/1',
  commit: '/emrm/commit/1',
  blockId: '/emrm/block-id/1',
  viewChange: '/emrm/view-change/1',
} as const
export type Topic = (typeof TOPICS)[keyof typeof TOPICS]

/** Request-response protocols over streams; the version stands last. */
export const PROTOCOLS = {
  /** Blocks with certificates, by range of heights. */
  blocks: '/emrm/blocks/1',
  /** A body by id, for FETCH. */
  body: '/emrm/body/1',
  /** Requests by id. */
  requests: '/emrm/requests/1',
  /** Ciphertext pieces of a record. */
  pieces: '/emrm/pieces/1',
  /** Deposit of a sealed share (and of ciphertext at a further holder), and its acknowledgement. */
  deposit: '/emrm/deposit/1',
  /** Release of a share under a grant. */
  share: '/emrm/share/1',
  /** Snapshots of the state, and the committees that lead to them. */
  snapshot: '/emrm/snapshot/1',
} as const
export type Protocol = (typeof PROTOCOLS)[keyof typeof PROTOCOLS]

export type GossipVerdict = 'accept' | 'ignore' | 'reject'

export type Connection = {
  readonly peerId: PeerId
  readonly addresses: readonly string[]
  readonly direction: 'inbound' | 'outbound'
  /** A direct link for votes and proposals is open. */
  readonly direct: boolean
}

export type Network = {
  readonly self: PeerId
  /** Multiaddrs on which this peer listens, known after start. */
  addresses(): readonly string[]
  /** Opens the listeners and starts dialling. Throws EmrmError `listen-failed`. */
  start(): Promise<void>
  stop(): Promise<void>
  /** At most one handler for each topic, set before start. `from` is the peer that forwarded the bytes. */
  onGossip(topic: Topic, handler: (bytes: Uint8Array, from: PeerId) => GossipVerdict | Promise<GossipVerdict>): void
  /** Never throws and never waits; false when nobody could be told. */
  publish(topic: Topic, bytes: Uint8Array): boolean
  /** Frames that came over direct links. At most one handler, set before start. */
  onDirect(handler: (bytes: Uint8Array, from: PeerId) => void): void
  /** Never waits: false when there is no link to the peer or its queue is full (the frame is dropped). */
  sendDirect(to: PeerId, bytes: Uint8Array): boolean
  /** Peers with an open direct link. */
  directPeers(): ReadonlySet<PeerId>
  /** At most one handler for each protocol, set before start. Answers a request with a sequence of frames, each at most 2 MiB; a throw aborts the stream. */
  onRequest(
    protocol: Protocol,
    handler: (request: AsyncIterable<Uint8Array>, from: PeerId) => AsyncIterable<Uint8Array>,
  ): void
  /** Sends frames and yields the answer's frames, both with back-pressure. Throws EmrmError `peer-unreachable`, `request-timeout`, `peer-refused`. */
  request(
    to: PeerId,
    protocol: Protocol,
    frames: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>
  connections(): readonly Connection[]
  /** Replaces the set of peer ids that may connect; connections of others are closed. */
  admit(peers: ReadonlySet<PeerId>): void
  /** Called when a peer connects (and its direct link opens) or goes. */
  onPeer(handler: (peer: PeerId, event: 'connected' | 'disconnected') => void): void
}

/** `outcomes`: what each request came to when this peer executed the block; not part of what is agreed, the state digest is. */
export type StoredBlock = {
  readonly block: Block
  readonly certificate: DecideCertificate
  readonly outcomes: readonly Outcome[]
}

/** One durable change; a batch of them is written atomically and fsynced before `write` resolves. */
export type StoredChange =
  | { readonly type: 'vote'; readonly record: VoteRecord }
  | ({ readonly type: 'block' } & StoredBlock)
  /** Deletes the consensus record of a decided height; always in or after the batch with its block. */
  | { readonly type: 'forget-votes'; readonly height: Height }
  /** State at a checkpoint: changed keys since the last one; null deletes. */
  | {
      readonly type: 'checkpoint'
      readonly height: Height
      readonly root: Digest
      readonly changes: ReadonlyMap<string, Uint8Array | null>
    }
  /** What leads to the committee of the next epoch. */
  | { readonly type: 'handover'; readonly handover: Handover }

/** LevelDB in production, memory in the simulation. Every block read is checked against its id: EmrmError `block-corrupt` names the height. */
export type Storage = {
  /** Throws EmrmError `store-write-failed`; the peer then stops. */
  write(changes: readonly StoredChange[]): Promise<void>
  /** Records of heights above the last stored block, as they were last written. */
  loadVotes(): Promise<readonly VoteRecord[]>
  head(): Promise<Height>
  blockAt(height: Height): Promise<StoredBlock | null>
  /** The block with its certificate in the bytes of /emrm/blocks/1, not decoded: its checksum holds. */
  frameAt(height: Height): Promise<Uint8Array | null>
  heightOf(id: BlockId): Promise<Height | null>
  /** Where a request stands in the chain. */
  requestAt(id: RequestId): Promise<{ readonly height: Height; readonly index: number } | null>
  /** The last checkpoint; height 0 with no entries when there is none. */
  loadCheckpoint(): Promise<{
    readonly height: Height
    readonly root: Digest | null
    readonly entries: ReadonlyMap<string, Uint8Array>
  }>
  /** Where this home's blocks begin: the block after it is the first that is surely here. Null: at genesis. */
  base(): Anchor | null
  /** From this last height of an epoch on, in order of height. */
  handovers(from: Height, countMax: number): Promise<readonly Handover[]>
  readonly snapshots: SnapshotStore
  /** Puts a sealed snapshot in place of the state, atomically: after a crash in the middle the next opening finishes it. */
  install(anchor: Anchor): Promise<void>
  close(): Promise<void>
}

/** Snapshots of the state by height. One that is not sealed is being written or fetched, and survives a crash as far as it came. */
export type SnapshotStore = {
  /** Lowest height first. */
  list(): Promise<readonly { readonly height: Height; readonly sealed: boolean }[]>
  manifest(height: Height): Promise<Manifest | null>
  /** Forgets what was there of this height. */
  begin(manifest: Manifest): Promise<void>
  putChunk(height: Height, index: number, bytes: Uint8Array): Promise<void>
  /** Which chunks are there. */
  chunks(height: Height): Promise<ReadonlySet<number>>
  /** Exact bytes, checked against their sum; null when there is none. */
  chunk(height: Height, index: number): Promise<Uint8Array | null>
  seal(height: Height): Promise<void>
  forget(height: Height): Promise<void>
}

export type Clock = {
  /** Unix time by this machine's clock, which may be wrong, or be set back at any moment. For dates. */
  nowMs(): number
  /** Since some moment; never goes back. For durations. */
  steadyMs(): number
  /** Calls back once after `ms`; the answer cancels. */
  after(ms: number, callback: () => void): () => void
}

/** Signs with the institution's key; deterministic (Ed25519), so the same message gives the same bytes. */
export type Signer = { sign(bytes: Uint8Array): Uint8Array }

export type SignatureJob = {
  readonly publicKey: PublicKey
  readonly bytes: Uint8Array
  readonly signature: Uint8Array
}

/** Checks many Ed25519 signatures without holding up the peer's own thread. Rejects when it cannot say. */
export type SignatureChecker = {
  /** One answer for each, in order. */
  check(jobs: readonly SignatureJob[]): Promise<readonly boolean[]>
  close(): Promise<void>
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>
/** Structured log; never a patient's data, a key or a token. */
export type Log = {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

/** What a peer shows of its consensus (status). */
export type ConsensusView = {
  readonly height: Height
  readonly view: View
  readonly primary: number
}
