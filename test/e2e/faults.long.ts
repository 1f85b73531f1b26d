// Real processes whose surroundings fail: killed again and again under load, frozen, cut off from one or from all, with a clock that is set
// back, without room on the disk, without their disk. The others
// go on, nobody releases a record on a policy that may be stale, and who comes back has the same chain.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectApi } from '../../src/api/client.ts'
import { submitOperation } from '../../src/api/operations.ts'
import { homePaths, loadSigningKey } from '../../src/config.ts'
import { digestOf, toHex } from '../../src/model/hash.ts'
import type { Digest, RecordId, Timestamp } from '../../src/model/ids.ts'
import { createSealKey, type SealKey } from '../../src/records/seal.ts'
import { makeRegistrations } from '../bench/registrations.ts'
import { changeConfig, drawLines, type Lines } from './lines.ts'
import { addRecord, observation, outFile, type Person, permit, person, request } from './people.ts'
import {
  agreed,
  createSwarm,
  emrmJson,
  eventually,
  PASSWORD,
  type Swarm,
  type SwarmPeer,
  settled,
  statusOf,
} from './swarm.ts'

const STALENESS_MS = 6_000
const DISK_BYTES = 48 * 1024 * 1024
const KILLS = 12

let swarm: Swarm
let lines: Lines
let patient: Person
let doctor: Person
let record: string
/** A small disk of its own for peer 2; null where this machine allows no mount. */
let smallDisk: string | null = null

const at = (i: number): SwarmPeer => swarm.peers[i] as SwarmPeer
const others = (i: number): SwarmPeer[] => swarm.peers.filter((_, j) => j !== i)

before(async () => {
  const nodeArguments = ['--import', new URL('./moved-clock.ts', import.meta.url).href]
  swarm = await createSwarm({ parameters: { stalenessMaxMs: STALENESS_MS }, nodeArguments })
  lines = await drawLines(swarm)
  smallDisk = await mountSmallDisk(join(swarm.dir, 'disk'))
  if (smallDisk !== null) await changeConfig(at(2).home, { data: join(smallDisk, 'data') })
  await Promise.all(swarm.peers.map(peer => peer.start()))
  await settled(swarm.peers)
  patient = await person(swarm, at(0), 'patient', ['patient'])
  doctor = await person(swarm, at(1), 'doctor', ['attending'])
  record = await addRecord(swarm, at(0), patient, observation('resting'))
  await permit(patient, ['--grantee', 'role:attending', '--purpose', 'TREAT', '--right', 'read'])
})
after(async () => {
  for (const peer of swarm?.peers ?? []) peer.process()?.kill('SIGCONT')
  await Promise.all((swarm?.peers ?? []).map(peer => peer.stop()))
  if (smallDisk !== null) execFileSync('umount', [smallDisk])
  await swarm?.stop()
  await lines?.stop()
})

async function mountSmallDisk(folder: string): Promise<string | null> {
  await mkdir(folder)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder], { stdio: 'ignore' })
    return folder
  } catch {
    return null
  }
}

let serial = 0
/** Any request that changes the chain; its height. */
async function work(peer: SwarmPeer): Promise<number> {
  const user = ['user', 'register', '--home', peer.home, '--role', 'nurse', '--name', `nurse-${serial++}`]
  return Number((await emrmJson([...user, '--out', outFile(swarm)], { timeoutMs: 30_000 }))['height'])
}

/** A grant of the doctor, and the key that its shares are sealed to. */
async function grantFor(peer: SwarmPeer): Promise<{ readonly grant: string; readonly recipient: SealKey }> {
  const api = await connectApi(homePaths(peer.home))
  try {
    const { chainId } = (await api.call('GET', '/v1/genesis')) as { chainId: Digest }
    const key = await loadSigningKey(doctor.key, PASSWORD)
    const recipient = createSealKey()
    const executed = await submitOperation(
      api,
      { key, chainId, timestamp: Date.now() as Timestamp },
      {
        ...{ type: 'access.request', record: record as RecordId, role: 'attending', purpose: 'TREAT', right: 'read' },
        recipient: digestOf(recipient.publicBytes),
      },
    )
    return { grant: executed.request, recipient }
  } finally {
    api.close()
  }
}

