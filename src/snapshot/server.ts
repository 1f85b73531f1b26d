// The side that serves snapshots: which there are and what proves them, the committees that lead to them, and chunks. Everything served can
// be checked by who asked, so nothing is asked of them. Not here: asking (join.ts), making snapshots (writer.ts).

import { EmrmError } from '../model/errors.ts'
import { asHeight, type Height, nextHeight } from '../model/ids.ts'
import type { Anchor, CertifiedHeader } from '../model/snapshot.ts'
import { type Network, PROTOCOLS, type Storage } from '../ports.ts'
import {
  decodeSnapshotQuestion,
  encodeAnchor,
  encodeHandover,
  encodeManifest,
  type SnapshotQuestion,
  WireFault,
} from '../wire/codec.ts'

/** Snapshots of one answer, newest first: two are kept, and perhaps the one with which a home began. */
export const OFFERS_MAX = 3
/** Handovers of one answer; the asker comes again. */
export const HANDOVERS_MAX = 256
const FRAME_BYTES = 1024 * 1024

export function serveSnapshots({ network, storage }: { readonly network: Network; readonly storage: Storage }): void {
  const { snapshots } = storage

  network.onRequest(PROTOCOLS.snapshot, async function* (request) {
    const question = questionIn(await firstFrame(request))
    switch (question.type) {
      case 'offers':
        return yield* offers()
      case 'handovers':
        for (const handover of await storage.handovers(asHeight(question.from), HANDOVERS_MAX))
          yield encodeHandover(handover)
        return
      case 'chunk':
        return yield* chunkFrames(question)
    }
  })

  async function* offers(): AsyncGenerator<Uint8Array> {
    const sealed = (await snapshots.list()).filter(snapshot => snapshot.sealed).slice(-OFFERS_MAX)
    for (const { height } of sealed.reverse()) {
      const anchor = await anchorOf(storage, height)
      const manifest = await snapshots.manifest(height)
      if (anchor === null || manifest === null) continue
      yield encodeAnchor(anchor)
      yield encodeManifest(manifest)
    }
  }

  async function* chunkFrames({ height, depth, index }: Extract<SnapshotQuestion, { type: 'chunk' }>) {
    const at = asHeight(height)
    const manifest = await snapshots.manifest(at)
    const isThere = manifest?.depth === depth && index < manifest.nodes.length
    const bytes = isThere ? await snapshots.chunk(at, index) : null
    if (bytes === null) throw new EmrmError('snapshot-unknown', 'this peer does not keep that snapshot; ask another')
    for (let from = 0; from < bytes.length; from += FRAME_BYTES) yield bytes.subarray(from, from + FRAME_BYTES)
  }
}

/** Null while the next block is not decided, or the blocks are not here. */
export async function anchorOf(storage: Storage, height: Height): Promise<Anchor | null> {
  const base = storage.base()
  if (base?.at.header.height === height) return base
  const at = await certifiedHeader(storage, height)
  const next = await certifiedHeader(storage, nextHeight(height))
  return at === null || next === null ? null : { at, next }
}

async function certifiedHeader(storage: Storage, height: Height): Promise<CertifiedHeader | null> {
  const stored = await storage.blockAt(height)
  if (stored === null) return null
  const { block, certificate } = stored
  return { header: block.header, id: block.id, certificate }
}

function questionIn(bytes: Uint8Array | null): SnapshotQuestion {
  try {
    if (bytes !== null) return decodeSnapshotQuestion(bytes)
  } catch (error) {
    if (!(error instanceof WireFault)) throw error
  }
  throw new EmrmError('request-invalid', 'a snapshot is asked for by one question of this protocol')
}

async function firstFrame(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array | null> {
  for await (const frame of frames) return frame
  return null
}
