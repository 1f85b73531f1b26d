// A hospital whose vault is a PostgreSQL database: a real server and real peers. Its records are added, held for others, read, survive a
// kill -9, and are verified, as with files.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { postgresBinaries, startPostgres } from '../contract/postgres-server.ts'
import { changeConfig } from './lines.ts'
import { addRecord, observation, outFile, permit, person, request } from './people.ts'
import { createSwarm, emrm, type SwarmPeer, settled } from './swarm.ts'

test('a hospital keeps its vault in PostgreSQL', async t => {
  const binaries = postgresBinaries()
  if (binaries === null) return t.skip('no PostgreSQL server is installed under /usr/lib/postgresql')
  const postgres = await startPostgres(binaries)
  const swarm = await createSwarm()
  t.after(async () => {
    await swarm.stop()
    await postgres.stop()
  })
  const [custodian, other] = swarm.peers as [SwarmPeer, SwarmPeer]
  const url = await postgres.newDatabase()
  await changeConfig(custodian.home, { vault: url })
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)

  const patient = await person(swarm, custodian, 'patient', ['patient'])
  const doctor = await person(swarm, other, 'doctor', ['attending'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  const content = observation('x'.repeat(2_500_000))
  const record = await addRecord(swarm, custodian, patient, content)
  assert.equal(existsSync(join(custodian.home, 'vault')), false)
  await custodian.stop('SIGKILL')
  await custodian.start()
  await settled(swarm.peers)
  // No other copy is left: what is read comes out of the database.
  for (const peer of swarm.peers.slice(1)) {
    const cipher = join(peer.home, 'vault', record.slice(0, 2), record, 'cipher')
    if (existsSync(cipher)) writeFileSync(cipher, '')
  }
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 0)
  await postgres.run(url, 'update emrm_piece set bytes = $1 where piece = 0', [Buffer.from('rot')])
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 1)
  const stopped = await custodian.stop('SIGTERM')
  assert.equal(stopped, 0)
  assert.equal((await emrm(['verify', '--home', custodian.home, '--json'])).code, 1)
})
