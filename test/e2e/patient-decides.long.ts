// The patient decides, through running peers: windows by block time whatever the clients' clocks say, words that nobody may twist, what
// was revoked or replayed, delegates whose time is over, disks in the wrong hands, and a peer that is cut off.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { type Api, connectApi } from '../../src/api/client.ts'
import { type AccessAttempt, type Agent, makeAgent } from '../../src/client/agent.ts'
import type { RecordClaim } from '../../src/client/open.ts'
import { homePaths, loadSigningKey, unlockKeys } from '../../src/config.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import type { Request } from '../../src/model/block.ts'
import { asTimestamp, type Digest, type RecordId, type RequestId, type Timestamp } from '../../src/model/ids.ts'
import type { Outcome } from '../../src/model/operations.ts'
import { openStream } from '../../src/records/envelope.ts'
import { decodeDeal, decodeShareBox } from '../../src/records/frames.ts'
import { combineShares, type OpenedShare, openShareBox, type ShareBox } from '../../src/records/shares.ts'
import { addRecord, observation, type Person, person } from './people.ts'
import { agreed, eventually, PASSWORD, type Swarm, type SwarmPeer, startSwarm, statusOf } from './swarm.ts'

const STALENESS_MS = 8_000

type Name = 'patient' | 'doctor' | 'clerk' | 'emergency' | 'delegate' | 'guardian' | 'colleague'
type Answer = { readonly outcome: Outcome; readonly height: number }

let swarm: Swarm
let chainId: Digest
let record: RecordId
const apis: Api[] = []
const keys = new Map<Name, SigningKey>()
const people = new Map<Name, Person>()
const content = observation(`the patient decides ${randomBytes(8).toString('hex')}`)
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const key = (name: Name): SigningKey => keys.get(name) as SigningKey

before(async () => {
  swarm = await startSwarm({ parameters: { stalenessMaxMs: STALENESS_MS } })
  for (const peer of swarm.peers) apis.push(await connectApi(homePaths(peer.home)))
  chainId = ((await apis[0]!.call('GET', '/v1/genesis')) as { chainId: Digest }).chainId
  const roles: Record<Name, string> = {
    ...{ patient: 'patient', doctor: 'attending', clerk: 'clerk', emergency: 'emergency', delegate: 'patient' },
    ...{ guardian: 'patient', colleague: 'attending' },
  }
  await Promise.all(
    Object.entries(roles).map(async ([name, role], i) => {
      const group = name === 'colleague' ? ['--group', 'cardiology'] : []
      const made = await person(swarm, at(i % 4), name, [role], group)
      people.set(name as Name, made)
      keys.set(name as Name, await loadSigningKey(made.key, PASSWORD))
    }),
  )
  record = (await addRecord(swarm, at(0), people.get('patient')!, content)) as RecordId
})
after(async () => {
  for (const peer of swarm?.peers ?? []) peer.process()?.kill('SIGCONT')
  for (const api of apis) api.close()
  await swarm?.stop()
})

/** `skewMs`: how wrong the client's clock is. */
const agentOf = (name: Name, skewMs = 0): Agent =>
  makeAgent({ network: chainId, key: key(name), now: () => Date.now() + skewMs })

const submit = async (i: number, request: Request): Promise<Answer> =>
  (await apis[i]!.submit(request.bytes)) as unknown as Answer

const reasonOf = ({ outcome }: Answer): string => ('reason' in outcome ? outcome.reason : outcome.type)

const attempt = (name: Name, role: string, purpose: string, skewMs = 0): AccessAttempt =>
  agentOf(name, skewMs).requestAccess({ record, role, purpose, right: 'read' })

const ask = (i: number, name: Name, role: string, purpose: string, skewMs = 0): Promise<Answer> =>
  submit(i, attempt(name, role, purpose, skewMs).request)

