// A patient's report proves itself: whole, it is believed; with one thing changed, anywhere, it is refused and the place is named.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSigningKey } from '../src/identity/keystore.ts'
import type { SigningKey } from '../src/identity/signing-key.ts'
import type { Block } from '../src/model/block.ts'
import { type Committee, committeeHashOf, makeCommittee } from '../src/model/committee.ts'
import { blockIdOf } from '../src/model/hash.ts'
import type { Digest, ValidatorIndex, View } from '../src/model/ids.ts'
import type { DecideCertificate } from '../src/model/messages.ts'
import { anchorReport, drawReport, type Report } from '../src/report.ts'
import { type ReportVerdict, verifyReport } from '../src/verify-report.ts'
import { encodeHeader } from '../src/wire/codec.ts'
import { signMessage } from '../src/wire/verify.ts'
import {
  accessRequest,
  committeeOfTest,
  digestNamed,
  HOSPITALS,
  idNamed,
  makeClinic,
  recordNamed,
  recordRegister,
  type World,
} from './ledger/world.ts'

// The ledger works with names; the committee that signs the anchor has keys.
const keys: readonly SigningKey[] = HOSPITALS.map(() => createSigningKey())
const committeeOf = (world: World): Committee => {
  const { validators } = committeeOfTest(world.genesis)
  const signing = validators.map((validator, i) => ({ ...validator, publicKey: keys[i]!.publicKey }))
  const hash = committeeHashOf(
    keys.map(({ publicKey }) => publicKey),
    1,
    0,
  )
  return makeCommittee(signing, 1, 0, hash)
}

function anchored(world: World, signers: readonly number[] = [0, 1, 2, 3], owner = 'patient'): Report {
  const draft = drawReport(world.views, world.ledger.chainId, idNamed(owner))
  const header = world.ledger.headerFor({
    ...{ author: 0 as ValidatorIndex, view: 0 as View, nowMs: world.nowMs + 1, requests: [] },
    requestsRoot: digestNamed('none'),
  })
  const id = blockIdOf(encodeHeader(header))
  const committee = committeeOf(world)
  const statement = { type: 'COMMIT', height: header.height, view: 0 as View, id } as const
  const votes = signers.map(i => {
    const sender = i as ValidatorIndex
    const options = { chainId: world.ledger.chainId, committee, signer: keys[i]! }
    return { sender, signature: signMessage({ ...statement, sender }, options).signature }
  })
  const certificate: DecideCertificate = { path: 'FAST', height: header.height, view: 0 as View, id, votes }
  const block: Block = { header, requests: [], id, bytes: new Uint8Array(0) }
  return anchorReport(draft, [], { block, certificate, outcomes: [] })
}

/** Through JSON, as the verifier gets it. */
const check = (world: World, report: unknown): ReportVerdict =>
  verifyReport(JSON.parse(JSON.stringify(report)), { chainId: world.ledger.chainId, committee: committeeOf(world) })

/** 0 a denial, 1 a grant that was opened, 2 an emergency, 3 a grant that was not opened; and another patient's decisions beside. */
function stage(): World {
  const world = makeClinic()
  world.register('medic', 'south', { roles: ['emergency'] })
  world.register('other', 'north', { roles: ['patient'] })
  world.do('north', recordRegister('foreign', { owner: idNamed('other') }))
  world.ask('doctor')
  world.policy('patient')
  const opened = world.ask('doctor')
  assert.ok(opened.type === 'granted')
  world.ask('doctor', { record: recordNamed('foreign') })
  world.do('doctor', { type: 'access.receipt', grant: opened.grant.grant, sha256Commitment: digestNamed('commitment') })
  const record = recordNamed('x-ray')
  world.do('medic', {
    ...{ type: 'access.emergency', record, role: 'emergency', reason: 'unconscious' },
    recipient: digestNamed('recipient'),
  })
  world.do('doctor', accessRequest())
  return world
}

type Mutable = { -readonly [K in keyof Report]: Report[K] } & Record<string, unknown>
type Line = Report['lines'][number]
const withLines = (report: Report, change: (lines: Line[]) => unknown): Mutable => {
  const lines = [...report.lines]
  return { ...report, lines: (change(lines) as Line[] | undefined) ?? lines }
}
const withLine = (report: Report, number: number, change: object): Mutable =>
  withLines(report, lines => lines.map((line, i) => (i === number ? { ...line, ...change } : line)))

test('a whole report is believed, and says how many decisions there are', () => {
  const world = stage()
  const report = anchored(world)
  const verdict = check(world, report)
  assert.ok(verdict.ok, JSON.stringify(verdict))
  const { decisions, granted, opened, height, owner } = verdict
  assert.deepEqual([decisions, granted, opened], [4, 3, 1])
  assert.deepEqual([height, owner], [world.ledger.head().height, idNamed('patient')])
  assert.deepEqual(
    report.lines.map(({ decision }) => decision.result),
    ['no-policy', 'granted', 'granted', 'granted'],
  )
  assert.equal(report.lines[2]?.emergency?.value?.reason, 'unconscious')
})

test('a report about somebody of whom nothing was decided proves that', () => {
  const world = stage()
  const report = anchored(world, [0, 1, 2, 3], 'nobody')
  assert.deepEqual(check(world, report).ok, true)
  assert.equal(check(world, { ...report, owner: idNamed('patient') }).ok, false)
})

test('three of four signatures decide in no fast certificate; with a foreign or a missing one the report is refused', () => {
  const world = stage()
  const verdict = check(world, anchored(world, [0, 1, 2]))
  assert.deepEqual(verdict, { ok: false, line: null, reason: 'anchor-certificate-below-quorum' })
})

