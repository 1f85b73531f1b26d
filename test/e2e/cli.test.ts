// What scripts rely on (cli.md), against a running network: fields, codes, one document, exit codes.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectApi } from '../../src/api/client.ts'
import { FRAME_BYTES_MAX } from '../../src/api/frames.ts'
import { homePaths } from '../../src/config.ts'
import { fromHex } from '../../src/model/hash.ts'
import { leafHash, verifyInclusion } from '../../src/model/merkle.ts'
import { run } from '../cli/run.ts'
import { actor, consentR4, purposes } from '../interop/stage.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  agreed,
  EXECUTABLE,
  emrm,
  emrmJson,
  PASSWORD,
  type Ran,
  type Swarm,
  type SwarmPeer,
  startSwarm,
} from './swarm.ts'

let swarm: Swarm
let patient: Person
let doctor: Person

before(async () => {
  swarm = await startSwarm()
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
})
after(() => swarm?.stop())

const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const home = (i = 0): readonly string[] => ['--home', at(i).home]
const PERMIT = ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read']

function failed(ran: Ran, code: string): void {
  const error = ran.json?.['error'] as { code: string; message: string } | undefined
  assert.deepEqual([ran.code, error?.code], [1, code], ran.stdout + ran.stderr)
  assert.match(ran.stderr, new RegExp(`^error ${code}: .+; .+`, 'm'))
  assert.doesNotMatch(ran.stderr, /\n\s+at /)
}

/** In this process: the same command line without the start of a process. */
async function json(...args: readonly string[]): Promise<Ran> {
  const { code, stdout, stderr, json } = await run([...args, '--json'], { EMRM_PASSWORD: PASSWORD })
  return { code, stdout, stderr, json: json() }
}

async function answer(...args: readonly string[]): Promise<Record<string, unknown>> {
  const ran = await json(...args)
  assert.equal(ran.code, 0, ran.stderr)
  return ran.json ?? {}
}

test('status has the fields that scripts read, on every peer', async () => {
  const all = await Promise.all(swarm.peers.map(peer => answer('status', '--home', peer.home)))
  for (const status of all) {
    for (const field of [
      'peerId',
      'institution',
      'network',
      'height',
      'head',
      'view',
      'primary',
      'role',
      'peers',
      'mempool',
    ])
      assert.ok(status[field] !== undefined && status[field] !== null, field)
    assert.match(String(status['stateDigest']), /^[0-9a-f]{64}$/)
    assert.match(String(status['version']), /^\d+\.\d+\.\d+$/)
    assert.equal((status['peers'] as unknown[]).length, 3)
  }
  assert.equal(new Set(all.map(status => status['peerId'])).size, 4)
})

test('an Ethereum account asks for a record like any user, and an existing account can be registered', async () => {
  const key = join(swarm.dir, 'account.json')
  const register = ['user', 'register', ...home(1), '--role', 'attending', '--name', 'account']
  const made = await answer(...register, '--account', 'ethereum', '--out', key)
  assert.match(String(made['address']), /^0x[0-9a-fA-F]{40}$/)
  const owner = await person(swarm, at(0), 'owner-1', ['patient'])
  const record = await addRecord(swarm, at(0), owner, observation('account'))
  await permit(owner, ['--grantee', `user:${String(made['user'])}`, '--purpose', 'TREAT', '--right', 'read'])
  const doctor = { id: String(made['user']), key, peer: at(1) }
  const got = await request(doctor, record, 'attending', 'TREAT', outFile(swarm))
  assert.equal(got.code, 0, got.stderr)
  // The same account again is the same user, whose credential is renewed.
  const known = await answer(...register, '--import', key, '--out', `${key}2`)
  assert.deepEqual([known['user'], known['address']], [made['user'], made['address']])
})

