// A hospital whose vault is a bucket of S3-compatible storage: a real server and real peers. Its records are added, read, survive a kill -9,
// and what rots in the bucket comes back from another hospital.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { s3Program, startS3 } from '../contract/s3-server.ts'
import { changeConfig } from './lines.ts'
import { addRecord, observation, outFile, permit, person, request } from './people.ts'
import { createSwarm, emrm, emrmJson, type SwarmPeer, settled } from './swarm.ts'

test('a hospital keeps its vault in a bucket', async t => {
  const found = await s3Program()
  if ('absent' in found) return t.skip(found.absent)
  const server = await startS3(found.program)
  const swarm = await createSwarm()
  t.after(async () => {
    await swarm.stop()
    await server.stop()
  })
  const [custodian, other] = swarm.peers as [SwarmPeer, SwarmPeer]
  const place = await server.newPlace()
  await changeConfig(custodian.home, { vault: server.urlOf(place) })
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)

  const patient = await person(swarm, custodian, 'patient', ['patient'])
  const doctor = await person(swarm, other, 'doctor', ['attending'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  const content = observation('x'.repeat(2_500_000))
  const record = await addRecord(swarm, custodian, patient, content)
  assert.equal(existsSync(join(custodian.home, 'vault')), false)
  const holders = swarm.peers.slice(1).map(peer => join(peer.home, 'vault', record.slice(0, 2), record, 'cipher'))
  assert.equal(holders.filter(cipher => existsSync(cipher)).length, 2)

  const chunk = (await server.keysIn(place)).find(key => key.startsWith(`chunks/${record}/`))
  writeFileSync(server.fileOf(place, chunk!), 'rot')
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 1)
  await emrmJson(['scrub', '--home', custodian.home])
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 0)

  await custodian.stop('SIGKILL')
  await custodian.start()
  await settled(swarm.peers)
  // No other copy is left: what is read comes out of the bucket.
  for (const cipher of holders) if (existsSync(cipher)) writeFileSync(cipher, '')
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
  assert.equal(await custodian.stop('SIGTERM'), 0)
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 0)
})
