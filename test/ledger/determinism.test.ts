// The same blocks give the same state on every peer, however it came by them: executed in one go, or restored from a checkpoint at any
// height and continued. The blocks hold every kind of operation, by everybody, most of it not allowed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EmrmError } from '../../src/model/errors.ts'
import type { PeerId, RequestId, Timestamp } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import {
  accessRequest,
  digestNamed,
  FOREVER,
  idNamed,
  keyNamed,
  makeGenesis,
  makeLedger,
  policySet,
  recordNamed,
  recordRegister,
  userRegister,
  World,
} from './world.ts'

const GENESIS = makeGenesis(
  {},
  {
    epochBlocks: 3,
    retentionOutpatientMs: 4000,
    requestWindowPastMs: 4000,
    requestWindowFutureMs: 2000,
    emergencyReviewMs: 60_000,
  },
)
const ACTORS = [
  'patient',
  'doctor',
  'medic',
  'medic',
  'north',
  'south',
  'ca-north',
  'authority-1',
  'authority-2',
  'stranger',
]
const at = (ms: number): Timestamp => ms as Timestamp
const owner = idNamed('patient')
const NOTHING = digestNamed('nothing') as RequestId

/** Some operation of each kind; `grant` and `policy` name what is there. */
const operations = (n: number, grant: RequestId, policy: RequestId): readonly Operation[] => [
  policySet('patient', { timestamp: at(n), effect: n % 7 === 0 ? 'deny' : 'permit', anonymous: n % 3 === 0 }),
  policySet('patient', {
    timestamp: at(n),
    scope: { type: 'record', record: recordNamed('a') },
    grantee: { type: 'anyone' },
    purposes: ['BTG', 'TREAT'],
  }),
  { type: 'policy.revoke', owner, policy, timestamp: at(n) },
  {
    type: 'delegate.set',
    owner,
    delegate: idNamed('doctor'),
    kind: n % 2 ? 'guardian' : 'delegate',
    scope: { type: 'all' },
    from: at(0),
    to: FOREVER,
    timestamp: at(n),
  },
  { type: 'delegate.revoke', owner, delegate: idNamed('doctor'), timestamp: at(n) },
  accessRequest({
    record: recordNamed('a'),
    role: n % 2 ? 'attending' : 'emergency',
    purpose: n % 5 ? 'TREAT' : 'BTG',
  }),
  accessRequest({ record: recordNamed(`${n}`) }),
  { type: 'access.emergency', record: recordNamed('a'), role: 'emergency', reason: 'r', recipient: digestNamed('r') },
  { type: 'access.receipt', grant, sha256Commitment: digestNamed('commitment') },
  { type: 'access.review', grant, verdict: n % 2 ? 'justified' : 'rejected', note: 'n' },
  recordRegister('a'),
  recordRegister('twin', { twinOf: recordNamed('a') }),
  recordRegister(`${n}`, { labels: ['HIV'] }),
  { type: 'record.withdraw', record: recordNamed(n % 2 ? 'twin' : `${n}`) },
  { type: 'record.adopt', record: recordNamed('a'), custodian: idNamed(n % 2 ? 'north' : 'south') },
  { type: 'record.redeal', record: recordNamed('a'), recipient: digestNamed('recipient'), losses: [] },
  {
    type: 'record.reshare',
    ...{
      record: recordNamed('a'),
      intent: NOTHING,
      shareRoot: digestNamed(`${n}`),
      shareCount: 4,
      threshold: 2,
      acks: [],
    },
  },
  { type: 'record.ask-erasure', record: recordNamed(n % 2 ? 'a' : `${n}`) },
  { type: 'record.erase', record: recordNamed(n % 2 ? 'a' : `${n}`) },
  { type: 'record.destroyed', record: recordNamed(n % 3 ? 'a' : 'twin'), destroyed: n % 2 ? ['share'] : [] },
  userRegister(`user-${n}`, 'north'),
  { type: 'user.revoke', user: idNamed(`user-${n}`) },
  {
    type: 'credential.issue',
    ...{ credential: digestNamed(`credential ${n % 3}`), user: idNamed('doctor'), publicKey: keyNamed('doctor') },
    ...{ roles: ['quality'], attributes: [], validUntil: FOREVER },
  },
  { type: 'credential.revoke', user: idNamed('doctor'), credential: digestNamed(`credential ${n % 3}`) },
  { type: 'user.rotate-key', user: idNamed('doctor'), publicKey: keyNamed(`doctor-${n % 3}`), scheme: 1 },
  { type: 'institution.rate', institution: idNamed('west'), score: 1000 + n },
  { type: 'institution.remove', institution: idNamed('east') },
  {
    type: 'institution.admit',
    name: 'fifth',
    publicKey: keyNamed('fifth'),
    peerId: 'p' as PeerId,
    sealKey: 'ab'.repeat(1216),
    region: '',
    score: n,
  },
  {
    type: 'validators.set',
    f: 1,
    p: 0,
    parameters: { ...GENESIS.parameters, epochBlocks: 1 + (n % 4), requestWindowPastMs: 3000 + n },
  },
  { type: 'ca.authorize', publicKey: keyNamed('ca-new'), institutions: [idNamed('west')] },
  { type: 'ca.revoke', ca: idNamed('ca-new') },
  {
    type: 'relations.set',
    relations: { ...GENESIS.relations, rolePermissions: GENESIS.relations.rolePermissions.slice(n % 2) },
  },
  {
    type: 'evidence.submit',
    validator: idNamed('west'),
    fault: 'two-commits-in-one-view',
    height: 1 + (n % 3),
    first: new Uint8Array(1),
    second: new Uint8Array(1),
  },
]

