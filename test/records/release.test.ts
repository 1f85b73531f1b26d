// The door of a record's key: who gets a share, who gets none, and what the refusal tells.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRequestId, asTimestamp, type PeerId } from '../../src/model/ids.ts'
import type { Grant } from '../../src/model/operations.ts'
import { PROTOCOLS } from '../../src/ports.ts'
import { type Collected, collectShares } from '../../src/records/collect.ts'
import {
  decodeShareAnswer,
  encodeShareAnswer,
  encodeShareRequest,
  type ShareAnswer,
  type ShareRequest,
} from '../../src/records/frames.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { createSealKey, type SealKey } from '../../src/records/seal.ts'
import { combineShares, openReleasedShare } from '../../src/records/shares.ts'
import { chunked, fill, newIdentifier, newRecordId } from './support.ts'
import { countOf, type Hospital, makeWorld, never, START, type World } from './world.ts'

type Stage = {
  readonly world: World
  readonly reader: Hospital
  readonly validator: Hospital
  readonly recipient: SealKey
  readonly facts: RecordFacts
  readonly grant: Grant
  ask(): Promise<ShareAnswer>
}

async function stage(n = 4): Promise<Stage> {
  const world = await makeWorld(n)
  const [custodian, reader, validator] = world.hospitals
  const facts = await world.add(custodian!, fill(100_000))
  await custodian!.depositor.deliver(facts.record, never)
  const recipient = createSealKey()
  const grant = world.grant(facts, reader!, recipient)
  const asked = { grant: grant.grant, recipient: recipient.publicBytes }
  const ask = (): Promise<ShareAnswer> => world.clock.run(validator!.shares.answer(asked, reader!.facts.peerId))
  return { world, reader: reader!, validator: validator!, recipient, facts, grant, ask }
}

const NOT_AVAILABLE = { type: 'refused', reason: 'not-available', detail: '' }

test('a validator gives its share for a committed grant, sealed to the grant’s recipient', async () => {
  const { ask, recipient, facts, grant, validator } = await stage()
  const answer = await ask()
  assert.equal(answer.type, 'released')
  const opened = answer.type === 'released' ? await openReleasedShare(answer, recipient, facts, grant.grant) : null
  assert.equal(opened?.index, 2)
  assert.equal(validator.events.includes('share-released'), true)
})

test('each thing that stands against a release refuses it by its name', async () => {
  const rows: [string, (stage: Stage) => void, string, string][] = [
    ['nothing', () => {}, 'released', ''],
    [
      'head not fresh',
      s => {
        s.validator.freshness = 60_001
      },
      'policy-stale',
      '',
    ],
    [
      'head just fresh',
      s => {
        s.validator.freshness = 60_000
      },
      'released',
      '',
    ],
    [
      'cut off for ever',
      s => {
        s.validator.freshness = Number.POSITIVE_INFINITY
      },
      'policy-stale',
      '',
    ],
    [
      'block time at the end',
      s => {
        s.world.blockTime = s.grant.expires
      },
      'grant-expired',
      '',
    ],
    [
      'block time before the end',
      s => {
        s.world.blockTime = s.grant.expires - 1
      },
      'released',
      '',
    ],
    ['own clock at the end', s => s.world.clock.advance(3_600_000), 'grant-expired', ''],
    ['own clock before the end', s => s.world.clock.advance(3_599_999), 'released', ''],
    ['policy revoked', s => s.world.fallen.set(s.grant.grant, 'no-policy'), 'policy-revoked', 'no-policy'],
    ['patient denied', s => s.world.fallen.set(s.grant.grant, 'patient-denied'), 'policy-revoked', 'patient-denied'],
    [
      'house rule',
      s => {
        s.validator.house = { type: 'withhold', rule: 'no-nights' }
      },
      'withheld',
      'no-nights',
    ],
    ['withdrawn', s => s.world.records.set(s.facts.record, { ...s.facts, withdrawn: true }), 'record-withdrawn', ''],
    ['record unknown', s => s.world.records.delete(s.facts.record), 'not-available', ''],
  ]
  for (const [name, change, expected, detail] of rows) {
    const here = await stage()
    change(here)
    const answer = await here.ask()
    assert.equal(answer.type === 'refused' ? answer.reason : answer.type, expected, name)
    assert.equal(answer.type === 'refused' ? answer.detail : '', detail, name)
  }
})

