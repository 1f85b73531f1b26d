// A report of a late epoch is believed with genesis alone: each committee is proved by the one before it, however many have come and gone.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { drawPath, PATH_STEPS_MAX } from '../src/committee-path.ts'
import { createSigningKey } from '../src/identity/keystore.ts'
import type { SigningKey } from '../src/identity/signing-key.ts'
import { committeeName } from '../src/ledger/committee.ts'
import type { CommitteeEntry } from '../src/ledger/entries.ts'
import type { Execution } from '../src/ledger/ledger.ts'
import { Store } from '../src/ledger/store.ts'
import type { Block, Request } from '../src/model/block.ts'
import { EmrmError } from '../src/model/errors.ts'
import { blockIdOf, fromHex, toHex } from '../src/model/hash.ts'
import { asHeight, type Digest, type Height, type PeerId, type ValidatorIndex, type View } from '../src/model/ids.ts'
import type { DecideCertificate } from '../src/model/messages.ts'
import type { Handover, StateClaim } from '../src/model/snapshot.ts'
import type { StoredBlock } from '../src/ports.ts'
import { anchorReport, drawReport, type Report } from '../src/report.ts'
import { type ReportVerdict, verifyReport } from '../src/verify-report.ts'
import { encodeHeader } from '../src/wire/codec.ts'
import { decodeHandover, encodeHandover } from '../src/wire/snapshot-codec.ts'
import { signMessage } from '../src/wire/verify.ts'
import { committeeOfTest, HOSPITALS, idNamed, makeGenesis, userRegister, World } from './ledger/world.ts'

const EPOCH = 5
const keys = new Map<string, SigningKey>()
const keyFor = (name: string): SigningKey => {
  const key = keys.get(name) ?? createSigningKey()
  keys.set(name, key)
  return key
}

/** Hospitals with keys of their own: every block is signed by the committee of its height. */
class SignedWorld extends World {
  readonly stored: StoredBlock[] = []
  readonly handovers = new Map<Height, Handover>()

  constructor() {
    const genesis = makeGenesis({}, { epochBlocks: EPOCH })
    const institutions = genesis.institutions.map(each => ({ ...each, publicKey: keyFor(each.name).publicKey }))
    const cas = genesis.cas.map((ca, i) => ({ ...ca, institutions: [keyFor(HOSPITALS[i]!).identifier] }))
    super({ ...genesis, institutions, cas })
  }

  override block(requests: readonly Request[]): Block {
    const block = super.block(requests)
    return { ...block, id: blockIdOf(encodeHeader(block.header)) }
  }

  override executeAll(requests: readonly Request[]): Execution {
    const committee = this.ledger.committeeAt(asHeight(this.ledger.head().height + 1))!
    const handover = this.ledger.handover()
    const execution = super.executeAll(requests)
    const block = this.blocks.at(-1)!
    const certificate = certify(this, block, committee)
    this.stored.push({ block, certificate, outcomes: execution.outcomes })
    const { header, id } = block
    if (handover !== null) this.handovers.set(header.height, { header, id, certificate, ...handover })
    return execution
  }

  handoverAt = async (height: Height): Promise<Handover | null> => this.handovers.get(height) ?? null

  /** Empty blocks up to and with the first of the next epoch. */
  nextEpoch(): void {
    const first = Math.ceil(this.ledger.head().height / EPOCH) * EPOCH + 1
    while (this.ledger.head().height < first) this.executeAll([])
  }

  async report(): Promise<Report> {
    const draft = drawReport(this.views, this.ledger.chainId, idNamed('doctor'))
    this.executeAll([])
    const path = await drawPath(this.views, draft.height + 1, this.handoverAt)
    return anchorReport(draft, path, this.stored[draft.height]!)
  }

  validators(): readonly string[] {
    return this.ledger.committeeAt(this.ledger.head().height)!.validators.map(({ name }) => name)
  }
}

function certify(world: World, block: Block, committee: ReturnType<typeof committeeOfTest>): DecideCertificate {
  const { id, header } = block
  const statement = { type: 'COMMIT', height: header.height, view: 0 as View, id } as const
  const votes = committee.validators.map(({ name }, i) => {
    const sender = i as ValidatorIndex
    const options = { chainId: world.ledger.chainId, committee, signer: keyFor(name) }
    return { sender, signature: signMessage({ ...statement, sender }, options).signature }
  })
  return { path: 'FAST', height: header.height, view: 0 as View, id, votes }
}

