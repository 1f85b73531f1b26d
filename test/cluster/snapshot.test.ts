// A chain that grew old: a new peer begins with a snapshot and the blocks after it, believes nobody, and votes like any other.

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'

import { makeMemoryVault } from '../../src/adapters/memory-vault.ts'
import { makeLedger } from '../../src/make-ledger.ts'
import type { BlockHeader } from '../../src/model/block.ts'
import { blockIdOf, identifierOf } from '../../src/model/hash.ts'
import { asHeight, type ValidatorIndex, type View } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import type { CertifiedHeader, Manifest } from '../../src/model/snapshot.ts'
import { type Log, PROTOCOLS } from '../../src/ports.ts'
import { replayChain } from '../../src/replay.ts'
import { standOnBase } from '../../src/snapshot/base.ts'
import { verifyHome } from '../../src/verify-home.ts'
import {
  decodeAnchor,
  decodeChunk,
  decodeHandover,
  decodeManifest,
  decodeSnapshotQuestion,
  encodeAnchor,
  encodeChunk,
  encodeHandover,
  encodeHeader,
  encodeManifest,
  type SnapshotQuestion,
} from '../../src/wire/codec.ts'
import { signMessage } from '../../src/wire/verify.ts'
import { keyOf } from '../wire/samples.ts'
import { Cluster, type ClusterPeer } from './cluster.ts'

const EVERY = 8
const EPOCH = 5
let cluster: Cluster
let refusals: string[] = []
afterEach(() => cluster.stop())

const began = ({ storage }: ClusterPeer): number | null => storage.base()?.at.header.height ?? null
const sealed = async ({ storage }: ClusterPeer): Promise<number[]> =>
  (await storage.snapshots.list()).flatMap(snapshot => (snapshot.sealed ? [snapshot.height] : []))
const rate = (index: number, score: number) =>
  cluster.submit(
    0,
    cluster.request(cluster.authority, {
      ...{ type: 'institution.rate', institution: identifierOf(keyOf(`hospital ${index}`).publicKey), score },
    }),
  )

/** Five hospitals, of which number 3 is away; 4 takes its seat in the second epoch. At least `blocks` blocks. */
async function grown(blocks: number): Promise<void> {
  refusals = []
  const note = (event: string, fields: Parameters<Log['warn']>[1] = {}): void => {
    if (event === 'snapshot-refused') refusals.push(`${fields['peer']} ${fields['what']} ${fields['reason']}`)
  }
  const log = (): Log => ({ debug() {}, info() {}, warn: note, error: note })
  const parameters = { snapshotBlocks: EVERY, epochBlocks: EPOCH }
  cluster = await new Cluster({ peers: 5, validators: 4, parameters, absent: [3], log }).start()
  await rate(4, 5_000)
  while (cluster.peer(0).ledger.head().height < blocks) await cluster.commit(1)
  await cluster.agreed(blocks)
}

type Frames = AsyncIterable<Uint8Array>
type Lie = (question: SnapshotQuestion, truth: Frames) => Frames

/** This peer's answers about snapshots, from now on. */
function lies(index: number, lie: Lie): void {
  const network = cluster.peer(index).network as ClusterPeer['network'] & {
    answer: (protocol: string, request: Frames, from: string) => Frames | undefined
  }
  const answer = network.answer.bind(network)
  network.answer = (protocol, request, from) => {
    if (protocol !== PROTOCOLS.snapshot) return answer(protocol, request, from)
    return (async function* () {
      const frames: Uint8Array[] = []
      for await (const frame of request) frames.push(frame)
      const again = (async function* () {
        yield* frames
      })()
      yield* lie(decodeSnapshotQuestion(frames[0] as Uint8Array), answer(protocol, again, from) as Frames)
    })()
  }
}

const changed = (type: SnapshotQuestion['type'], change: (frame: Uint8Array, i: number) => Uint8Array): Lie =>
  async function* (question, truth) {
    let i = 0
    for await (const frame of truth) yield question.type === type ? change(frame, i++) : frame
  }

test('a new peer begins with the newest snapshot, its committee proved over epochs, takes the blocks after it, and votes', async () => {
  await grown(3 * EVERY + 3)
  assert.deepEqual(await sealed(cluster.peer(0)), [2 * EVERY, 3 * EVERY], 'the newest two are kept')
  const late = await cluster.startPeer(3)
  await cluster.agreed(3 * EVERY + 3)
  assert.equal(began(late), 3 * EVERY)
  assert.equal(await late.storage.blockAt(asHeight(3 * EVERY)), null)
  assert.notEqual(await late.storage.blockAt(asHeight(3 * EVERY + 1)), null)
  assert.deepEqual(refusals, [])
  await rate(3, 9_000)
  await cluster.commit(2 * EPOCH)
  assert.equal(late.driver.view().role, 'primary')
  await cluster.stopPeer(1)
  await cluster.commit(2 * EVERY, 3)
  await cluster.agreed()
  assert.deepEqual((await sealed(late)).slice(0, 1), [3 * EVERY], 'the one that it began with is kept')
  assert.equal((await sealed(late)).length, 3, 'and two of its own')
})

