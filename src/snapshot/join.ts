// How a peer that is new, or very far behind, begins with a snapshot: it asks who has one, proves the committee of its height from what its
// own ledger knows (trust.ts), checks the two headers on which the snapshot hangs, and fetches the chunks from all who offer the same one,
// each checked before it is kept. A peer that sends anything wrong, or nothing, is not asked again in this run, and another is; chunks that
// are there survive a crash. Not here: putting the snapshot in place (driver, storage), the blocks after it (catch-up.ts).

import { type Entry, isChunk } from '../ledger/snapshot.ts'
import { EmrmError } from '../model/errors.ts'
import { digestOf, toHex } from '../model/hash.ts'
import type { Height, PeerId } from '../model/ids.ts'
import type { Anchor, Manifest, TreeNode } from '../model/snapshot.ts'
import { type Log, type Network, PROTOCOLS, type Storage } from '../ports.ts'
import {
  decodeAnchor,
  decodeChunk,
  decodeHandover,
  decodeManifest,
  encodeManifest,
  encodeSnapshotQuestion,
  type SnapshotQuestion,
  WireFault,
} from '../wire/codec.ts'
import { CHUNK_BYTES_MAX } from '../wire/limits.ts'
import { HANDOVERS_MAX, OFFERS_MAX } from './server.ts'
import { CommitteePath, type Known } from './trust.ts'

const ANSWER_TIMEOUT_MS = 30_000
const PEERS_MAX = 8

type Options = {
  readonly network: Network
  readonly storage: Storage
  readonly log: Log
  /** What this peer's own ledger says, at this moment. */
  readonly known: () => Known
  readonly head: () => Height
  /** Blocks above our head from which on a snapshot is fetched rather than the blocks. */
  readonly far: () => number
  /** Puts a sealed snapshot in place of the state; resolves when this peer stands on it. */
  readonly adopt: (anchor: Anchor) => Promise<void>
}

export type Joiner = {
  /** True when the peer stands on a snapshot now. Never throws for what others send. */
  join(peers: readonly PeerId[]): Promise<boolean>
  stop(): void
}

type Offer = { readonly peer: PeerId; readonly anchor: Anchor; readonly manifest: Manifest; readonly key: string }

/** What another peer sent is wrong, in one word for the log. */
class Refusal extends Error {}