type Refusal = { readonly institution: string; readonly reason: string }
async function releaseAt(
  peer: SwarmPeer,
  { grant, recipient }: Awaited<ReturnType<typeof grantFor>>,
): Promise<{ readonly shares: readonly object[]; readonly refusals: readonly Refusal[] }> {
  const api = await connectApi(homePaths(peer.home))
  try {
    const body = { recipientKey: toHex(recipient.publicBytes) }
    return (await api.call('POST', `/v1/grants/${grant}/release`, { body })) as Awaited<ReturnType<typeof releaseAt>>
  } finally {
    api.close()
  }
}

const refusalOf = (release: Awaited<ReturnType<typeof releaseAt>>, peer: SwarmPeer): string | undefined =>
  release.refusals.find(({ institution }) => institution === peer.name)?.reason

test('a frozen peer costs the others nothing but its vote; thawed, it catches up', async () => {
  at(3).process()?.kill('SIGSTOP')
  const height = await work(at(0)).then(() => work(at(1)))
  await agreed([at(0), at(1), at(2)], height)
  at(3).process()?.kill('SIGCONT')
  await agreed(swarm.peers, height)
})

test('the frozen peer was the primary: another leads', async () => {
  const before = await statusOf(at(0))
  const index = before.primary?.index as number
  const survivors = others(index)
  at(index).process()?.kill('SIGSTOP')
  const height = await work(survivors[0] as SwarmPeer)
  at(index).process()?.kill('SIGCONT')
  const end = await agreed(swarm.peers, height)
  assert.notEqual(end.primary?.index, index)
})

test('two peers that cannot reach each other both take part', async () => {
  assert.ok(lines.opened >= 6, 'the peers use the lines of this test')
  lines.cut(0, 1)
  const height = await work(at(0)).then(() => work(at(1)))
  await agreed(swarm.peers, height)
  lines.heal()
})

test('cut off from all, a peer releases nothing, since a revocation may have passed it by; the others go on', async () => {
  await settled(swarm.peers)
  const granted = await grantFor(at(1))
  await agreed(swarm.peers)
  const healthy = await releaseAt(at(3), granted)
  assert.equal(refusalOf(healthy, at(3)), undefined)
  lines.cutOff(3)
  const height = await work(at(0))
  await agreed(others(3), height)
  await eventually(async () => {
    const release = await releaseAt(at(3), granted)
    assert.equal(refusalOf(release, at(3)), 'policy-stale')
    assert.equal(release.shares.length, 0)
  }, 4 * STALENESS_MS)
  assert.ok((await statusOf(at(3))).height < height)
})

test('the lines healed, it has what it missed and releases again', async () => {
  lines.heal()
  await agreed(swarm.peers)
  const granted = await grantFor(at(1))
  await agreed(swarm.peers)
  await eventually(async () => assert.equal(refusalOf(await releaseAt(at(3), granted), at(3)), undefined), 30_000)
  const out = outFile(swarm)
  assert.equal((await request(doctor, record, 'attending', 'TREAT', out)).code, 0)
})

test('a full disk stops the peer with a code that says so, the others go on, and with room it starts clean', async t => {
  if (smallDisk === null) return t.skip('this machine allows no mount of a small disk')
  const filler = join(smallDisk, 'filler')
  const { bavail, bsize } = await statfs(smallDisk)
  await writeFile(filler, new Uint8Array(bavail * bsize)).catch(() => {})
  let code: number | null | undefined
  const process = at(2).process()
  process?.once('exit', gone => {
    code = gone
  })
  // The last page of a file has room for a few more blocks.
  let height = 0
  for (let i = 0; i < 30 && code === undefined; i++) height = await work(at(0))
  assert.ok(typeof code === 'number' && code !== 0, `it ended with ${code}`)
  assert.match(await at(2).log(), /store-write-failed/)
  await agreed(others(2), height)
  await rm(filler)
  await at(2).start()
  await agreed(swarm.peers, await work(at(2)))
})

