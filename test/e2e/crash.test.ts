// A peer may be killed at any time, the primary too: the others go on, and it comes back with the same chain. Real processes, kill -9.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  agreed,
  emrm,
  emrmJson,
  errorCode,
  PASSWORD,
  type Swarm,
  type SwarmPeer,
  startSwarm,
  statusOf,
} from './swarm.ts'

let swarm: Swarm
let peers: readonly SwarmPeer[]
let patient: Person
let doctor: Person
let record: string
const content = observation('resting')

before(async () => {
  swarm = await startSwarm()
  peers = swarm.peers
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  record = await addRecord(swarm, at(0), patient, content)
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(() => swarm?.stop())

const at = (i: number): SwarmPeer => peers[i] as SwarmPeer

/** Any request that changes the chain. */
async function work(peer: SwarmPeer, name: string): Promise<number> {
  const answer = await emrmJson([
    'user',
    'register',
    '--home',
    peer.home,
    '--role',
    'nurse',
    '--name',
    name,
    '--out',
    outFile(swarm),
  ])
  return Number(answer['height'])
}

test('when any one of four is killed, the primary among them, the other three commit, and it catches up', async () => {
  const primaries = new Set<number>()
  for (let round = 0; round < 5; round++) {
    const { primary } = await statusOf(at(round % 4))
    // Every peer once, and the primary of the moment once more.
    const victim = round < 4 ? round : (primary?.index as number)
    if (primary?.index === victim) primaries.add(victim)
    const survivor = (victim + 1) % 4
    await at(victim).stop('SIGKILL')
    const height = await work(at(survivor), `after-${round}`)
    const others = peers.filter((_, i) => i !== victim)
    await agreed(others, height)
    await at(victim).start()
    const end = await agreed(peers, height)
    assert.ok(end.height >= height)
  }
  assert.ok(primaries.size > 0, 'a primary was among the killed')
})

test('a record is opened while one peer, its custodian, is away: another holder serves it', async () => {
  await at(0).stop('SIGKILL')
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
  await at(0).start()
  await agreed(peers)
})

test('all four killed at once lose nothing that a client was told', async () => {
  const height = await work(at(2), 'before-the-dark')
  await Promise.all(peers.map(peer => peer.stop('SIGKILL')))
  await Promise.all(peers.map(peer => peer.start()))
  const end = await agreed(peers, height)
  assert.ok(end.height >= height)
  await work(at(3), 'after-the-dark')
})

test('two processes cannot use one home', async () => {
  const ran = await emrm(['start', '--home', at(0).home, '--json'], { env: { EMRM_PASSWORD: PASSWORD } })
  assert.equal(ran.code, 1)
  assert.equal(errorCode(ran), 'home-in-use')
  assert.doesNotMatch(ran.stderr, /\n\s+at /)
  assert.equal((await statusOf(at(0))).height > 0, true)
})

test('SIGTERM stops a peer cleanly: exit code 0, no address file left behind', async () => {
  assert.equal(await at(3).stop('SIGTERM'), 0)
  assert.equal(existsSync(`${at(3).home}/api.address`), false)
  await at(3).start()
  await agreed(peers)
})
