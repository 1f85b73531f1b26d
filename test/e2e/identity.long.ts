// Identity through the command line of a running network (P-21, P-44): credentials that a CA issues for a while, what they open and what
// their end closes; a user revoked, a key rotated, an Ethereum account. And labels: what is derived from a record withholds it.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { importJWK, type JWK, jwtVerify } from 'jose'
import { run } from '../cli/run.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import { agreed, PASSWORD, type Swarm, type SwarmPeer, settled, startSwarm } from './swarm.ts'

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
  const until = Math.ceil(Date.now() / 1000 + 15) * 1000
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

test('a CA whose key is lost is replaced: the new one vouches, the old one for nobody, its registrations stay', async () => {
  const authority = ['--authority-key', join(swarm.dir, 'net', 'authority', 'authority.key')]
  const before = await answer('network', 'ca', 'list', '--home', at(2).home)
  const { institution } = (await answer('status', '--home', at(2).home)) as { institution: { id: string } }
  const old = (before['cas'] as { id: string; institutions: string[] }[]).find(({ institutions }) =>
    institutions.includes(institution.id),
  )
  const nurse = await person(swarm, at(2), 'nurse', ['attending'])
  await issue(nurse, 'nurse.jwt', '--role', 'nurse')
  const key = file('ca-2.key')
  const made = await answer('network', 'ca', 'create', '--home', at(2).home, '--out', key)
  await writeFile(file('ca-2.json'), JSON.stringify(made))
  await answer('network', 'admit', file('ca-2.json'), '--home', at(0).home, ...authority)
  await answer('network', 'ca', 'revoke', String(old?.id), '--home', at(0).home, ...authority)

  const register = ['user', 'register', '--home', at(2).home, '--role', 'nurse', '--name', 'n']
  assert.equal(await codeOf(...register, '--out', file('n1.key')), 'not-authorized')
  await answer(...register, '--out', file('n2.key'), '--ca-key', key)
  const verify = credential('verify', file('nurse.jwt'), '--home', at(2).home)
  assert.equal(await codeOf(...verify), 'credential-issuer-unknown')
  assert.equal(await decision(nurse, 'nurse'), 'credential-revoked')
  assert.equal(await decision(nurse), 'grant')
  const renewed = credential('issue', nurse.id, '--home', at(2).home, '--ca-key', key, '--role', 'nurse')
  await answer(...renewed, '--out', file('nurse-2.jwt'))
  assert.equal((await answer(...credential('verify', file('nurse-2.jwt'), '--home', at(2).home)))['status'], 'valid')
})

// ---- labels ----

const about = (code: string, more: object = {}): string =>
  JSON.stringify({
    resourceType: 'Condition',
    code: { coding: [{ system: 'http://hl7.org/fhir/sid/icd-10', code }] },
    recordedDate: '1987-06-05',
    ...more,
  })