/** Who may. */
function fitting(operation: Operation, n: number): string {
  const group = operation.type.slice(0, operation.type.indexOf('.'))
  if (operation.type === 'record.ask-erasure') return 'patient'
  if (group === 'policy' || group === 'delegate') return 'patient'
  if (group === 'credential') return 'ca-south'
  if (group === 'user') return operation.type === 'user.rotate-key' ? 'ca-south' : 'ca-north'
  if (group === 'record' || group === 'evidence' || operation.type === 'access.review') return 'north'
  if (group === 'access') return operation.type === 'access.emergency' || n % 4 === 0 ? 'medic' : 'doctor'
  return n % 2 === 0 ? 'authority-1' : 'authority-2'
}

const KINDS = operations(0, NOTHING, NOTHING)
const ACCESS = KINDS.flatMap(({ type }, i) => (/^access|policy.set/.test(type) ? [i] : []))

const step = fc.record({
  /** null: who may. */
  actor: fc.option(fc.constantFrom(...ACTORS), { freq: 2 }),
  // What hangs on other operations needs more tries to come true.
  kind: fc.oneof(
    { arbitrary: fc.nat({ max: KINDS.length - 1 }), weight: 2 },
    { arbitrary: fc.constantFrom(...ACCESS), weight: 1 },
  ),
  number: fc.nat({ max: 30 }),
  earlier: fc.nat(),
  waitMs: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1500, 5000),
  replay: fc.integer({ min: 0, max: 9 }).map(n => n === 0),
})
const plan = fc.record({
  blocks: fc.array(fc.array(step, { maxLength: 8, size: 'max' }), { minLength: 1, maxLength: 12, size: 'max' }),
  checkpointAt: fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 3 }),
})

