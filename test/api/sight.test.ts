// What the API shows to whom: a table of callers against a real ledger. "Not allowed" and "does not exist" must not differ.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { HEADERS, querySignedBytes } from '../../src/api/auth.ts'
import type { CallOptions } from '../../src/api/client.ts'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { createSigningKey } from '../../src/identity/keystore.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import type { EmrmError } from '../../src/model/errors.ts'
import { toHex } from '../../src/model/hash.ts'
import type { Digest, Identifier, RecordId, Timestamp } from '../../src/model/ids.ts'
import type { Operation, Outcome } from '../../src/model/operations.ts'
import type { StoredBlock } from '../../src/ports.ts'
import type { LocalEntry } from '../../src/records/local-index.ts'
import {
  accessRequest,
  FOREVER,
  idNamed,
  policySet,
  recordNamed,
  recordRegister,
  START,
  userRegister,
  World,
} from '../ledger/world.ts'
import { type World as ApiWorld, CHAIN_ID, startWorld } from './world.ts'

type Clinic = {
  readonly world: World
  readonly keys: Readonly<Record<'patient' | 'guardian' | 'delegate' | 'doctor' | 'stranger', SigningKey>>
  act(by: keyof Clinic['keys'], operation: Operation): Outcome
  api(t: TestContext, hospital?: string, nowMs?: () => number): Promise<ApiWorld>
}

const X_RAY = recordNamed('x-ray')
/** What north noted of it when it took it in. */
const NOTED = { type: 'DiagnosticReport', loinc: ['30746-2'], date: '2026-03', size: 700 }

/** A patient of north with a record there, a guardian, a delegate who may read the one record, a doctor of south, and a stranger. */
function makeClinic(): Clinic {
  const world = new World()
  const outcomes: Outcome[][] = []
  const keep = (outcome: Outcome): Outcome => {
    outcomes.push([outcome])
    return outcome
  }
  const key = createSigningKey
  const keys = { patient: key(), guardian: key(), delegate: key(), doctor: key(), stranger: key() }
  const institution = {
    patient: 'north',
    guardian: 'north',
    delegate: 'east',
    doctor: 'south',
    stranger: 'west',
  } as const
  for (const [name, { publicKey }] of Object.entries(keys) as [keyof typeof keys, SigningKey][]) {
    const roles = name === 'doctor' ? ['attending', 'researcher'] : ['patient']
    const at = institution[name]
    keep(world.do(`ca-${at}`, userRegister(name, at, { publicKey, roles })))
  }
  const act: Clinic['act'] = (by, operation) => {
    const { publicKey, identifier } = keys[by]
    return keep(world.do(by, operation, { publicKey, client: identifier }))
  }
  const owner = keys.patient.identifier
  const delegation = { type: 'delegate.set', owner, from: 0 as Timestamp, to: FOREVER } as const
  keep(world.do('north', recordRegister('x-ray', { owner })))
  const guardian = { delegate: keys.guardian.identifier, kind: 'guardian', scope: { type: 'all' } } as const
  const delegate = { delegate: keys.delegate.identifier, kind: 'delegate' } as const
  const scope = { type: 'record', record: X_RAY } as const
  act('patient', { ...delegation, ...guardian, timestamp: START as Timestamp })
  act('patient', { ...delegation, ...delegate, scope, timestamp: START as Timestamp })
  return {
    world,
    keys,
    act,
    api: (t, hospital = 'north', nowMs = Date.now) => {
      const height = world.blocks.length
      const peer: Partial<PeerHandle> = {
        views: world.views,
        localEntry: async record => (record === X_RAY ? (NOTED as unknown as LocalEntry) : null),
        committeeAt: height => world.ledger.committeeAt(height),
        status: () =>
          ({ height, institution: { id: idNamed(hospital), name: hospital } }) as ReturnType<PeerHandle['status']>,
        block: ref => {
          const block = world.blocks[Number(ref) - 1]
          return Promise.resolve(
            block === undefined ? null : ({ block, outcomes: outcomes[Number(ref) - 1] } as unknown as StoredBlock),
          )
        },
      }
      return startWorld(t, peer, nowMs)
    },
  }
}

const as = (signer: SigningKey): CallOptions => ({ as: { signer, chainId: CHAIN_ID } })

async function failure(call: Promise<unknown>): Promise<EmrmError> {
  return call.then(
    () => assert.fail('was answered'),
    error => error as EmrmError,
  )
}

