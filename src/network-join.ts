// A further hospital joins: its own keys, made where they stay, a home, and the public part as an admission request that the authority
// signs (P-30). Until it is admitted the other peers refuse its connections.

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { type PeerEntry, parsePeers, parseSwarmKey, printSwarmKey } from './home-files.ts'
import { buildDirectory, printJson, writeHome } from './home-setup.ts'
import type { SigningKey } from './identity/signing-key.ts'
import { EmrmError } from './model/errors.ts'
import type { CaAuthorize, InstitutionAdmit } from './model/operations.ts'
import { createInstitutionKeys } from './network-setup.ts'
import { readJsonFile, readTextFile } from './shape.ts'
import { parseGenesis } from './wire/codec.ts'

export type JoinOptions = {
  readonly home: string
  readonly genesis: string
  readonly swarmKey: string
  readonly peers: string
  readonly name: string
  readonly region: string
  readonly basePort: number
  readonly password: string
}

export type JoinedHome = {
  readonly home: string
  readonly peerId: string
  readonly institution: string
  /** Operations for the authority to sign: the institution and its CA. The score is the authority's to give. */
  readonly admission: readonly (InstitutionAdmit | CaAuthorize)[]
  /** The line that the other hospitals add to their peers.json. */
  readonly peer: PeerEntry
}

/** Throws EmrmError `genesis-invalid`, `swarm-key-invalid`, `config-invalid`, `file-missing`, `directory-not-empty`, `institution-exists`. */
export async function createHome(options: JoinOptions): Promise<JoinedHome> {
  const genesis = parseGenesis(await readJsonFile(options.genesis))
  const swarmKey = parseSwarmKey(await readTextFile(options.swarmKey), options.swarmKey)
  const peers = parsePeers(await readJsonFile(options.peers), options.peers)
  if (genesis.institutions.some(({ name }) => name === options.name))
    throw new EmrmError('institution-exists', `${options.name} stands in genesis; choose another --name`, {
      name: options.name,
    })
  const keys = createInstitutionKeys({ withCa: true })
  const home = resolve(options.home)
  const settings = { name: options.name, basePort: options.basePort }
  const shared = {
    genesis: await readFile(options.genesis, 'utf8'),
    swarmKey: printSwarmKey(swarmKey),
    peers: printJson(peers),
  }
  await buildDirectory(home, draft => writeHome(draft, { keys, shared, settings, password: options.password }))
  return {
    home,
    peerId: keys.peerId,
    institution: keys.institution.identifier,
    admission: [
      {
        type: 'institution.admit',
        name: options.name,
        publicKey: keys.institution.publicKey,
        peerId: keys.peerId,
        sealKey: keys.seal.publicKey,
        region: options.region,
        score: 0,
      },
      {
        type: 'ca.authorize',
        publicKey: (keys.ca as SigningKey).publicKey,
        institutions: [keys.institution.identifier],
      },
    ],
    peer: { name: options.name, peerId: keys.peerId, addresses: [`/ip4/127.0.0.1/tcp/${options.basePort}`] },
  }
}
