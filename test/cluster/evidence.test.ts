// A lie that proves itself reaches every peer's chain and costs the liar half its score (consensus.md §1.8). First what proves nothing.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { evidenceOperation, provesFault } from '../../src/evidence.ts'
import type { BlockId, Height, ValidatorIndex, View } from '../../src/model/ids.ts'
import type {
  CommitCertificate,
  FaultName,
  PrePrepare,
  SignedMessage,
  Unsigned,
  ViewChange,
} from '../../src/model/messages.ts'
import { encodeMessage, makeBlock, requestsRootOf } from '../../src/wire/codec.ts'
import { makeVerifier, signMessage } from '../../src/wire/verify.ts'
import * as sample from '../wire/samples.ts'
import { Cluster, peerIdOf } from './cluster.ts'

const { chainId, committee, hospitals } = sample
const X = 'aa'.repeat(32) as BlockId
const Y = 'bb'.repeat(32) as BlockId
const height = 7 as Height
const court = {
  chainId,
  committeeAt: () => committee,
  verifier: makeVerifier({ chainId, committeeAt: () => committee }),
}
const LIAR = 2

const signed = (message: Unsigned): SignedMessage =>
  signMessage(message, { chainId, committee, signer: hospitals[message.sender] as sample.Key })
const vote = (type: 'COMMIT' | 'BLOCK-ID', view: number, id: BlockId, sender = LIAR): SignedMessage =>
  signed({ type, height, view: view as View, id, sender: sender as ValidatorIndex })
const certificate = (view: number, id: BlockId): CommitCertificate => ({
  ...{ height, view: view as View, id },
  commits: [0, 1, 2].map(sender => {
    const { signature } = vote('COMMIT', view, id, sender)
    return { sender: sender as ValidatorIndex, signature }
  }),
})
const viewChange = (
  view: number,
  lastVote: [number, BlockId] | null,
  highCertificate: CommitCertificate | null = null,
  sender = LIAR,
): ViewChange =>
  signed({
    ...{ type: 'VIEW-CHANGE', height, view: view as View, highCertificate, sender: sender as ValidatorIndex },
    lastVote: lastVote === null ? null : { view: lastVote[0] as View, id: lastVote[1] },
  }) as ViewChange

function proposal(
  view: number,
  justification: readonly ViewChange[],
  change: { author?: number; nowMs?: number } = {},
): PrePrepare {
  const header = {
    ...sample.block.header,
    ...{ height, author: (change.author ?? LIAR) as ValidatorIndex, birthView: view as View },
    ...{ requestCount: 0, requestsRoot: requestsRootOf([]), timestamp: sample.TIME + (change.nowMs ?? 0) },
  } as typeof sample.block.header
  const block = makeBlock(header, [])
  return signed({
    ...{ type: 'PRE-PREPARE', height, view: view as View, id: block.id, block, justification },
    ...{ parentCertificate: null, sender: LIAR as ValidatorIndex },
  }) as PrePrepare
}
const free = [0, 1, 2].map(sender => viewChange(2, null, null, sender))
const forced = [0, 1, 2].map(sender => viewChange(2, [1, X], null, sender))

const proves = (fault: FaultName, first: SignedMessage, second: SignedMessage | null, change: object = {}): boolean => {
  const evidence = { fault, height, replica: LIAR as ValidatorIndex, first, second }
  const operation = evidenceOperation(evidence, chainId, committee)
  assert.ok(operation !== null)
  return provesFault({ ...operation, ...change }, court)
}

