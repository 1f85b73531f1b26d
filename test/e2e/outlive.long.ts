// Records outlive hospitals, with real processes: a custodian's disk is wiped, a holder's disk is wiped, then the custodian is expelled and an
// heir adopts its records. After each, every record is counted on the disks and read by a doctor; the number of records lost is zero.

import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openFileVault } from '../../src/adapters/file-vault.ts'
import { homePaths, unlockKeys } from '../../src/config.ts'
import type { Identifier, RecordId } from '../../src/model/ids.ts'
import { decodeDeal, decodeNextShare, decodePendingDeal, decodeShareBox } from '../../src/records/frames.ts'
import type { SealKey } from '../../src/records/seal.ts'
import { combineShares, type OpenedShare, openShareBox, type ShareClaim } from '../../src/records/shares.ts'
import type { Vault } from '../../src/records/vault.ts'
import { decree, nextEpoch } from './authority.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  emrm,
  emrmJson,
  eventually,
  PASSWORD,
  type Swarm,
  type SwarmPeer,
  settled,
  startSwarm,
  statusOf,
} from './swarm.ts'

const EPOCH = 12
const REPLICAS = 1
let swarm: Swarm
let patient: Person
let doctor: Person
const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
/** What each record was, and who keeps it. */
const kept = new Map<string, { readonly content: string; readonly custodian: number }>()

before(async () => {
  swarm = await startSwarm({ hospitals: 5, parameters: { epochBlocks: EPOCH, replicas: REPLICAS } })
  patient = await person(swarm, at(1), 'patient', ['patient'])
  doctor = await person(swarm, at(4), 'doctor', ['attending'])
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
  for (const [i, custodian] of [0, 0, 0, 0, 1, 2].entries()) {
    const content = observation(`${i} ${'x'.repeat(i === 0 ? 1_500_000 : 100)}`)
    kept.set(await addRecord(swarm, at(custodian), patient, content), { content, custodian })
  }
})
after(() => swarm?.stop())

/** Peers on whose disks the ciphertext of a record lies. */
const holdersOnDisk = (record: string): readonly number[] =>
  swarm.peers.flatMap(({ home }, i) => {
    const folder = join(home, 'vault', record.slice(0, 2), record)
    const names = (() => {
      try {
        return readdirSync(folder)
      } catch {
        return []
      }
    })()
    return names.includes('index') && names.includes('cipher') ? [i] : []
  })

async function wipe(i: number): Promise<void> {
  await at(i).stop('SIGKILL')
  rmSync(join(at(i).home, 'vault'), { recursive: true })
  await at(i).start()
  await settled(swarm.peers)
}

const scrub = (i: number): ReturnType<typeof emrm> => emrm(['scrub', '--home', at(i).home, '--json'])

/** Reads every record as the doctor would, and says how many are lost. */
async function lost(when: string): Promise<number> {
  let count = 0
  for (const [record, { content }] of kept) {
    const out = outFile(swarm)
    const ran = await request(doctor, record, 'attending', 'TREAT', out)
    if (ran.code !== 0 || readFileSync(out, 'utf8') !== content) count++
    if (ran.code !== 0) process.stderr.write(`${record}: ${ran.stderr}\n`)
  }
  process.stdout.write(`${when}: ${kept.size} records, ${count} lost\n`)
  return count
}

test('the custodian’s wiped disk gets every record back from the other holders', async () => {
  await wipe(0)
  const { json } = await scrub(0)
  const left = (json?.['left'] ?? []) as readonly { readonly type: string }[]
  assert.deepEqual([...new Set(left.map(({ type }) => type))], ['share-missing'])
  for (const [record, { custodian }] of kept) {
    const holders = holdersOnDisk(record)
    assert.ok(holders.length >= 1 + REPLICAS && holders.includes(custodian), `${record}: ${holders}`)
  }
  assert.equal(await lost('after the custodian’s disk was wiped'), 0)
  // Its shares went with the disk; it has signed that, and each record's custodian deals the key anew, by itself.
  await eventually(async () => assert.deepEqual((await scrub(0)).json?.['left'], []), 240_000)
  const checks = (await emrm(['doctor', '--home', at(0).home, '--json'])).json as {
    checks: readonly { readonly check: string; readonly ok: boolean; readonly detail: string }[]
  }
  for (const check of ['vault', 'key shares']) assert.equal(checks.checks.find(each => each.check === check)?.ok, true)
})