test('a home that began with a snapshot verifies and replays from there on, and says so', async () => {
  await grown(2 * EVERY + 3)
  const { storage, ledger } = await cluster.startPeer(3)
  await cluster.agreed(2 * EVERY + 3)
  const { genesis, chainId, committee } = cluster
  const chain = { genesis, chainId, committee, self: null, nowMs: 0, onProgress: () => {} }
  const verify = () => verifyHome({ ...chain, storage, vault: makeMemoryVault() })
  const report = await verify()
  assert.deepEqual([report.ok, report.from, report.heights], [true, 2 * EVERY + 1, 2 * EVERY + 3])
  const first = makeLedger(cluster)
  await standOnBase(first, chainId, storage)
  const blockAt = (at: ReturnType<typeof asHeight>) => storage.blockAt(at)
  const replay = await replayChain({ ledger: first, head: ledger.head().height, blockAt, onProgress: () => {} })
  assert.deepEqual([replay.ok, replay.from, replay.requests], [true, 2 * EVERY + 1, 3])
  // Trusting nothing on disk: one value of the snapshot changed.
  const chunk = decodeChunk((await storage.snapshots.chunk(asHeight(2 * EVERY), 0)) as Uint8Array)
  const [[key], ...rest] = chunk as [(typeof chunk)[number], ...typeof chunk]
  await storage.snapshots.putChunk(asHeight(2 * EVERY), 0, encodeChunk([[key, new Uint8Array(1)], ...rest]))
  assert.deepEqual((await verify()).problems, [{ what: 'snapshot', height: 2 * EVERY, reason: 'snapshot-unproved' }])
})

const spoiled = (frame: Uint8Array): Uint8Array => {
  const [[key], ...rest] = decodeChunk(frame) as [[string, Uint8Array], ...[string, Uint8Array][]]
  return encodeChunk([[key, new Uint8Array([1])], ...rest])
}

const endless: Lie = async function* (question, truth) {
  if (question.type !== 'chunk') return yield* truth
  for (;;) yield new Uint8Array(1024 * 1024)
}

test('wrong chunks, endless ones, and silence delay nothing and change nothing', async () => {
  await grown(2 * EVERY + 1)
  lies(0, changed('chunk', spoiled))
  lies(1, endless)
  lies(2, async function* (question, truth) {
    if (question.type === 'chunk') await new Promise(() => {})
    yield* truth
  })
  const late = await cluster.startPeer(3)
  await cluster.agreed(2 * EVERY + 1)
  assert.equal(began(late), 2 * EVERY)
})

/** Signed by these hospitals, as members of the genesis committee. */
function forged(header: BlockHeader, signers: readonly number[]): CertifiedHeader {
  const id = blockIdOf(encodeHeader(header))
  const place = { height: header.height, view: 0 as View, id }
  const votes = signers.map(i => {
    const sender = i as ValidatorIndex
    const signing = { chainId: cluster.chainId, committee: cluster.committee, signer: keyOf(`hospital ${i}`) }
    return { sender, signature: signMessage({ type: 'BLOCK-ID', ...place, sender }, signing).signature }
  })
  return { header, id, certificate: { path: 'SLOW', ...place, votes } }
}

/** Offers a state of its own at `height`, signed by the genesis committee, which is not the one of that height any more. */
function offersForged(index: number, height: number): void {
  lies(index, async function* (question, truth) {
    if (question.type !== 'offers') return yield* truth
    const frames: Uint8Array[] = []
    for await (const frame of truth) frames.push(frame)
    const real = decodeAnchor(frames[0] as Uint8Array)
    const manifest: Manifest = { ...decodeManifest(frames[1] as Uint8Array), height: asHeight(height) }
    const at = forged({ ...real.at.header, height: asHeight(height) }, [0, 1, 2, 3])
    const next = { ...real.next.header, height: asHeight(height + 1), parentId: at.id }
    yield encodeAnchor({ at, next: forged(next, [0, 1, 2, 3]) })
    yield encodeManifest(manifest)
  })
}