test('a user who takes a new key keeps records and policies, and the old key is worth nothing', async () => {
  const owner = await person(swarm, at(0), 'owner-2', ['patient'])
  const record = await addRecord(swarm, at(0), owner, observation('rotated'))
  const key = join(swarm.dir, 'owner-2b.key')
  const rotated = await answer('user', 'rotate-key', ...home(), '--key', owner.key, '--out', key)
  assert.equal(rotated['user'], owner.id)
  const shown = await answer('record', 'show', record, ...home(), '--key', key)
  assert.equal(shown['owner'], owner.id)
  const set = ['policy', 'set', ...home(), ...PERMIT, '--scope', `record:${record}`]
  failed(await json(...set, '--key', owner.key), 'not-authorized')
  await answer(...set, '--key', key)
  const got = await request(doctor, record, 'attending', 'TREAT', outFile(swarm))
  assert.equal(got.code, 0, got.stderr)
  // The CA helps who lost the key; the third key is an account.
  const third = join(swarm.dir, 'owner-2c.json')
  const helped = ['user', 'rotate-key', ...home(), '--user', owner.id, '--account', 'ethereum', '--out', third]
  assert.equal((await answer(...helped))['user'], owner.id)
  failed(await json(...set, '--key', key), 'not-authorized')
  await answer(...set, '--key', third)
  const stranger = await person(swarm, at(1), 'stranger', ['attending'])
  failed(
    await json('user', 'rotate-key', ...home(), '--key', stranger.key, '--user', owner.id, '--out', `${key}x`),
    'option-conflict',
  )
})

test('what cannot be a record is refused with its reason, and what can comes from standard input too', async () => {
  const file = join(swarm.dir, 'bad')
  const add = (...more: readonly string[]): Promise<Ran> =>
    json('record', 'add', file, ...home(), '--patient', patient.id, ...more)
  failed(await add(), 'file-missing')
  await writeFile(file, '')
  failed(await add(), 'record-empty')
  await writeFile(file, '{"resourceType":"Observation","status":')
  failed(await add('--kind', 'fhir'), 'record-malformed')
  failed(await add('--kind', 'video'), 'kind-unknown')
  failed(await add('--confidentiality', 'X'), 'confidentiality-unknown')
  failed(await json('record', 'add', file, ...home(), '--patient', '0'.repeat(32)), 'unknown-user')
  const piped = await emrmJson(['record', 'add', '-', ...home(), '--patient', patient.id], {
    stdin: observation('piped'),
  })
  assert.equal(piped['size'], Buffer.byteLength(observation('piped')))
  assert.match(String(piped['record']), /^[0-9a-f]{32}$/)
})