test('one line removed, changed, moved, repeated or added is refused with its number', () => {
  const world = stage()
  const report = anchored(world)
  const line = (n: number): Line => report.lines[n]!
  const decision = (n: number, change: object): Mutable =>
    withLine(report, n, { decision: { ...line(n).decision, ...change } })
  const rows: [string, unknown, number, string][] = [
    ['the first left out', withLines(report, lines => lines.slice(1)), 0, 'line-missing'],
    ['one in the middle left out', withLines(report, lines => void lines.splice(2, 1)), 2, 'line-missing'],
    ['the last left out', withLines(report, lines => lines.slice(0, -1)), 3, 'line-missing'],
    [
      'left out and numbered anew',
      withLines(report, ls => ls.slice(1).map((l, number) => ({ ...l, number }))),
      0,
      'decision-not-proved',
    ],
    ['two exchanged', withLines(report, ([a, b, ...rest]) => [b, a, ...rest]), 0, 'line-missing'],
    ['one twice', withLines(report, ls => [ls[0], ls[0], ...ls.slice(1)]), 1, 'line-repeated'],
    ['one too many', withLines(report, lines => void lines.push({ ...line(3), number: 4 })), 4, 'line-not-counted'],
    ['another requester', decision(1, { requester: idNamed('patient') }), 1, 'decision-not-proved'],
    ['another purpose', decision(1, { purpose: 'HRESCH' }), 1, 'decision-not-proved'],
    ['another time', decision(3, { time: line(3).decision.time + 1 }), 3, 'decision-not-proved'],
    ['a grant told as a denial', decision(1, { result: 'no-policy' }), 1, 'decision-not-proved'],
    ['a denial told as a grant', decision(0, { result: 'granted' }), 0, 'decision-not-proved'],
    ['a field too many', decision(2, { remark: 'x' }), 2, 'decision-not-proved'],
    ['a word for a number', decision(2, { height: '\u0000' }), 2, 'decision-not-proved'],
    [
      'a receipt hidden',
      withLine(report, 1, { receipt: { ...line(1).receipt, value: null } }),
      1,
      'receipt-not-proved',
    ],
    ['a receipt invented', withLine(report, 3, { receipt: line(1).receipt }), 3, 'receipt-not-proved'],
    ['a receipt left out', withLine(report, 1, { receipt: null }), 1, 'grant-or-receipt-left-out'],
    ['a grant left out', withLine(report, 1, { grant: null }), 1, 'grant-or-receipt-left-out'],
    ['the reason of an emergency left out', withLine(report, 2, { emergency: null }), 2, 'emergency-left-out'],
    [
      'the reason changed',
      withLine(report, 2, {
        emergency: { ...line(2).emergency, value: { ...line(2).emergency!.value, reason: 'routine' } },
      }),
      2,
      'emergency-not-proved',
    ],
    [
      'a longer grant',
      withLine(report, 1, { grant: { ...line(1).grant, value: { ...line(1).grant!.value, expires: 0 } } }),
      1,
      'grant-not-proved',
    ],
    ['no proof', withLine(report, 1, { proof: { siblings: '', leaf: null } }), 1, 'decision-not-proved'],
    ['a proof of another line', withLine(report, 1, { proof: line(0).proof }), 1, 'decision-not-proved'],
    ['not a line', withLines(report, lines => void lines.splice(1, 1, null as never)), 1, 'line-malformed'],
  ]
  for (const [name, changed, number, reason] of rows)
    assert.deepEqual(check(world, changed), { ok: false, line: number, reason }, name)
})

test('a count, an owner, a header or a certificate that was changed is refused', () => {
  const world = stage()
  const report = anchored(world)
  const { anchor } = report
  const flipped = (text: string, at: number): string =>
    text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)
  const rows: [string, unknown, string][] = [
    [
      'fewer',
      { ...report, count: { ...report.count, value: { count: 3 } }, lines: report.lines.slice(0, 3) },
      'count-not-proved',
    ],
    ['none', { ...report, count: { ...report.count, value: null }, lines: [] }, 'count-not-proved'],
    ['another owner', { ...report, owner: idNamed('other') }, 'count-not-proved'],
    ['a later height', { ...report, height: report.height + 1 }, 'anchor-of-another-height'],
    ['another network', { ...report, chainId: digestNamed('other') as Digest }, 'another-network'],
    ['another format', { ...report, format: 'emrm-report/1' }, 'format-unknown'],
    [
      'the header',
      { ...report, anchor: { ...anchor, header: flipped(anchor.header, 300) } },
      'anchor-certificate-of-another-block',
    ],
    ['a committee of its own', { ...report, anchor: { ...anchor, committee: digestNamed('x') } }, 'anchor-malformed'],
    ['no path', { ...report, path: null }, 'path-malformed'],
    [
      'a signature',
      { ...report, anchor: { ...anchor, certificate: flipped(anchor.certificate, anchor.certificate.length - 9) } },
      'anchor-certificate-signature',
    ],
    ['a field too many', { ...report, note: '' }, 'report-malformed'],
    ['nothing', null, 'report-malformed'],
    ['no lines', { ...report, lines: {} }, 'lines-malformed'],
  ]
  for (const [name, changed, reason] of rows)
    assert.deepEqual(check(world, changed), { ok: false, line: null, reason }, name)
})

test('a report of an earlier head does not fit the anchor of a later one', () => {
  const world = stage()
  const before = anchored(world)
  world.ask('doctor')
  const after = anchored(world)
  assert.equal(check(world, after).ok, true)
  assert.equal(check(world, { ...after, lines: before.lines, count: before.count }).ok, false)
})