let world: SignedWorld
let report: Report
const check = (changed: unknown): ReportVerdict =>
  verifyReport(JSON.parse(JSON.stringify(changed)), {
    chainId: world.ledger.chainId,
    committee: committeeOfTest(world.genesis),
  })

/** Joined, expelled, nothing, rated anew, back again: four changes in six epochs. */
before(async () => {
  world = new SignedWorld()
  world.do('ca-south', userRegister('doctor', 'south', { institution: keyFor('south').identifier }))
  world.ask('doctor')
  const { identifier, publicKey } = keyFor('fifth')
  const fifth = { name: 'fifth', publicKey, peerId: 'peer-fifth' as PeerId, sealKey: 'ab'.repeat(1216), region: 'r' }
  world.nextEpoch()
  world.agree({ type: 'institution.admit', ...fifth, score: 5_000 })
  world.nextEpoch()
  assert.deepEqual(world.validators(), ['fifth', 'north', 'south', 'east'])
  world.agree({ type: 'institution.remove', institution: keyFor('south').identifier })
  world.nextEpoch()
  assert.deepEqual(world.validators(), ['fifth', 'north', 'east', 'west'])
  world.nextEpoch()
  world.agree({ type: 'institution.rate', institution: identifier, score: 1 })
  world.nextEpoch()
  assert.deepEqual(world.validators(), ['north', 'east', 'west', 'fifth'])
  const south = { ...fifth, name: 'south', publicKey: keyFor('south').publicKey, peerId: 'peer-south' as PeerId }
  world.agree({ type: 'institution.admit', ...south, score: 2_000 })
  world.nextEpoch()
  assert.deepEqual(world.validators(), ['south', 'north', 'east', 'west'])
  world.ask('doctor')
  report = await world.report()
})

test('with members joined, expelled, demoted and readmitted in between, the report is believed from genesis alone', () => {
  const verdict = check(report)
  assert.ok(verdict.ok, JSON.stringify(verdict))
  assert.deepEqual([verdict.decisions, verdict.committeeChanges, report.path.length], [2, 4, 4])
  assert.deepEqual(
    report.path.map(step => entryOf(decodeHandover(fromHex(step))).from % EPOCH),
    [1, 1, 1, 1],
  )
})

test('every head of the chain, also one at an epoch’s edge, gives a report that verifies', async () => {
  for (let i = 0; i < 2 * EPOCH; i++) {
    if (i === 1) world.agree({ type: 'institution.rate', institution: keyFor('west').identifier, score: 3_000 + i })
    const verdict = check(await world.report())
    assert.ok(verdict.ok, `height ${world.ledger.head().height}: ${JSON.stringify(verdict)}`)
  }
})

/** What a step says of the next committee. */
function entryOf({ header, committee }: Handover): CommitteeEntry {
  const store = new Store()
  const name = committeeName(header.height + 1)
  store.state.put(store.committees.keyOf(name), committee.value!)
  return store.committees.get(name)!
}

/** The next epoch as the step has it, but longer. */
const laterEnd = ({ header: { height } }: Handover): Uint8Array | null =>
  new Store().epochs.bytesOf({ start: height + 1, end: height + 2 * EPOCH })

