// Hospitals come and go while requests flow (P-30, P-31), with real processes and the command line: a fifth is admitted, follows as an observer,
// becomes a validator and the primary when its epoch begins, one is expelled and cut off, and the whole chain still verifies.

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Operation } from '../../src/model/operations.ts'
import { freePort } from '../contract/child-server.ts'
import { decree, nextEpoch } from './authority.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  agreed,
  emrm,
  emrmJson,
  errorCode,
  eventually,
  makePeer,
  type Swarm,
  type SwarmPeer,
  startSwarm,
  statusOf,
} from './swarm.ts'

const EPOCH = 12
let swarm: Swarm
let fifth: SwarmPeer
let admission: string
const institutions: string[] = []
const at = (i: number): SwarmPeer => (i === 4 ? fifth : (swarm.peers[i] as SwarmPeer))
const all = (): SwarmPeer[] => [0, 1, 2, 3, 4].map(at)

before(async () => {
  swarm = await startSwarm({ parameters: { epochBlocks: EPOCH } })
  for (const peer of swarm.peers) institutions.push((await status(peer)).institution.id)
  const home = join(swarm.dir, 'hospital-5')
  const net = join(swarm.dir, 'net')
  const shared = ['--genesis', join(swarm.peers[0]?.home as string, 'genesis.json'), '--peers', join(net, 'peers.json')]
  const made = await emrmJson([
    ...['init', '--home', home, '--name', 'hospital-5', '--swarm-key', join(net, 'swarm.key'), ...shared],
    ...['--base-port', String(await freePort())],
  ])
  admission = join(swarm.dir, 'admission.json')
  await writeFile(admission, JSON.stringify(made))
  const config = JSON.parse(await readFile(join(home, 'config.json'), 'utf8'))
  await writeFile(join(home, 'config.json'), JSON.stringify({ ...config, api: { port: 0 } }))
  fifth = makePeer(home, 'hospital-5', {})
})
after(async () => {
  await fifth?.stop()
  await swarm?.stop()
})

type Full = Awaited<ReturnType<typeof statusOf>> & {
  readonly institution: { readonly id: string }
  readonly peerId: string
}
const status = (peer: SwarmPeer): Promise<Full> => statusOf(peer) as Promise<Full>

let serial = 0
async function work(peer: SwarmPeer): Promise<number> {
  const user = ['user', 'register', '--home', peer.home, '--role', 'nurse', '--name', `nurse-${serial++}`]
  return Number((await emrmJson([...user, '--out', outFile(swarm)]))['height'])
}

let patient: Person
let doctor: Person
let record: string

test('a fifth hospital is refused until the authority admits it; then it follows as an observer', async () => {
  await fifth.start()
  assert.equal((await statusOf(fifth)).peers.length, 0)
  const authority = ['--authority-key', join(swarm.dir, 'net', 'authority', 'authority.key'), '--score', '10']
  await emrmJson(['network', 'admit', admission, '--home', at(0).home, ...authority])
  institutions.push((await status(fifth)).institution.id)
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  record = await addRecord(swarm, at(0), patient, observation('resting'))
  const { height } = await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  await agreed(all(), Number(height))
  assert.equal((await statusOf(fifth)).role, 'observer')
})

