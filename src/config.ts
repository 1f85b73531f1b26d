// Files, flags and environment → PeerConfig: the only reader of settings. A home is one directory (cli.md): config.json, genesis.json,
// swarm.key, peers.json, keys/, data/, vault/. Keys stay encrypted here; `unlockKeys` opens them with the password.
// Not here: the shared files' formats (home-files.ts), what genesis means (wire/codec), where passwords come from (password.ts).

import { isAbsolute, join, resolve } from 'node:path'

import { type PeerEntry, parsePeers, parseSwarmKey, readAddress } from './home-files.ts'
import { loadKeyFile } from './identity/keystore.ts'
import type { SigningKey } from './identity/signing-key.ts'
import { EmrmError } from './model/errors.ts'
import type { Genesis } from './model/genesis.ts'
import type { Digest } from './model/ids.ts'
import { type SealKey, sealKeyFromSeed } from './records/seal.ts'
import {
  readByteCount,
  readFlag,
  readJsonFile,
  readList,
  readObject,
  readOneOf,
  readText,
  readTextFile,
  readWhole,
  refuse,
} from './shape.ts'
import { readVaultPlace, type VaultPlace } from './vault-place.ts'
import { chainIdOf, parseGenesis } from './wire/codec.ts'

export const BASE_PORT = 9700
/** A bucket with its endpoint is longer than a path. */
const VAULT_LENGTH_MAX = 1024
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** config.json as a person writes it; README documents each field. */
export type Settings = {
  readonly name: string
  /** The peer listens on this port (libp2p) and the next one (API). */
  readonly basePort: number
  /** Multiaddrs to listen on; loopback on basePort when absent. */
  readonly listen?: readonly string[]
  /** Multiaddrs that others should dial, when they differ from `listen` (NAT, containers). */
  readonly announce?: readonly string[]
  readonly api?: { readonly host?: string; readonly port?: number }
  readonly logLevel?: LogLevel
  /** Also find peers of the private network by multicast DNS on this network segment. */
  readonly mdns?: boolean
  /** Directories, relative to the home unless absolute; the vault may also be a database or a bucket (vault-place.ts). */
  readonly data?: string
  readonly vault?: string
  /** Limit of what the vault holds; a text such as "500 GB" or a number of bytes. None when absent. */
  readonly vaultQuotaBytes?: number
  /** This hospital's own rules (enforcer), stricter than the contract; none when absent. */
  readonly rules?: string
  /** Which codes make a record sensitive (records/labels/rules.ts); the rules of this release when absent. */
  readonly labels?: string
}

export type HomePaths = {
  readonly home: string
  readonly config: string
  readonly genesis: string
  readonly swarmKey: string
  readonly peers: string
  readonly institutionKey: string
  readonly sealKey: string
  readonly caKey: string
  readonly apiToken: string
  readonly apiAddress: string
}

export type PeerConfig = {
  readonly paths: HomePaths
  readonly name: string
  readonly genesis: Genesis
  readonly chainId: Digest
  /** 32 bytes. */
  readonly swarmKey: Uint8Array
  readonly peers: readonly PeerEntry[]
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly api: { readonly host: string; readonly port: number }
  readonly logLevel: LogLevel
  readonly mdns: boolean
  readonly dataDir: string
  readonly vault: VaultPlace
  /** Null without a limit. */
  readonly vaultQuotaBytes: number | null
  readonly rulesFile: string | null
  readonly labelsFile: string | null
}

export type PeerKeys = {
  /** Institution's Ed25519 key, also its libp2p key. */
  readonly institution: SigningKey
  /** X-Wing: opens the shares that others seal to this validator. */
  readonly seal: SealKey
}

export function homePaths(home: string): HomePaths {
  const base = resolve(home)
  return {
    home: base,
    config: join(base, 'config.json'),
    genesis: join(base, 'genesis.json'),
    swarmKey: join(base, 'swarm.key'),
    peers: join(base, 'peers.json'),
    institutionKey: join(base, 'keys', 'institution.key'),
    sealKey: join(base, 'keys', 'seal.key'),
    caKey: join(base, 'keys', 'ca.key'),
    apiToken: join(base, 'api.token'),
    apiAddress: join(base, 'api.address'),
  }
}

