// A record's key follows the committee: who may announce it, when it counts, and what ends it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ledgerFacts } from '../../src/ledger-facts.ts'
import type { PeerId, RequestId } from '../../src/model/ids.ts'
import type { RecordRedeal, RecordReshare } from '../../src/model/operations.ts'
import { acksNeeded, dealStands, redealAckBytes, shareLossBytes } from '../../src/model/redeal.ts'
import { presentCommittee, sealersOf } from '../../src/records/ledger-view.ts'
import {
  committeeOfTest,
  digestNamed,
  idNamed,
  keyNamed,
  makeClinic,
  makeGenesis,
  reasonOf,
  recordNamed,
  recordRegister,
  signatureOf,
  type World,
} from './world.ts'

const record = recordNamed('x-ray')
const GENESIS = makeGenesis({}, { epochBlocks: 4 })

/** A fifth hospital, rated above `east`, is in the committee from the next epoch on. */
function joined(world: World): void {
  const fifth = { publicKey: keyNamed('fifth'), peerId: 'peer-fifth' as PeerId, sealKey: 'ab'.repeat(1216) }
  world.agree({ type: 'institution.admit', name: 'fifth', region: 'r', score: 750, ...fifth })
  nextEpoch(world)
  assert.ok(committeeOf(world).validators.some(({ name }) => name === 'fifth'))
}

const committeeOf = (world: World): ReturnType<typeof committeeOfTest> =>
  world.ledger.committeeAt((world.ledger.head().height + 1) as never)!

function nextEpoch(world: World): void {
  const { end } = world.views.store.epochs.get('now')!
  while (world.ledger.head().height < end) world.executeAll([])
}

const announce = (world: World, by = 'north', losses: RecordRedeal['losses'] = []): string =>
  reasonOf(world.do(by, { type: 'record.redeal', record, recipient: digestNamed('recipient'), losses }))

/** Signed by the present committee's members at these places, as validators that have their shares do. */
function reshare(world: World, places: readonly number[], change: Partial<RecordReshare> = {}): RecordReshare {
  const intent = world.views.redeal(record)?.intent ?? (digestNamed('none') as RequestId)
  const shareRoot = digestNamed('new shares')
  const acks = places.map(index => {
    const signed = redealAckBytes({ chainId: world.ledger.chainId, record, intent, index, shareRoot })
    return { index, signature: signatureOf(committeeOf(world).validators[index]!.publicKey, signed) }
  })
  return { type: 'record.reshare', record, intent, shareRoot, shareCount: 4, threshold: 2, acks, ...change }
}

test('a key that lies with the present committee cannot be collected; a change of rank alone changes nothing', () => {
  const world = makeClinic(GENESIS)
  assert.equal(announce(world), 'refused: already-exists')
  world.agree({ type: 'institution.rate', institution: idNamed('west'), score: 5000 })
  nextEpoch(world)
  assert.equal(committeeOf(world).validators[0]?.name, 'west')
  assert.equal(announce(world), 'refused: already-exists')
  joined(world)
  assert.equal(announce(world), 'done')
})

test('a key is collected from a standing committee only when one that it was dealt to has signed that its share is lost', () => {
  const world = makeClinic(GENESIS)
  const { chainId } = world.ledger
  const loss = (
    index: number,
    by: string,
    shareRoot = world.views.record(record)!.shareRoot,
  ): RecordRedeal['losses'] => [
    { index, signature: signatureOf(keyNamed(by), shareLossBytes({ chainId, record, index, shareRoot })) },
  ]
  assert.equal(announce(world, 'north', loss(2, 'north')), 'refused: already-exists', 'another’s place')
  assert.equal(announce(world, 'north', loss(2, 'fifth')), 'refused: already-exists', 'a stranger')
  assert.equal(announce(world, 'north', loss(9, 'east')), 'refused: already-exists', 'no place')
  assert.equal(announce(world, 'north', loss(2, 'east', digestNamed('old root'))), 'refused: already-exists')
  assert.equal(announce(world, 'south', loss(2, 'east')), 'refused: not-authorized')
  const good = loss(2, 'east')
  assert.equal(announce(world, 'north', good), 'done')
  assert.equal(reasonOf(world.do('north', reshare(world, [0, 1, 3]))), 'done')
  assert.equal(announce(world, 'north', good), 'refused: already-exists', 'it was lost under the former root')
})

test('when a hospital takes another’s place in the committee, the custodian alone announces a re-deal, and repeats it', () => {
  const world = makeClinic(GENESIS)
  joined(world)
  for (const by of ['south', 'fifth', 'patient', 'doctor', 'authority-1'])
    assert.equal(announce(world, by), 'refused: not-authorized', by)
  assert.equal(announce(world), 'done')
  const first = world.views.redeal(record)
  assert.equal(announce(world), 'done')
  assert.notEqual(world.views.redeal(record)?.intent, first?.intent)
  assert.equal(world.views.redeal(record)?.height, world.ledger.head().height)
})

test('a new deal counts with 2f+1 signatures of the new committee, and changes nothing but where the key lies', () => {
  const world = makeClinic(GENESIS)
  joined(world)
  announce(world)
  const before = world.views.record(record)!
  const { height } = world.views.redeal(record)!
  assert.equal(reasonOf(world.do('north', reshare(world, [0, 2]))), 'refused: not-acknowledged')
  assert.deepEqual(world.views.record(record), before)
  assert.equal(reasonOf(world.do('north', reshare(world, [0, 2, 3]))), 'done')
  const after = world.views.record(record)
  assert.deepEqual(after, { ...before, shareRoot: digestNamed('new shares'), dealtAt: height })
  assert.equal(world.views.redeal(record), null)
  assert.equal(announce(world), 'refused: already-exists')
})

