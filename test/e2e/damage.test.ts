// A flipped byte on a disk: in a ciphertext, in a key share, in a stored block. Each is noticed, named and never served, and what another
// peer holds is fetched from there. A wiped disk is filled again.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ClassicLevel } from 'classic-level'
import { blockKey } from '../../src/adapters/level-keys.ts'
import { asHeight } from '../../src/model/ids.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import { agreed, emrm, errorCode, type Swarm, type SwarmPeer, settled, startSwarm } from './swarm.ts'

let swarm: Swarm
let patient: Person
let doctor: Person

before(async () => {
  swarm = await startSwarm()
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(() => swarm?.stop())

const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const vaultFile = (peer: SwarmPeer, record: string, name: string): string =>
  join(peer.home, 'vault', record.slice(0, 2), record, name)

function flip(file: string): void {
  const bytes = readFileSync(file)
  const middle = Math.floor(bytes.length / 2)
  bytes[middle] = (bytes[middle] as number) ^ 1
  writeFileSync(file, bytes)
}

type Problem = { readonly what: string; readonly record?: string; readonly height?: number; readonly reason: string }

async function problemsOf(peer: SwarmPeer): Promise<{ readonly code: number; readonly problems: readonly Problem[] }> {
  const ran = await emrm(['verify', '--home', peer.home, '--json'])
  assert.doesNotMatch(ran.stderr, /\n\s+at /)
  return { code: ran.code, problems: (ran.json?.['problems'] ?? []) as readonly Problem[] }
}

test('a flipped byte in the custodian’s ciphertext is not served, the record comes from another holder, and the byte is mended', async () => {
  const content = observation('x'.repeat(3_000_000))
  const record = await addRecord(swarm, at(0), patient, content)
  flip(vaultFile(at(0), record, 'cipher'))
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
  const named = await problemsOf(at(0))
  // Met by the reader when it asked the custodian, and then mended already; or only now.
  for (const problem of named.problems) assert.deepEqual([problem.record, problem.what], [record, 'record'])
  const scrub = await emrm(['scrub', '--home', at(0).home, '--json'])
  assert.equal(scrub.code, 0, scrub.stderr)
  assert.deepEqual(await problemsOf(at(0)), { code: 0, problems: [] })
  assert.match(await at(0).log(), /"vault-mended"/)
})

test('a wiped vault is filled again from the other holders: no record is lost', async () => {
  const contents = [observation('one'), observation('x'.repeat(2_500_000)), observation('three')]
  const records: string[] = []
  for (const content of contents) records.push(await addRecord(swarm, at(0), patient, content))
  const files = records.map(record => readFileSync(vaultFile(at(0), record, 'cipher')))
  await at(0).stop('SIGKILL')
  rmSync(join(at(0).home, 'vault'), { recursive: true })
  await at(0).start()
  await settled(swarm.peers)
  const scrub = await emrm(['scrub', '--home', at(0).home, '--json'])
  for (const [i, record] of records.entries())
    assert.equal(readFileSync(vaultFile(at(0), record, 'cipher')).equals(files[i] as Buffer), true)
  // Its own shares went with the disk, and are said to be lost until the keys are dealt anew; the other hospitals' suffice.
  assert.equal(scrub.code, 1)
  const left = scrub.json?.['left'] as readonly { readonly type: string }[]
  assert.deepEqual([...new Set(left.map(({ type }) => type))], ['share-missing'])
  const doctorSays = await emrm(['doctor', '--home', at(0).home, '--json'])
  const checks = doctorSays.json?.['checks'] as readonly { readonly check: string; readonly ok: boolean }[]
  assert.equal(checks.find(({ check }) => check === 'vault')?.ok, false)
  const out = outFile(swarm)
  const ran = await request(doctor, records[1] as string, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), contents[1])
})

test('with every copy damaged the record is not opened, and no file is left under the final name', async () => {
  const content = observation('only once')
  const record = await addRecord(swarm, at(0), patient, content)
  for (const peer of swarm.peers) {
    const file = vaultFile(peer, record, 'cipher')
    if (exists(file)) flip(file)
  }
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 1)
  assert.equal(errorCode(ran), 'record-unavailable')
  assert.equal(exists(out), false)
  assert.deepEqual(
    readdirSync(swarm.dir).filter(name => name.includes(out.split('/').at(-1) as string)),
    [],
  )
})

test('a flipped byte in a share is named and not given out; the other shares suffice', async () => {
  const content = observation('three good shares')
  const record = await addRecord(swarm, at(0), patient, content)
  flip(vaultFile(at(2), record, 'share'))
  const out = outFile(swarm)
  const ran = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(readFileSync(out, 'utf8'), content)
  const { code, problems } = await problemsOf(at(2))
  assert.equal(code, 1)
  assert.ok(
    problems.some(problem => problem.record === record && problem.reason.includes('share-corrupt')),
    JSON.stringify(problems),
  )
  assert.match(await at(2).log(), /share-corrupt/)
})

test('a flipped byte in a stored block is named by its height, and the block is not served', async () => {
  const { height } = await agreed(swarm.peers)
  const bad = asHeight(Math.floor(height / 2))
  await at(3).stop('SIGTERM')
  const store = new ClassicLevel<Buffer, Buffer>(join(at(3).home, 'data', 'chain'), {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  })
  await store.open()
  const value = Buffer.from((await store.get(blockKey(bad))) as Buffer)
  value[value.length - 10] = (value[value.length - 10] as number) ^ 1
  await store.put(blockKey(bad), value)
  await store.close()
  const { code, problems } = await problemsOf(at(3))
  assert.equal(code, 1)
  assert.equal(problems[0]?.height, bad)
  assert.match(problems[0]?.reason ?? '', /block-corrupt/)
  // The state of a clean stop stands on a checkpoint above it, so the peer can run; the damaged block is still never given out.
  await at(3).start()
  await agreed(swarm.peers)
  const asked = await emrm(['block', String(bad), '--home', at(3).home, '--json'])
  assert.equal(asked.code, 1)
  assert.equal(errorCode(asked), 'block-corrupt')
  const sound = await emrm(['block', String(bad), '--home', at(0).home, '--json'])
  assert.equal(sound.code, 0)
})

function exists(file: string): boolean {
  try {
    return statSync(file).isFile()
  } catch {
    return false
  }
}