/** Throws EmrmError `home-missing`, `config-invalid` (names the setting), `genesis-invalid`, `swarm-key-invalid`, `file-unreadable`. */
export async function loadConfig(
  home: string,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<PeerConfig> {
  const paths = homePaths(home)
  const settings = await loadSettings(paths)
  const genesis = parseGenesis(await readJsonFile(paths.genesis))
  const inHome = (path: string): string => (isAbsolute(path) ? path : join(paths.home, path))
  return {
    paths,
    name: settings.name,
    genesis,
    chainId: chainIdOf(genesis),
    swarmKey: parseSwarmKey(await readTextFile(paths.swarmKey), paths.swarmKey),
    peers: parsePeers(await readJsonFile(paths.peers), paths.peers),
    listen: settings.listen ?? [`/ip4/127.0.0.1/tcp/${settings.basePort}`],
    announce: settings.announce ?? [],
    api: { host: settings.api?.host ?? '127.0.0.1', port: settings.api?.port ?? settings.basePort + 1 },
    logLevel: readLogLevel(env['EMRM_LOG_LEVEL']) ?? settings.logLevel ?? 'info',
    mdns: settings.mdns ?? false,
    dataDir: inHome(settings.data ?? 'data'),
    vault: readVaultPlace(settings.vault ?? 'vault', paths.home, `${paths.config}.vault`),
    vaultQuotaBytes: settings.vaultQuotaBytes ?? null,
    labelsFile: settings.labels === undefined ? null : inHome(settings.labels),
    rulesFile: settings.rules === undefined ? null : inHome(settings.rules),
  }
}

/** Opens both keys of the peer, one after the other: each takes 64 MiB while its password is checked. Throws EmrmError `wrong-password`, `key-file-invalid`, `key-file-missing`. */
export async function unlockKeys(paths: HomePaths, password: string): Promise<PeerKeys> {
  const institution = await loadEd25519Key(paths.institutionKey, password)
  const seal = await loadKeyFile(paths.sealKey, password)
  if (seal.kind !== 'x-wing') throw wrongKind(paths.sealKey, 'a sealing key (x-wing)')
  return { institution, seal: sealKeyFromSeed(seal.seed) }
}

/** A key that signs: an institution's, a CA's, the authority's or a user's. Throws as `unlockKeys` does. */
export async function loadSigningKey(path: string, password: string): Promise<SigningKey> {
  const file = await loadKeyFile(path, password)
  if (file.kind === 'x-wing') throw wrongKind(path, 'a signing key (ed25519, or an Ethereum account of a user)')
  return file.key
}

async function loadEd25519Key(path: string, password: string): Promise<SigningKey> {
  const key = await loadSigningKey(path, password)
  if (key.scheme !== 1) throw wrongKind(path, 'an ed25519 key, which an institution needs')
  return key
}

const wrongKind = (file: string, needed: string): EmrmError =>
  new EmrmError('key-file-invalid', `${file} is not ${needed}; give the right file`, { file })

export const homeMissing = (home: string): EmrmError =>
  new EmrmError(
    'home-missing',
    `${home} is not a home (no config.json); make one with "emrm network create" or "emrm init"`,
    { home },
  )

async function loadSettings(paths: HomePaths): Promise<Settings> {
  try {
    return parseSettings(await readJsonFile(paths.config), paths.config)
  } catch (error) {
    if (error instanceof EmrmError && error.code === 'file-missing') throw homeMissing(paths.home)
    throw error
  }
}

/** Throws EmrmError `config-invalid`; an unknown key is named, never ignored. */
export function parseSettings(json: unknown, file: string): Settings {
  const places = ['data?', 'vault?', 'vaultQuotaBytes?', 'rules?', 'labels?']
  const keys = ['name', 'basePort', 'listen?', 'announce?', 'api?', 'logLevel?', 'mdns?', ...places]
  const object = readObject(json, file, keys)
  const given = <T>(key: string, read: (value: unknown, where: string) => T): T | undefined =>
    object[key] === undefined ? undefined : read(object[key], `${file}.${key}`)
  const addresses = (value: unknown, where: string): readonly string[] => readList(value, where, 16, readAddress)
  return dropAbsent({
    name: readText(object['name'], `${file}.name`, 128),
    // The API takes the port above.
    basePort: readWhole(object['basePort'], `${file}.basePort`, 0, 65534),
    listen: given('listen', addresses),
    announce: given('announce', addresses),
    api: given('api', readApi),
    logLevel: given('logLevel', (value, where) => readOneOf(value, where, LOG_LEVELS)),
    mdns: given('mdns', readFlag),
    data: given('data', readText),
    vault: given('vault', readVault),
    vaultQuotaBytes: given('vaultQuotaBytes', readByteCount),
    rules: given('rules', readText),
    labels: given('labels', readText),
  })
}

/** Refused here already, so that a command that only reads settings says it too. */
function readVault(value: unknown, where: string): string {
  const vault = readText(value, where, VAULT_LENGTH_MAX)
  readVaultPlace(vault, '.', where)
  return vault
}

function readApi(value: unknown, where: string): { readonly host?: string; readonly port?: number } {
  const api = readObject(value, where, ['host?', 'port?'])
  const host = api['host'] === undefined ? undefined : readText(api['host'], `${where}.host`, 64)
  // The token travels in clear: the API never leaves the machine.
  if (host !== undefined && !isLoopback(host))
    throw refuse(`${where}.host`, 'must be a loopback address (127.0.0.1 or ::1)')
  const port = api['port'] === undefined ? undefined : readWhole(api['port'], `${where}.port`, 0, 65535)
  return dropAbsent({ host, port })
}

export const isLoopback = (host: string): boolean => /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) || host === '::1'

function readLogLevel(value: string | undefined): LogLevel | undefined {
  return value === undefined || value === '' ? undefined : readOneOf(value, 'EMRM_LOG_LEVEL', LOG_LEVELS)
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** `{a: undefined}` and `{}` are two things to the compiler and to JSON; settings know only the second. */
function dropAbsent<T extends object>(object: T): Present<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>
}
