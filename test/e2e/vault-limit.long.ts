// Hospitals with limits for their vaults, as real processes: a record too large is refused with its code and leaves nothing, one that may
// not hold for others is stood in for, and status and doctor say how full each is.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { changeConfig } from './lines.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import { createSwarm, emrm, emrmJson, errorCode, type Swarm, type SwarmPeer, settled } from './swarm.ts'

let swarm: Swarm
let custodian: SwarmPeer
let patient: Person

const limit = (peer: SwarmPeer, vaultQuotaBytes: string): Promise<void> => changeConfig(peer.home, { vaultQuotaBytes })
const recordsIn = (peer: SwarmPeer): string[] => {
  const vault = join(peer.home, 'vault')
  return readdirSync(vault, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('/cipher'))
}
const content = observation('x'.repeat(2_500_000))

before(async () => {
  swarm = await createSwarm()
  custodian = swarm.peers[0] as SwarmPeer
  // One of the records below and not two.
  for (const peer of swarm.peers) await limit(peer, '4 MB')
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)
  patient = await person(swarm, custodian, 'patient', ['patient'])
})
after(() => swarm.stop())

test('a record that does not fit is refused with its code, from a file and from a pipe, and leaves nothing', async () => {
  await addRecord(swarm, custodian, patient, content)
  const file = join(swarm.dir, 'second')
  writeFileSync(file, content)
  const add = (from: string, stdin = ''): ReturnType<typeof emrm> =>
    emrm(['record', 'add', from, '--home', custodian.home, '--patient', patient.id, '--json'], { stdin })
  for (const ran of [await add(file), await add('-', content)]) {
    assert.equal(ran.code, 1, ran.stdout)
    assert.equal(errorCode(ran), 'vault-full')
  }
  assert.equal(recordsIn(custodian).length, 1)
  const temporary = readdirSync(join(custodian.home, 'vault'), { recursive: true, encoding: 'utf8' })
  assert.deepEqual(
    temporary.filter(name => name.includes('.tmp-')),
    [],
  )
  const { vault } = (await emrmJson(['status', '--home', custodian.home])) as { vault: { usedBytes: number } }
  assert.ok(vault.usedBytes > 2_500_000 && vault.usedBytes < 3_000_000, String(vault.usedBytes))
  const ran = await emrm(['doctor', '--home', custodian.home])
  assert.match(ran.stdout, /ok {3}vault: .*: written and read back; 2\.5 MB used, limit 4\.0 MB, .*; 1 of 1 records/)
})

test('hospitals without room for others are passed over, and the record is read from one that has room', async () => {
  // Two of the three others hold the first record and are full for a second one.
  const others = swarm.peers.slice(1)
  const roomy = others.filter(peer => recordsIn(peer).length === 0)
  assert.equal(roomy.length, 1)
  await custodian.stop()
  await limit(custodian, '1 GB')
  await custodian.start()
  await settled(swarm.peers)
  const record = await addRecord(swarm, custodian, patient, content)
  const cipherAt = (peer: SwarmPeer): string => join(peer.home, 'vault', record.slice(0, 2), record, 'cipher')
  assert.deepEqual(
    others.filter(peer => existsSync(cipherAt(peer))),
    roomy,
  )
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  const reader = others.find(peer => !roomy.includes(peer)) as SwarmPeer
  const doctor = await person(swarm, reader, 'doctor', ['attending'])
  // The custodian's own copy is gone.
  writeFileSync(cipherAt(custodian), '')
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
})
