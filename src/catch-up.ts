// Blocks by range from other peers: for a peer that was away (consensus.md §1.7), and the other side, which serves them.
// Every block is checked by its certificate before the replica hears of it, so it does not matter who sends it.
// Not here: when to catch up (the replica says so, and each new connection is asked once).

import type { Block } from './model/block.ts'
import { EmrmError } from './model/errors.ts'
import { asHeight, type BlockId, type Height, type PeerId, type Verified } from './model/ids.ts'
import type { ConsensusMessage, DecideCertificate } from './model/messages.ts'
import { type Log, type Network, PROTOCOLS, type Storage } from './ports.ts'
import { decodeStoredBlock, encodeStoredBlock } from './wire/codec.ts'
import type { Verifier } from './wire/verify.ts'

/** Blocks of one answer; the asker comes again for more. */
const RANGE_MAX = 256
const RANGE_BYTES_MAX = 16 * 1024 * 1024
const RANGE_TIMEOUT_MS = 20_000
const BODY_TIMEOUT_MS = 3_000
const HEIGHT_BYTES = 8

export type CatchUp = {
  /** Asks `peers` in turn for blocks above our head until nobody has more. One run at a time; a call during a run adds its peers. */
  run(peers: readonly PeerId[]): void
  /** Height of the last block that the peer can prove decided; null when it gave no valid answer. */
  provenHead(peer: PeerId): Promise<Height | null>
  /** Asks for one body, from peer to peer. */
  fetchBody(id: BlockId): void
  stop(): void
}

type Options = {
  readonly network: Network
  readonly storage: Storage
  readonly verifier: Verifier
  readonly log: Log
  readonly head: () => Height
  /** Bodies seen lately, which are not in the store yet. */
  readonly recentBody: (id: BlockId) => Block | null
  readonly deliver: (message: Verified<ConsensusMessage>) => void
  /** Resolves once what was delivered has been executed and the queue of writes is short. */
  readonly settled: () => Promise<void>
}

export function makeCatchUp(options: Options): CatchUp {
  const { network, storage, verifier, log } = options
  let waiting: PeerId[] = []
  let running = false
  let stopped = false
  const fetching = new Set<BlockId>()

  network.onRequest(PROTOCOLS.blocks, async function* (request) {
    const from = decodeHeight(await firstFrame(request))
    if (from === null) throw new EmrmError('request-invalid', 'a range of blocks is asked for by its first height')
    if (from === 0) {
      // "What is your head?"
      const head = await storage.blockAt(await storage.head())
      yield head === null ? new Uint8Array() : encodeStoredBlock(head.block, head.certificate)
      return
    }
    let bytes = 0
    for (let height = from, count = 0; count < RANGE_MAX && bytes < RANGE_BYTES_MAX; height++, count++) {
      if (height > (await storage.head())) return
      const stored = await storage.blockAt(asHeight(height))
      if (stored === null) return
      const frame = encodeStoredBlock(stored.block, stored.certificate)
      bytes += frame.length
      yield frame
    }
  })

  network.onRequest(PROTOCOLS.body, async function* (request) {
    const id = Buffer.from((await firstFrame(request)) ?? []).toString('hex') as BlockId
    const recent = options.recentBody(id)
    if (recent !== null) {
      yield recent.bytes
      return
    }
    const height = await storage.heightOf(id)
    const stored = height === null ? null : await storage.blockAt(height)
    if (stored !== null) yield stored.block.bytes
  })

  /** Returns how many blocks the peer gave. */
  const fetchRange = async (peer: PeerId): Promise<number> => {
    let count = 0
    const frames = network.request(
      peer,
      PROTOCOLS.blocks,
      [encodeHeight(options.head() + 1)],
      AbortSignal.timeout(RANGE_TIMEOUT_MS),
    )
    for await (const frame of frames) {
      if (stopped) return 0
      const { block, certificate } = decodeStoredBlock(frame)
      if (block.header.height <= options.head()) continue
      const checked = verifier.decided(block, certificate)
      if (checked.type !== 'ok') {
        log.warn('catch-up-refused', {
          peer,
          height: block.header.height,
          reason: checked.type === 'fault' ? checked.reason : checked.type,
        })
        return 0
      }
      options.deliver(checked.value)
      count++
      if (count % 64 === 0) await options.settled()
      if (options.head() < block.header.height) return count
    }
    await options.settled()
    return count
  }

  const loop = async (): Promise<void> => {
    running = true
    let total = 0
    while (waiting.length > 0 && !stopped) {
      const peer = waiting.shift() as PeerId
      try {
        const count = await fetchRange(peer)
        total += count
        if (count >= RANGE_MAX / 2) waiting.unshift(peer)
      } catch (error) {
        log.debug('catch-up-failed', {
          peer,
          reason: error instanceof EmrmError ? error.code : String(error),
        })
      }
    }
    running = false
    if (total > 0) log.info('caught-up', { blocks: total, height: options.head() })
  }

  const fetchFrom = async (id: BlockId, peers: readonly PeerId[]): Promise<void> => {
    for (const peer of peers) {
      if (stopped) return
      try {
        for await (const frame of network.request(
          peer,
          PROTOCOLS.body,
          [Buffer.from(id, 'hex')],
          AbortSignal.timeout(BODY_TIMEOUT_MS),
        )) {
          const checked = verifier.body(frame)
          if (checked.type !== 'ok' || checked.value.block.id !== id) {
            log.warn('body-refused', { peer })
            break
          }
          options.deliver(checked.value)
          return
        }
      } catch (error) {
        log.debug('body-fetch-failed', {
          peer,
          reason: error instanceof EmrmError ? error.code : String(error),
        })
      }
    }
  }

  return {
    async provenHead(peer) {
      try {
        const frames = network.request(peer, PROTOCOLS.blocks, [encodeHeight(0)], AbortSignal.timeout(BODY_TIMEOUT_MS))
        for await (const frame of frames) {
          if (frame.length === 0) return asHeight(0)
          const { block, certificate } = decodeStoredBlock(frame)
          const checked = verifier.decided(block, certificate)
          return checked.type === 'ok' ? block.header.height : null
        }
      } catch (error) {
        log.debug('head-not-told', { peer, reason: error instanceof EmrmError ? error.code : String(error) })
      }
      return null
    },
    run(peers) {
      for (const peer of peers) if (!waiting.includes(peer)) waiting.push(peer)
      if (!running && !stopped) void loop()
    },
    fetchBody(id) {
      if (fetching.has(id) || stopped) return
      fetching.add(id)
      void fetchFrom(id, [...network.directPeers()]).finally(() => fetching.delete(id))
    },
    stop() {
      stopped = true
      waiting = []
    },
  }
}

/** One certified block, for one validator that is a little behind. */
export const decidedMessage = (block: Block, certificate: DecideCertificate): ConsensusMessage => ({
  type: 'DECIDED',
  block,
  certificate,
})

function encodeHeight(height: number): Uint8Array {
  const bytes = new Uint8Array(HEIGHT_BYTES)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(height))
  return bytes
}

function decodeHeight(bytes: Uint8Array | null): number | null {
  if (bytes === null || bytes.length !== HEIGHT_BYTES) return null
  const height = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0)
  return height > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(height)
}

async function firstFrame(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  for await (const frame of frames) return frame
  return null
}