test('rated first, it is primary of the next epoch, and its own clients are served', async () => {
  await decree(swarm, at(0), { type: 'institution.rate', institution: institutions[4], score: 5_000 } as Operation)
  await nextEpoch(swarm, at(1), EPOCH)
  await agreed(all(), await work(fifth))
  const roles = await Promise.all(all().map(async peer => (await statusOf(peer)).role))
  assert.deepEqual(roles, ['validator', 'validator', 'validator', 'observer', 'primary'])
  const nurse = await person(swarm, fifth, 'fifth-doctor', ['attending'])
  const out = outFile(swarm)
  const ran = await request(nurse, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(await readFile(out, 'utf8'), observation('resting'))
})

test('an expelled hospital is cut off by everybody when its epoch ends; the next in the ranking votes in its place', async () => {
  const expelled = (await status(at(2))).peerId
  await decree(swarm, at(0), { type: 'institution.remove', institution: institutions[2] } as Operation)
  await nextEpoch(swarm, at(1), EPOCH)
  const rest = [0, 1, 3, 4].map(at)
  await eventually(async () => {
    for (const peer of rest) {
      const { peers } = await statusOf(peer)
      assert.ok(!peers.some(({ peerId }) => peerId === expelled), `${peer.name} still holds the expelled peer`)
    }
  }, 30_000)
  await agreed(rest, await work(at(3)))
  assert.equal((await statusOf(at(3))).role, 'validator')
  // It cannot come back by starting anew.
  await at(2).stop()
  await at(2).start()
  const height = await work(at(0))
  await agreed(rest, height)
  assert.ok((await statusOf(at(2))).height < height)
  assert.equal((await statusOf(at(2))).peers.length, 0)
})

test('the committee that changed twice still tolerates one silent member, and a grant of the first epoch opens its record', async () => {
  await at(1).stop('SIGKILL')
  const height = await work(at(0))
  await agreed([0, 3, 4].map(at), height)
  await at(1).start()
  await agreed([0, 1, 3, 4].map(at), height)
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
})

test('the record’s key was dealt anew to each new committee, by itself, on the chain, and the expelled hospital holds no part of it', async () => {
  const show = async (): Promise<Record<string, unknown>> =>
    emrmJson(['record', 'show', record, '--home', at(0).home, '--key', patient.key])
  const shown = await eventually(async () => {
    const document = await show()
    assert.equal(document['sharesWithPresentCommittee'], true)
    return document
  }, 120_000)
  const names = shown['sharesWith'] as readonly string[]
  assert.deepEqual([...names].sort(), ['hospital-1', 'hospital-2', 'hospital-4', 'hospital-5'])
  // The patient sees who collected the key, and why.
  const { entries } = await emrmJson(['audit', '--home', at(0).home, '--key', patient.key, '--record', record])
  const types = (entries as readonly { readonly type: string; readonly result: string }[])
    .filter(({ result }) => result === 'done')
    .map(({ type }) => type)
  assert.ok(types.includes('record.redeal') && types.includes('record.reshare'), types.join(' '))
  const checks = (await emrm(['doctor', '--home', at(0).home, '--json'])).json as {
    checks: readonly { check: string; detail: string }[]
  }
  assert.match(checks.checks.find(({ check }) => check === 'key shares')?.detail ?? '', /all lie with the present/)
  // One member of the new committee is silent, and none of the old one that is not in the new one answers.
  await at(2).stop()
  await at(1).stop()
  const nurse = await person(swarm, at(3), 'ward-doctor', ['attending'])
  const out = outFile(swarm)
  const ran = await request(nurse, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(await readFile(out, 'utf8'), observation('resting'))
  await at(1).start()
  await agreed([0, 1, 3, 4].map(at))
})

test('votes of all epochs verify, from genesis on', async () => {
  for (const peer of [at(0), fifth]) {
    const report = await emrmJson(['verify', '--home', peer.home])
    assert.equal(report['ok'], true, JSON.stringify(report))
    assert.ok(Number(report['heights']) > 2 * EPOCH)
  }
})

test('a patient’s report drawn after both changes is believed by somebody who has nothing but genesis', async () => {
  await permit(patient, ['--grantee', 'role:nurse', '--purpose', 'TREAT', '--right', 'read'])
  const report = join(swarm.dir, 'report.json')
  await emrmJson(['audit', '--home', at(0).home, '--key', patient.key, '--report', report])
  const genesis = ['--genesis', join(at(0).home, 'genesis.json')]
  const verdict = await emrmJson(['verify-report', report, ...genesis])
  assert.deepEqual([verdict['ok'], verdict['committeeChanges']], [true, 2])
  const { path, ...rest } = JSON.parse(await readFile(report, 'utf8'))
  await writeFile(report, JSON.stringify({ ...rest, path: path.slice(1) }))
  const refused = await emrm(['verify-report', report, ...genesis, '--json'])
  assert.deepEqual([refused.code, errorCode(refused)], [1, 'report-refused'])
})
