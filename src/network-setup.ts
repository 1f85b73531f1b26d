// The authority's step (P-30): founds a network of K hospitals. Writes genesis.json, swarm.key, peers.json, the authority's and CAs' encrypted
// keys, and one ready home for each hospital. In a real consortium each hospital would make its keys itself (`emrm init`) and send only
// public ones; this makes them together for a pilot, each encrypted. Not here: a home's own files (home-setup.ts), flags (cli/network.ts).

import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { DEFAULT_RELATIONS } from './access/defaults.ts'
import { peerIdOf } from './adapters/libp2p-identity.ts'
import { BASE_PORT } from './config.ts'
import { printSwarmKey } from './home-files.ts'
import { buildDirectory, type InstitutionKeys, printJson, type SharedFiles, writeHome } from './home-setup.ts'
import { createSigningKey, saveKeyFile } from './identity/keystore.ts'
import type { SigningKey } from './identity/signing-key.ts'
import { defaultParameters } from './ledger/parameters.ts'
import { VALIDATORS_MAX } from './model/committee.ts'
import { EmrmError } from './model/errors.ts'
import type { Genesis } from './model/genesis.ts'
import type { Digest, Timestamp } from './model/ids.ts'
import { defaultFaults, makeQuorum } from './model/quorum.ts'
import { createSealKey } from './records/seal.ts'
import { chainIdOf } from './wire/codec.ts'

/** Hospital i listens on base + 10·i (libp2p) and the port above (API). */
const PORT_STEP = 10

export type NetworkOptions = {
  readonly directory: string
  readonly name: string
  readonly hospitals: number
  /** Byzantine and slow replicas that are tolerated; the most that n allows when absent. */
  readonly f?: number
  readonly p?: number
  readonly basePort?: number
  /** One CA at the authority for all hospitals instead of one CA for each. */
  readonly centralCa: boolean
  readonly password: string
  readonly nowMs: number
}

export type CreatedNetwork = {
  readonly directory: string
  readonly network: string
  readonly chainId: Digest
  readonly f: number
  readonly p: number
  readonly hospitals: readonly {
    readonly name: string
    readonly home: string
    readonly peerId: string
    readonly institution: string
    readonly port: number
    readonly apiPort: number
  }[]
}

/** Throws EmrmError `quorum-invalid`, `committee-too-large`, `port-invalid`, `name-invalid`, `directory-not-empty`, `directory-not-writable`. */
export async function createNetwork(options: NetworkOptions): Promise<CreatedNetwork> {
  const directory = resolve(options.directory)
  const { f, p, basePort } = checkOptions(options)
  const authority = createSigningKey()
  const centralCa = options.centralCa ? createSigningKey() : null
  const hospitals = Array.from({ length: options.hospitals }, (_, i) => ({
    name: `hospital-${i + 1}`,
    port: basePort + PORT_STEP * (i + 1),
    keys: createInstitutionKeys({ withCa: centralCa === null }),
  }))
  const genesis = makeGenesis({ options, f, p, authority, centralCa, hospitals })
  const shared = sharedFiles(genesis, hospitals)

  await buildDirectory(directory, async draft => {
    await mkdir(join(draft, 'authority'), { mode: 0o700 })
    const { password, name } = options
    await Promise.all([
      writeFile(join(draft, 'genesis.json'), shared.genesis),
      writeFile(join(draft, 'swarm.key'), shared.swarmKey, { mode: 0o600 }),
      writeFile(join(draft, 'peers.json'), shared.peers),
      saveKeyFile(join(draft, 'authority', 'authority.key'), authority, password, { label: `${name} authority` }),
      centralCa && saveKeyFile(join(draft, 'authority', 'ca.key'), centralCa, password, { label: `${name} CA` }),
      ...hospitals.map(({ name, port, keys }) =>
        writeHome(join(draft, name), { keys, shared, settings: { name, basePort: port }, password }),
      ),
    ])
  })
  return {
    directory,
    network: options.name,
    chainId: chainIdOf(genesis),
    f,
    p,
    hospitals: hospitals.map(({ name, port, keys }) => ({
      name,
      home: join(directory, name),
      peerId: keys.peerId,
      institution: keys.institution.identifier,
      port,
      apiPort: port + 1,
    })),
  }
}

function checkOptions({ name, hospitals, f: givenF, p: givenP, basePort = BASE_PORT }: NetworkOptions): {
  readonly f: number
  readonly p: number
  readonly basePort: number
} {
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(name))
    throw new EmrmError(
      'name-invalid',
      'the name is refused; a network name has 1 to 64 letters, digits, spaces, dots, dashes',
      { name },
    )
  if (hospitals > VALIDATORS_MAX)
    throw new EmrmError('committee-too-large', `${hospitals} hospitals; at most ${VALIDATORS_MAX} validate`, {
      count: hospitals,
    })
  const most = defaultFaults(hospitals)
  const f = givenF ?? most.f
  // A smaller f leaves room for p; the default p is the most that n and the chosen f allow.
  const p = givenP ?? Math.max(0, Math.min(f, Math.floor((hospitals - 3 * f - 1) / 2)))
  makeQuorum(hospitals, f, p)
  if (basePort < 1 || basePort + PORT_STEP * hospitals + 1 > 65535)
    throw new EmrmError('port-invalid', `hospitals would listen above port 65535; choose a lower --base-port`, {
      basePort,
    })
  return { f, p, basePort }
}

/** One hospital's keys; its peer id is its signing key in another dress. */
export function createInstitutionKeys({ withCa }: { readonly withCa: boolean }): InstitutionKeys {
  const institution = createSigningKey()
  return {
    peerId: peerIdOf(institution.publicKey),
    institution,
    seal: createSealKey(),
    ca: withCa ? createSigningKey() : null,
  }
}

type Founded = { readonly name: string; readonly port: number; readonly keys: InstitutionKeys }

function makeGenesis(founding: {
  readonly options: NetworkOptions
  readonly f: number
  readonly p: number
  readonly authority: SigningKey
  readonly centralCa: SigningKey | null
  readonly hospitals: readonly Founded[]
}): Genesis {
  const { options, f, p, authority, centralCa, hospitals } = founding
  const institutions = hospitals.map(({ keys }) => keys.institution.identifier).sort()
  const cas = centralCa
    ? [{ publicKey: centralCa.publicKey, institutions }]
    : hospitals.map(({ keys }) => ({
        publicKey: (keys.ca as SigningKey).publicKey,
        institutions: [keys.institution.identifier],
      }))
  return {
    version: 1,
    network: options.name,
    timestamp: options.nowMs as Timestamp,
    f,
    p,
    // In ranking order: the first is the primary (P-31). A new network has no history, so the order of the list is the ranking.
    institutions: hospitals.map(({ name, keys }, i) => ({
      name,
      publicKey: keys.institution.publicKey,
      peerId: keys.peerId,
      sealKey: keys.seal.publicKey,
      region: 'home',
      score: 1000 - i,
    })),
    validatorCount: hospitals.length,
    authority: { threshold: 1, keys: [authority.publicKey] },
    cas,
    relations: DEFAULT_RELATIONS,
    parameters: defaultParameters({ n: hospitals.length, f }),
  }
}

function sharedFiles(genesis: Genesis, hospitals: readonly Founded[]): SharedFiles {
  return {
    genesis: printJson(genesis),
    swarmKey: printSwarmKey(randomBytes(32)),
    peers: printJson(
      hospitals.map(({ name, port, keys }) => ({
        name,
        peerId: keys.peerId,
        addresses: [`/ip4/127.0.0.1/tcp/${port}`],
      })),
    ),
  }
}
