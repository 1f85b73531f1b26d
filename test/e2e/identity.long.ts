// Identity through the command line of a running network (P-21, P-44): credentials that a CA issues for a while, what they open and what
// their end closes; a user revoked, a key rotated, an Ethereum account. And labels: what is derived from a record withholds it.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { importJWK, type JWK, jwtVerify } from 'jose'
import { run } from '../cli/run.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import { PASSWORD, type Swarm, type SwarmPeer, startSwarm } from './swarm.ts'

let swarm: Swarm
let patient: Person
let locum: Person
let record: string

before(async () => {
  swarm = await startSwarm()
  await writeFile(
    join(at(2).home, 'house.cedar'),
    '@id("not-from-surgery") forbid (principal, action, resource) when { principal.attributes.contains("department=surgery") };',
  )
  const config = join(at(2).home, 'config.json')
  await at(2).stop()
  await writeFile(config, JSON.stringify({ ...JSON.parse(await readFile(config, 'utf8')), rules: 'house.cedar' }))
  await at(2).start()
  patient = await person(swarm, at(0), 'patient', ['patient'])
  locum = await person(swarm, at(1), 'locum', [])
  record = await addRecord(swarm, at(0), patient, observation('identity'))
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(() => swarm?.stop())

const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const file = (name: string): string => join(swarm.dir, name)

async function cli(
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly json: Record<string, unknown> }> {
  const { code, json } = await run([...args, '--json'], { EMRM_PASSWORD: PASSWORD })
  return { code, json: json() ?? {} }
}
async function answer(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, json } = await cli(...args)
  assert.equal(code, 0, JSON.stringify(json))
  return json
}
const codeOf = async (...args: readonly string[]): Promise<unknown> =>
  ((await cli(...args)).json['error'] as { code?: unknown } | undefined)?.code
const credential = (...args: readonly string[]): readonly string[] => ['user', 'credential', ...args]
const issue = (who: Person, out: string, ...more: readonly string[]): Promise<Record<string, unknown>> =>
  answer(...credential('issue', who.id, '--home', who.peer.home, '--out', file(out), ...more))
async function decision(who: Person, role = 'attending'): Promise<unknown> {
  const { json } = await request(who, record, role, 'TREAT', outFile(swarm))
  return json?.['decision'] === 'grant' ? 'grant' : json?.['reason']
}

test('a user without a role of their own acts by a credential, until it is revoked', async () => {
  assert.equal(await decision(locum), 'role-not-held')
  const issued = await issue(
    locum,
    'day.jwt',
    ...['--role', 'attending', '--attribute', 'department=cardiology', '--private', 'licence=Nr. 110/2026'],
  )
  assert.equal(await decision(locum), 'grant')
  const verified = await answer(...credential('verify', file('day.jwt'), '--home', at(3).home))
  assert.deepEqual(verified['attributes'], { department: ['cardiology'] })
  assert.deepEqual(verified['privateAttributes'], { licence: ['Nr. 110/2026'] })
  assert.deepEqual([verified['status'], verified['credential']], ['valid', issued['credential']])

  await answer(...credential('revoke', file('day.jwt'), '--home', at(1).home))
  assert.equal(await decision(locum), 'credential-revoked')
  assert.equal(await codeOf(...credential('verify', file('day.jwt'), '--home', at(1).home)), 'credential-revoked')
  const { credentials } = await answer(...credential('show', locum.id, '--home', at(1).home, '--key', locum.key))
  assert.deepEqual(
    (credentials as { status: string }[]).map(({ status }) => status),
    ['revoked'],
  )
})

test('a credential ends by itself', async () => {
  const emergency = await person(swarm, at(1), 'short', [])
  const until = Math.ceil(Date.now() / 1000 + 4) * 1000
  await issue(emergency, 'short.jwt', '--role', 'attending', '--valid-until', new Date(until).toISOString())
  assert.equal(await decision(emergency), 'grant')
  await new Promise(resolve => setTimeout(resolve, until - Date.now() + 100))
  assert.equal(await decision(emergency), 'credential-expired')
  assert.equal(await codeOf(...credential('verify', file('short.jwt'), '--home', at(1).home)), 'credential-expired')
})

test('another system checks a credential without a peer: with jose, and with the JWK Set of the network', async () => {
  await issue(locum, 'offline.jwt', '--role', 'attending')
  const jws = (await readFile(file('offline.jwt'), 'utf8')).trim()
  const set = await answer(...credential('issuers', '--home', at(3).home))
  await writeFile(file('cas.jwks'), JSON.stringify(set))
  const { kid } = JSON.parse(Buffer.from(jws.split('.')[0] as string, 'base64url').toString()) as { kid: string }
  const jwk = (set['keys'] as JWK[]).find(key => key.kid === kid) as JWK
  const { payload } = await jwtVerify(jws, await importJWK(jwk), { typ: 'vc+jwt' })
  assert.equal(payload.sub, `urn:emrm:user:${locum.id}`)
  const offline = await answer(...credential('verify', file('offline.jwt'), '--jwks', file('cas.jwks')))
  assert.deepEqual([offline['valid'], offline['status']], [true, 'not-asked'])
  const other = (set['keys'] as JWK[]).filter(key => key.kid !== kid)
  await writeFile(file('others.jwks'), JSON.stringify({ keys: other }))
  const verify = credential('verify', file('offline.jwt'), '--jwks', file('others.jwks'))
  assert.equal(await codeOf(...verify), 'credential-issuer-unknown')
  await writeFile(
    file('changed.jwt'),
    jws.replace(/.$/, last => (last === 'A' ? 'Q' : 'A')),
  )
  const changed = credential('verify', file('changed.jwt'), '--jwks', file('cas.jwks'))
  assert.equal(await codeOf(...changed), 'credential-invalid')
})

test('a CA has no say over the users of another hospital, and a refused credential leaves no file', async () => {
  const foreign = ['--home', at(1).home, '--ca-key', join(at(0).home, 'keys', 'ca.key')]
  const args = credential('issue', locum.id, ...foreign, '--role', 'attending', '--out', file('foreign.jwt'))
  assert.equal(await codeOf(...args), 'not-authorized')
  assert.equal(existsSync(file('foreign.jwt')), false)
})

test('a hospital’s own rules see the attributes: one withholds its share, and the others release theirs', async () => {
  const surgeon = await person(swarm, at(1), 'surgeon', ['attending'])
  await issue(surgeon, 'surgeon.jwt', '--attribute', 'department=surgery')
  const { json } = await request(surgeon, record, 'attending', 'TREAT', outFile(swarm))
  assert.equal(json?.['decision'], 'grant')
  assert.deepEqual(json?.['refusals'], [{ institution: 'hospital-3', reason: 'withheld', detail: 'not-from-surgery' }])
})

test('a rotated key ends the credentials of the old one; the identity stays', async () => {
  const rotating = await person(swarm, at(1), 'rotating', [])
  await issue(rotating, 'rotating.jwt', '--role', 'attending')
  assert.equal(await decision(rotating), 'grant')
  const key = file('rotating-2.key')
  await answer('user', 'rotate-key', '--home', at(1).home, '--key', rotating.key, '--out', key, '--account', 'ethereum')
  const rotated = { ...rotating, key }
  assert.equal(await decision(rotated), 'credential-revoked')
  const again = await issue(rotated, 'rotating-2.jwt', '--role', 'attending')
  assert.equal(again['user'], rotating.id)
  assert.equal(await decision(rotated), 'grant')
  // The key that was replaced speaks for nobody: its request is refused, not denied.
  const old = await request(rotating, record, 'attending', 'TREAT', outFile(swarm))
  assert.equal((old.json?.['error'] as { code: string } | undefined)?.code, 'not-authorized')
})

test('a revoked user is refused with every credential', async () => {
  const leaving = await person(swarm, at(1), 'leaving', ['attending'])
  await issue(leaving, 'leaving.jwt', '--role', 'attending')
  await answer('user', 'revoke', leaving.id, '--home', at(1).home)
  assert.equal(await decision(leaving), 'credential-revoked')
  const another = credential('issue', leaving.id, '--home', at(1).home, '--role', 'attending', '--out', file('x.jwt'))
  assert.equal(await codeOf(...another), 'not-authorized')
})