/** For the record, for everyone, for treatment; one policy, since its key is always the same. */
async function permit(window: { from?: number; to?: number } = {}): Promise<RequestId> {
  const { from = 0, to = Date.now() + 3_600_000 } = window
  const request = agentOf('patient').setPolicy({
    ...{ scope: { type: 'record', record }, grantee: { type: 'anyone' }, effect: 'permit' },
    ...{ purposes: ['TREAT'], rights: ['read'], anonymous: false, labelCeiling: 'R' },
    ...{ from: asTimestamp(from), to: asTimestamp(to) },
  })
  assert.equal(reasonOf(await submit(0, request)), 'done')
  return request.id
}

async function blockTime(height: number): Promise<number> {
  const { header } = (await apis[0]!.call('GET', `/v1/blocks/${height}`)) as { header: { timestamp: Timestamp } }
  return header.timestamp
}

test('a window opens and closes by block time to the millisecond, however wrong the clients’ clocks are', async () => {
  const [from, to] = [Date.now() + 3_000, Date.now() + 6_000]
  await permit({ from, to })
  const seen: Record<string, number> = {}
  for (let n = 0; Date.now() < to + 1_000; n++) {
    const skewMs = [0, -500_000, 45_000][n % 3] as number
    const answer = await ask(n % 4, 'doctor', 'attending', 'TREAT', skewMs)
    const time = await blockTime(answer.height)
    const expected = time < from ? 'window-not-open' : time < to ? 'granted' : 'window-closed'
    assert.equal(reasonOf(answer), expected, `${time} in ${from} … ${to}, skew ${skewMs}`)
    seen[expected] = (seen[expected] ?? 0) + 1
  }
  for (const reason of ['window-not-open', 'granted', 'window-closed']) assert.ok((seen[reason] ?? 0) > 0, reason)
})

test('what is asked for is what the role may ask and the patient permitted, and nothing near it', async () => {
  await permit()
  const rows: [Name, string, string, string][] = [
    ['doctor', 'attending', 'TREAT', 'granted'],
    ['doctor', 'attending', 'COC', 'granted'],
    ['emergency', 'emergency', 'ETREAT', 'granted'],
    ['emergency', 'emergency', 'BTG', 'purpose-mismatch'],
    ['clerk', 'clerk', 'TREAT', 'role-purpose'],
    ['clerk', 'clerk', 'HPAYMT', 'purpose-mismatch'],
    ['doctor', 'attending', '', 'purpose-required'],
    ['doctor', 'attending', 'treat', 'purpose-required'],
    ['doctor', 'clerk', 'HPAYMT', 'role-not-held'],
  ]
  for (const [i, [name, role, purpose, expected]] of rows.entries())
    assert.equal(reasonOf(await ask(i % 4, name, role, purpose)), expected, `${name} ${role} ${purpose}`)
})

test('a policy that was revoked at one height is refused at the next, on every peer', async () => {
  const policy = await permit()
  assert.equal(reasonOf(await ask(1, 'doctor', 'attending', 'TREAT')), 'granted')
  const revoked = await submit(2, agentOf('patient').revokePolicy(policy))
  assert.equal(reasonOf(revoked), 'done')
  for (let i = 0; i < 4; i++) {
    const request = attempt('doctor', 'attending', 'TREAT').request
    const answer = await submit(i, request)
    assert.ok(answer.height > revoked.height)
    assert.equal(reasonOf(answer), 'no-policy')
    // The answer is not that peer's own: all have it.
    for (const api of apis) {
      const found = await eventually(() => api.call('GET', `/v1/transactions/${request.id}`), 10_000)
      assert.equal(reasonOf(found as Answer), 'no-policy')
    }
  }
})

