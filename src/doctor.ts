// `emrm doctor`: what an operator would look at first, looked at for them: settings, secrets, ports, disk, clock, neighbours, progress.
// It changes nothing but a value that it writes into the vault and removes. Not here: the whole chain and vault again (emrm verify).

import { readdir, stat, statfs } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'

import { connectApi } from './api/client.ts'
import type { EmergencyShown } from './api/emergencies.ts'
import type { PeerStatus } from './api/peer-handle.ts'
import { homePaths, loadConfig, type PeerConfig } from './config.ts'
import { EmrmError } from './model/errors.ts'
import { makeQuorum } from './model/quorum.ts'
import type { CareReport } from './records/caretaker.ts'
import type { RedealReport } from './records/redeal.ts'
import type { VaultExamination } from './records/vault-check.ts'
import type { VaultPlace } from './vault-place.ts'
import { usageText } from './vault-text.ts'

const FREE_BYTES_MIN = 1024 ** 3
/** Of its limit; above this the operator should act. */
const QUOTA_WARNED = 0.95
/** A large vault in a database or a bucket is counted for minutes. */
const EXAMINE_TIMEOUT_MS = 10 * 60_000
const CONNECT_TIMEOUT_MS = 2_000
const PROBLEMS_NAMED = 5
const CLOCK_AHEAD_MAX_MS = 60_000

export type Check = { readonly check: string; readonly ok: boolean; readonly detail: string }