test('a record that is derived as restricted is withheld under a ceiling of N, and the custodian sees why', async () => {
  const owner = await person(swarm, at(0), 'labelled', ['patient'])
  const doctor = await person(swarm, at(1), 'ceiling', ['attending'])
  await writeFile(file('hiv.json'), about('B20'))
  const add = ['record', 'add', file('hiv.json'), '--home', at(0).home, '--patient', owner.id]
  const added = await answer(...add, '--label', 'CEL')
  assert.deepEqual([added['confidentiality'], added['labels']], ['R', ['CEL', 'HIV']])
  const labelling = added['labelling'] as Record<string, unknown>
  assert.deepEqual(
    [labelling['given'], labelling['rules'], labelling['unread']],
    [{ confidentiality: 'N', labels: ['CEL'] }, ['hiv-infection'], null],
  )
  const told = await run(add, { EMRM_PASSWORD: PASSWORD })
  assert.match(told.stdout, /^labels: N given, R HIV registered by hiv-infection \(rules emrm-standard-labels 1\)$/m)

  const target = String(added['record'])
  const ask = async (): Promise<unknown> => {
    const { json } = await request(doctor, target, 'attending', 'TREAT', outFile(swarm))
    return json?.['decision'] === 'grant' ? 'grant' : json?.['reason']
  }
  const allowed = ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read']
  await permit(owner, allowed)
  assert.equal(await ask(), 'label-withheld')
  await permit(owner, [...allowed, '--label-ceiling', 'R'])
  assert.equal(await ask(), 'grant')

  // What the custodian noted is found there, and nowhere else.
  const search = ['record', 'list', '--type', 'Condition', '--since', '1987-06-05', '--until', '1987-06-05']
  const found = await answer(...search, '--home', at(0).home)
  assert.ok((found['records'] as { record: string }[]).some(each => each.record === target))
  assert.deepEqual(await answer(...search, '--home', at(1).home), { records: [] })
  const fhir = await answer('record', 'show', target, '--home', at(0).home, '--fhir')
  assert.deepEqual(fhir['context'], { period: { start: '1987-06-05' } })
  await noneOf(['1987-06-05', 'Condition', 'hiv-infection', 'B20'])
})

test('a record that cannot be read keeps what was given, and says so', async () => {
  await writeFile(file('letter.txt'), 'HIV, in words')
  const added = await run(
    ['record', 'add', file('letter.txt'), '--home', at(0).home, '--patient', patient.id, '--confidentiality', 'R'],
    { EMRM_PASSWORD: PASSWORD },
  )
  assert.match(
    added.stdout,
    /^labels: R as given; the record is no FHIR resource as JSON, so nothing was derived: see that they fit$/m,
  )
})

test('a hospital’s own label rules apply to what it adds; a broken file keeps its peer from starting', async () => {
  const rules = {
    name: 'local',
    labels: ['TBOO'],
    confidentiality: 'V',
    codes: [{ system: 'https://h4.example', codes: ['x'] }],
  }
  const own = { id: 'hospital-4', version: '1', date: '2027-01-31', extends: 'standard', rules: [rules] }
  const config = join(at(3).home, 'config.json')
  const settings = JSON.parse(await readFile(config, 'utf8')) as object
  await at(3).stop()
  await writeFile(config, JSON.stringify({ ...settings, labels: 'labels.json' }))
  await writeFile(join(at(3).home, 'labels.json'), JSON.stringify({ ...own, rulez: [] }))
  await assert.rejects(at(3).start(), /label-rules-invalid/)
  await writeFile(join(at(3).home, 'labels.json'), JSON.stringify(own))
  await at(3).start()
  await settled(swarm.peers)
  await writeFile(
    file('own.json'),
    about('F20', { category: [{ coding: [{ system: 'https://h4.example', code: 'x' }] }] }),
  )
  const added = await answer('record', 'add', file('own.json'), '--home', at(3).home, '--patient', patient.id)
  assert.deepEqual([added['confidentiality'], added['labels']], ['V', ['MH', 'PSY', 'TBOO']])
  assert.equal((added['labelling'] as { ruleSet: { id: string } }).ruleSet.id, 'hospital-4')
})

/** In no block, as the chain's bytes and as the API shows it, and in no file of any home: the notes are sealed. */
async function noneOf(marks: readonly string[]): Promise<void> {
  const { height } = await agreed(swarm.peers)
  const seen: string[] = []
  for (let at = 1; at <= height; at++)
    seen.push(JSON.stringify(await answer('block', String(at), '--home', swarm.peers[2]!.home)))
  for (const { home } of swarm.peers)
    for (const name of await readdir(home, { recursive: true }))
      if ((await stat(join(home, name))).isFile()) seen.push(await readFile(join(home, name), 'latin1'))
  assert.ok(
    seen.some(text => text.includes('record.register')),
    'blocks were looked at',
  )
  for (const mark of marks) assert.ok(!seen.some(text => text.includes(mark)), mark)
}
