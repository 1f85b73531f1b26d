// kill -9 in the middle of a large record, of everyone who takes part: the reader's program, the reader's peer, the custodian's peer, and the
// peer that takes a record in. What had arrived is not sent again, and nothing unfinished is left lying. And who may keep what arrived.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
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
  const child = start(accessArguments(out))
  const had = await atLeast(out, 8 * MiB)
  child.kill('SIGKILL')
  await gone(child)
  assert.equal(exists(out), false)
  await finish(out, had)
})

test('the reader’s program is interrupted: it says so, what stays is ciphertext, and the next run goes on', async () => {
  const out = outFile(swarm)
  const child = start(accessArguments(out), 'pipe')
  const answer = textOf(child.stdout)
  const had = await atLeast(out, 8 * MiB)
  child.kill('SIGINT')
  await gone(child)
  assert.equal(child.exitCode, 1)
  assert.equal(JSON.parse(await answer).error.code, 'stopped')
  const left = hidden(out)
  assert.equal(left.length, 1)
  const kept = readFileSync(join(dirname(out), left[0] as string))
  assert.ok(kept.length >= had && kept.length % MiB === 0, `${kept.length} of ${had}`)
  const cipher = readFileSync(join(custodian().home, 'vault', record.slice(0, 2), record, 'cipher'))
  assert.equal(kept.equals(cipher.subarray(0, kept.length)), true)
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

test('what had arrived is not served again: counted where it is served', async () => {
  const before = await servedBytes()
  const out = outFile(swarm)
  const running = start(accessArguments(out))
  await atLeast(out, 8 * MiB)
  running.kill('SIGKILL')
  await gone(running)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.ok(Number(ran.json?.['resumed']) >= 8 * MiB)
  await eventually(async () => {
    const [served, holders] = await servedBytes()
    const again = served - before[0] - SIZE
    // What the reader's peer held for the program that was killed, and what was on its way to it: 16 pieces and two for each holder. And what
    // the program had not written yet: the piece that came, the one in the cipher, the one that was being written, and its socket's buffer.
    assert.ok(again >= 0 && again <= 28 * MiB, `${again} bytes more than the record`)
    assert.equal(holders, 3)
  }, 20_000)
})

test('from a pipe into a pipe: the record comes out of stdout byte for byte, the answer out of stderr', async () => {
  const added = start(['record', 'add', '-', '--home', custodian().home, '--patient', patient.id, '--json'], 'pipe')
  const said = textOf(added.stdout)
  added.stdin?.end(content)
  await gone(added)
  const piped = String(JSON.parse(await said)['record'])
  const child = start(accessArguments('-', piped), 'pipe')
  const [answer, hash] = [textOf(child.stderr), createHash('sha256')]
  for await (const chunk of child.stdout as Readable) hash.update(chunk as Buffer)
  await gone(child)
  assert.equal(child.exitCode, 0)
  const document = JSON.parse(await answer)
  assert.equal(document.bytes, SIZE)
  assert.equal(hash.digest('hex'), createHash('sha256').update(content).digest('hex'))
  assert.equal(document.sha256, createHash('sha256').update(content).digest('hex'))
  const denied = start(
    accessArguments('-', piped).map(word => (word === 'TREAT' ? 'HRESCH' : word)),
    'pipe',
  )
  const [nothing, why] = [textOf(denied.stdout), textOf(denied.stderr)]
  await gone(denied)
  assert.deepEqual([denied.exitCode, await nothing, JSON.parse(await why).decision], [3, '', 'deny'])
})

test('an upload that is cut off leaves nothing behind, and the same again succeeds', async () => {
  const heldBefore = vaultNames()
  const cut = start(['record', 'add', '-', '--home', custodian().home, '--patient', patient.id, '--json'], 'pipe')
  cut.stdin?.on('error', () => undefined)
  cut.stdin?.write(content.subarray(0, 20 * MiB))
  await eventually(async () => assert.notDeepEqual(temporaries(), []), 30_000)
  cut.kill('SIGKILL')
  await gone(cut)
  await eventually(async () => assert.deepEqual(vaultNames(), heldBefore), 30_000)
  const file = join(swarm.dir, 'again')
  writeFileSync(file, content)
  const ran = await emrm(['record', 'add', file, '--home', custodian().home, '--patient', patient.id, '--json'])
  assert.equal(ran.code, 0, ran.stderr)
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

/** Bytes in the larger of the hidden files, when there are so many. */
function atLeast(out: string, bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const until = performance.now() + 60_000
    const look = (): void => {
      const size = Math.max(0, ...hidden(out).map(name => sizeOf(join(dirname(out), name))))
      if (size >= bytes) resolve(size)
      else if (performance.now() > until) reject(new Error(`${size} bytes arrived in time`))
      else setTimeout(look, 2)
    }
    look()
  })
}

function start(args: readonly string[], stdio: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  return spawn(process.execPath, [EXECUTABLE, ...args], { env: { ...process.env, EMRM_PASSWORD: PASSWORD }, stdio })
}

const accessArguments = (out: string, what = record): string[] => [
  ...['access', 'request', what, '--home', reader.home, '--key', doctor.key],
  ...['--role', 'attending', '--purpose', 'TREAT', '--out', out, '--json'],
]

async function textOf(stream: Readable | null): Promise<string> {
  let text = ''
  for await (const chunk of stream ?? []) text += String(chunk)
  return text
}

/** Ciphertext that left the four peers so far, by their logs, and how many of them gave any. */
async function servedBytes(): Promise<readonly [number, number]> {
  let [bytes, holders] = [0, 0]
  for (const peer of swarm.peers) {
    const lines = (await peer.log())
      .split('\n')
      .filter(line => line.includes('"pieces-served"') && line.includes(record))
    for (const line of lines) bytes += (JSON.parse(line) as { bytes: number }).bytes
    if (lines.length > 0) holders++
  }
  return [bytes, holders]
}

/** Everything in the custodian's vault but the folders by first digits, which stay. */
const vaultNames = (): string[] =>
  readdirSync(join(custodian().home, 'vault'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.includes('/'))
    .sort()

const gone = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise(resolve => child.once('exit', () => resolve()))

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}

function exists(file: string): boolean {
  try {
    return statSync(file).isFile()
  } catch {
    return false
  }
}