test('an unknown grant, another’s grant, a wrong recipient key and an outsider get one and the same answer', async () => {
  const { world, reader, validator, recipient, grant } = await stage()
  const peer = reader.facts.peerId
  const unknown = asRequestId('ab'.repeat(32))
  const rows: [ShareRequest, PeerId][] = [
    [{ grant: unknown, recipient: recipient.publicBytes }, peer],
    [{ grant: grant.grant, recipient: createSealKey().publicBytes }, peer],
    [{ grant: unknown, recipient: createSealKey().publicBytes }, peer],
    [{ grant: grant.grant, recipient: recipient.publicBytes }, 'outsider' as PeerId],
  ]
  for (const [request, from] of rows)
    assert.deepEqual(await world.clock.run(validator.shares.answer(request, from)), NOT_AVAILABLE)
})

test('a grant whose block is on its way is waited for', async () => {
  const { world, grant, validator, reader, recipient } = await stage()
  world.grants.delete(grant.grant)
  const request = { grant: grant.grant, recipient: recipient.publicBytes }
  const answer = validator.shares.answer(request, reader.facts.peerId)
  await new Promise(resolve => setImmediate(resolve))
  world.grants.set(grant.grant, grant)
  world.nextBlock()
  assert.equal((await answer).type, 'released')
})

test('a revocation that arrives while the share is being sealed stops it', async () => {
  const { world, ask, validator, grant } = await stage()
  let calls = 0
  validator.vault.item = (item => async (record, name) => {
    calls++
    world.fallen.set(grant.grant, 'no-policy')
    return item(record, name)
  })(validator.vault.item)
  assert.deepEqual(await ask(), { type: 'refused', reason: 'policy-revoked', detail: 'no-policy' })
  assert.ok(calls > 0)
})

test('a validator without its share, or with a damaged or a foreign one, says that it has none', async () => {
  const { ask, validator, facts, world } = await stage()
  const good = (await validator.vault.item(facts.record, 'share'))!
  await validator.vault.removeItem(facts.record, 'share')
  assert.equal(await ask().then(answer => answer.type === 'refused' && answer.reason), 'no-share')
  await validator.vault.putItem(facts.record, 'share', fill(100))
  assert.equal(await ask().then(answer => answer.type === 'refused' && answer.reason), 'no-share')
  const foreign = (await world.hospitals[3]!.vault.item(facts.record, 'share'))!
  await validator.vault.putItem(facts.record, 'share', foreign)
  assert.equal(await ask().then(answer => answer.type === 'refused' && answer.reason), 'no-share')
  assert.equal(validator.events.includes('share-unusable'), true)
  await validator.vault.putItem(facts.record, 'share', good)
  assert.equal((await ask()).type, 'released')
})

test('bytes that are no request are answered like a stranger’s', async () => {
  const { validator, reader, grant, recipient } = await stage()
  const whole = encodeShareRequest({ grant: grant.grant, recipient: recipient.publicBytes })
  for (const bytes of [new Uint8Array(0), fill(100), whole.subarray(0, -1), Buffer.concat([whole, fill(1)])]) {
    const frames: Uint8Array[] = []
    for await (const frame of validator.shares.handle(chunked(bytes, bytes.length || 1), reader.facts.peerId))
      frames.push(frame)
    assert.ok(frames.length <= 1)
    if (frames[0]) assert.equal(Buffer.from(frames[0]).includes('not-available'), true)
  }
})

async function collect(here: Stage): Promise<Collected> {
  const { world, reader, recipient, facts, grant } = here
  const before = countOf(world, 'share-released', 'share-withheld')
  const honest = world.hospitals.length - world.silent.size - world.away.size
  return world.clock.run(
    collectShares(
      { ledger: world.ledger, network: reader.network, local: reader.shares, clock: world.clock },
      { entry: facts, grant: grant.grant, recipient: recipient.publicBytes, signal: never },
    ),
    () => countOf(world, 'share-released', 'share-withheld') === before + honest,
  )
}

async function keyOf(here: Stage): Promise<string> {
  const { shares } = await collect(here)
  const opened = await Promise.all(
    shares.map(share => openReleasedShare(share, here.recipient, here.facts, here.grant.grant)),
  )
  const combined = await combineShares(
    opened.filter(share => share !== null),
    here.facts,
    2,
  )
  return combined.type
}

test('a reader’s peer collects the shares of all who answer, its own among them', async () => {
  const here = await stage()
  const { shares, refusals } = await collect(here)
  assert.deepEqual([shares.map(({ index }) => index), refusals], [[0, 1, 2, 3], []])
  assert.equal(await keyOf(here), 'key')
})

