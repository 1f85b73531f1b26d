// A report of a late epoch is believed with genesis alone: each committee is proved by the one before it, however many have come and gone.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { drawPath, PATH_STEPS_MAX } from '../src/committee-path.ts'
import { createSigningKey, type SigningKey } from '../src/identity/keystore.ts'
import type { Execution } from '../src/ledger/ledger.ts'
import type { Block, Request } from '../src/model/block.ts'
import { EmrmError } from '../src/model/errors.ts'
import { blockIdOf } from '../src/model/hash.ts'
import { asHeight, type Height, type PeerId, type ValidatorIndex, type View } from '../src/model/ids.ts'
import type { DecideCertificate } from '../src/model/messages.ts'
import type { StoredBlock } from '../src/ports.ts'
import { anchorReport, drawReport, type Report } from '../src/report.ts'
import { type ReportVerdict, verifyReport } from '../src/verify-report.ts'
import { encodeHeader } from '../src/wire/codec.ts'
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
    const execution = super.executeAll(requests)
    const block = this.blocks.at(-1)!
    this.stored.push({ block, certificate: certify(this, block, committee), outcomes: execution.outcomes })
    return execution
  }

  blockAt = async (height: Height): Promise<StoredBlock | null> => this.stored[height - 1] ?? null

  /** Empty blocks up to and with the first of the next epoch. */
  nextEpoch(): void {
    const first = Math.ceil(this.ledger.head().height / EPOCH) * EPOCH + 1
    while (this.ledger.head().height < first) this.executeAll([])
  }

  async report(): Promise<Report> {
    const draft = drawReport(this.views, this.ledger.chainId, idNamed('doctor'))
    this.executeAll([])
    const path = await drawPath(this.views, draft.height + 1, this.blockAt)
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
    report.path.map(({ committee }) => (committee.from - 1) % EPOCH),
    [0, 0, 0, 0],
  )
})

test('every head of the chain, also one at an epoch’s edge, gives a report that verifies', async () => {
  for (let i = 0; i < 2 * EPOCH; i++) {
    if (i === 1) world.agree({ type: 'institution.rate', institution: keyFor('west').identifier, score: 3_000 + i })
    const verdict = check(await world.report())
    assert.ok(verdict.ok, `height ${world.ledger.head().height}: ${JSON.stringify(verdict)}`)
  }
})

test('a path with any part changed, left out, repeated or exchanged is refused, with the step and the reason', () => {
  const { path } = report
  const flipped = (text: string, at: number): string =>
    text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)
  const step = (at: number, change: object): unknown[] => path.map((s, i) => (i === at ? { ...s, ...change } : s))
  const committee = (at: number, change: object): unknown[] =>
    step(at, { committee: { ...path[at]!.committee, ...change } })
  const { validators } = path[1]!.committee
  const rows: [what: string, path: unknown, step: number | undefined, reason: string][] = [
    ['the first left out', path.slice(1), 0, 'step-certificate-signature'],
    ['one in the middle left out', path.toSpliced(2, 1), 2, 'step-certificate-signature'],
    ['the last left out', path.slice(0, -1), undefined, 'anchor-certificate-signature'],
    ['all left out', [], undefined, 'anchor-certificate-signature'],
    ['one twice', path.toSpliced(1, 0, path[0]!), 1, 'step-before-its-committee'],
    ['two exchanged', [path[1], path[0], ...path.slice(2)], 0, 'step-certificate-signature'],
    ['a header', step(2, { header: flipped(path[2]!.header, 200) }), 2, 'step-certificate-of-another-block'],
    ['another step’s header', step(2, { header: path[1]!.header }), 2, 'step-certificate-of-another-block'],
    [
      'another step’s header and votes',
      step(2, { header: path[1]!.header, certificate: path[1]!.certificate }),
      2,
      'step-before-its-committee',
    ],
    [
      'a signature',
      step(3, { certificate: flipped(path[3]!.certificate, path[3]!.certificate.length - 9) }),
      3,
      'step-certificate-signature',
    ],
    ['another first', committee(1, { validators: validators.toReversed() }), 1, 'committee-not-proved'],
    [
      'one more member',
      committee(1, { validators: [...validators, { ...validators[0], publicKey: createSigningKey().publicKey }] }),
      1,
      'committee-not-proved',
    ],
    ['another threshold', committee(0, { f: 0 }), 0, 'committee-not-proved'],
    ['another beginning', committee(0, { from: 1 }), 0, 'committee-not-proved'],
    ['a committee of an earlier step', committee(3, path[2]!.committee), 3, 'committee-not-proved'],
    ['no proof', step(1, { siblings: '' }), 1, 'committee-not-proved'],
    ['a proof changed', step(1, { siblings: flipped(path[1]!.siblings, 5) }), 1, 'committee-not-proved'],
    ['half a proof', step(1, { siblings: path[1]!.siblings.slice(1) }), 1, 'step-malformed'],
    ['a committee that is none', step(1, { committee: null }), 1, 'step-malformed'],
    ['a member that is none', committee(1, { validators: [Number.NaN] }), 1, 'committee-not-proved'],
    ['a field too many', step(0, { note: '' }), 0, 'step-malformed'],
    ['not a header', step(0, { header: 'zz' }), 0, 'step-malformed'],
    ['nothing', [null], 0, 'step-malformed'],
    ['too long', Array.from({ length: PATH_STEPS_MAX + 1 }), undefined, 'path-malformed'],
  ]
  for (const [what, changed, at, reason] of rows)
    assert.deepEqual(
      check({ ...report, path: changed }),
      { ok: false, line: null, reason, ...(at === undefined ? {} : { step: at }) },
      what,
    )
})

test('a committee that the expelled made up among themselves proves nothing', () => {
  const { validators } = report.path[0]!.committee
  const own = report.path.map((step, i) => (i === 1 ? { ...step, committee: { ...step.committee, validators } } : step))
  assert.deepEqual(check({ ...report, path: own }), { ok: false, line: null, step: 1, reason: 'committee-not-proved' })
})

test('a peer that lacks the block of a change says which; a chain with too many changes is refused by number', async () => {
  const codeOf = (code: string) => (error: unknown) => error instanceof EmrmError && error.code === code
  const height = world.ledger.head().height
  await assert.rejects(
    drawPath(world.views, height, async () => null),
    codeOf('block-missing'),
  )
  const many = { successions: () => ({ length: PATH_STEPS_MAX + 1 }) } as never
  await assert.rejects(drawPath(many, height, world.blockAt), codeOf('path-too-long'))
})
