// The authority's m of n (P-30), the ranking, and a committee that changes only between epochs (P-31).

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import { APPROVAL_MS } from '../../src/ledger/approvals.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { asHeight, type PeerId } from '../../src/model/ids.ts'
import type { InstitutionAdmit, Operation } from '../../src/model/operations.ts'
import {
  digestNamed,
  HOSPITALS,
  idNamed,
  keyNamed,
  makeClinic,
  makeGenesis,
  makeLedger,
  reasonOf,
  World,
} from './world.ts'

const admit = (name: string, change: Partial<InstitutionAdmit> = {}): InstitutionAdmit => ({
  ...{ type: 'institution.admit', name, publicKey: keyNamed(name), peerId: `peer-${name}` as PeerId },
  ...{ sealKey: 'cd'.repeat(1216), region: 'r', score: 500, ...change },
})
const rate = (name: string, score: number): Operation => ({
  type: 'institution.rate',
  institution: idNamed(name),
  score,
})
const names = (world: World, height: number): string[] =>
  (world.ledger.committeeAt(asHeight(height))?.validators ?? []).map(({ name }) => name)

test('an operation of the authority takes effect when enough distinct keys have submitted an equal one', () => {
  const world = new World()
  assert.equal(reasonOf(world.do('authority-1', admit('fifth'))), 'done')
  assert.equal(world.views.institution(idNamed('fifth')), null)
  assert.equal(world.views.approvals().length, 1)
  assert.equal(reasonOf(world.do('authority-1', admit('fifth'))), 'done')
  assert.equal(world.views.institution(idNamed('fifth')), null, 'the same key twice is one key')
  assert.equal(reasonOf(world.do('authority-2', admit('fifth', { score: 501 }))), 'done')
  assert.equal(world.views.institution(idNamed('fifth')), null, 'another score is another operation')
  assert.equal(reasonOf(world.do('authority-3', admit('fifth'))), 'done')
  assert.equal(world.views.institution(idNamed('fifth'))?.score, 500)
})

test('an approval that stayed alone for a week no longer counts', () => {
  const world = new World()
  world.do('authority-1', admit('fifth'))
  world.wait(APPROVAL_MS)
  world.do('authority-2', admit('fifth'))
  assert.equal(world.views.institution(idNamed('fifth')), null)
  world.do('authority-1', admit('fifth'))
  assert.notEqual(world.views.institution(idNamed('fifth')), null)
})

const parameters = makeGenesis().parameters
const refusals: readonly (readonly [what: string, by: string, operation: Operation, answer: string])[] = [
  ['a hospital admits', 'north', admit('fifth'), 'refused: not-authorized'],
  ['a CA rates', 'ca-north', rate('north', 1), 'refused: not-authorized'],
  ['one that is there is admitted', 'authority-1', admit('north'), 'refused: already-exists'],
  ['a seal key is short', 'authority-1', admit('fifth', { sealKey: 'cd' }), 'refused: invalid-operation'],
  ['a score is no whole number', 'authority-1', rate('north', 0.5), 'refused: invalid-operation'],
  ['a score is below zero', 'authority-1', rate('north', -1), 'refused: invalid-operation'],
  ['a stranger is rated', 'authority-1', rate('nowhere', 1), 'refused: unknown-institution'],
  [
    'a stranger is removed',
    'authority-1',
    { type: 'institution.remove', institution: idNamed('nowhere') },
    'refused: unknown-institution',
  ],
  [
    'more faults than four can bear',
    'authority-1',
    { type: 'validators.set', f: 2, p: 0, parameters },
    'refused: invalid-operation',
  ],
  ['no faults', 'authority-1', { type: 'validators.set', f: 0, p: 0, parameters }, 'refused: invalid-operation'],
  [
    'a share threshold of one',
    'authority-1',
    { type: 'validators.set', f: 1, p: 0, parameters: { ...parameters, shareThreshold: 1 } },
    'refused: invalid-operation',
  ],
  [
    'a share threshold above n-f',
    'authority-1',
    { type: 'validators.set', f: 1, p: 0, parameters: { ...parameters, shareThreshold: 4 } },
    'refused: invalid-operation',
  ],
  [
    'a grant without end',
    'authority-1',
    { type: 'validators.set', f: 1, p: 0, parameters: { ...parameters, grantMs: 1e15 } },
    'refused: invalid-operation',
  ],
  ['an unknown CA is revoked', 'authority-1', { type: 'ca.revoke', ca: idNamed('nobody') }, 'refused: unknown-user'],
  [
    'a CA for a stranger',
    'authority-1',
    { type: 'ca.authorize', publicKey: keyNamed('ca'), institutions: [idNamed('nowhere')] },
    'refused: unknown-institution',
  ],
  [
    'a CA for nobody',
    'authority-1',
    { type: 'ca.authorize', publicKey: keyNamed('ca'), institutions: [] },
    'refused: invalid-operation',
  ],
  [
    'relations with an unknown purpose',
    'authority-1',
    { type: 'relations.set', relations: { ...DEFAULT_RELATIONS, rolePurposes: [{ key: 'nurse', values: ['HEAL'] }] } },
    'refused: unknown-code',
  ],
]
for (const [what, by, operation, answer] of refusals)
  test(`refused when ${what}`, () => {
    const world = new World()
    assert.equal(reasonOf(world.do(by, operation)), answer)
    assert.equal(world.views.approvals().length, 0)
  })