test('a policy that is older than the last one is refused everywhere, and so are the same bytes again', async () => {
  const agent = agentOf('patient')
  const wanted = {
    scope: { type: 'record' as const, record },
    grantee: { type: 'user' as const, user: key('clerk').identifier },
    ...{ purposes: ['HPAYMT'], rights: ['read' as const], anonymous: false, labelCeiling: 'R' as const },
    ...{ from: asTimestamp(0), to: asTimestamp(Date.now() + 3_600_000) },
  }
  const permitting = agent.setPolicy({ ...wanted, effect: 'permit' })
  const denying = agent.setPolicy({ ...wanted, effect: 'deny' })
  assert.equal(reasonOf(await submit(0, permitting)), 'done')
  assert.equal(reasonOf(await submit(0, denying)), 'done')
  const { operation } = permitting
  assert.ok(operation.type === 'policy.set')
  for (let i = 0; i < 4; i++) {
    assert.equal(reasonOf(await submit(i, agent.sign(operation))), 'timestamp-not-above-last')
    // A replay is never executed: it is refused, or answered with what the first came to.
    const again = await submit(i, permitting).then(reasonOf, error => (error as { code: string }).code)
    assert.ok(['replayed', 'done'].includes(again), again)
    assert.equal(reasonOf(await ask(i, 'clerk', 'clerk', 'HPAYMT')), 'patient-denied')
  }
})

test('a delegate reads while the delegation runs, and not a millisecond longer', async () => {
  const to = Date.now() + 4_000
  const delegation = { delegate: key('delegate').identifier, kind: 'delegate', scope: { type: 'all' } } as const
  const window = { from: asTimestamp(0), to: asTimestamp(to) }
  assert.equal(reasonOf(await submit(3, agentOf('patient').setDelegate({ ...delegation, ...window }))), 'done')
  const seen = new Set<string>()
  for (let n = 0; Date.now() < to + 1_000; n++) {
    const answer = await ask(n % 4, 'delegate', 'patient', 'PATRQT')
    const isOver = (await blockTime(answer.height)) >= to
    assert.equal(answer.outcome.type, isOver ? 'denied' : 'granted')
    seen.add(answer.outcome.type)
  }
  assert.deepEqual([...seen], ['granted', 'denied'])
})

test('a guardian decides in the patient’s place, a delegate does not; a permit for a group is one for its members', async () => {
  const day = { from: asTimestamp(0), to: asTimestamp(Date.now() + 3_600_000) }
  const owner = key('patient').identifier
  const appoint = (name: Name, kind: 'guardian' | 'delegate', by: Name = 'patient'): Promise<Answer> => {
    const delegation = { owner, delegate: key(name).identifier, kind, scope: { type: 'all' } } as const
    return submit(2, agentOf(by).setDelegate({ ...delegation, ...day }))
  }
  const permitGroup = (by: Name, effect: 'permit' | 'deny'): Promise<Answer> => {
    const what = { purposes: ['TREAT'], rights: ['read'], anonymous: false, labelCeiling: 'R', effect } as const
    const grantee = { type: 'group', group: 'cardiology' } as const
    return submit(1, agentOf(by).setPolicy({ owner, scope: { type: 'record', record }, grantee, ...what, ...day }))
  }
  assert.equal(reasonOf(await ask(0, 'colleague', 'attending', 'TREAT')), 'no-policy')
  assert.equal(reasonOf(await permitGroup('guardian', 'permit')), 'not-authorized', 'not appointed yet')
  assert.equal(reasonOf(await appoint('guardian', 'guardian')), 'done')
  assert.equal(reasonOf(await appoint('delegate', 'delegate')), 'done')
  assert.equal(reasonOf(await permitGroup('delegate', 'permit')), 'not-authorized')
  assert.equal(
    reasonOf(await appoint('delegate', 'guardian', 'guardian')),
    'not-authorized',
    'no guardian makes another',
  )
  assert.equal(reasonOf(await permitGroup('guardian', 'permit')), 'done')
  for (let i = 0; i < 4; i++) {
    assert.equal(reasonOf(await ask(i, 'colleague', 'attending', 'TREAT')), 'granted')
    assert.equal(reasonOf(await ask(i, 'doctor', 'attending', 'TREAT')), 'no-policy', 'who is not of the group')
  }
  // A deny beats the permit beside it, whoever set which.
  await permit()
  assert.equal(reasonOf(await ask(3, 'colleague', 'attending', 'TREAT')), 'granted')
  assert.equal(reasonOf(await permitGroup('guardian', 'deny')), 'done')
  assert.equal(reasonOf(await ask(3, 'colleague', 'attending', 'TREAT')), 'patient-denied')
  assert.equal(reasonOf(await ask(3, 'doctor', 'attending', 'TREAT')), 'granted')
})

