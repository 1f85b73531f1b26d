// A record's whole life through running peers: the law keeps it first, then the patient asks, the hospital erases, every peer destroys, one that
// was away does when it is back, and a backup does not bring it back. Afterwards no byte of it is in any home, and the digest that the
// chain keeps for ever says nothing to whoever guesses.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { connectApi } from '../../src/api/client.ts'
import { submitOperation } from '../../src/api/operations.ts'
import { homePaths, loadSigningKey, unlockKeys } from '../../src/config.ts'
import { sha256 } from '../../src/model/hash.ts'
import { asTimestamp, type Digest, type RecordId } from '../../src/model/ids.ts'
import type { ChainParameters } from '../../src/model/operations.ts'
import { openHeader, readHeader } from '../../src/records/age-header.ts'
import { openPayload, PAYLOAD_NONCE_BYTES, payloadKey } from '../../src/records/age-payload.ts'
import { ByteReader } from '../../src/records/bytes.ts'
import { commitmentOf, SALT_BYTES } from '../../src/records/envelope.ts'
import { decodeShareBox } from '../../src/records/frames.ts'
import type { RecordFacts } from '../../src/records/ledger-view.ts'
import { combineShares, type OpenedShare, openShareBox } from '../../src/records/shares.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  agreed,
  emrm,
  emrmJson,
  errorCode,
  eventually,
  PASSWORD,
  type Swarm,
  type SwarmPeer,
  startSwarm,
} from './swarm.ts'

const DAY_MS = 86_400_000

let swarm: Swarm
let patient: Person
let doctor: Person
let record: RecordId
let twin: RecordId
let other: RecordId
let visited: number
let claim: RecordFacts
/** Bytes that must be nowhere afterwards. */
type Trace = { readonly name: string; readonly bytes: Uint8Array }
let traces: readonly Trace[]
let salt: Uint8Array
let until: number
const content = observation(`to be erased ${randomBytes(8).toString('hex')}`)
const kept = observation(`to be kept ${randomBytes(8).toString('hex')}`)
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const show = (peer: SwarmPeer, id: string = record): Promise<Shown> =>
  emrmJson(['record', 'show', id, '--home', peer.home, '--key', patient.key]) as Promise<unknown> as Promise<Shown>

type Shown = RecordFacts & {
  readonly retention: { readonly until: number }
  readonly erasure: null | {
    readonly erased: number | null
    readonly complete: number | null
    readonly missing: readonly string[]
    readonly receipts: readonly { readonly institution: string; readonly destroyed: readonly string[] }[]
  }
}

