// Where a patient's grant meets a hospital's refusal, through running peers: one hospital that withholds stops nobody, the requester hears
// its name and its rule; too many do, and the same. Rules change while the peers run.

import assert from 'node:assert/strict'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { addRecord, observation, type Person, permit, person } from './people.ts'
import { createSwarm, emrm, eventually, type Ran, type Swarm, type SwarmPeer, settled } from './swarm.ts'

let swarm: Swarm
let patient: Person
let doctor: Person
let record: string
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer

const NO_TREATMENT = `@id("ward-is-closed")
forbid (principal, action, resource) when { context.purpose in Purpose::"TREAT" };`

before(async () => {
  swarm = await createSwarm()
  for (const peer of swarm.peers) {
    const file = join(peer.home, 'config.json')
    const config = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...config, rules: 'house.cedar' }))
    await setRules(peer, '')
  }
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  record = await addRecord(swarm, at(0), patient, observation('house rules'))
  await permit(patient, ['--scope', 'all', '--grantee', 'anyone', '--purpose', 'TREAT', '--right', 'read'])
})
after(() => swarm.stop())

test('a hospital that withholds is named with its rule, and the shares of the others suffice', async () => {
  await withholdAt([3])
  const ran = await ask()
  assert.equal(ran.code, 0, ran.stderr)
  assert.deepEqual(ran.json?.['refusals'], [
    { institution: 'hospital-4', reason: 'withheld', detail: 'ward-is-closed' },
  ])
  assert.match((await ask(false)).stdout, /no share from hospital-4: withheld by ward-is-closed/)
})

test('when too many hospitals withhold, the grant stands and the record stays closed', async () => {
  await withholdAt([0, 2, 3])
  const ran = await ask()
  assert.equal(ran.code, 1)
  const error = ran.json?.['error'] as { code: string; refusals: string }
  assert.equal(error.code, 'shares-insufficient')
  for (const name of ['hospital-1', 'hospital-3', 'hospital-4'])
    assert.ok(error.refusals.includes(`${name}: withheld by ward-is-closed`), error.refusals)
})

test('a broken file is refused with a line in the log, and the rules before it stay in force', async () => {
  await withholdAt([3])
  await setRules(at(3), '@id("all") permit (principal, action, resource);')
  await eventually(async () => assert.match(await at(3).log(), /house-rules-refused/), 20_000)
  const ran = await ask()
  assert.equal(ran.code, 0, ran.stderr)
  assert.match(JSON.stringify(ran.json?.['refusals']), /"hospital-4"/)
})

const loads = async (peer: SwarmPeer): Promise<number> => (await peer.log()).split('house-rules-loaded').length

const rules = new Map<SwarmPeer, string>()

/** Those hospitals withhold, the others do not; resolves when every peer has read its rules. */
async function withholdAt(closed: readonly number[]): Promise<void> {
  for (const [i, peer] of swarm.peers.entries()) {
    const text = closed.includes(i) ? NO_TREATMENT : ''
    if (rules.get(peer) === text) continue
    const before = await loads(peer)
    await setRules(peer, text)
    await eventually(async () => assert.ok((await loads(peer)) > before), 20_000)
  }
}

async function setRules(peer: SwarmPeer, text: string): Promise<void> {
  const file = join(peer.home, 'house.cedar')
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
  rules.set(peer, text)
}

function ask(json = true): Promise<Ran> {
  const who = ['--home', at(1).home, '--key', doctor.key, '--role', 'attending', '--purpose', 'TREAT']
  const out = ['--out', join(swarm.dir, 'out'), ...(json ? ['--json'] : [])]
  return emrm(['access', 'request', record, ...who, ...out])
}