export function makeJoiner(options: Options): Joiner {
  const { network, storage, log } = options
  const { snapshots } = storage
  const stopping = new AbortController()

  async function* ask(peer: PeerId, question: SnapshotQuestion, signal = stopping.signal): AsyncGenerator<Uint8Array> {
    const limit = AbortSignal.any([signal, stopping.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
    yield* network.request(peer, PROTOCOLS.snapshot, [encodeSnapshotQuestion(question)], limit)
  }

  /** Runs what may fail by the peer's fault; null then, and the reason in the log. */
  async function guarded<T>(peer: PeerId, what: string, run: () => Promise<T>): Promise<T | null> {
    try {
      return await run()
    } catch (error) {
      const reason = error instanceof Refusal ? error.message : error instanceof WireFault ? error.reason : null
      if (reason !== null) log.warn('snapshot-refused', { peer, what, reason })
      else if (error instanceof EmrmError) log.debug('snapshot-not-told', { peer, what, reason: error.code })
      // Broken off by ourselves: another brought it, or this peer stops.
      else if (!(error instanceof Error) || error.name !== 'AbortError') throw error
      return null
    }
  }

  async function offersOf(peer: PeerId): Promise<readonly Offer[]> {
    const offers: Offer[] = []
    let anchor: Anchor | null = null
    for await (const frame of ask(peer, { type: 'offers' })) {
      if (anchor === null) anchor = decodeAnchor(frame)
      else {
        const manifest = decodeManifest(frame)
        // Offers with one key are the same in every bit that matters, so their chunks are, too.
        offers.push({ peer, anchor, manifest, key: `${anchor.next.id} ${digestOf(encodeManifest(manifest))}` })
        anchor = null
      }
      if (offers.length >= OFFERS_MAX) break
    }
    return offers
  }

  /** One that was begun before a crash first, then the newest, then the one with the larger chunks: more than needed is a waste of time. */
  async function gather(peers: readonly PeerId[]): Promise<readonly (readonly Offer[])[]> {
    const told = await Promise.all(peers.map(peer => guarded(peer, 'offers', () => offersOf(peer))))
    const heightMin = options.head() + options.far()
    const groups = new Map<string, Offer[]>()
    for (const offer of told.flatMap(offers => offers ?? []))
      if (offer.anchor.at.header.height >= heightMin) groups.set(offer.key, [...(groups.get(offer.key) ?? []), offer])
    const begun = new Set(await unfinished())
    return [...groups.values()].sort(([a], [b]) => {
      const [x, y] = [(a as Offer).manifest, (b as Offer).manifest]
      return Number(begun.has(y.height)) - Number(begun.has(x.height)) || y.height - x.height || x.depth - y.depth
    })
  }

  /** Not in the place of the state yet: what stands above our head is being fetched. */
  const unfinished = async (): Promise<readonly Height[]> =>
    (await snapshots.list()).map(({ height }) => height).filter(height => height > options.head())

  /** Asks for handovers until the committee of `height` is proved. */
  async function lead(path: CommitteePath, height: Height, peer: PeerId): Promise<boolean> {
    while (path.end < height) {
      const before = path.end
      let count = 0
      for await (const frame of ask(peer, { type: 'handovers', from: path.end })) {
        if (!path.follow(decodeHandover(frame))) throw new Refusal('handover')
        if (path.end >= height || ++count >= HANDOVERS_MAX) break
      }
      if (path.end === before) throw new Refusal('handovers-missing')
    }
    return true
  }

  async function fetchChunk(peer: PeerId, manifest: Manifest, index: number, signal: AbortSignal): Promise<Uint8Array> {
    const { height, depth } = manifest
    const parts: Uint8Array[] = []
    let size = 0
    for await (const frame of ask(peer, { type: 'chunk', height, depth, index }, signal)) {
      size += frame.length
      if (size > CHUNK_BYTES_MAX || frame.length === 0) throw new Refusal('chunk-endless')
      parts.push(frame)
    }
    const bytes = new Uint8Array(Buffer.concat(parts))
    const entries: readonly Entry[] = decodeChunk(bytes)
    if (!isChunk(entries, { depth, index, node: manifest.nodes[index] as TreeNode })) throw new Refusal('chunk-differs')
    return bytes
  }

  /** From all peers at once. When nothing is left to ask for, who is idle asks for what others still owe: one that stalls delays nothing. */
  async function fetchChunks(manifest: Manifest, peers: readonly PeerId[]): Promise<boolean> {
    const there = new Set(await snapshots.chunks(manifest.height))
    const owed = manifest.nodes.map((_, index) => index).filter(index => !there.has(index))
    const asked = new Set<number>()
    const done = new AbortController()
    const total = manifest.nodes.length

    const nextFor = (mine: ReadonlySet<number>): number | undefined =>
      owed.find(index => !asked.has(index)) ?? owed.find(index => !there.has(index) && !mine.has(index))

    async function work(peer: PeerId): Promise<void> {
      const mine = new Set<number>()
      while (there.size < total && !stopping.signal.aborted) {
        const index = nextFor(mine)
        if (index === undefined) return
        asked.add(index)
        mine.add(index)
        const bytes = await guarded(peer, 'chunk', () => fetchChunk(peer, manifest, index, done.signal))
        if (there.has(index)) continue
        if (bytes === null) {
          asked.delete(index)
          return
        }
        await snapshots.putChunk(manifest.height, index, bytes)
        there.add(index)
        if (there.size === total) done.abort()
      }
    }
    await Promise.all(peers.map(work))
    return there.size === total
  }

  async function begin(manifest: Manifest): Promise<void> {
    for (const height of await unfinished()) {
      const before = await snapshots.manifest(height)
      const isSame = before !== null && toHex(encodeManifest(before)) === toHex(encodeManifest(manifest))
      if (!isSame) await snapshots.forget(height)
    }
    if ((await snapshots.manifest(manifest.height)) === null) await snapshots.begin(manifest)
  }

  async function tryGroup(offers: readonly Offer[]): Promise<boolean> {
    for (const [i, { peer, anchor, manifest }] of offers.entries()) {
      const { height } = anchor.at.header
      const path = new CommitteePath(options.known())
      if ((await guarded(peer, 'handovers', () => lead(path, anchor.next.header.height, peer))) === null) continue
      // Each offer's own: a liar may put a wrong certificate under the right headers.
      const lie = path.lieOf(anchor, manifest)
      if (lie !== null) {
        log.warn('snapshot-refused', { peer, what: 'anchor', reason: lie, height })
        continue
      }
      await begin(manifest)
      const peers = offers.slice(i).map(offer => offer.peer)
      log.info('snapshot-fetching', { height, chunks: manifest.nodes.length, peers: peers.length })
      if (!(await fetchChunks(manifest, peers)) || stopping.signal.aborted) return false
      await snapshots.seal(height)
      await storage.write(path.handovers.map(handover => ({ type: 'handover', handover })))
      await options.adopt(anchor)
      log.info('began-with-snapshot', { height })
      return true
    }
    return false
  }

  return {
    async join(peers) {
      const groups = await gather(peers.slice(0, PEERS_MAX))
      for (const offers of groups) {
        if (stopping.signal.aborted) return false
        // While it was fetched our head may have come near by itself.
        if ((offers[0] as Offer).manifest.height < options.head() + options.far()) continue
        if (await tryGroup(offers)) return true
      }
      return false
    },
    stop: () => stopping.abort(),
  }
}