test('a peer whose data folder is gone signs nothing until two heights above what the others prove, then votes again', async () => {
  await at(3).stop('SIGTERM')
  const data = join(at(3).home, 'data')
  assert.ok(existsSync(join(at(3).home, 'guard.json')))
  await rm(data, { recursive: true })
  await at(3).start()
  const { height } = await agreed(swarm.peers)
  await eventually(async () => assert.match(await at(3).log(), /signing-again-from/), 30_000)
  const said = /"height":(\d+)[^}]*"event":"signing-again-from"|"event":"signing-again-from"[^}]*"height":(\d+)/.exec(
    await at(3).log(),
  )
  assert.ok(Number(said?.[1] ?? said?.[2]) >= height + 3)
  for (let i = 0; i < 3; i++) await work(at(0))
  await at(2).stop('SIGKILL')
  await agreed(others(2), await work(at(0)))
  await at(2).start()
  await agreed(swarm.peers)
})

test('killed in a loop under load, one peer after the other, they lose nothing that a client was told', async () => {
  await settled(swarm.peers)
  const told = new Map<string, number>()
  const first = await connectApi(homePaths(at(0).home))
  const source = await makeRegistrations(swarm, first)
  first.close()
  let running = true
  const client = async (i: number): Promise<void> => {
    while (running) {
      const api = await connectApi(homePaths(at(i).home)).catch(() => null)
      try {
        if (api === null) throw new Error('not up')
        const signed = source.next(i)
        told.set(signed.id, Number((await api.submit(signed.bytes))['height']))
      } catch {
        // Killed under it, or on its way up: whoever was not told may be lost.
        await new Promise(resolve => setTimeout(resolve, 50))
      } finally {
        api?.close()
      }
    }
  }
  const clients = swarm.peers.map((_, i) => client(i))
  for (let kill = 0; kill < KILLS; kill++) {
    const victim = at(kill % 4)
    await victim.stop('SIGKILL')
    await victim.start()
    // Up again and voting, before the next one falls: f is 1.
    await agreedSoFar(told)
  }
  running = false
  await Promise.all(clients)
  const { height } = await agreed(swarm.peers)
  assert.ok(told.size > KILLS, `only ${told.size} requests were answered`)
  for (const peer of swarm.peers) {
    const api = await connectApi(homePaths(peer.home))
    for (const [id, at] of told) {
      const found = (await api.call('GET', `/v1/transactions/${id}`)) as { height: number }
      assert.equal(found.height, at, `${peer.name} has ${id}`)
    }
    api.close()
  }
  assert.ok(height >= Math.max(...told.values()))
})

/** Every peer has what was told until now. */
async function agreedSoFar(told: ReadonlyMap<string, number>): Promise<void> {
  const height = Math.max(0, ...told.values())
  await eventually(async () => {
    for (const peer of swarm.peers) assert.ok((await statusOf(peer)).height >= height)
  }, 60_000)
}

test('a clock that is set back by an hour costs the peer its vote on fresh blocks, and costs the others nothing', async () => {
  const { primary } = await agreed(swarm.peers)
  const victim = primary?.index as number
  await writeFile(join(at(victim).home, 'clock-offset-ms'), '-3600000')
  const height = await work(at((victim + 1) % 4)).then(() => work(at((victim + 2) % 4)))
  // It still follows what the others decide, and its chain's time never goes back.
  const status = await agreed(swarm.peers, height)
  assert.ok(status.height >= height)
  const api = await connectApi(homePaths(at(victim).home))
  const timeOf = async (h: number): Promise<number> =>
    ((await api.call('GET', `/v1/blocks/${h}`)) as { header: { timestamp: number } }).header.timestamp
  assert.ok((await timeOf(height)) > (await timeOf(height - 1)))
  api.close()
  await writeFile(join(at(victim).home, 'clock-offset-ms'), '0')
  // With another one down its vote is needed again.
  const other = (victim + 1) % 4
  await at(other).stop('SIGKILL')
  await agreed(others(other), await work(at(victim)))
  await at(other).start()
  await agreed(swarm.peers)
})