before(async () => {
  swarm = await startSwarm({ parameters: { retentionOutpatientMs: 2 * DAY_MS, replicas: 1 } })
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  visited = Date.now() - DAY_MS
  const visit = ['--encounter', 'outpatient', '--last-visit', String(visited)]
  record = (await addRecord(swarm, at(0), patient, content, [...visit, '--twin'])) as RecordId
  twin = ((await show(at(0))) as unknown as { twin: RecordId }).twin
  other = (await addRecord(swarm, at(0), patient, kept, visit)) as RecordId
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(() => swarm?.stop())

test('while the law keeps it, the patient and the hospital hear no, with the rule and the date, and the no is on the chain', async () => {
  claim = await show(at(0))
  until = (claim as Shown).retention.until
  assert.equal(until, visited + 2 * DAY_MS)
  const asked = await emrm(['record', 'ask-erasure', record, '--home', at(0).home, '--key', patient.key, '--json'])
  const erased = await emrm(['record', 'erase', record, '--home', at(0).home, '--json'])
  for (const ran of [asked, erased]) {
    assert.deepEqual([ran.code, errorCode(ran)], [1, 'retention-not-over'])
    const error = ran.json?.['error'] as Record<string, unknown>
    assert.deepEqual([error['rule'], error['until']], ['retentionOutpatientMs', until])
    assert.match(String(error['message']), new RegExp(new Date(until).toISOString().replaceAll('.', '\\.')))
  }
  const { entries } = (await emrmJson(['audit', '--home', at(0).home, '--record', record])) as {
    entries: readonly { readonly type: string; readonly result: string }[]
  }
  for (const type of ['record.ask-erasure', 'record.erase'])
    assert.deepEqual(
      entries.filter(entry => entry.type === type).map(({ result }) => result),
      ['refused: retention-not-over'],
    )
  assert.equal((await request(doctor, record, 'attending', 'TREAT', outFile(swarm))).code, 0)
})

test('before the end, two homes together open it: salt and content are there, and the digest on the chain can be checked', async () => {
  const stolen = await stolenFrom([0, 1])
  assert.equal(Buffer.from(stolen.plain).toString(), content)
  assert.equal(commitmentOf(stolen.salt, sha256(Buffer.from(content))), claim.commitment)
  salt = stolen.salt
  traces = await tracesOnDisk()
  for (const { name, bytes } of traces) assert.ok((await filesWith(bytes)).length > 0, name)
  // These two are nowhere at any time, not even here.
  for (const bytes of [salt, Buffer.from(content)]) assert.deepEqual(await filesWith(bytes), [])
})

test('when its time is over, the patient asks, the hospital erases, and those who run destroy and sign; the one that is away is named', async () => {
  await at(2).stop()
  await emrmJson(['backup', '--home', at(2).home, '--out', join(swarm.dir, 'backup')])
  await lawKeepsFor(DAY_MS / 2)
  const early = await emrm(['record', 'erase', record, '--home', at(0).home, '--json'])
  assert.equal(errorCode(early), 'erasure-not-asked')
  await emrmJson(['record', 'ask-erasure', record, '--home', at(0).home, '--key', patient.key])
  assert.equal((await show(at(1))).erasure?.erased, null)
  await emrmJson(['record', 'erase', record, '--home', at(0).home])
  const running = [0, 1, 3]
  await eventually(async () => {
    for (const i of running) for (const id of [record, twin]) await nothingOf(at(i), id)
    for (const id of [record, twin]) assert.deepEqual((await show(at(0), id)).erasure?.missing, ['hospital-3'])
  }, 60_000)
  assert.equal((await show(at(0))).erasure?.complete, null)
  const told = await emrm(['audit', '--home', at(0).home, '--record', record])
  assert.match(told.stdout, new RegExp(`record ${record} erased at height \\d+: no receipt yet from hospital-3`))
  for (const id of [record, twin]) {
    const ran = await request(doctor, id, 'attending', 'TREAT', outFile(swarm))
    assert.deepEqual([ran.code, ran.json?.['reason']], [3, 'record-withdrawn'])
  }
})

test('the peer that was away destroys when it has caught up; then all have signed, each for what it held', async () => {
  await at(2).start()
  await eventually(async () => {
    await nothingOf(at(2), record)
    assert.deepEqual((await show(at(0))).erasure?.missing, [])
  }, 90_000)
  const { erasure } = await show(at(0))
  assert.notEqual(erasure?.complete, null)
  const receipts = new Map(erasure?.receipts.map(each => [each.institution, each.destroyed]))
  assert.deepEqual([...receipts.keys()].sort(), swarm.peers.map(({ name }) => name).sort())
  for (const destroyed of receipts.values()) assert.ok(destroyed.includes('share'))
  assert.ok(receipts.get('hospital-1')?.includes('ciphertext'))
  assert.equal([...receipts.values()].filter(destroyed => destroyed.includes('ciphertext')).length, 2)
})

test('a home that comes back from a backup of before destroys again before it is of use, and nobody heals it', async () => {
  await at(2).stop()
  await rm(at(2).home, { recursive: true })
  await emrmJson(['restore', '--from', join(swarm.dir, 'backup'), '--home', at(2).home])
  assert.notDeepEqual(await filesWith(traces.find(({ name }) => name.endsWith('hospital-3'))!.bytes), [], 'it is back')
  await at(2).start()
  await eventually(() => nothingOf(at(2), record), 90_000)
  for (const { home } of swarm.peers) await emrm(['scrub', '--home', home, '--json'])
  for (const i of [0, 1, 2, 3]) await nothingOf(at(i), record)
  await rm(join(swarm.dir, 'backup'), { recursive: true })
})

test('no share, no piece and no salt of it is in any home; the other record is whole; every chain verifies and replays', async () => {
  for (const { name, bytes } of [...traces, { name: 'salt', bytes: salt }])
    assert.deepEqual(await filesWith(bytes), [], name)
  const out = outFile(swarm)
  assert.equal((await request(doctor, other, 'attending', 'TREAT', out)).code, 0)
  assert.equal(await readFile(out, 'utf8'), kept)
  await agreed(swarm.peers)
  for (const { home } of swarm.peers) {
    const verified = await emrmJson(['verify', '--home', home])
    assert.deepEqual([verified['ok'], verified['problems'], verified['missing']], [true, [], []])
  }
  assert.equal((await emrmJson(['replay', '--home', at(3).home]))['ok'], true)
})

test('the digest on the chain cannot be linked any more: even who guesses the content right cannot see that it is right', () => {
  const guesses = ['', 'a wrong one', content].map(text => sha256(Buffer.from(text)))
  const salts = [new Uint8Array(SALT_BYTES), sha256(Buffer.from(record)), randomBytes(SALT_BYTES)]
  for (const guess of guesses) for (const each of salts) assert.notEqual(commitmentOf(each, guess), claim.commitment)
  assert.equal(commitmentOf(salt, guesses[2]!), claim.commitment, 'with the salt, which nobody has, it could be')
})

/** What is on the disks of it: the sealed shares, also of its twin, and the ciphertext. */
async function tracesOnDisk(): Promise<readonly Trace[]> {
  const found: Trace[] = []
  for (const { home, name } of swarm.peers) {
    const vault = await openFileVault(join(home, 'vault'))
    for (const id of [record, twin]) {
      const share = await vault.item(id, 'share')
      assert.ok(share !== null, name)
      found.push({ name: `share of ${id} at ${name}`, bytes: share.subarray(-64) })
      if ((await vault.entry(id)) === null) continue
      found.push({ name: `ciphertext of ${id} at ${name}`, bytes: (await vault.piece(id, 0)).subarray(-64) })
    }
  }
  return found
}

/** What two stolen homes with their passwords give: the salt of the commitment, and the content. */
async function stolenFrom(
  disks: readonly number[],
): Promise<{ readonly salt: Uint8Array; readonly plain: Uint8Array }> {
  const shares: OpenedShare[] = []
  for (const disk of disks) {
    const vault = await openFileVault(join(at(disk).home, 'vault'))
    const { seal } = await unlockKeys(homePaths(at(disk).home), PASSWORD)
    const box = decodeShareBox((await vault.item(record, 'share'))!)!
    shares.push((await openShareBox(box, seal, claim, claim.owner))!)
  }
  const combined = await combineShares(shares, claim, claim.threshold)
  assert.ok(combined.type === 'key')
  const vault = await openFileVault(join(at(0).home, 'vault'))
  const piece = await vault.piece(record, 0)
  const reader = new ByteReader(once(piece))
  const fileKey = await openHeader(await readHeader(reader, record), combined.contentKey, record)
  const nonce = (await reader.take(PAYLOAD_NONCE_BYTES))!
  const chunks: Uint8Array[] = []
  for await (const chunk of openPayload(payloadKey(fileKey, nonce), reader.rest(), record)) chunks.push(chunk)
  const all = Buffer.concat(chunks)
  return { salt: all.subarray(0, SALT_BYTES), plain: all.subarray(SALT_BYTES) }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** The authority changes the rule: the law of the day counts. */
async function lawKeepsFor(retentionOutpatientMs: number): Promise<void> {
  const api = await connectApi(homePaths(at(0).home))
  try {
    const { chainId } = (await api.call('GET', '/v1/genesis')) as { chainId: Digest }
    const { parameters } = (await api.call('GET', '/v1/rules')) as { parameters: ChainParameters }
    const key = await loadSigningKey(join(swarm.dir, 'net', 'authority', 'authority.key'), PASSWORD)
    const changed = { ...parameters, retentionOutpatientMs }
    const timestamp = asTimestamp(Date.now())
    await submitOperation(api, { key, chainId, timestamp }, { type: 'validators.set', f: 1, p: 0, parameters: changed })
  } finally {
    api.close()
  }
}

/** Throws while the peer's vault has anything of the record. */
async function nothingOf({ home, name }: SwarmPeer, id: RecordId): Promise<void> {
  const folder = join(home, 'vault', id.slice(0, 2), id)
  const found = await readdir(folder).catch(() => [])
  assert.deepEqual(found, [], `${name} still has ${id}`)
}

/** Files of homes and logs in which the bytes stand. */
async function filesWith(bytes: Uint8Array, folder: string = join(swarm.dir, 'net')): Promise<readonly string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    if ((await readFile(path)).includes(Buffer.from(bytes))) found.push(path)
  }
  return found
}
