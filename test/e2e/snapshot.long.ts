// A chain that grew old, with real processes and the command line: a fifth hospital begins with a snapshot, killed more than once while it
// does, then votes and leads; what it does not have, it says.

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectApi } from '../../src/api/client.ts'
import { homePaths } from '../../src/config.ts'
import type { Operation } from '../../src/model/operations.ts'
import { makeRegistrations } from '../bench/registrations.ts'
import { freePort } from '../contract/child-server.ts'
import { decree } from './authority.ts'
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

type Headed = { readonly header: { readonly author: number } }

const EPOCH = 12
const ROTATION = 5
const EVERY = 30
const AT_ONCE = 200
let swarm: Swarm
let fifth: SwarmPeer
let patient: Person
let record: string
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer

before(async () => {
  // The lead goes round quickly.
  const lead = { rotationBlocks: ROTATION }
  swarm = await startSwarm({
    parameters: { ...lead, epochBlocks: EPOCH, snapshotBlocks: EVERY, blockRequestsMax: 200 },
  })
  const home = join(swarm.dir, 'hospital-5')
  const net = join(swarm.dir, 'net')
  const shared = ['--genesis', join(at(0).home, 'genesis.json'), '--peers', join(net, 'peers.json')]
  const made = await emrmJson([
    ...['init', '--home', home, '--name', 'hospital-5', '--swarm-key', join(net, 'swarm.key'), ...shared],
    ...['--base-port', String(await freePort())],
  ])
  const admission = join(swarm.dir, 'admission.json')
  await writeFile(admission, JSON.stringify(made))
  const config = JSON.parse(await readFile(join(home, 'config.json'), 'utf8'))
  await writeFile(join(home, 'config.json'), JSON.stringify({ ...config, api: { port: 0 } }))
  fifth = makePeer(home, 'hospital-5', {})
  const authority = ['--authority-key', join(net, 'authority', 'authority.key'), '--score', '10']
  await emrmJson(['network', 'admit', admission, '--home', at(0).home, ...authority])
  patient = await person(swarm, at(0), 'patient', ['patient'])
  record = await addRecord(swarm, at(0), patient, observation('resting'))
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(async () => {
  await fifth?.stop()
  await swarm?.stop()
})

/** Requests one after the other until the chain has this height. */
async function growTo(height: number, peer = at(1)): Promise<void> {
  const api = await connectApi(homePaths(peer.home))
  try {
    const source = await makeRegistrations(swarm, api)
    for (let now = 0; now < height; ) now = Number((await api.submit(source.next(0).bytes))['height'])
  } finally {
    api.close()
  }
}

/** So many users at once: the state of a network that has been at work. */
async function crowd(count: number): Promise<void> {
  const api = await connectApi(homePaths(at(1).home))
  try {
    const source = await makeRegistrations(swarm, api)
    for (let done = 0; done < count; done += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, () => api.submit(source.next(0).bytes)))
  } finally {
    api.close()
  }
}

const times = async (event: string): Promise<number> => (await fifth.log()).split(`"${event}"`).length - 1

test('a fifth hospital, killed while it fetches and installs a snapshot, begins with it all the same', async () => {
  await crowd(4_000)
  const { height } = await agreed(swarm.peers)
  await growTo((Math.floor(height / EVERY) + 1) * EVERY + 5)
  await agreed(swarm.peers)
  let kills = 0
  for (let stands = false; !stands && kills < 5; kills++) {
    const starting = fifth.start().catch(() => {})
    // One that was killed while it installed finishes that at its next start, and fetches no more.
    const heightOf = (): Promise<number> =>
      statusOf(fifth).then(
        status => status.height,
        () => 0,
      )
    await eventually(async () => {
      stands = (await heightOf()) >= EVERY
      assert.ok(stands || (await times('snapshot-fetching')) > kills)
    }, 60_000)
    await new Promise(resolve => setTimeout(resolve, 20 * kills))
    await fifth.stop('SIGKILL')
    await starting
  }
  assert.ok(kills > 1, 'it was killed before it stood on the snapshot')
  await fifth.start()
  await agreed([...swarm.peers, fifth])
  const report = await emrmJson(['verify', '--home', fifth.home])
  assert.equal(report['ok'], true, JSON.stringify(report))
  assert.equal((Number(report['from']) - 1) % EVERY, 0)
  assert.ok(Number(report['from']) > EVERY)
})

test('rated first, it leads in its turn; a doctor of its own reads a record that is older than its first block', async () => {
  const { institution } = (await statusOf(fifth)) as unknown as { institution: { id: string } }
  await decree(swarm, at(0), { type: 'institution.rate', institution: institution.id, score: 5_000 } as Operation)
  // From here on it is first in the committee. Killed at its first start, it counts as one that lost its disk (consensus.md §1.3): the others
  // may lead the epoch's first heights in its place, but not for a whole round.
  const first = (Math.floor((await statusOf(at(0))).height / EPOCH) + 2) * EPOCH + 1
  const round = ROTATION * (swarm.peers.length + 1)
  await growTo(first + round)
  await agreed([...swarm.peers, fifth])
  const authors = new Set<number>()
  const api = await connectApi(homePaths(fifth.home))
  for (let height = first; height < first + round; height++)
    authors.add(((await api.call('GET', `/v1/blocks/${height}`)) as Headed).header.author)
  api.close()
  assert.ok(authors.has(0), `the first in the ranking led none of ${round} blocks`)
  const doctor = await person(swarm, fifth, 'fifth-doctor', ['attending'])
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(await readFile(out, 'utf8'), observation('resting'))
})

test('what stands before its snapshot is refused by name, and what comes after is there', async () => {
  const { from } = (await emrmJson(['verify', '--home', fifth.home])) as { from: number }
  const home = ['--home', fifth.home, '--json']
  assert.equal(errorCode(await emrm(['block', '1', ...home])), 'before-snapshot')
  assert.equal(errorCode(await emrm(['tx', '0'.repeat(64), ...home])), 'before-snapshot')
  assert.equal(errorCode(await emrm(['audit', ...home])), 'before-snapshot')
  assert.equal((await emrm(['audit', '--from', String(from), ...home])).code, 0)
  assert.equal((await emrm(['block', String(from), ...home])).code, 0)
  const replay = await emrmJson(['replay', '--home', fifth.home])
  assert.deepEqual([replay['ok'], replay['from']], [true, from])
  // The patient's trail is in the state, so it is whole, here as everywhere.
  const report = outFile(swarm)
  const key = ['--key', patient.key, '--report', report]
  assert.equal((await emrm(['audit', '--home', fifth.home, ...key])).code, 0)
  const genesis = join(at(0).home, 'genesis.json')
  const verified = await emrm(['verify-report', report, '--genesis', genesis])
  assert.equal(verified.code, 0, `over all changes of the committee: ${verified.stderr}`)
})

test('stopped and started again, and verified while it stands still, it is the same home', async () => {
  const before = await statusOf(fifth)
  await fifth.stop()
  const report = await emrmJson(['verify', '--home', fifth.home])
  assert.equal(report['ok'], true)
  await fifth.start()
  assert.ok((await statusOf(fifth)).height >= before.height)
  await at(2).stop('SIGKILL')
  await growTo(before.height + 3, fifth)
})