const innocent: readonly (readonly [
  what: string,
  fault: FaultName,
  first: SignedMessage,
  second: SignedMessage | null,
])[] = [
  ['one vote, twice', 'two-commits-in-one-view', vote('COMMIT', 0, X), vote('COMMIT', 0, X)],
  ['votes of two views', 'two-commits-in-one-view', vote('COMMIT', 0, X), vote('COMMIT', 1, Y)],
  ['votes of two validators', 'two-commits-in-one-view', vote('COMMIT', 0, X), vote('COMMIT', 0, Y, 1)],
  ['a COMMIT and a BLOCK-ID', 'two-commits-in-one-view', vote('COMMIT', 0, X), vote('BLOCK-ID', 0, Y)],
  ['two COMMITs called BLOCK-IDs', 'two-block-ids-in-one-view', vote('COMMIT', 0, X), vote('COMMIT', 0, Y)],
  [
    'one proposal with two sets of grounds',
    'two-proposals-in-one-view',
    proposal(2, free),
    proposal(2, [...free].reverse()),
  ],
  ['one VIEW-CHANGE, twice', 'two-view-changes-for-one-view', viewChange(2, [0, X]), viewChange(2, [0, X])],
  ['VIEW-CHANGEs for two views', 'two-view-changes-for-one-view', viewChange(2, [0, X]), viewChange(3, [1, X])],
  ['a vote that is reported', 'vote-hidden-in-view-change', vote('COMMIT', 1, X), viewChange(2, [1, X])],
  ['a later vote that is reported', 'vote-hidden-in-view-change', vote('COMMIT', 0, X), viewChange(2, [1, Y])],
  ['a vote of the new view', 'vote-hidden-in-view-change', vote('COMMIT', 2, X), viewChange(2, null)],
  [
    'a certificate that is reported',
    'certificate-hidden-in-view-change',
    vote('BLOCK-ID', 0, X),
    viewChange(2, null, certificate(0, X)),
  ],
  ['a free choice', 'unjustified-proposal', proposal(2, free), null],
]
for (const [what, fault, first, second] of innocent)
  test(`${what}: no proof of ${fault}`, () => assert.equal(proves(fault, first, second), false))

const guilty: readonly (readonly [
  what: string,
  fault: FaultName,
  first: SignedMessage,
  second: SignedMessage | null,
])[] = [
  ['E1', 'two-proposals-in-one-view', proposal(0, []), proposal(0, [], { nowMs: 1 })],
  ['E2', 'two-commits-in-one-view', vote('COMMIT', 0, X), vote('COMMIT', 0, Y)],
  ['E3', 'two-block-ids-in-one-view', vote('BLOCK-ID', 3, X), vote('BLOCK-ID', 3, Y)],
  ['E4, the vote', 'two-view-changes-for-one-view', viewChange(2, [0, X]), viewChange(2, null)],
  ['E4, the certificate', 'two-view-changes-for-one-view', viewChange(2, null, certificate(0, X)), viewChange(2, null)],
  ['E5, no vote', 'vote-hidden-in-view-change', vote('COMMIT', 1, X), viewChange(2, null)],
  ['E5, an older vote', 'vote-hidden-in-view-change', vote('COMMIT', 1, X), viewChange(2, [0, X])],
  ['E5, another block', 'vote-hidden-in-view-change', vote('COMMIT', 1, X), viewChange(2, [1, Y])],
  ['E6', 'certificate-hidden-in-view-change', vote('BLOCK-ID', 1, X), viewChange(2, null, certificate(0, X))],
  ['E7, too few', 'unjustified-proposal', proposal(2, free.slice(1)), null],
  ['E7, another view', 'unjustified-proposal', proposal(3, free), null],
  ['E7, not what was forced', 'unjustified-proposal', proposal(2, forced), null],
  ["E7, somebody else's block", 'unjustified-proposal', proposal(2, free, { author: 1 }), null],
  [
    'E7, a claim without its certificate',
    'unjustified-proposal',
    proposal(2, [...free.slice(0, 2), viewChange(2, null, { ...certificate(1, X), commits: [] })]),
    null,
  ],
]
for (const [what, fault, first, second] of guilty)
  test(`${what}: ${fault} is proved, and nothing else by it`, () => {
    assert.equal(proves(fault, first, second), true)
    for (const [, other] of guilty) if (other !== fault) assert.equal(proves(other, first, second), false)
    assert.equal(proves(fault, first, second, { height: 8 }), false)
    for (const change of [{ first: new Uint8Array(9) }, { second: new Uint8Array(9) }])
      assert.equal(proves(fault, first, second, change), false)
    const operation = evidenceOperation(
      { fault, height, replica: LIAR as ValidatorIndex, first, second },
      chainId,
      committee,
    )
    for (const half of ['first', 'second'] as const) {
      const bytes = new Uint8Array((operation as NonNullable<typeof operation>)[half])
      // The last byte of a half is a signature's, or the grounds' last version number.
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
      assert.equal(proves(fault, first, second, { [half]: bytes }), false)
    }
  })

