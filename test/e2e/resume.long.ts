// kill -9 in the middle of a large record, of everyone who takes part: the reader's program, the reader's peer, the custodian's peer, and the
// peer that takes a record in. What had arrived is not sent again, and nothing unfinished is left lying. And who may keep what arrived.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { addRecord, outFile, type Person, permit, person, request } from './people.ts'
import {
  EXECUTABLE,
  emrm,
  errorCode,
  eventually,
  PASSWORD,
  type Swarm,
  type SwarmPeer,
  settled,
  startSwarm,
} from './swarm.ts'

const MiB = 1024 * 1024
const SIZE = 48 * MiB + 123
const content = randomBytes(SIZE)

let swarm: Swarm
let patient: Person
let doctor: Person
let record: string
/** The one hospital of four without a copy. */
let reader: SwarmPeer

const custodian = (): SwarmPeer => swarm.peers[0] as SwarmPeer

before(async () => {
  swarm = await startSwarm()
  patient = await person(swarm, custodian(), 'patient', ['patient'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  record = await addRecord(swarm, custodian(), patient, content)
  reader = swarm.peers.find(
    peer => !exists(join(peer.home, 'vault', record.slice(0, 2), record, 'cipher')),
  ) as SwarmPeer
  doctor = await person(swarm, reader, 'doctor', ['attending'])
})
after(() => swarm?.stop())

test('the reader’s program is killed: the next run fetches only what is missing', async () => {
  const out = outFile(swarm)
  const child = start([
    'access',
    'request',
    record,
    '--home',
    reader.home,
    '--key',
    doctor.key,
    '--role',
    'attending',
    '--purpose',
    'TREAT',
    '--out',
    out,
  ])
  const had = await atLeast(out, 8 * MiB)
  child.kill('SIGKILL')
  await gone(child)
  assert.equal(exists(out), false)
  await finish(out, had)
})

test('the reader’s own peer is killed: the program says so, and the next run goes on', async () => {
  const out = outFile(swarm)
  const running = request(doctor, record, 'attending', 'TREAT', out)
  const had = await atLeast(out, 8 * MiB)
  await reader.stop('SIGKILL')
  const ran = await running
  assert.equal(ran.code, 1)
  assert.equal(errorCode(ran), 'api-connection-lost')
  assert.equal(exists(out), false)
  await reader.start()
  await settled(swarm.peers)
  await finish(out, had)
})

test('the custodian is killed: the reader gets the rest from another holder in the same run', async () => {
  const out = outFile(swarm)
  const running = request(doctor, record, 'attending', 'TREAT', out)
  await atLeast(out, 8 * MiB)
  await custodian().stop('SIGKILL')
  const ran = await running
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(ran.json?.['resumed'], 0)
  assert.equal(readFileSync(out).equals(content), true)
  await custodian().start()
  await settled(swarm.peers)
})

test('a peer that is killed while it takes a record in cleans up when it starts again', async () => {
  const file = join(swarm.dir, 'large')
  writeFileSync(file, content)
  const running = emrm(['record', 'add', file, '--home', custodian().home, '--patient', patient.id, '--json'])
  await eventually(async () => assert.notDeepEqual(temporaries(), []), 30_000)
  await custodian().stop('SIGKILL')
  const ran = await running
  assert.equal(ran.code, 1)
  assert.equal(errorCode(ran), 'api-connection-lost')
  await custodian().start()
  await settled(swarm.peers)
  assert.deepEqual(temporaries(), [])
  const verified = await emrm(['verify', '--home', custodian().home, '--json'])
  assert.equal(verified.code, 0, verified.stderr)
})

test('a grant to share lets the reader’s hospital keep a copy, for as long as the policy stands', async () => {
  const cipher = (peer: SwarmPeer): string => join(peer.home, 'vault', record.slice(0, 2), record, 'cipher')
  assert.equal(exists(cipher(reader)), false)
  const rights = ['--right', 'read', '--right', 'share']
  const { policy } = await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', ...rights])
  const ran = await request(doctor, record, 'attending', 'TREAT', outFile(swarm), ['--right', 'share'])
  assert.equal(ran.code, 0, ran.stderr)
  await eventually(
    async () => assert.equal(readFileSync(cipher(reader)).equals(readFileSync(cipher(custodian()))), true),
    30_000,
  )
  const revoked = await emrm([
    'policy',
    'revoke',
    String(policy),
    '--home',
    patient.peer.home,
    '--key',
    patient.key,
    '--json',
  ])
  assert.equal(revoked.code, 0, revoked.stderr)
  await emrm(['scrub', '--home', reader.home, '--json'])
  assert.equal(exists(cipher(reader)), false)
})

const temporaries = (): string[] =>
  readdirSync(join(custodian().home, 'vault'), { recursive: true, encoding: 'utf8' }).filter(name =>
    name.includes('.tmp-'),
  )

async function finish(out: string, had: number): Promise<void> {
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  const resumed = Number(ran.json?.['resumed'])
  // Whole pieces; the last that was seen may have been half of one.
  assert.ok(resumed >= had - MiB && resumed < SIZE, `${resumed} of ${had} bytes were not sent again`)
  assert.equal(readFileSync(out).equals(content), true)
  assert.deepEqual(hidden(out), [])
}

const hidden = (out: string): string[] => readdirSync(dirname(out)).filter(name => name.startsWith(`.${basename(out)}`))

/** Bytes in the hidden file, when there are so many. */
function atLeast(out: string, bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const until = performance.now() + 60_000
    const look = (): void => {
      const part = hidden(out).find(name => name.endsWith('.part'))
      const size = part === undefined ? 0 : statSync(join(dirname(out), part)).size
      if (size >= bytes) resolve(size)
      else if (performance.now() > until) reject(new Error(`${size} bytes arrived in time`))
      else setTimeout(look, 2)
    }
    look()
  })
}

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [EXECUTABLE, ...args], {
    env: { ...process.env, EMRM_PASSWORD: PASSWORD },
    stdio: 'ignore',
  })
}

const gone = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise(resolve => child.once('exit', () => resolve()))

function exists(file: string): boolean {
  try {
    return statSync(file).isFile()
  } catch {
    return false
  }
}