export async function examine(
  home: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly Check[]> {
  const node: Check = { check: 'node', ok: true, detail: process.versions.node }
  let config: PeerConfig
  try {
    config = await loadConfig(home, env)
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    return [node, bad('settings', `${error.code}: ${error.message}`)]
  }
  const status = await statusOf(home)
  return [
    node,
    good('settings', `network ${config.genesis.network}, ${config.peers.length} peers listed`),
    await checkSecrets(config),
    await checkDisk(config),
    ...(status === null
      ? await checkPorts(config)
      : [
          ...checkRunning(config, status),
          checkCare(status.care),
          checkShares(status.care.redeal),
          checkReviews(status.emergencies),
        ]),
    await checkVault(config, status !== null),
    ...(await checkNeighbours(config)),
  ]
}

const good = (check: string, detail: string): Check => ({ check, ok: true, detail })
const bad = (check: string, detail: string): Check => ({ check, ok: false, detail })

type Headed = { readonly header: { readonly timestamp: number } }
type Running = PeerStatus & {
  readonly headTime?: number
  readonly care: CareReport & { readonly redeal: RedealReport }
  readonly emergencies: readonly EmergencyShown[]
}

async function statusOf(home: string): Promise<Running | null> {
  try {
    const api = await connectApi(homePaths(home))
    try {
      const care = (await api.call('GET', '/v1/vault')) as Running['care']
      const { emergencies } = (await api.call('GET', '/v1/emergencies')) as Pick<Running, 'emergencies'>
      const status = { ...((await api.call('GET', '/v1/status')) as PeerStatus), care, emergencies }
      if (status.height === 0) return status
      // Right after it began with a snapshot a peer has no block yet.
      const block = await api.call('GET', `/v1/blocks/${status.height}`).catch(() => null)
      return block === null ? status : { ...status, headTime: (block as Headed).header.timestamp }
    } finally {
      api.close()
    }
  } catch (error) {
    if (error instanceof EmrmError) return null
    throw error
  }
}

async function checkSecrets({ paths }: PeerConfig): Promise<Check> {
  const keys: readonly string[] = await readdir(join(paths.home, 'keys')).catch(() => [])
  const open: string[] = []
  for (const file of [paths.swarmKey, ...keys.map(name => join(paths.home, 'keys', name))])
    if (((await stat(file)).mode & 0o077) !== 0) open.push(file)
  if (!keys.includes('institution.key'))
    return bad('secrets', 'keys/institution.key is missing; restore it from a backup')
  return open.length === 0
    ? good('secrets', 'readable by their owner only')
    : bad('secrets', `others can read ${open.join(', ')}; chmod 600`)
}

async function checkDisk({ paths }: PeerConfig): Promise<Check> {
  const { bavail, bsize } = await statfs(paths.home)
  const free = bavail * bsize
  const detail = `${(free / 1024 ** 3).toFixed(1)} GiB free`
  return free < FREE_BYTES_MIN
    ? bad('disk', `${detail}; the peer stops when a write fails, make room`)
    : good('disk', detail)
}

async function checkPorts(config: PeerConfig): Promise<readonly Check[]> {
  const wanted = [
    ...config.listen.map(address => ({ what: 'port', ...partsOf(address) })),
    { what: 'api port', ...config.api },
  ]
  return Promise.all(
    wanted.map(async ({ what, host, port }) =>
      (await canListen(host, port))
        ? good(what, `${host}:${port} is free, the peer does not run`)
        : bad(
            what,
            `${host}:${port} cannot be listened on; another program has it, or it is not this machine's address`,
          ),
    ),
  )
}

function checkRunning(config: PeerConfig, status: PeerStatus & { readonly headTime?: number }): readonly Check[] {
  const { n, fast } = makeQuorum(config.genesis.validatorCount, config.genesis.f, config.genesis.p)
  const direct = status.peers.filter(peer => peer.direct).length
  const needed = n - config.genesis.f - 1
  const links = `${direct} direct links (${needed} needed to decide, ${fast - 1} to decide in two phases)`
  const ahead = (status.headTime ?? 0) - Date.now()
  return [
    good('running', `height ${status.height}, view ${status.view}, ${status.role}`),
    direct >= needed ? good('links', links) : bad('links', `${links}; look at "emrm peers" and the network`),
    ahead > CLOCK_AHEAD_MAX_MS
      ? bad('clock', `the last block is ${Math.round(ahead / 1000)} s in this machine's future; set the clock by NTP`)
      : good('clock', 'not behind the chain'),
  ]
}

function checkCare({ finishedAt, records, mended, leftCount, left }: CareReport): Check {
  if (finishedAt === null) return good('scrub', 'not looked through since the start; "emrm scrub" does it now')
  const round = `${records} records looked at ${new Date(finishedAt).toISOString()}, ${mended} problem(s) mended`
  if (leftCount === 0) return good('scrub', round)
  const named = left.slice(0, PROBLEMS_NAMED).map(({ type, record }) => `${type} ${record}`)
  return bad(
    'scrub',
    `${round}, ${leftCount} left: ${named.join(', ')}; the next round tries again, "emrm verify" names all`,
  )
}

async function checkVault(config: PeerConfig, isRunning: boolean): Promise<Check> {
  const where = placeText(config.vault)
  try {
    const found = isRunning ? await examineThroughPeer(config) : await examineStopped(config)
    const { records, sampled, damaged, usedBytes, quotaBytes, freeBytes } = found
    const detail = `${where}: written and read back; ${usageText(found)}; ${sampled} of ${records} records looked into`
    if (damaged.length > 0)
      return bad('vault', `${detail}, damaged: ${damaged.join(', ')}; "emrm scrub" fetches them from other holders`)
    if (quotaBytes !== null && usedBytes > quotaBytes * QUOTA_WARNED)
      return bad('vault', `${detail}; raise vaultQuotaBytes in config.json and start again, or make room`)
    if (freeBytes !== null && freeBytes < FREE_BYTES_MIN)
      return bad('vault', `${detail}; records that do not fit are refused, make room`)
    return good('vault', detail)
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    return bad('vault', `${where}: ${error.code}: ${error.message}`)
  }
}

async function examineThroughPeer(config: PeerConfig): Promise<VaultExamination> {
  const api = await connectApi(config.paths)
  try {
    const timeoutMs = EXAMINE_TIMEOUT_MS
    return (await api.call('GET', '/v1/vault/check', { timeoutMs })) as VaultExamination
  } finally {
    api.close()
  }
}

/** Loaded only here: the store and the vault are nothing that a look at settings needs. */
async function examineStopped(config: PeerConfig): Promise<VaultExamination> {
  const { examineVaultOffline } = await import('./offline.ts')
  return examineVaultOffline(config)
}

function placeText(place: VaultPlace): string {
  switch (place.type) {
    case 'folder':
      return place.path
    case 'database':
      return place.url
    case 'bucket':
      return `bucket ${place.bucket}/${place.prefix}${place.endpoint === null ? '' : ` at ${place.endpoint}`}`
  }
}

/** Of emergency accesses at this hospital or to its records. */
function checkReviews(emergencies: readonly EmergencyShown[]): Check {
  const count = (wanted: EmergencyShown['state']): number => emergencies.filter(({ state }) => state === wanted).length
  const [open, overdue] = [count('open'), count('overdue')]
  if (open + overdue === 0) return good('emergency reviews', 'none waits')
  const advice = '"emrm access reviews --open" lists them'
  if (overdue === 0) return good('emergency reviews', `${open} open; ${advice}`)
  return bad('emergency reviews', `${overdue} overdue, which suspends their users, and ${open} open; ${advice}`)
}

function checkShares({ due, dealt, lastFailure }: RedealReport): Check {
  const done = dealt === 0 ? '' : `, ${dealt} dealt anew since the start`
  if (due === 0) return good('key shares', `all lie with the present committee${done}`)
  const waiting = `${due} record(s) whose key lies with a former committee or has lost a share${done}`
  return lastFailure === null
    ? good('key shares', `${waiting}; they are being dealt anew`)
    : bad('key shares', `${waiting}; the last try ended with ${lastFailure}, the peer tries again by itself`)
}

async function checkNeighbours(config: PeerConfig): Promise<readonly Check[]> {
  const own = new Set([...config.listen, ...config.announce])
  const others = config.peers.filter(({ addresses }) => !addresses.some(address => own.has(address)))
  return Promise.all(
    others.map(async ({ name, addresses }) => {
      const reached = await Promise.all(addresses.map(address => canConnect(partsOf(address))))
      const check = `reach ${name}`
      return reached.some(Boolean)
        ? good(check, addresses.join(' '))
        : bad(check, `nothing answers at ${addresses.join(' ')}; that hospital is down, or a firewall is between`)
    }),
  )
}

function partsOf(address: string): { readonly host: string; readonly port: number } {
  const [, , host = '', , port = '0'] = address.split('/')
  return { host, port: Number(port) }
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

function canConnect({ host, port }: { readonly host: string; readonly port: number }): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS })
    const answer = (reached: boolean): void => {
      socket.destroy()
      resolve(reached)
    }
    socket.once('connect', () => answer(true))
    socket.once('timeout', () => answer(false))
    socket.once('error', () => answer(false))
  })
}