test('f peers that are away, silent or lying cannot withhold a record', async () => {
  for (const wrong of ['away', 'silent', 'garbage', 'other-index', 'empty'] as const) {
    const here = await stage(7)
    for (const { facts } of here.world.hospitals.slice(5)) {
      if (wrong === 'away') here.world.away.add(facts.peerId)
      else if (wrong === 'silent') here.world.silent.add(facts.peerId)
      else
        here.world.liars.set(`${facts.peerId} ${PROTOCOLS.share}`, async function* (frames) {
          if (wrong === 'empty') return
          for await (const frame of frames) {
            const changed = new Uint8Array(frame)
            changed[wrong === 'garbage' ? 3 : 12]! ^= 1
            yield changed
          }
        })
    }
    const { shares } = await collect(here)
    assert.ok(shares.length >= 3, `${wrong}: ${shares.length}`)
    assert.equal(await keyOf(here), 'key', wrong)
  }
})

test('a share that the chain does not know is not counted, and its sender is named', async () => {
  const here = await stage()
  const liar = here.world.hospitals[3]!.facts
  here.world.liars.set(`${liar.peerId} ${PROTOCOLS.share}`, async function* (frames) {
    for await (const frame of frames) {
      const answer = decodeShareAnswer(frame)!
      yield encodeShareAnswer(answer.type === 'released' ? { ...answer, commit: fill(32) } : answer)
    }
  })
  const { shares, refusals } = await collect(here)
  assert.deepEqual(
    shares.map(({ index }) => index),
    [0, 1, 2],
  )
  assert.deepEqual(refusals, [{ peer: liar.peerId, institution: liar.name, reason: 'share-invalid', detail: '' }])
})

test('the collection waits until enough have answered, and then only a moment for the rest', async () => {
  const here = await stage()
  const [first, , third, fourth] = here.world.hospitals
  for (const [hospital, ms] of [
    [first, 1_000],
    [third, 1_100],
    [fourth, 9_000],
  ] as const)
    here.world.liars.set(`${hospital!.facts.peerId} ${PROTOCOLS.share}`, async function* (frames) {
      for await (const frame of frames) {
        await new Promise<void>(resolve => here.world.clock.after(ms, resolve))
        yield frame
      }
    })
  const { shares } = await collect(here)
  assert.deepEqual(
    shares.map(({ index }) => index),
    [0, 1, 2],
  )
  assert.equal(here.world.clock.nowMs(), START + 1_200)
})

test('f peers that release cannot leak a record when the others withhold it', async () => {
  const here = await stage()
  for (const hospital of here.world.hospitals.slice(1)) hospital.house = { type: 'withhold', rule: 'closed' }
  const { shares, refusals } = await collect(here)
  assert.equal(shares.length, 1)
  assert.deepEqual(
    refusals.map(({ institution, reason, detail }) => [institution, reason, detail]).sort(),
    ['hospital-2', 'hospital-3', 'hospital-4'].map(name => [name, 'withheld', 'closed']),
  )
  assert.equal(await keyOf(here), 'insufficient')
})

test('every refusal says who and why', async () => {
  const here = await stage()
  const [custodian, , validator, other] = here.world.hospitals
  here.world.away.add(custodian!.facts.peerId)
  validator!.freshness = 99_999
  await other!.vault.removeItem(here.facts.record, 'share')
  const { refusals } = await collect(here)
  assert.deepEqual(refusals.map(({ institution, reason }) => `${institution} ${reason}`).sort(), [
    'hospital-1 no-answer',
    'hospital-3 policy-stale',
    'hospital-4 no-share',
  ])
})

test('a caller who leaves ends the collection', async () => {
  const here = await stage()
  for (const { facts } of here.world.hospitals) here.world.silent.add(facts.peerId)
  here.reader.house = { type: 'withhold', rule: 'closed' }
  const leaving = new AbortController()
  const work = collectShares(
    { ledger: here.world.ledger, network: here.reader.network, local: here.reader.shares, clock: here.world.clock },
    { entry: here.facts, grant: here.grant.grant, recipient: here.recipient.publicBytes, signal: leaving.signal },
  )
  leaving.abort(new Error('gone'))
  await assert.rejects(work, /gone/)
})

test('a grant for a record that the validator never got a share of is refused without a trace of why', async () => {
  const { world, reader, validator, recipient } = await stage()
  const facts = { ...world.records.values().next().value!, record: newRecordId(), owner: newIdentifier() }
  const grant = { ...world.grant(facts, reader, recipient), expires: asTimestamp(START + 1000) }
  const request = { grant: grant.grant, recipient: recipient.publicBytes }
  assert.deepEqual(await validator.shares.answer(request, reader.facts.peerId), NOT_AVAILABLE)
})