const errorText = async (call: Promise<unknown>): Promise<string> => {
  const { code, message, facts } = await failure(call)
  return JSON.stringify([code, message.replaceAll(/[0-9a-f]{32}/g, 'ID'), Object.keys(facts)])
}

const askFor = (clinic: Clinic, by: keyof Clinic['keys'] = 'doctor'): Outcome =>
  clinic.act(by, accessRequest({ record: X_RAY }))

const permit = (clinic: Clinic): Outcome => {
  const owner = clinic.keys.patient.identifier
  return clinic.act('patient', policySet('patient', { owner, timestamp: clinic.world.nowMs as Timestamp }))
}

test('who may not see a record gets the answer of a record that does not exist', async t => {
  const clinic = makeClinic()
  const { api } = await clinic.api(t, 'south')
  const none = `/v1/records/${recordNamed('nothing')}`
  const there = `/v1/records/${X_RAY}`
  for (const [who, options] of [
    ['another hospital', {}],
    ['a doctor without a grant', as(clinic.keys.doctor)],
    ['a stranger', as(clinic.keys.stranger)],
    ['a key that nobody registered', as(createSigningKey())],
  ] as const) {
    const refused = await errorText(api.call('GET', there, options))
    assert.match(refused, /^\["record-unknown"/, who)
    assert.equal(refused, await errorText(api.call('GET', none, options)), who)
    assert.match(await errorText(api.call('GET', `${there}/explain`, options)), /^\["record-unknown"/, who)
    assert.deepEqual(await api.call('GET', '/v1/records', options), { records: [] }, who)
  }
})

test('what a hospital noted for itself is shown to those who keep the record, there alone, and can be searched', async t => {
  const clinic = makeClinic()
  permit(clinic)
  askFor(clinic)
  const north = (await clinic.api(t, 'north')).api
  const indexOf = async (api: typeof north, options: CallOptions): Promise<unknown> =>
    ((await api.call('GET', `/v1/records/${X_RAY}`, options)) as { index: unknown }).index
  assert.deepEqual(await indexOf(north, {}), NOTED)
  assert.deepEqual(await indexOf(north, as(clinic.keys.patient)), NOTED)
  // The doctor may read the record; that is another matter than the custodian's notes.
  assert.equal(await indexOf(north, as(clinic.keys.doctor)), null)
  assert.equal(await indexOf((await clinic.api(t, 'south')).api, as(clinic.keys.patient)), null)
  const found = async (query: Record<string, string>): Promise<number> =>
    ((await north.call('GET', '/v1/records', { query })) as { records: object[] }).records.length
  for (const [query, count] of [
    [{}, 1],
    [{ type: 'DiagnosticReport', loinc: '30746-2', since: '2026-03-31', until: '2026-03-31' }, 1],
    [{ type: 'Observation' }, 0],
    [{ loinc: '8867-4' }, 0],
    [{ since: '2026-04-01' }, 0],
    [{ until: '2026-02-28' }, 0],
  ] as const)
    assert.equal(await found(query), count, JSON.stringify(query))
  assert.equal((await failure(found({ since: 'March' }))).code, 'date-invalid')
})

test('a user’s credentials are shown to the user and to its hospital; the status of one to whoever has seen it', async t => {
  const clinic = makeClinic()
  const { doctor } = clinic.keys
  const digest = recordNamed('a').padEnd(64, '0')
  clinic.world.do('ca-south', {
    ...{ type: 'credential.issue', credential: digest as Digest, user: doctor.identifier, publicKey: doctor.publicKey },
    ...{ roles: ['emergency'], attributes: [], validUntil: (clinic.world.nowMs + 10_000) as Timestamp },
  })
  const all = `/v1/users/${doctor.identifier}/credentials`
  const [north, south] = [(await clinic.api(t, 'north')).api, (await clinic.api(t, 'south')).api]
  const status = async (api: typeof north, options: CallOptions = {}): Promise<unknown> =>
    ((await api.call('GET', `${all}/${digest}`, options)) as { status: string }).status
  for (const options of [{}, as(doctor)])
    assert.equal(((await south.call('GET', all, options)) as { credentials: object[] }).credentials.length, 1)
  assert.equal((await failure(north.call('GET', all))).code, 'user-unknown')
  assert.equal((await failure(south.call('GET', all, as(clinic.keys.patient)))).code, 'user-unknown')
  assert.deepEqual([await status(north), await status(south, as(clinic.keys.stranger))], ['valid', 'valid'])
  assert.equal((await failure(north.call('GET', `${all}/${'0'.repeat(64)}`))).code, 'credential-unknown')
  clinic.world.wait(10_000)
  clinic.world.do('north', recordRegister('later', { owner: clinic.keys.patient.identifier }))
  assert.equal(await status(north), 'expired')
  clinic.world.do('ca-south', { type: 'credential.revoke', user: doctor.identifier, credential: digest as Digest })
  assert.equal(await status(north), 'revoked')
})

test('status, headers and body of "not allowed" are those of "does not exist", to the byte', async t => {
  const clinic = makeClinic()
  const { address, token } = await clinic.api(t, 'south')
  const { stranger, doctor, patient } = clinic.keys
  const nobody = createSigningKey()
  /** Ids are those that were asked for; everything else has to be the same. */
  const answer = async (path: string, id: string, signer: SigningKey | null): Promise<string> => {
    const timeMs = Date.now()
    const signed = (key: SigningKey): Record<string, string> => ({
      ...{ [HEADERS.key]: key.publicKey, [HEADERS.user]: key.identifier, [HEADERS.time]: String(timeMs) },
      [HEADERS.signature]: toHex(key.sign(querySignedBytes({ chainId: CHAIN_ID, method: 'GET', path, timeMs }))),
    })
    const headers = { authorization: `Bearer ${token}`, ...(signer === null ? {} : signed(signer)) }
    const response = await fetch(new URL(path, address), { headers })
    const seen = [...response.headers].filter(([name]) => name !== 'date')
    return JSON.stringify([response.status, seen, (await response.text()).replaceAll(id, 'ID')])
  }
  const doors: [name: string, path: (id: string) => string, there: string, not: string][] = [
    ['record', id => `/v1/records/${id}`, X_RAY, recordNamed('nothing')],
    ['explain', id => `/v1/records/${id}/explain`, X_RAY, recordNamed('nothing')],
    ['records', id => `/v1/records?owner=${id}`, patient.identifier, idNamed('nothing')],
    ['policies', id => `/v1/policies?owner=${id}`, patient.identifier, idNamed('nothing')],
    ['user', id => `/v1/users/${id}`, patient.identifier, idNamed('nothing')],
    ['audit', id => `/v1/audit?record=${id}`, X_RAY, recordNamed('nothing')],
  ]
  for (const signer of [null, stranger, doctor, nobody])
    for (const [name, path, there, not] of doors)
      assert.equal(await answer(path(there), there, signer), await answer(path(not), not, signer), name)
  assert.notEqual(
    await answer(`/v1/records/${X_RAY}`, X_RAY, patient),
    await answer(`/v1/records/${X_RAY}`, X_RAY, null),
  )
})

test('owner, guardian, delegate and custodian see the record and who can see it', async t => {
  const clinic = makeClinic()
  const { api } = await clinic.api(t, 'north')
  for (const options of [{}, ...(['patient', 'guardian', 'delegate'] as const).map(name => as(clinic.keys[name]))]) {
    const entry = (await api.call('GET', `/v1/records/${X_RAY}`, options)) as { record: string }
    assert.equal(entry.record, X_RAY)
    const explained = (await api.call('GET', `/v1/records/${X_RAY}/explain`, options)) as { delegates: object[] }
    assert.equal(explained.delegates.length, 2)
  }
})

test('a grant shows the record to who holds it, for as long as it runs, and never who else can see it', async t => {
  const clinic = makeClinic()
  permit(clinic)
  assert.equal(askFor(clinic).type, 'granted')
  const { api } = await clinic.api(t, 'south')
  const options = as(clinic.keys.doctor)
  assert.equal(((await api.call('GET', `/v1/records/${X_RAY}`, options)) as { record: string }).record, X_RAY)
  assert.match(await errorText(api.call('GET', `/v1/records/${X_RAY}/explain`, options)), /^\["record-unknown"/)
  clinic.world.wait(clinic.world.views.parameters().grantMs + 1)
  clinic.world.executeAll([])
  assert.match(await errorText(api.call('GET', `/v1/records/${X_RAY}`, options)), /^\["record-unknown"/)
})

test('who was revoked, ran out or changed keys sees nothing with the old key', async t => {
  const clinic = makeClinic()
  const { api } = await clinic.api(t, 'north')
  const path = `/v1/records/${X_RAY}`
  const { patient } = clinic.keys
  assert.ok(await api.call('GET', path, as(patient)))
  // A grant that still runs does not help a key that was replaced.
  permit(clinic)
  const { doctor } = clinic.keys
  assert.equal(askFor(clinic).type, 'granted')
  assert.ok(await api.call('GET', path, as(doctor)))
  const { publicKey } = createSigningKey()
  clinic.act('doctor', { type: 'user.rotate-key', user: doctor.identifier, publicKey, scheme: 1 })
  assert.match(await errorText(api.call('GET', path, as(doctor))), /^\["record-unknown"/)
  const next = createSigningKey()
  clinic.act('patient', { type: 'user.rotate-key', user: patient.identifier, publicKey: next.publicKey, scheme: 1 })
  assert.match(await errorText(api.call('GET', path, as(patient))), /^\["record-unknown"/)
  const rotated: SigningKey = { ...next, identifier: patient.identifier }
  assert.ok(await api.call('GET', path, as(rotated)))
  const thief: SigningKey = { ...clinic.keys.stranger, identifier: patient.identifier }
  assert.equal((await failure(api.call('GET', path, as(thief)))).code, 'signature-invalid')
  clinic.world.do('ca-north', { type: 'user.revoke', user: clinic.keys.guardian.identifier })
  assert.match(await errorText(api.call('GET', path, as(clinic.keys.guardian))), /^\["record-unknown"/)
})

test('a query that was changed, signed by another key or signed too long ago is refused', async t => {
  const clinic = makeClinic()
  let now = Date.now()
  const { api } = await clinic.api(t, 'north', () => now)
  const { patient, stranger } = clinic.keys
  const forged: SigningKey = { ...patient, sign: bytes => stranger.sign(bytes) }
  const other: SigningKey = { ...patient, sign: bytes => patient.sign(Buffer.concat([bytes, Buffer.from('?owner=x')])) }
  const elsewhere = (bytes: Uint8Array): Uint8Array =>
    Buffer.from(Buffer.from(bytes).toString().replace('records', 'policies'))
  const moved: SigningKey = { ...patient, sign: bytes => patient.sign(elsewhere(bytes)) }
  for (const signer of [forged, other, moved])
    assert.equal((await failure(api.call('GET', '/v1/records', as(signer)))).code, 'signature-invalid')
  for (const offset of [-61_000, 61_000]) {
    now = Date.now() + offset
    assert.equal((await failure(api.call('GET', '/v1/records', as(patient)))).code, 'signature-expired')
  }
})

test('policies are shown to the owner and a guardian only', async t => {
  const clinic = makeClinic()
  permit(clinic)
  const { api } = await clinic.api(t, 'north')
  const owner = clinic.keys.patient.identifier
  const everything = { scope: { type: 'all' }, from: 0 as Timestamp, to: FOREVER } as const
  const delegate = { delegate: clinic.keys.delegate.identifier, kind: 'delegate' } as const
  const timestamp = clinic.world.nowMs as Timestamp
  assert.equal(
    clinic.act('patient', { type: 'delegate.set', owner, ...delegate, ...everything, timestamp }).type,
    'done',
  )
  for (const name of ['patient', 'guardian'] as const) {
    const shown = (await api.call('GET', '/v1/policies', { ...as(clinic.keys[name]), query: { owner } })) as {
      policies: object[]
    }
    assert.equal(shown.policies.length, 1, name)
  }
  const unknown = idNamed('nobody')
  for (const options of [{}, as(clinic.keys.delegate), as(clinic.keys.doctor), as(clinic.keys.stranger)]) {
    const refused = await errorText(api.call('GET', '/v1/policies', { ...options, query: { owner } }))
    assert.match(refused, /^\["patient-unknown"/)
    assert.equal(refused, await errorText(api.call('GET', '/v1/policies', { ...options, query: { owner: unknown } })))
  }
})

async function audit(world: ApiWorld, options: CallOptions = {}): Promise<readonly string[]> {
  const types: string[] = []
  for await (const line of world.api.lines('GET', '/v1/audit', options))
    if (line['end'] !== true) types.push(`${line['type']} ${line['result']}`)
  return types
}

test('the audit trail: the patient sees all about them, a doctor what they asked, the custodian what it keeps, others nothing', async t => {
  const clinic = makeClinic()
  askFor(clinic)
  permit(clinic)
  askFor(clinic)
  clinic.act('doctor', accessRequest({ record: recordNamed('nothing') }))
  const north = await clinic.api(t, 'north')
  const south = await clinic.api(t, 'south')
  const asked = ['access.request denied: no-policy', 'access.request granted']
  assert.deepEqual(await audit(north, as(clinic.keys.patient)), [
    'record.register done',
    'delegate.set done',
    'delegate.set done',
    asked[0],
    'policy.set done',
    asked[1],
  ])
  assert.deepEqual(await audit(north, as(clinic.keys.guardian)), await audit(north, as(clinic.keys.patient)))
  assert.deepEqual(await audit(south, as(clinic.keys.doctor)), [...asked, 'access.request denied: no-policy'])
  assert.deepEqual(await audit(north), ['record.register done', ...asked])
  assert.deepEqual(await audit(south), [])
  assert.deepEqual(await audit(south, as(clinic.keys.stranger)), [])
  const { patient, doctor } = clinic.keys
  assert.deepEqual(await audit(north, { ...as(patient), query: { user: doctor.identifier } }), asked)
  assert.deepEqual(await audit(north, { ...as(patient), query: { record: recordNamed('nothing') } }), [])
})

test('a preview says who would gain and lose, and signs nothing', async t => {
  const clinic = makeClinic()
  permit(clinic)
  const world = await clinic.api(t, 'north')
  const height = clinic.world.blocks.length
  const owner = clinic.keys.patient.identifier
  type Shown = { gain: { user: string; purpose: string }[]; lose: { user: string; purpose: string }[] }
  const preview = (change: Parameters<typeof policySet>[1], by: SigningKey = clinic.keys.patient): Promise<Shown> =>
    world.api.call('POST', '/v1/policies/preview', {
      ...as(by),
      body: policySet('patient', { owner, ...change }),
    }) as Promise<Shown>
  const { identifier } = clinic.keys.doctor
  const same = await preview({})
  assert.deepEqual([same.gain, same.lose], [[], []])
  const research = await preview({ grantee: { type: 'user', user: identifier }, purposes: ['HRESCH'] })
  assert.ok(research.gain.some(change => change.user === identifier && change.purpose === 'HRESCH'))
  assert.deepEqual(research.lose, [])
  const narrower = await preview({ purposes: ['COC'] })
  assert.ok(narrower.lose.some(change => change.user === identifier && change.purpose === 'TREAT'))
  assert.ok(!narrower.lose.some(change => change.purpose === 'COC'))
  const deny = await preview({ grantee: { type: 'anyone' }, effect: 'deny' })
  assert.ok(deny.lose.some(change => change.user === identifier && change.purpose === 'TREAT'))
  assert.deepEqual(deny.gain, [])
  assert.equal((await failure(preview({ purposes: ['ALL'] }))).code, 'purpose-unknown')
  assert.equal((await failure(preview({}, clinic.keys.doctor))).code, 'patient-unknown')
  assert.equal(clinic.world.blocks.length, height)
})

test('explain names the policies in the order in which they weigh, with what is out of its window last', async t => {
  const clinic = makeClinic()
  const owner = clinic.keys.patient.identifier
  const set = (change: Parameters<typeof policySet>[1]): Outcome =>
    clinic.act('patient', policySet('patient', { owner, timestamp: clinic.world.nowMs as Timestamp, ...change }))
  set({ grantee: { type: 'anyone' }, labelCeiling: 'L' })
  set({ scope: { type: 'record', record: X_RAY }, grantee: { type: 'role', role: 'nurse' } })
  set({ scope: { type: 'kind', kind: 'dicom' } })
  set({ grantee: { type: 'user', user: clinic.keys.doctor.identifier }, to: 1 as Timestamp })
  set({ grantee: { type: 'institution', institution: idNamed('west') as Identifier }, effect: 'deny' })
  const { api } = await clinic.api(t, 'north')
  const { rules } = (await api.call('GET', `/v1/records/${X_RAY as RecordId}/explain`, as(clinic.keys.patient))) as {
    rules: { effect: string; grantee: { type: string }; window: string; withheld: boolean }[]
  }
  assert.deepEqual(
    rules.map(({ effect, grantee, window, withheld }) => [effect, grantee.type, window, withheld]),
    [
      ['deny', 'institution', 'open', false],
      ['permit', 'role', 'open', false],
      ['permit', 'anyone', 'open', true],
      ['permit', 'user', 'closed', false],
    ],
  )
})