test('the whole disks of f hospitals, with their passwords, do not open a record; those of f + 1 do', async () => {
  const as = { signer: key('patient'), chainId }
  const claim = (await apis[0]!.call('GET', `/v1/records/${record}`, { as })) as RecordClaim & { threshold: number }
  assert.equal(claim.threshold, 2)
  const owner = key('patient').identifier
  const vaults = await Promise.all(
    swarm.peers.map(async ({ home }, i) => {
      const copy = join(swarm.dir, `stolen-${i}`)
      await cp(join(home, 'vault'), copy, { recursive: true })
      return openFileVault(copy)
    }),
  )
  const sealKeys = await Promise.all(
    swarm.peers.map(async ({ home }) => (await unlockKeys(homePaths(home), PASSWORD)).seal),
  )
  /** Every box on the disks, tried with every key on the disks: the custodian's holds the boxes of all. */
  const sharesOn = async (disks: readonly number[]): Promise<readonly OpenedShare[]> => {
    const boxes: ShareBox[] = []
    for (const disk of disks) {
      const share = await vaults[disk]!.item(record, 'share')
      const deal = await vaults[disk]!.item(record, 'deal')
      if (share !== null) boxes.push(decodeShareBox(share)!)
      if (deal !== null) boxes.push(...decodeDeal(deal)!)
    }
    assert.ok(boxes.length > 0)
    const opened = boxes.flatMap(box => disks.map(disk => openShareBox(box, sealKeys[disk]!, claim, owner)))
    return (await Promise.all(opened)).filter(share => share !== null)
  }
  for (const disk of [0, 1, 2, 3]) {
    const combined = await combineShares(await sharesOn([disk]), claim, claim.threshold)
    assert.deepEqual(combined, { type: 'insufficient', have: 1, need: 2 }, `disk ${disk}`)
    assert.equal(await holds(join(at(disk).home), content), false)
  }
  for (const disks of [
    [0, 1],
    [1, 2],
    [2, 3],
  ]) {
    const combined = await combineShares(await sharesOn(disks), claim, claim.threshold)
    assert.ok(combined.type === 'key', `disks ${disks}`)
    const holder = await Promise.all(disks.map(disk => vaults[disk]!.entry(record)))
    const vault = vaults[disks[holder.findIndex(entry => entry !== null)] as number]!
    const source = (async function* () {
      yield await vault.piece(record, 0)
    })()
    const chunks: Uint8Array[] = []
    for await (const chunk of openStream({ contentKey: combined.contentKey, record, source }).plaintext)
      chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), content)
  }
})

test('a peer that is cut off releases nothing more: policy-stale', async () => {
  await permit()
  const asked = attempt('doctor', 'attending', 'TREAT')
  const granted = await submit(1, asked.request)
  assert.equal(granted.outcome.type, 'granted')
  const release = async (): Promise<{ shares: unknown[]; refusals: { institution: string; reason: string }[] }> =>
    (await apis[1]!.call('POST', `/v1/grants/${asked.request.id}/release`, {
      body: { recipientKey: asked.recipient.publicKey },
    })) as never
  await agreed(swarm.peers, granted.height)
  assert.ok((await release()).shares.length >= 2)
  for (const i of [2, 3]) at(i).process()?.kill('SIGSTOP')
  const own = await eventually(async () => {
    const { shares, refusals } = await release()
    assert.equal(shares.length, 0)
    return refusals.filter(({ reason }) => reason === 'policy-stale').map(({ institution }) => institution)
  }, 60_000)
  assert.ok(own.includes('hospital-2'), own.join())
  for (const i of [2, 3]) at(i).process()?.kill('SIGCONT')
  await eventually(async () => assert.ok((await release()).shares.length >= 2), 60_000)
  assert.ok((await statusOf(at(1))).height >= granted.height)
})

/** Whether any file under the folder holds the bytes. */
async function holds(folder: string, text: string): Promise<boolean> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    if ((await readFile(join(entry.parentPath, entry.name))).includes(text)) return true
  }
  return false
}