test('a peer that restores a checkpoint and replays the rest agrees on every root and every outcome', () => {
  const kinds = new Set<string>()
  fc.assert(
    fc.property(plan, ({ blocks, checkpointAt }) => {
      const world = new World(GENESIS, () => true)
      world.register('patient', 'north', { roles: ['patient'] })
      world.register('doctor', 'south', { roles: ['attending', 'emergency'] })
      world.register('medic', 'south', { roles: ['emergency', 'quality'] })
      world.do('north', recordRegister('a'))
      const seen = world.blocks.flatMap(block => block.requests)
      const grants: RequestId[] = []
      // The storage's side: entries as they were saved, from deltas.
      const saved = new Map<string, Uint8Array>()
      const restored: { ledger: ReturnType<typeof makeLedger>; from: number }[] = []
      for (const [index, steps] of blocks.entries()) {
        if (checkpointAt.includes(index)) {
          const { changes, height, root } = world.ledger.checkpoint()
          for (const [key, value] of changes)
            if (value === null) saved.delete(key)
            else saved.set(key, value)
          const ledger = makeLedger(GENESIS, () => true)
          // In another order than they were written.
          ledger.restore(new Map([...saved].reverse()), height, root, world.blocks.at(-1)!)
          assert.deepEqual(ledger.head(), world.ledger.head())
          restored.push({ ledger, from: height })
        }
        const requests = steps.map(({ actor, kind, number, earlier, waitMs, replay }) => {
          world.wait(waitMs)
          const policy = world.views.policiesOf(owner)[0]?.id ?? NOTHING
          const past = seen[earlier % seen.length]!
          const operation = operations(number, grants[earlier % grants.length] ?? NOTHING, policy)[kind]!
          const request = replay ? past : world.request(actor ?? fitting(operation, earlier), operation)
          seen.push(request)
          return request
        })
        const { outcomes } = world.executeAll(requests)
        const block = world.blocks.at(-1)!
        for (const [i, outcome] of outcomes.entries()) {
          kinds.add(`${requests[i]?.operation.type} ${outcome.type}`)
          if (outcome.type === 'granted') grants.push(outcome.grant.grant)
        }
        for (const { ledger } of restored) {
          assert.equal(ledger.checkBlock(block, false, 0), null)
          assert.deepEqual(ledger.execute(block).outcomes, outcomes)
          assert.equal(ledger.stateRoot(), world.ledger.stateRoot())
          assert.deepEqual(ledger.head(), world.ledger.head())
        }
      }
      const replayed = makeLedger(GENESIS, () => true)
      for (const block of world.blocks) replayed.execute(block)
      assert.equal(replayed.stateRoot(), world.ledger.stateRoot())
      for (const ledger of [replayed, ...restored.map(each => each.ledger)]) sameViews(ledger, world)
    }),
    { numRuns: 300 },
  )
  // The property means little unless the operations have effects.
  for (const kind of [
    'access.request granted',
    'access.emergency granted',
    'policy.revoke done',
    'access.receipt done',
    'access.review done',
    'evidence.submit done',
    'credential.issue done',
  ])
    assert.ok(kinds.has(kind), kind)
})

function sameViews(ledger: ReturnType<typeof makeLedger>, world: World): void {
  const views = [ledger.views, world.views]
  const [a, b] = views.map(view => ({
    decisions: view.decisionsOf({ owner }),
    byUser: view.decisionsOf({ user: idNamed('doctor') }),
    records: view.recordsOf(owner),
    held: view.recordsOfCustodian(idNamed('south')),
    users: view.usersOf(idNamed('north')),
    policies: view.policiesOf(owner),
    delegates: view.delegatesOf(owner),
    approvals: view.approvals(),
    erasure: view.erasure(recordNamed('a')),
    erased: [view.erasedCount(), view.receiptsOwed(idNamed('north'))],
    executed: world.blocks.flatMap(block =>
      block.requests.map(({ id }) => ledger.isExecuted(id) === world.ledger.isExecuted(id)),
    ),
  }))
  assert.deepEqual(a, b)
  assert.ok(a?.executed.every(equal => equal))
}

test('a checkpoint that was tampered with is refused', () => {
  const world = new World(GENESIS)
  world.register('patient', 'north', { roles: ['patient'] })
  const { changes, height, root } = world.ledger.checkpoint()
  const entries = new Map([...changes].flatMap(([key, value]) => (value === null ? [] : [[key, value] as const])))
  const block = world.blocks.at(-1)!
  const corrupt = (error: unknown): boolean => error instanceof EmrmError && error.code === 'checkpoint-corrupt'
  const restore = (given: typeof entries, heightGiven = height): void =>
    makeLedger(GENESIS).restore(given, heightGiven, root, block)
  restore(entries)
  const missing = new Map(entries)
  missing.delete(`user/${idNamed('patient')}`)
  assert.throws(() => restore(missing), corrupt)
  const changed = new Map(entries)
  changed.set(`user/${idNamed('patient')}`, new Uint8Array(3))
  assert.throws(() => restore(changed), corrupt)
  const added = new Map(entries)
  added.set('grant/0', new Uint8Array(1))
  assert.throws(() => restore(added), corrupt)
  assert.throws(() => restore(entries, (height + 1) as typeof height), corrupt)
  assert.throws(
    () =>
      makeLedger(GENESIS).restore(entries, height, root, {
        ...block,
        header: { ...block.header, chainId: digestNamed('other') },
      }),
    corrupt,
  )
})