const wrong: readonly (readonly [what: string, change: (world: World) => Partial<RecordReshare>, answer: string])[] = [
  ['another intent', () => ({ intent: digestNamed('other') as RequestId }), 'refused: redeal-closed'],
  ['signatures for another root', () => ({ shareRoot: digestNamed('others') }), 'refused: not-acknowledged'],
  ['the present root', world => ({ shareRoot: world.views.record(record)!.shareRoot }), 'refused: invalid-operation'],
  ['a root that is none', () => ({ shareRoot: 'zz' as never }), 'refused: invalid-operation'],
  ['too few shares', () => ({ shareCount: 3 }), 'refused: invalid-operation'],
  ['a threshold that f reach', () => ({ threshold: 1 }), 'refused: invalid-operation'],
  ['a threshold that n-f miss', () => ({ threshold: 4 }), 'refused: invalid-operation'],
  ['a threshold of n-f', () => ({ threshold: 3 }), 'done'],
  [
    'one signature three times',
    world => ({ acks: Array(3).fill(reshare(world, [1]).acks[0]) }),
    'refused: not-acknowledged',
  ],
  [
    'a signature of no member',
    world => ({ acks: [...reshare(world, [0, 1]).acks, { index: 9, signature: new Uint8Array(32) }] }),
    'refused: not-acknowledged',
  ],
  [
    'a signature at another’s place',
    world => ({ acks: reshare(world, [0, 1, 2]).acks.map((ack, i) => ({ ...ack, index: (i + 1) % 3 })) }),
    'refused: not-acknowledged',
  ],
]
for (const [what, change, answer] of wrong)
  test(`record.reshare with ${what} → ${answer}`, () => {
    const world = makeClinic(GENESIS)
    joined(world)
    announce(world)
    assert.equal(reasonOf(world.do('north', { ...reshare(world, [0, 1, 2]), ...change(world) })), answer)
  })

test('signatures for one announcement are worth nothing for the next', () => {
  const world = makeClinic(GENESIS)
  joined(world)
  announce(world)
  const { acks } = reshare(world, [0, 1, 2])
  announce(world)
  assert.equal(reasonOf(world.do('north', reshare(world, [], { acks }))), 'refused: not-acknowledged')
})

test('the committee changes again, custody passes or the record is withdrawn: the announcement is over', () => {
  for (const end of ['committee', 'custody', 'withdrawal'] as const) {
    const world = makeClinic(GENESIS)
    joined(world)
    announce(world)
    const made = reshare(world, [0, 1, 2])
    if (end === 'committee') {
      world.agree({ type: 'institution.remove', institution: idNamed('east') })
      nextEpoch(world)
    }
    if (end === 'custody')
      for (const by of ['north', 'south']) world.do(by, { type: 'record.adopt', record, custodian: idNamed('south') })
    if (end === 'withdrawal') world.do('north', { type: 'record.withdraw', record })
    const expected = end === 'committee' ? 'refused: redeal-closed' : 'refused: not-authorized'
    assert.equal(reasonOf(world.do('north', made)), expected, end)
    if (end === 'custody') {
      assert.equal(reasonOf(world.do('south', made)), 'refused: redeal-closed')
      assert.equal(announce(world, 'south'), 'done')
    }
    if (end === 'withdrawal') assert.equal(announce(world), 'refused: not-authorized')
  }
})

test('a record may be registered with shares of the epoch that just ended, and of no other', () => {
  const world = makeClinic(GENESIS)
  joined(world)
  const { start } = world.views.store.epochs.get('now')!
  const register = (name: string, dealtAt: number): string =>
    reasonOf(world.do('north', recordRegister(name, { dealtAt })))
  assert.equal(register('before', start - 1), 'done')
  assert.equal(register('now', start), 'done')
  assert.equal(register('never', 0), 'refused: invalid-operation')
  assert.equal(register('ahead', start + 100), 'refused: invalid-operation')
  world.agree({ type: 'institution.remove', institution: idNamed('east') })
  nextEpoch(world)
  assert.equal(register('two epochs ago', start - 1), 'refused: invalid-operation')
})

test('a key can be dealt to a hospital that was removed, for it validates until its epoch ends', () => {
  const world = makeClinic(GENESIS)
  world.agree({ type: 'institution.remove', institution: idNamed('east') })
  const facts = ledgerFacts(world.ledger)
  const sealers = sealersOf(facts, presentCommittee(facts))
  assert.deepEqual(
    sealers.map(({ name, removed }) => [name, removed]),
    [
      ['north', false],
      ['south', false],
      ['east', true],
      ['west', false],
    ],
  )
})

test('the same members under the same f hold a key as well as before', () => {
  const four = committeeOfTest(makeGenesis())
  const reordered = { ...four, validators: [...four.validators].reverse() }
  const [first, ...rest] = four.validators
  assert.equal(dealStands(four, reordered), true)
  assert.equal(dealStands(four, { ...four, validators: rest }), false)
  assert.equal(dealStands(four, { ...four, validators: [...rest, { ...first!, publicKey: keyNamed('other') }] }), false)
  assert.equal(dealStands(four, { ...four, quorum: { ...four.quorum, f: 2 } }), false)
  assert.equal(acksNeeded(four), 3)
})