test('a path with any part changed, left out, repeated or exchanged is refused, with the step and the reason', () => {
  const { path } = report
  const handovers = path.map(step => decodeHandover(fromHex(step)))
  const at = (index: number): Handover => handovers[index]!
  const step = (index: number, text: unknown): unknown[] => path.with(index, text as string)
  const changed = (index: number, change: Partial<Handover>): unknown[] =>
    step(index, toHex(encodeHandover({ ...at(index), ...change })))
  const committee = (index: number, change: Partial<StateClaim>): unknown[] =>
    changed(index, { committee: { ...at(index).committee, ...change } })
  const named = (index: number, change: (entry: CommitteeEntry) => object): unknown[] => {
    const entry = entryOf(at(index))
    return committee(index, { value: new Store().committees.bytesOf({ ...entry, ...change(entry) }) })
  }
  const flip = (bytes: Uint8Array, index: number): Uint8Array => bytes.with(index, bytes[index]! ^ 1)
  const lastVote = (index: number): DecideCertificate => {
    const { votes } = at(index).certificate
    const { sender, signature } = votes.at(-1)!
    return { ...at(index).certificate, votes: votes.with(-1, { sender, signature: flip(signature, 60) }) }
  }
  const unchanged = world.handovers.get(asHeight(EPOCH))!
  assert.equal(unchanged.committee.value, null)
  const rows: [what: string, path: unknown, step: number | undefined, reason: string][] = [
    ['the first left out', path.slice(1), 0, 'step-certificate-signature'],
    ['one in the middle left out', path.toSpliced(2, 1), 2, 'step-certificate-signature'],
    ['the last left out', path.slice(0, -1), undefined, 'anchor-certificate-signature'],
    ['all left out', [], undefined, 'anchor-certificate-signature'],
    ['one twice', path.toSpliced(1, 0, path[0]!), 1, 'step-before-its-committee'],
    ['two exchanged', [path[1], path[0], ...path.slice(2)], 0, 'step-certificate-signature'],
    [
      'a header',
      changed(2, { header: { ...at(2).header, stateRoot: '0'.repeat(64) as Digest } }),
      2,
      'step-certificate-of-another-block',
    ],
    ['another step’s header', changed(2, { header: at(1).header }), 2, 'step-certificate-of-another-block'],
    [
      'another step’s header and votes',
      changed(2, { header: at(1).header, certificate: at(1).certificate }),
      2,
      'step-before-its-committee',
    ],
    [
      'another network',
      changed(2, { header: { ...at(2).header, chainId: '1'.repeat(64) as Digest } }),
      2,
      'step-of-another-network',
    ],
    ['a signature', changed(3, { certificate: lastVote(3) }), 3, 'step-certificate-signature'],
    [
      'another first',
      named(1, ({ validators }) => ({ validators: validators.toReversed() })),
      1,
      'committee-not-proved',
    ],
    [
      'one more member',
      named(1, ({ validators }) => ({
        validators: [...validators, { ...validators[0]!, publicKey: createSigningKey().publicKey }],
      })),
      1,
      'committee-not-proved',
    ],
    // A committee that the expelled made up among themselves.
    ['the one before', named(1, () => ({ validators: entryOf(at(0)).validators })), 1, 'committee-not-proved'],
    ['another threshold', named(0, () => ({ f: 0 })), 0, 'committee-not-proved'],
    ['another beginning', named(0, () => ({ from: 1 })), 0, 'committee-not-proved'],
    ['a committee of an earlier step', changed(3, { committee: at(2).committee }), 3, 'committee-not-proved'],
    ['an epoch of an earlier step', changed(3, { epoch: at(2).epoch }), 3, 'committee-not-proved'],
    [
      'another end of the epoch',
      changed(3, { epoch: { ...at(3).epoch, value: laterEnd(at(3)) } }),
      3,
      'committee-not-proved',
    ],
    ['no proof', committee(1, { siblings: [] }), 1, 'committee-not-proved'],
    [
      'a proof changed',
      committee(1, { siblings: at(1).committee.siblings.with(0, flip(at(1).committee.siblings[0]!, 5)) }),
      1,
      'committee-not-proved',
    ],
    ['a committee that is none', committee(1, { value: Uint8Array.of(0xa0) }), 1, 'committee-not-proved'],
    ['the absence of one', committee(1, { value: null }), 1, 'committee-not-proved'],
    ['an epoch without a change', [toHex(encodeHandover(unchanged)), ...path], 0, 'committee-not-proved'],
    ['half a proof', step(1, path[1]!.slice(0, -2)), 1, 'step-malformed'],
    ['half a digit', step(1, path[1]!.slice(1)), 1, 'step-malformed'],
    ['more behind it', step(0, `${path[0]}00`), 0, 'step-malformed'],
    ['no digits', step(0, 'zz'), 0, 'step-malformed'],
    ['no text', step(0, { header: '' }), 0, 'step-malformed'],
    ['nothing', [null], 0, 'step-malformed'],
    ['too long', Array.from({ length: PATH_STEPS_MAX + 1 }), undefined, 'path-malformed'],
  ]
  for (const [what, forged, index, reason] of rows)
    assert.deepEqual(
      check({ ...report, path: forged }),
      { ok: false, line: null, reason, ...(index === undefined ? {} : { step: index }) },
      what,
    )
})

test('a peer that lacks the block of a change says which; a chain with too many changes is refused by number', async () => {
  const codeOf = (code: string) => (error: unknown) => error instanceof EmrmError && error.code === code
  const height = world.ledger.head().height
  await assert.rejects(
    drawPath(world.views, height, async () => null),
    codeOf('block-missing'),
  )
  const many = { committeeChanges: () => ({ length: PATH_STEPS_MAX + 1 }) } as never
  await assert.rejects(drawPath(many, height, world.handoverAt), codeOf('path-too-long'))
})
