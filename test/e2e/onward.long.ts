// The right to share (P-42), through running peers: the hospital that has it holds a copy and hands it on under the same policy, also when the
// custodian is away; each further reader needs a grant of their own, and every reader's receipt is on the chain for the patient to see.

import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import { agreed, emrmJson, errorCode, eventually, type Swarm, type SwarmPeer, settled, startSwarm } from './swarm.ts'

const content = observation('handed on')
let swarm: Swarm
let patient: Person
let sharer: Person
let reader: Person
let record: string
const grants = new Map<Person, string>()
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer

before(async () => {
  // No copies but the custodian's: what is served without it comes from who was given it to share.
  swarm = await startSwarm({ parameters: { replicas: 0 } })
  patient = await person(swarm, at(0), 'patient', ['patient'])
  sharer = await person(swarm, at(1), 'sharer', ['attending'])
  reader = await person(swarm, at(2), 'reader', ['attending'])
  record = await addRecord(swarm, at(0), patient, content)
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'share'])
})
after(() => swarm?.stop())

async function read(who: Person, right: 'read' | 'share'): Promise<void> {
  const out = outFile(swarm)
  const ran = await request(who, record, 'attending', 'TREAT', out, ['--right', right])
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(await readFile(out, 'utf8'), content)
  assert.notEqual(ran.json?.['receipt'], null)
  grants.set(who, String(ran.json?.['grant']))
}

test('without the right to share nobody but the custodian serves: with it away the record cannot be had', async () => {
  await at(0).stop()
  const ran = await request(reader, record, 'attending', 'TREAT', outFile(swarm))
  assert.deepEqual([ran.code, errorCode(ran)], [1, 'record-unavailable'])
  await at(0).start()
  await settled(swarm.peers)
})

test('who was granted to share holds a copy, and hands it on to a reader with a grant while the custodian is away', async () => {
  await read(sharer, 'share')
  const folder = join(at(1).home, 'vault', record.slice(0, 2), record)
  await eventually(async () => assert.ok((await readdir(folder)).includes('index')), 30_000)
  await at(0).stop()
  await read(reader, 'read')
  // A hospital that holds a copy is not thereby entitled to more: a person without a grant has none.
  const clerk = await person(swarm, at(1), 'clerk', ['clerk'])
  const ran = await request(clerk, record, 'clerk', 'HPAYMT', outFile(swarm))
  assert.deepEqual([ran.code, ran.json?.['reason']], [3, 'no-policy'])
  await at(0).start()
  await agreed(swarm.peers)
})

test('the patient sees each onward reading with its receipt, and so does the custodian who was away', async () => {
  type Entry = {
    readonly type: string
    readonly by: string
    readonly result: string
    readonly details: { grant?: string }
  }
  for (const who of [['--key', patient.key], []]) {
    const { entries } = await emrmJson(['audit', '--home', at(0).home, '--record', record, ...who])
    const receipts = (entries as readonly Entry[]).filter(({ type }) => type === 'access.receipt')
    assert.deepEqual(
      receipts.map(({ by, result, details }) => [by, result, details.grant]),
      [sharer, reader].map(each => [each.id, 'done', grants.get(each)]),
    )
  }
})