test('a holder’s wiped disk is filled again, and so is each record’s second place', async () => {
  const holder = [...kept.keys()].flatMap(holdersOnDisk).find(i => i > 1) as number
  await wipe(holder)
  await scrub(holder)
  for (const record of kept.keys()) assert.ok(holdersOnDisk(record).length >= 1 + REPLICAS, record)
  assert.equal(await lost('after a holder’s disk was wiped'), 0)
})

test('the custodian is expelled: an heir adopts, the copies are made whole, the keys are dealt anew, and no record is lost', async () => {
  const ids: Identifier[] = []
  for (const peer of swarm.peers)
    ids.push(((await statusOf(peer)) as unknown as { institution: { id: Identifier } }).institution.id)
  const orphans = [...kept].filter(([, { custodian }]) => custodian === 0).map(([record]) => record as RecordId)
  const [target] = orphans as [RecordId]
  const former = (await emrmJson(['record', 'show', target, '--home', at(0).home])) as unknown as Claim
  await decree(swarm, at(1), { type: 'institution.remove', institution: ids[0]! })
  await at(0).stop()
  const leaver = await seize(0, 'leaver')
  for (const record of orphans) {
    await decree(swarm, at(1), { type: 'record.adopt', record, custodian: ids[1]! })
    await emrmJson(['record', 'adopt', record, '--home', at(1).home, '--custodian', ids[1]!])
  }
  await nextEpoch(swarm, at(1), EPOCH)
  for (const i of [1, 2, 3, 4]) await scrub(i)
  for (const record of kept.keys()) {
    const holders = holdersOnDisk(record).filter(i => i !== 0)
    assert.ok(holders.length >= 1 + REPLICAS, `${record}: ${holders}`)
    if (orphans.includes(record as RecordId)) assert.ok(holders.includes(1), `${record}: the heir holds it`)
  }
  // By themselves, in the background; each custodian its own.
  for (const [record, { custodian }] of kept)
    await eventually(async () => {
      const home = at(custodian === 0 ? 1 : custodian).home
      const shown = await emrmJson(['record', 'show', record, '--home', home])
      assert.equal(shown['sharesWithPresentCommittee'], true)
      assert.ok(!(shown['sharesWith'] as readonly string[]).includes('hospital-1'))
    }, 120_000)
  assert.equal(await lost('after the custodian was expelled'), 0)
  // Whole disks with their passwords: the leaver's old share and one new member's open nothing, two new members' do.
  const claim = (await emrmJson(['record', 'show', target, '--home', at(1).home])) as unknown as Claim
  assert.notEqual(claim.shareRoot, former.shareRoot)
  const members = await Promise.all([1, 2, 3, 4].map(i => seize(i, `member-${i}`)))
  for (const member of members) assert.equal(await opens(target, [leaver, member], [former, claim]), 'insufficient')
  assert.equal(await opens(target, members.slice(0, 2), [former, claim]), 'key')
  // The new committee's f: one more is silent.
  await at(3).stop()
  assert.equal(await lost('with one more hospital silent'), 0)
})

type Claim = ShareClaim & { readonly owner: Identifier; readonly threshold: number }
type Seized = { readonly vault: Vault; readonly seal: SealKey }

/** A hospital's whole vault, and its keys. */
async function seize(i: number, name: string): Promise<Seized> {
  const copy = join(swarm.dir, `seized-${name}`)
  cpSync(join(at(i).home, 'vault'), copy, { recursive: true })
  return { vault: await openFileVault(copy), seal: (await unlockKeys(homePaths(at(i).home), PASSWORD)).seal }
}

/** Every box on these disks, tried with every key on them, as a share of the former deal and of the present one. */
async function opens(record: RecordId, disks: readonly Seized[], claims: readonly Claim[]): Promise<string> {
  const shares: OpenedShare[] = []
  for (const { vault } of disks)
    for (const item of await vault.items(record)) {
      const bytes = (await vault.item(record, item))!
      const next = decodeNextShare(bytes)
      const dealt = [...(decodeDeal(bytes) ?? []), ...(decodePendingDeal(bytes)?.boxes ?? [])]
      for (const box of [decodeShareBox(bytes), next, ...dealt])
        for (const claim of claims)
          for (const { seal } of disks) {
            const opened = box === null ? null : await openShareBox(box, seal, claim, claim.owner)
            // Numbered anew: a thief may mix shares of two deals.
            const isNew = opened !== null && !shares.some(({ share }) => Buffer.compare(share, opened.share) === 0)
            if (isNew) shares.push({ ...opened, index: shares.length })
          }
    }
  assert.ok(shares.length > 0, 'the disks hold shares')
  return (await combineShares(shares, claims[0]!, claims[0]!.threshold)).type
}
