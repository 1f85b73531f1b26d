// `emrm network create` (the authority founds a network) and `emrm init` (a further hospital's home).

import type { Command } from 'commander'

import { readAdmission } from '../admission.ts'
import { submitOperation } from '../api/operations.ts'
import { BASE_PORT } from '../config.ts'
import type { Timestamp } from '../model/ids.ts'
import { readPassword } from '../password.ts'
import { addCaCommands } from './cas.ts'
import { homeCommand, withKey } from './home.ts'
import { handle, type Session, table } from './session.ts'
import { readWhole } from './values.ts'

type CreateOptions = {
  readonly dir: string
  readonly name: string
  readonly hospitals: number
  readonly f?: number
  readonly p?: number
  readonly basePort: number
  readonly centralCa?: boolean
}

type AdmitOptions = { readonly home: string; readonly authorityKey: string; readonly score: number }

type InitOptions = {
  readonly home: string
  readonly genesis: string
  readonly swarmKey: string
  readonly peers: string
  readonly name: string
  readonly basePort: number
  readonly region: string
}

export function addNetworkCommands(session: Session, program: Command): void {
  const network = program.command('network').description('found a network (the authority)')
  const create = network
    .command('create')
    .description('make genesis, keys, peers file and one ready home for each hospital')
    .requiredOption('--dir <dir>', 'directory to make')
    .requiredOption('--name <name>', "the network's name")
    .requiredOption('--hospitals <count>', 'hospitals that validate, 4 to 200', readWhole(1, 100_000))
    .option('--f <count>', 'Byzantine hospitals tolerated (default: as many as possible)', readWhole(0, 100_000))
    .option('--p <count>', 'faulty hospitals with which two phases still decide', readWhole(0, 100_000))
    .option('--base-port <port>', 'hospital i listens on this + 10·i', readWhole(1, 65_535), BASE_PORT)
    .option('--central-ca', 'one certificate authority for all hospitals instead of one each')
    .addHelpText('after', '\nExample:\n  $ emrm network create --dir ./net --name pilot --hospitals 4 --base-port 9700')
  handle<CreateOptions>(session, create, async options => {
    const password = await readPassword(session.io, { what: 'the new keys', isNew: true })
    const { createNetwork } = await import('../network-setup.ts')
    const made = await createNetwork({
      directory: options.dir,
      name: options.name,
      hospitals: options.hospitals,
      ...(options.f === undefined ? {} : { f: options.f }),
      ...(options.p === undefined ? {} : { p: options.p }),
      basePort: options.basePort,
      centralCa: options.centralCa ?? false,
      password,
      nowMs: Date.now(),
    })
    return {
      document: made,
      lines: [
        `network ${made.network} with ${made.hospitals.length} hospitals (f=${made.f}, p=${made.p}) in ${made.directory}`,
        `chain id ${made.chainId}`,
        ...made.hospitals.map(
          ({ name, home, peerId, port, apiPort }) => `${name}  ${peerId}  port ${port}  api ${apiPort}  ${home}`,
        ),
        `next: emrm start --home ${made.hospitals[0]?.home}`,
      ],
    }
  })

  const admit = homeCommand(
    network,
    'admit <file>',
    "sign a hospital's admission request (the authority); the file is what `emrm init --json` printed",
    'emrm network admit ./h5.json --home ./net/hospital-1 --authority-key ./net/authority/authority.key --score 900',
  )
    .requiredOption('--authority-key <file>', "one of the authority's keys")
    .option('--score <points>', "the authority's rating, which makes the ranking", readWhole(0, 1_000_000), 0)
  handle<AdmitOptions>(session, admit, (options, file = '') =>
    withKey(session, { home: options.home, key: options.authorityKey }, async ({ api, key, chainId }) => {
      const heights: number[] = []
      for (const operation of await readAdmission(file, options.score)) {
        const signing = { key, chainId, timestamp: Date.now() as Timestamp }
        heights.push((await submitOperation(api, signing, operation)).height)
      }
      const document = { admitted: file, heights }
      return { document, lines: [`signed at heights ${heights.join(', ')}`] }
    }),
  )

  addCaCommands(session, network)

  const init = program
    .command('init')
    .description("make a further hospital's home and print its admission request for the authority")
    .requiredOption('--home <dir>', 'home to make')
    .requiredOption('--genesis <file>', "the network's genesis.json")
    .requiredOption('--swarm-key <file>', "the network's swarm.key")
    .requiredOption('--peers <file>', "the network's peers.json")
    .option('--name <name>', "the hospital's name", 'hospital')
    .option('--region <code>', "the hospital's region", 'home')
    .option('--base-port <port>', 'port of the peer; the API takes the next one', readWhole(1, 65_534), BASE_PORT)
    .addHelpText(
      'after',
      '\nExample:\n  $ emrm init --home ./h5 --name hospital-5 --genesis net/genesis.json --swarm-key net/swarm.key --peers net/peers.json --base-port 9750',
    )
  handle<InitOptions>(session, init, async options => {
    const password = await readPassword(session.io, { what: 'the new keys', isNew: true })
    const { createHome } = await import('../network-join.ts')
    const made = await createHome({ ...options, password })
    return {
      document: made,
      lines: [
        ...table({
          home: made.home,
          peerId: made.peerId,
          institution: made.institution,
          address: made.peer.addresses[0],
        }),
        'admission request for the authority:',
        JSON.stringify(made.admission),
      ],
    }
  })
}
