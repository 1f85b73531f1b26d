// Blocks that this peer missed, from other peers (consensus.md §1.7). A little behind: one range from one peer. Far behind: ranges from
// several peers at once (ranges.ts). Every block is checked by its certificate before the replica hears of it, in order of height, so it
// does not matter who sends it; who sends a bad one is not asked again in this run.
// Not here: the side that serves (block-server.ts), when to catch up (the replica says so, and each new connection is asked once).

import { encodeRange, RANGE_MAX } from './block-server.ts'
import { EmrmError } from './model/errors.ts'
import { asHeight, type BlockId, type Height, type PeerId, type Verified } from './model/ids.ts'
import type { ConsensusMessage } from './model/messages.ts'
import { type Log, type Network, PROTOCOLS, type SignatureChecker } from './ports.ts'
import { type CertifiedBlock, fetchInParallel } from './ranges.ts'
import { decodeBlockBatch, decodeStoredBlock } from './wire/codec.ts'
import type { Verifier } from './wire/verify.ts'

const RANGE_TIMEOUT_MS = 20_000
const BODY_TIMEOUT_MS = 3_000
/** Peers that are asked at once: more would only queue for this peer's own signature checks. */
const PEERS_MAX = 4
/** At most twice as many blocks wait for the disk. */
const BLOCKS_A_BREATH = 64
/** Others get their turn of this thread: votes, heartbeats, clients. */
const BLOCKS_A_TURN = 16

export type CatchUp = {
  /** Asks `peers` for blocks above our head until nobody has more. One run at a time; a call during a run adds its peers. */
  run(peers: readonly PeerId[]): void
  /** Height of the last block that the peer can prove decided; null when it gave no valid answer. */
  provenHead(peer: PeerId): Promise<Height | null>
  /** Asks for one body, from peer to peer. */
  fetchBody(id: BlockId): void
  stop(): void
}

type Options = {
  readonly network: Network
  readonly verifier: Verifier
  readonly log: Log
  readonly signatures: Pick<SignatureChecker, 'check'>
  readonly head: () => Height
  readonly deliver: (message: Verified<ConsensusMessage>) => void
  /** Resolves once what was delivered has been executed and the queue of writes is short. */
  readonly settled: () => Promise<void>
  /** Blocks above our head from which on a snapshot of the state is fetched instead (snapshot/join.ts). */
  readonly far: () => number
  /** True when the peer stands on a snapshot now. */
  readonly bySnapshot: (peers: readonly PeerId[]) => Promise<boolean>
}