test('a record whose reader closes the pipe early did not arrive: exit code 1, unlike a listing that is cut off', async () => {
  const record = await addRecord(swarm, at(0), patient, 'x'.repeat(3_000_000))
  await permit(patient, ['--scope', `record:${record}`, '--grantee', 'anyone', '--purpose', 'TREAT', '--right', 'read'])
  const closing = (...args: string[]): Promise<number | null> =>
    new Promise(resolve => {
      const child = spawn(process.execPath, [EXECUTABLE, ...args], {
        env: { ...process.env, EMRM_PASSWORD: PASSWORD },
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      child.stdout.once('data', () => child.stdout.destroy())
      child.once('exit', resolve)
    })
  const asked = ['--key', doctor.key, '--role', 'attending', '--purpose', 'TREAT', '--out', '-']
  assert.equal(await closing('access', 'request', record, ...home(1), ...asked), 1)
  assert.equal(await closing('audit', ...home(0)), 0)
})

test('one permission value is set once: a timestamp not above the last is refused by the chain', async () => {
  const record = await addRecord(swarm, at(0), patient, observation('once'))
  const first = await permit(patient, ['--scope', `record:${record}`, ...PERMIT])
  const again = (timestamp: number): Promise<Ran> =>
    json(
      ...['policy', 'set', ...home(), '--key', patient.key, '--scope', `record:${record}`, ...PERMIT],
      ...['--timestamp', String(timestamp)],
    )
  failed(await again(Number(first['timestamp'])), 'timestamp-not-above-last')
  failed(await again(Number(first['timestamp']) - 1), 'timestamp-not-above-last')
  assert.equal((await again(Number(first['timestamp']) + 1)).code, 0)
})

test('a policy that means nothing is refused before it is signed: nothing reaches the chain', async () => {
  const { height } = await answer('status', ...home())
  const set = (...more: readonly string[]): Promise<Ran> =>
    json('policy', 'set', ...home(), '--key', patient.key, '--grantee', 'anyone', '--right', 'read', ...more)
  failed(await set('--purpose', 'SNOOPING'), 'purpose-unknown')
  failed(await set('--purpose', 'TREAT', '--from', '2027-02-01', '--to', '2027-01-01'), 'window-empty')
  failed(
    await json(
      'policy',
      'set',
      ...home(),
      '--key',
      patient.key,
      '--grantee',
      'institution:nowhere',
      '--purpose',
      'TREAT',
    ),
    'institution-unknown',
  )
  assert.equal((await answer('status', ...home()))['height'], height)
})

test('keys: a wrong password, a missing file, a file that exists, a role that nobody knows', async () => {
  const wrong = { env: { EMRM_PASSWORD: 'not the password' } }
  failed(await emrm(['policy', 'list', ...home(), '--key', patient.key, '--json'], wrong), 'wrong-password')
  failed(await json('policy', 'list', ...home(), '--key', join(swarm.dir, 'none')), 'key-file-missing')
  const register = (role: string, out: string): Promise<Ran> =>
    json('user', 'register', ...home(), '--role', role, '--name', 'x', '--out', out)
  failed(await register('patient', patient.key), 'key-file-exists')
  failed(await register('wizard', join(swarm.dir, 'wizard.key')), 'role-unknown')
  assert.equal(statSync(patient.key).mode & 0o777, 0o600)
  assert.ok(!readFileSync(patient.key, 'utf8').includes('seed'))
})

test('a request stands in its block with a Merkle proof that anyone can check', async () => {
  const { policy, height } = await permit(patient, ['--scope', 'kind:pdf', ...PERMIT])
  await agreed(swarm.peers, Number(height))
  const tx = await answer('tx', String(policy), ...home(2))
  assert.deepEqual([tx['height'], (tx['outcome'] as { type: string }).type], [height, 'done'])
  const block = await answer('block', String(height), ...home(3))
  // Each peer keeps the certificate that it decided by; the block is one.
  const { certificate: _, ...same } = await answer('block', String(block['id']), ...home(1))
  const { certificate, ...agreedOn } = block
  assert.deepEqual(same, agreedOn)
  assert.equal((block['header'] as { requestsRoot: string }).requestsRoot, tx['requestsRoot'])
  const { votes, path } = certificate as { votes: unknown[]; path: string }
  assert.ok(votes.length >= (path === 'FAST' ? 4 : 3))
  const proved = (bytes: string): boolean =>
    verifyInclusion({
      leafHash: leafHash(fromHex(bytes)),
      index: Number(tx['index']),
      size: Number(tx['requestCount']),
      proof: (tx['proof'] as string[]).map(fromHex),
      root: fromHex(String(tx['requestsRoot'])),
    })
  const { bytes } = tx as { bytes: string }
  assert.ok(proved(bytes))
  // The last byte of an Ed25519 signature is 00 one time in sixteen.
  assert.ok(!proved(`${bytes.slice(0, -2)}${bytes.endsWith('00') ? '01' : '00'}`))
  failed(await json('block', '999999', ...home()), 'block-unknown')
  failed(await json('tx', 'f'.repeat(64), ...home()), 'transaction-unknown')
})

test('verify, replay, audit and explain agree with what happened', async () => {
  const record = await addRecord(swarm, at(0), patient, observation('audit'))
  const { policy } = await permit(patient, ['--scope', `record:${record}`, ...PERMIT])
  const out = outFile(swarm)
  const granted = await request(doctor, record, 'attending', 'TREAT', out)
  assert.equal(granted.code, 0, granted.stderr)
  assert.equal(readFileSync(out, 'utf8'), observation('audit'))
  assert.equal(statSync(out).mode & 0o077, 0)
  assert.equal((await request(doctor, record, 'attending', 'HRESCH', outFile(swarm))).code, 3)

  // The doctor's hospital answered; the patient's may be a moment behind.
  await agreed(swarm.peers)
  const asPatient = [...home(), '--key', patient.key]
  const { entries } = (await answer('audit', ...asPatient, '--record', record)) as {
    entries: { type: string; result: string; details: { basis?: string } }[]
  }
  assert.deepEqual(
    entries.map(({ type, result }) => `${type} ${result}`),
    [
      'record.register done',
      'policy.set done',
      'access.request granted',
      'access.receipt done',
      'access.request denied: role-purpose',
    ],
  )
  assert.equal(entries[2]?.details.basis, policy)
  const { rules } = (await answer('explain', record, ...asPatient)) as { rules: { policy: string }[] }
  assert.ok(rules.some(rule => rule.policy === policy))
  for (const peer of swarm.peers) {
    assert.equal((await answer('verify', '--home', peer.home))['ok'], true)
    assert.equal((await answer('replay', '--home', peer.home))['ok'], true)
  }
})

test('"not allowed" and "does not exist" are one answer', async () => {
  const record = await addRecord(swarm, at(0), patient, observation('hidden'))
  const show = async (id: string, ...more: readonly string[]): Promise<string> => {
    const ran = await json('record', 'show', id, ...more)
    failed(ran, 'record-unknown')
    return (ran.stdout + ran.stderr).replaceAll(id, 'ID')
  }
  const nothing = '0'.repeat(32)
  for (const who of [home(1), [...home(1), '--key', doctor.key], [...home(0), '--key', doctor.key]])
    assert.equal(await show(record, ...who), await show(nothing, ...who))
  assert.equal((await answer('record', 'show', record, ...home()))['record'], record)
})

test('the glass is broken once, and its custodian judges it in its own name, once', async () => {
  const record = await addRecord(swarm, at(0), patient, observation('emergency'))
  const rescuer = await person(swarm, at(2), 'rescuer', ['emergency'])
  const out = outFile(swarm)
  const broken = await answer(
    ...['access', 'emergency', record, ...home(2), '--key', rescuer.key, '--role', 'emergency'],
    ...['--reason', 'unconscious', '--out', out],
  )
  assert.equal(readFileSync(out, 'utf8'), observation('emergency'))
  await agreed(swarm.peers)
  // The patient is told, and both hospitals have a review to do.
  const reviewsAt = async (...who: string[]): Promise<readonly (readonly unknown[])[]> => {
    const { emergencies } = (await answer('access', 'reviews', ...who)) as { emergencies: Record<string, unknown>[] }
    return emergencies.filter(one => one['record'] === record).map(one => [one['grant'], one['state'], one['reason']])
  }
  const shown = [[broken['grant'], 'open', 'unconscious']]
  assert.deepEqual(await reviewsAt(...home(0), '--key', patient.key), shown)
  for (const i of [0, 2]) assert.deepEqual(await reviewsAt(...home(i), '--open'), shown)
  assert.deepEqual(await reviewsAt(...home(3)), [])
  assert.deepEqual(await reviewsAt(...home(1), '--key', doctor.key), [])
  for (const [i, told] of [
    [0, true],
    [2, false],
  ] as const) {
    const line = (await at(i).log()).split('\n').find(each => each.includes('"emergency-access"')) ?? ''
    assert.equal(line.includes(String(broken['grant'])) && !line.includes('unconscious'), true)
    assert.equal(line.includes('"tell"'), told)
  }
  assert.doesNotMatch(await at(3).log(), /emergency-access/)
  const review = (i: number): Promise<Ran> =>
    json('access', 'review', String(broken['grant']), ...home(i), '--verdict', 'justified', '--note', 'seen')
  failed(await review(3), 'not-authorized')
  assert.equal((await review(0)).code, 0)
  assert.deepEqual(await reviewsAt(...home(0), '--open'), [])
  assert.equal((await reviewsAt(...home(0)))[0]?.[1], 'justified')
  failed(await review(0), 'review-closed')
})

test('a request that is too large is refused by the API, and garbage is no request', async () => {
  const api = await connectApi(homePaths(at(0).home))
  const tooLarge = (async function* () {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(FRAME_BYTES_MAX + 1)
    yield head
  })()
  const lines: unknown[] = []
  for await (const line of api.exchange('/v1/requests', {}, tooLarge))
    lines.push((line['error'] as { code: string }).code)
  assert.deepEqual(lines, ['request-too-large'])
  await assert.rejects(api.submit(new Uint8Array(100)), { code: 'request-invalid' })
  api.close()
})

test('a patient’s report is verified without a peer, and fails when a line is gone or changed', async () => {
  const owner = await person(swarm, at(0), 'owner-3', ['patient'])
  const record = await addRecord(swarm, at(0), owner, observation('reported'))
  assert.equal((await request(doctor, record, 'attending', 'TREAT', outFile(swarm))).code, 3)
  await permit(owner, ['--scope', 'all', ...PERMIT])
  assert.equal((await request(doctor, record, 'attending', 'TREAT', outFile(swarm))).code, 0)

  const file = join(swarm.dir, 'report.json')
  const audit = ['audit', ...home(), '--report', file]
  const drawn = await answer(...audit, '--key', owner.key)
  assert.equal(drawn['decisions'], 2)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const genesis = join(at(3).home, 'genesis.json')
  const verified = await answer('verify-report', file, '--genesis', genesis)
  const { decisions, granted, opened } = verified
  assert.deepEqual([decisions, granted, opened, verified['owner']], [2, 1, 1, owner.id])

  const report = JSON.parse(readFileSync(file, 'utf8'))
  const refused = async (changed: object, line: number | null, reason: string): Promise<void> => {
    await writeFile(file, JSON.stringify(changed))
    const ran = await json('verify-report', file, '--genesis', genesis)
    failed(ran, 'report-refused')
    const error = ran.json?.['error'] as { line: number | null; reason: string }
    assert.deepEqual([error.line, error.reason], [line, reason])
  }
  await refused({ ...report, lines: report.lines.slice(1) }, 0, 'line-missing')
  const [first, second] = report.lines
  const retold = { ...second, decision: { ...second.decision, purpose: 'COC' } }
  await refused({ ...report, lines: [first, retold] }, 1, 'decision-not-proved')
  await refused({ ...report, chainId: '0'.repeat(64) }, null, 'another-network')

  // Nobody else gets one, whether the patient exists or not.
  failed(await json(...audit, '--key', doctor.key, '--patient', owner.id), 'patient-unknown')
  failed(await json(...audit, '--key', doctor.key, '--patient', '0'.repeat(32)), 'patient-unknown')

  await answer(...audit, '--key', owner.key, '--format', 'fhir')
  const bundle = JSON.parse(readFileSync(file, 'utf8'))
  assert.equal(bundle.resourceType, 'Bundle')
  assert.deepEqual(
    bundle.entry.map((each: { resource: { resourceType: string; outcome: string } }) => [
      each.resource.resourceType,
      each.resource.outcome,
    ]),
    [
      ['AuditEvent', '8'],
      ['AuditEvent', '0'],
    ],
  )
})

test('a FHIR Consent is shown with its notes first, and becomes policies only when it is signed', async () => {
  const owner = await person(swarm, at(0), 'owner-4', ['patient'])
  const file = join(swarm.dir, 'consent.json')
  const provision = { type: 'permit', ...purposes('TREAT'), actor: [actor('Organization/9')] }
  await writeFile(file, JSON.stringify(consentR4(provision)))
  const keyed = [...home(), '--key', owner.key]
  const read = ['policy', 'import', file, ...keyed, '--patient', 'Patient/p1']
  const list = async (): Promise<readonly { grantee: object }[]> =>
    (await answer('policy', 'list', ...keyed))['policies'] as readonly { grantee: object }[]

  // Who is not known is nobody: neither the patient nor the recipient is guessed.
  failed(await json('policy', 'import', file, ...keyed), 'consent-patient-unknown')
  const unknown = await json(...read)
  assert.deepEqual([unknown.code, await list()], [unknown.code, []])
  const mapped = [...read, '--map', 'Organization/9=institution:hospital-2']
  const shown = await answer(...mapped)
  assert.equal(shown['signed'], false)
  assert.equal((shown['policies'] as unknown[]).length, 1)
  assert.ok((shown['notes'] as unknown[]).length > 0)
  assert.deepEqual(await list(), [])

  assert.equal(((await answer(...mapped, '--sign'))['ids'] as unknown[]).length, 1)
  assert.equal((await list()).length, 1)
  const record = await addRecord(swarm, at(0), owner, observation('consented'))
  assert.equal((await request(doctor, record, 'attending', 'TREAT', outFile(swarm))).code, 0)
  await writeFile(file, JSON.stringify({ resourceType: 'Patient' }))
  failed(await json(...mapped, '--sign'), 'consent-not-a-consent')
})