test('relations.set changes decisions from the next request on', () => {
  const world = makeClinic()
  world.policy('patient')
  assert.equal(world.ask('doctor').type, 'granted')
  const rolePurposes = DEFAULT_RELATIONS.rolePurposes.filter(row => row.key !== 'attending')
  world.agree({ type: 'relations.set', relations: { ...DEFAULT_RELATIONS, rolePurposes } })
  assert.equal(reasonOf(world.ask('doctor')), 'denied: role-purpose')
})

test('the users of a removed hospital are refused; its patients keep what is theirs', () => {
  const world = makeClinic()
  world.policy('patient')
  world.agree({ type: 'institution.remove', institution: idNamed('south') })
  assert.equal(reasonOf(world.ask('doctor')), 'denied: credential-revoked')
  world.agree({ type: 'institution.remove', institution: idNamed('north') })
  assert.equal(world.ask('patient', { role: 'patient' }).type, 'granted')
  assert.equal(reasonOf(world.register('late', 'north')), 'refused: unknown-institution')
  world.agree(admit('south'))
  assert.equal(world.ask('doctor').type, 'granted')
})

test('the committee follows the ranking at an epoch’s end, never inside it', () => {
  const world = new World(makeGenesis({}, { epochBlocks: 10 }))
  assert.deepEqual(names(world, 1), [...HOSPITALS])
  world.agree(admit('fifth', { score: 850 }))
  world.agree(rate('west', 2000))
  assert.deepEqual(names(world, world.ledger.head().height + 1), [...HOSPITALS])
  assert.deepEqual(names(world, 10), [...HOSPITALS])
  assert.equal(world.ledger.committeeAt(asHeight(11)), null, 'not known before the epoch’s last block')
  while (world.ledger.head().height < 10) world.executeAll([])
  assert.deepEqual(names(world, 11), ['west', 'north', 'fifth', 'south'])
  assert.deepEqual(names(world, 10), [...HOSPITALS], 'old blocks are judged by their own committee')
  assert.deepEqual(names(world, 20), ['west', 'north', 'fifth', 'south'])
  assert.equal(world.ledger.committeeAt(asHeight(21)), null)
  assert.equal(world.ledger.committeeAt(asHeight(0)), null)
})

test('ties in the ranking are broken by id', () => {
  const world = new World(makeGenesis({}, { epochBlocks: 10 }))
  for (const name of HOSPITALS) world.agree(rate(name, 7))
  while (world.ledger.head().height < 10) world.executeAll([])
  assert.deepEqual(
    names(world, 11),
    [...HOSPITALS].sort((a, b) => (idNamed(a) < idNamed(b) ? -1 : 1)),
  )
})