export function makeCatchUp(options: Options): CatchUp {
  const { network, verifier, log } = options
  let waiting: PeerId[] = []
  let running = false
  let stopped = false
  const fetching = new Set<BlockId>()
  let accepted = 0
  let breath = Promise.resolve()

  /** Null when the peer gave no proper answer; fewer than `count` when it has no more, or the answer was full. */
  async function fetchRange(peer: PeerId, from: number, count: number): Promise<readonly CertifiedBlock[] | null> {
    const blocks: CertifiedBlock[] = []
    const signal = AbortSignal.timeout(RANGE_TIMEOUT_MS)
    try {
      for await (const frame of network.request(peer, PROTOCOLS.blocks, [encodeRange(from, count)], signal)) {
        for (const bytes of decodeBlockBatch(frame)) {
          const stored = decodeStoredBlock(bytes)
          if (stored.block.header.height !== from + blocks.length || blocks.length === count) return null
          blocks.push(stored)
        }
        if (stopped) return null
        await turn()
      }
      await prove(blocks)
      return blocks
    } catch (error) {
      log.debug('catch-up-failed', { peer, reason: error instanceof EmrmError ? error.code : String(error) })
      return blocks.length > 0 ? blocks : null
    }
  }

  /** Signatures of a range at once, elsewhere; what does not hold, or is not known yet, `accept` looks at again and names. */
  async function prove(blocks: readonly CertifiedBlock[]): Promise<void> {
    const asked = blocks.flatMap(({ block, certificate }) => verifier.signaturesOf(block, certificate) ?? [])
    const answers = await options.signatures.check(asked.flatMap(({ jobs }) => jobs)).catch(error => {
      log.warn('signatures-not-checked', { reason: String(error) })
      return []
    })
    let at = 0
    for (const { jobs, remember } of asked) {
      const own = answers.slice(at, at + jobs.length)
      at += jobs.length
      if (own.length === jobs.length && own.every(Boolean)) remember()
    }
  }

  /** False when the block is not what follows: the peer that sent it lies, or its certificate is of an epoch that we do not know. */
  async function accept({ block, certificate }: CertifiedBlock, peer: PeerId): Promise<boolean> {
    const { height } = block.header
    if (height <= options.head()) return true
    const checked = verifier.decided(block, certificate)
    if (checked.type !== 'ok') {
      log.warn('catch-up-refused', { peer, height, reason: checked.type === 'fault' ? checked.reason : checked.type })
      return false
    }
    options.deliver(checked.value)
    accepted++
    if (accepted % BLOCKS_A_TURN === 0) await turn()
    if (accepted % BLOCKS_A_BREATH === 0) {
      // The writes of the blocks before these: while one fsync runs, the next blocks are executed.
      await breath
      breath = options.settled()
    }
    return options.head() >= height
  }

  async function fetchNear(peer: PeerId): Promise<number> {
    const blocks = (await fetchRange(peer, options.head() + 1, RANGE_MAX)) ?? []
    for (const block of blocks) if (stopped || !(await accept(block, peer))) return 0
    await options.settled()
    return blocks.length
  }

  const loop = async (): Promise<void> => {
    running = true
    const before = options.head()
    while (waiting.length > 0 && !stopped) {
      const peer = waiting.shift() as PeerId
      const isFar = (await claimedHead(peer)) >= options.head() + options.far()
      if (isFar) await options.bySnapshot([...new Set([peer, ...waiting, ...network.directPeers()])])
      if (stopped) break
      // A full answer: there may be much more.
      if ((await fetchNear(peer)) < RANGE_MAX / 2) continue
      const peers = [...new Set([peer, ...waiting, ...network.directPeers()])].slice(0, PEERS_MAX)
      const served = await fetchInParallel({
        ...{ peers, head: options.head, fetchRange, accept },
        claim: claimedHead,
        isStopped: () => stopped,
      })
      await options.settled()
      // Blocks were decided meanwhile.
      for (const good of served) if (!waiting.includes(good)) waiting.push(good)
    }
    running = false
    if (options.head() > before) log.info('caught-up', { blocks: options.head() - before, height: options.head() })
  }

  async function headOf(peer: PeerId): Promise<CertifiedBlock | 'none' | null> {
    try {
      const signal = AbortSignal.timeout(BODY_TIMEOUT_MS)
      for await (const frame of network.request(peer, PROTOCOLS.blocks, [encodeRange(0, 1)], signal))
        return frame.length === 0 ? 'none' : decodeStoredBlock(decodeBlockBatch(frame)[0] ?? new Uint8Array())
    } catch (error) {
      log.debug('head-not-told', { peer, reason: error instanceof EmrmError ? error.code : String(error) })
    }
    return null
  }

  /** A hint of where to stop asking; a liar's range is empty. */
  async function claimedHead(peer: PeerId): Promise<number> {
    const told = await headOf(peer)
    return told === null || told === 'none' ? 0 : told.block.header.height
  }

  const fetchFrom = async (id: BlockId, peers: readonly PeerId[]): Promise<void> => {
    for (const peer of peers) {
      if (stopped) return
      try {
        const signal = AbortSignal.timeout(BODY_TIMEOUT_MS)
        for await (const frame of network.request(peer, PROTOCOLS.body, [Buffer.from(id, 'hex')], signal)) {
          const checked = verifier.body(frame)
          if (checked.type !== 'ok' || checked.value.block.id !== id) {
            log.warn('body-refused', { peer })
            break
          }
          options.deliver(checked.value)
          return
        }
      } catch (error) {
        log.debug('body-fetch-failed', { peer, reason: error instanceof EmrmError ? error.code : String(error) })
      }
    }
  }

  return {
    async provenHead(peer) {
      const told = await headOf(peer)
      if (told === null || told === 'none') return told === null ? null : asHeight(0)
      const checked = verifier.decided(told.block, told.certificate)
      return checked.type === 'ok' ? told.block.header.height : null
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

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