test('a free choice is not made a lie by the grounds of another proposal', () => {
  const honest = evidenceOperation(
    { fault: 'unjustified-proposal', height, replica: LIAR as ValidatorIndex, first: proposal(2, free), second: null },
    chainId,
    committee,
  )
  const sameBlock = proposal(2, free)
  const swapped = evidenceOperation(
    {
      ...{ fault: 'unjustified-proposal', height, replica: LIAR as ValidatorIndex, second: null },
      first: { ...sameBlock, justification: forced },
    },
    chainId,
    committee,
  )
  assert.ok(honest !== null && swapped !== null)
  assert.equal(provesFault({ ...honest, second: swapped.second }, court), false)
})

describe('in a running network', () => {
  let cluster: Cluster
  before(async () => {
    cluster = await new Cluster().start()
  })
  after(() => cluster.stop())

  test('two contradicting votes become evidence on the chain of every peer, once, and the score falls', async () => {
    await cluster.commit(2)
    const liar = cluster.peer(LIAR)
    const atHeight = (cluster.peer(0).ledger.head().height + 1) as Height
    const lie = (id: BlockId): Uint8Array =>
      encodeMessage(
        signMessage(
          { type: 'COMMIT', height: atHeight, view: 5 as View, id, sender: LIAR as ValidatorIndex },
          { chainId: cluster.chainId, committee: cluster.committee, signer: liar.key },
        ),
      )
    for (const id of [X, Y]) for (const to of [0, 1, 3]) liar.network.sendDirect(peerIdOf(to), lie(id))
    const scoreBefore = cluster.peer(0).ledger.views.institution(liar.identifier)?.score as number
    await cluster.until(() =>
      cluster.running.every(({ ledger }) => ledger.views.evidenceAgainst(liar.identifier).length > 0),
    )
    await cluster.timeline.advance(10_000)
    await cluster.agreed()
    for (const { ledger, mempool } of cluster.running) {
      const found = ledger.views.evidenceAgainst(liar.identifier)
      assert.deepEqual(
        found.map(({ fault, faultHeight }) => [fault, faultHeight]),
        [['two-commits-in-one-view', atHeight]],
      )
      assert.equal(ledger.views.institution(liar.identifier)?.score, Math.floor(scoreBefore / 2))
      assert.equal(mempool.size, 0)
    }
    assert.equal(cluster.peer(0).ledger.head().height, atHeight, 'one request, not one of each witness')
  })

  test('a proposal whose justification does not hold is refused at the door, and proved', async () => {
    const head = cluster.peer(0).ledger.head()
    const liar = cluster.peer(LIAR)
    const sign = (message: Unsigned): SignedMessage =>
      signMessage(message, { chainId: cluster.chainId, committee: cluster.committee, signer: liar.key })
    const place = { height: (head.height + 1) as Height, view: 2 as View, sender: LIAR as ValidatorIndex }
    const request = cluster.anyRequest()
    const { ledger } = cluster.peer(0)
    const block = makeBlock(
      ledger.headerFor({
        ...{ author: place.sender, view: place.view, nowMs: sample.TIME + cluster.timeline.now },
        ...{ requests: [request], requestsRoot: requestsRootOf([request]) },
      }),
      [request],
    )
    const parent = await cluster.peer(0).storage.blockAt(head.height)
    const own = sign({ type: 'VIEW-CHANGE', ...place, lastVote: null, highCertificate: null }) as ViewChange
    const parentCertificate = parent?.certificate ?? null
    const lie = sign({ type: 'PRE-PREPARE', ...place, id: block.id, block, justification: [own], parentCertificate })
    for (const to of [0, 1, 3]) liar.network.sendDirect(peerIdOf(to), encodeMessage(lie))
    const proved = (): boolean =>
      cluster.running.every(peer =>
        peer.ledger.views.evidenceAgainst(liar.identifier).some(({ fault }) => fault === 'unjustified-proposal'),
      )
    await cluster.until(proved)
    await cluster.agreed()
  })

  test('a peer that executes the chain again from its disk finds the same state', async () => {
    await cluster.stopPeer(1)
    const again = await cluster.startPeer(1)
    assert.equal(again.ledger.stateRoot(), cluster.peer(0).ledger.stateRoot())
    assert.equal(again.ledger.views.evidenceAgainst(cluster.peer(LIAR).identifier).length, 2)
  })
})
