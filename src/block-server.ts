// The side of catching up that serves (consensus.md §1.7): blocks by range with their certificates, bodies by id, and the one certified
// block that a validator lacks which is a little behind. What is served proves itself, so nothing is asked of who asks; each answer has
// a limit, and the asker comes again. Not here: asking (catch-up.ts).

import type { Block } from './model/block.ts'
import { EmrmError } from './model/errors.ts'
import { asHeight, type BlockId, type Height, type ValidatorIndex } from './model/ids.ts'
import type { ConsensusMessage, DecideCertificate } from './model/messages.ts'
import { type Clock, type Network, PROTOCOLS, type Storage } from './ports.ts'
import { encodeBlockBatch } from './wire/codec.ts'

/** Blocks of one answer, and bytes after which no further one is added. */
export const RANGE_MAX = 256
export const RANGE_BYTES_MAX: number = 4 * 1024 * 1024
/** Blocks of one frame, unless one alone is larger. */
const BATCH_BYTES = 128 * 1024
const RECENT_BODIES_MAX = 32
/** A validator that is behind gets at most one block in this time; it fetches ranges when it is further behind. */
const ANSWER_INTERVAL_MS = 50
const NUMBER_BYTES = 8

type Options = {
  readonly network: Network
  readonly storage: Storage
  readonly clock: Clock
  /** Resolves when what was decided is stored. */
  readonly drained: () => Promise<void>
  readonly tell: (to: ValidatorIndex, message: ConsensusMessage) => void
}

export type BlockServer = {
  /** Keeps a body that was seen lately and is not in the store yet. */
  remember(block: Block): void
  answerDecided(to: ValidatorIndex, height: Height): Promise<void>
}

export function makeBlockServer(options: Options): BlockServer {
  const { network, storage, clock } = options
  const recent = new Map<BlockId, Block>()
  const answeredMs = new Map<ValidatorIndex, number>()

  network.onRequest(PROTOCOLS.blocks, async function* (request) {
    const range = decodeRange(await firstFrame(request))
    if (range === null) throw new EmrmError('request-invalid', 'a range of blocks is asked for by its first height')
    const head = await storage.head()
    if (range.from === 0) {
      // "What is your head?"
      const frame = await storage.frameAt(head)
      yield frame === null ? new Uint8Array() : encodeBlockBatch([frame])
      return
    }
    const end = Math.min(head, range.from + Math.min(range.count, RANGE_MAX) - 1)
    let batch: Uint8Array[] = []
    let batched = 0
    for (let height = range.from, bytes = 0; height <= end && bytes < RANGE_BYTES_MAX; height++) {
      const frame = await storage.frameAt(asHeight(height))
      if (frame === null) break
      bytes += frame.length
      if (batch.length > 0 && batched + frame.length > BATCH_BYTES) {
        yield encodeBlockBatch(batch)
        batch = []
        batched = 0
      }
      batch.push(frame)
      batched += frame.length
    }
    if (batch.length > 0) yield encodeBlockBatch(batch)
  })

  network.onRequest(PROTOCOLS.body, async function* (request) {
    const id = Buffer.from((await firstFrame(request)) ?? []).toString('hex') as BlockId
    const seen = recent.get(id)
    if (seen !== undefined) {
      yield seen.bytes
      return
    }
    const height = await storage.heightOf(id)
    const stored = height === null ? null : await storage.blockAt(height)
    if (stored !== null) yield stored.block.bytes
  })

  return {
    remember(block) {
      if (recent.has(block.id)) return
      recent.set(block.id, block)
      if (recent.size > RECENT_BODIES_MAX) recent.delete(recent.keys().next().value as BlockId)
    },
    async answerDecided(to, height) {
      const nowMs = clock.steadyMs()
      if (nowMs - (answeredMs.get(to) ?? Number.NEGATIVE_INFINITY) < ANSWER_INTERVAL_MS) return
      answeredMs.set(to, nowMs)
      await options.drained()
      const stored = await storage.blockAt(height)
      if (stored !== null) options.tell(to, decidedMessage(stored.block, stored.certificate))
    },
  }
}

export const decidedMessage = (block: Block, certificate: DecideCertificate): ConsensusMessage => ({
  type: 'DECIDED',
  block,
  certificate,
})

/** The first height and how many; from 0: the head alone. */
export function encodeRange(from: number, count: number): Uint8Array {
  const bytes = new Uint8Array(2 * NUMBER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(from))
  view.setBigUint64(NUMBER_BYTES, BigInt(count))
  return bytes
}

function decodeRange(bytes: Uint8Array | null): { readonly from: number; readonly count: number } | null {
  if (bytes === null || bytes.length !== 2 * NUMBER_BYTES) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const from = Number(view.getBigUint64(0))
  const count = Number(view.getBigUint64(NUMBER_BYTES))
  return Number.isSafeInteger(from) && Number.isSafeInteger(count) && Number.isSafeInteger(from + count)
    ? { from, count }
    : null
}

async function firstFrame(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  for await (const frame of frames) return frame
  return null
}