test('a snapshot that an older committee signed, of a height that exists or not, is refused, and another is taken', async () => {
  await grown(2 * EVERY + 1)
  offersForged(0, 2 * EVERY)
  offersForged(1, 1_000_000)
  const late = await cluster.startPeer(3)
  await cluster.agreed(2 * EVERY + 1)
  assert.equal(began(late), 2 * EVERY)
  assert.ok(refusals.includes('peer-1 handovers handovers-missing'), refusals.join())
  assert.equal(refusals.filter(line => line.startsWith('peer-0')).join(), 'peer-0 anchor certificate')
})

test('a manifest that is not the signed state’s, and handovers that name another committee, are refused', async () => {
  await grown(2 * EVERY + 1)
  lies(
    0,
    changed('offers', (frame, i) => {
      if (i % 2 === 0) return frame
      const manifest = decodeManifest(frame)
      return encodeManifest({ ...manifest, nodes: [{ type: 'inner', hash: new Uint8Array(32) }] })
    }),
  )
  lies(
    1,
    changed('handovers', frame => {
      const handover = decodeHandover(frame)
      return encodeHandover({ ...handover, committee: { ...handover.committee, value: null } })
    }),
  )
  const late = await cluster.startPeer(3)
  await cluster.agreed(2 * EVERY + 1)
  assert.equal(began(late), 2 * EVERY)
  assert.ok(refusals.includes('peer-0 anchor state-root-differs'), refusals.join())
})

test('when everybody lies about snapshots, the blocks themselves are taken', async () => {
  await grown(2 * EVERY + 1)
  lies(0, changed('chunk', spoiled))
  lies(1, endless)
  for (const index of [2, 4])
    lies(
      index,
      changed('chunk', () => new Uint8Array([1, 2, 3])),
    )
  const late = await cluster.startPeer(3)
  await cluster.agreed(2 * EVERY + 1)
  assert.equal(began(late), null)
  assert.notEqual(await late.storage.blockAt(asHeight(1)), null)
  for (const refusal of ['peer-0 chunk chunk-differs', 'peer-1 chunk chunk-endless', 'peer-2 chunk unexpected-item'])
    assert.ok(refusals.includes(refusal), refusals.join())
})

test('a peer that stops in the middle keeps the chunks that it has, and asks only for the others', async () => {
  await grown(EVERY - 2)
  // A state of more than one chunk.
  const groups = Array.from({ length: 64 }, (_, i) => `${'g'.repeat(60)}${i}`)
  for (let i = 0; i < 80; i++) {
    const { operation } = cluster.anyRequest()
    const large = cluster.request(cluster.ca, { ...operation, groups } as Operation)
    void cluster.peer(i % 3).driver.submit(large, 600_000)
  }
  await cluster.until(() => cluster.peer(0).mempool.size === 0)
  while (cluster.peer(0).ledger.head().height <= 2 * EVERY) await cluster.commit(1)
  await cluster.agreed()
  const served: string[] = []
  let holding = true
  for (const index of [0, 1, 2, 4])
    lies(index, async function* (question, truth) {
      if (question.type === 'chunk') {
        if (holding && question.index > 0) await new Promise(() => {})
        served.push(`${question.height} ${question.index}`)
      }
      yield* truth
    })
  const late = await cluster.startPeer(3)
  await cluster.until(() => served.length > 0)
  await cluster.timeline.advance(20)
  const height = (await late.storage.snapshots.list())[0]?.height ?? asHeight(0)
  assert.deepEqual([...(await late.storage.snapshots.chunks(height))], [0])
  await cluster.stopPeer(3)
  holding = false
  served.length = 0
  const again = await cluster.startPeer(3)
  await cluster.agreed()
  assert.equal(began(again), height)
  assert.ok(served.length >= 1 && !served.includes(`${height} 0`), served.join())
})

test('a peer with blocks of its own that is very far behind goes on from a snapshot and keeps its older blocks', async () => {
  await grown(3)
  const late = await cluster.startPeer(3)
  await cluster.agreed(3)
  await cluster.stopPeer(3)
  await cluster.commit(4 * EVERY)
  const again = await cluster.startPeer(3)
  await cluster.agreed()
  assert.equal(began(again), 4 * EVERY)
  assert.notEqual(await late.storage.blockAt(asHeight(3)), null)
  const { genesis, chainId, committee } = cluster
  const chain = { genesis, chainId, committee, self: null, nowMs: 0, onProgress: () => {} }
  const report = await verifyHome({ ...chain, storage: again.storage, vault: makeMemoryVault() })
  assert.deepEqual([report.ok, report.from], [true, 4 * EVERY + 1])
})