test('a set that IMPBFT cannot run with leaves the old committee in place', () => {
  const world = new World(makeGenesis({}, { epochBlocks: 5 }))
  world.agree({ type: 'institution.remove', institution: idNamed('west') })
  while (world.ledger.head().height < 5) world.executeAll([])
  assert.deepEqual(names(world, 6), [...HOSPITALS])
  world.agree(admit('fifth', { score: 1 }))
  while (world.ledger.head().height < 10) world.executeAll([])
  assert.deepEqual(names(world, 11), ['north', 'south', 'east', 'fifth'])
})

test('an epoch with another committee begins with the first in the ranking; within a committee the author stays', () => {
  const world = new World(makeGenesis({}, { epochBlocks: 5 }))
  const execute = (author: number): void => {
    const block = world.block([])
    world.nowMs += 1000
    const header = { ...block.header, author: author as typeof block.header.author }
    world.ledger.execute({ ...block, header, id: digestNamed(`block ${header.height}`) as string as typeof block.id })
  }
  for (let height = 1; height <= 5; height++) execute(2)
  assert.equal(world.ledger.head().author, 2, 'the same committee goes on')
  world.agree(rate('west', 2000))
  while (world.ledger.head().height < 10) execute(2)
  assert.deepEqual(names(world, 11).slice(0, 2), ['west', 'north'])
  assert.equal(world.ledger.head().author, 0)
})

test('the lead moves to the next validator every R blocks, from the last to the first, and never where R is 0', () => {
  const bases = (rotationBlocks: number): number[] => {
    const world = new World(makeGenesis({}, { rotationBlocks }))
    return Array.from({ length: 13 }, () => {
      const block = world.block([])
      world.nowMs += 1000
      const header = { ...block.header, author: world.ledger.head().author }
      world.ledger.execute({ ...block, header, id: digestNamed(`block ${header.height}`) as string as typeof block.id })
      return world.ledger.head().author
    })
  }
  // Heights 2 to 14.
  assert.deepEqual(bases(3), [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0])
  assert.deepEqual(bases(1), [1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
  assert.deepEqual(new Set(bases(0)), new Set([0]))
})

test('a genesis whose parts do not fit is refused', () => {
  const genesis = makeGenesis()
  const bad = [
    { ...genesis, authority: { threshold: 4, keys: genesis.authority.keys } },
    { ...genesis, authority: { threshold: 1, keys: [keyNamed('a'), keyNamed('a')] } },
    { ...genesis, relations: { ...genesis.relations, rolePurposes: [{ key: 'nurse', values: ['HEAL'] }] } },
    { ...genesis, parameters: { ...genesis.parameters, epochBlocks: 0 } },
    { ...genesis, cas: [{ publicKey: keyNamed('ca'), institutions: [idNamed('nowhere')] }] },
    { ...genesis, institutions: [...genesis.institutions, genesis.institutions[0]!] },
  ]
  for (const wrong of bad)
    assert.throws(
      () => makeLedger(wrong),
      error => error instanceof EmrmError && error.code === 'genesis-invalid',
    )
})

test('a restored peer knows the committees of old heights and of the present epoch', () => {
  const genesis = makeGenesis({}, { epochBlocks: 5 })
  const world = new World(genesis)
  world.agree(rate('west', 2000))
  while (world.ledger.head().height < 6) world.executeAll([])
  const { changes, height, root } = world.ledger.checkpoint()
  const entries = new Map([...changes].flatMap(([key, value]) => (value === null ? [] : [[key, value] as const])))
  const ledger = makeLedger(genesis)
  ledger.restore(entries, height, root, world.blocks.at(-1)!)
  for (const at of [0, 1, 5, 6, 10, 11])
    assert.deepEqual(ledger.committeeAt(asHeight(at)), world.ledger.committeeAt(asHeight(at)), `height ${at}`)
  assert.deepEqual(ledger.head(), world.ledger.head())
})
