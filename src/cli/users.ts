// `emrm user …`: a key for a patient, a clinician, a researcher or a clerk, registered by this hospital's CA (P-44), revoked, or replaced
// by a new one under the same identity. A key is Ed25519, or an Ethereum account in a Web3 Secret Storage file (P-21).
// The label stays in the key file; the chain sees the key, the roles and the institution only.

import { unlink } from 'node:fs/promises'
import type { Command } from 'commander'

import { submitOperation } from '../api/operations.ts'
import { homePaths, loadConfig } from '../config.ts'
import { createAccountKey, ethereumAddress } from '../identity/ethereum-account.ts'
import { createSigningKey, saveKeyFile } from '../identity/keystore.ts'
import type { SigningKey } from '../identity/signing-key.ts'
import { loadWeb3File, saveWeb3File } from '../identity/web3-keystore.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, Timestamp } from '../model/ids.ts'
import { readPassword } from '../password.ts'
import { addCredentialCommands } from './credentials.ts'
import { homeCommand, isCertainFailure, openKey, withApi, withKey } from './home.ts'
import { handle, type Session, table } from './session.ts'
import { readChoice, readTime, readUserId, requireRoles } from './values.ts'

/** A credential is renewed once a year when nothing else is said. */
const VALID_MS = 365 * 24 * 3600 * 1000

type RegisterOptions = {
  readonly home: string
  readonly role?: readonly string[]
  readonly group?: readonly string[]
  readonly name: string
  readonly out: string
  readonly validUntil?: Timestamp
  readonly caKey?: string
  readonly account?: readonly string[]
  readonly import?: string
}

export function addUserCommands(session: Session, program: Command): void {
  const user = program.command('user').description('users of this hospital: keys and registration')

  const register = homeCommand(
    user,
    'register',
    "make a user's key and have this hospital's CA register it",
    'emrm user register --home ./net/hospital-1 --role patient --name "bed 12" --out ./patient.key',
  )
    .option('--role <role...>', 'patient, attending, nurse, … (several are allowed; none: credentials give them)')
    .requiredOption('--name <label>', 'shown in the key file only; never leaves this machine')
    .requiredOption('--out <file>', 'encrypted key file to make')
    .option('--group <group...>', 'groups for group policies')
    .option('--valid-until <time>', 'end of the credential (default: in one year)', readTime)
    .option('--account <kind>', ACCOUNT_HELP, readChoice('a kind of key', ACCOUNTS))
    .option('--import <file>', 'register the key of this Web3 Secret Storage file instead of a new one')
    .option('--ca-key <file>', "the CA's key (default: the one in the home)")
  handle<RegisterOptions>(session, register, options =>
    withApi(options.home, async (api, paths) => {
      const { chainId, genesis } = await loadConfig(options.home, session.io.env)
      const roles = sorted(options.role ?? [])
      requireRoles(
        roles,
        genesis.relations.rolePurposes.map(({ key }) => key),
      )
      const ca = await openKey(session, options.caKey ?? paths.caKey)
      const { institution } = (await api.call('GET', '/v1/status')) as { institution: { id: Identifier } }
      const key = options.import === undefined ? newKey(options) : await importKey(session, options.import)
      await saveNewKey(session, options.out, key, options.name)
      const now = Date.now()
      try {
        const { height } = await submitOperation(
          api,
          { key: ca, chainId, timestamp: now as Timestamp },
          {
            type: 'user.register',
            publicKey: key.publicKey,
            scheme: key.scheme,
            roles,
            groups: sorted(options.group ?? []),
            institution: institution.id,
            validUntil: options.validUntil ?? ((now + VALID_MS) as Timestamp),
          },
        )
        const document = {
          user: key.identifier,
          publicKey: key.publicKey,
          ...addressOf(key),
          roles,
          height,
          key: options.out,
        }
        return { document, lines: table(document) }
      } catch (error) {
        if (isCertainFailure(error)) await unlink(options.out)
        throw error
      }
    }),
  )

  addRotateCommand(session, user)
  addCredentialCommands(session, user)

  const revoke = homeCommand(
    user,
    'revoke <user>',
    "revoke a user's registration, by this hospital's CA",
    'emrm user revoke 4be2… --home ./net/hospital-1',
  ).option('--ca-key <file>', "the CA's key (default: the one in the home)")
  handle<{ readonly home: string; readonly caKey?: string }>(session, revoke, (options, id = '') => {
    const target = readUserId(id) as Identifier
    return withApi(options.home, (_, paths) =>
      withKey(session, { home: options.home, key: options.caKey ?? paths.caKey }, async ({ api, chainId, key }) => {
        const signing = { key, chainId, timestamp: Date.now() as Timestamp }
        const { height } = await submitOperation(api, signing, { type: 'user.revoke', user: target })
        return { document: { user: target, height }, lines: [`revoked ${target} at height ${height}`] }
      }),
    )
  })
}

type RotateOptions = {
  readonly home: string
  readonly out: string
  readonly name: string
  readonly key?: string
  readonly user?: string
  readonly caKey?: string
  readonly account?: readonly string[]
}

function addRotateCommand(session: Session, user: Command): void {
  const rotate = homeCommand(
    user,
    'rotate-key',
    'replace the key of a user; the identity, its records and policies stay',
    'emrm user rotate-key --home ./net/hospital-1 --key ./patient.key --out ./patient-2.key',
  )
    .requiredOption('--out <file>', 'encrypted key file to make')
    .option('--name <label>', 'shown in the key file only; never leaves this machine', '')
    .option('--key <file>', "the user's present key, which signs")
    .option('--user <id>', "instead of --key, when it is lost: the user's id; this hospital's CA signs")
    .option('--account <kind>', ACCOUNT_HELP, readChoice('a kind of key', ACCOUNTS))
    .option('--ca-key <file>', "the CA's key (default: the one in the home)")
  handle<RotateOptions>(session, rotate, options => {
    if ((options.key === undefined) === (options.user === undefined))
      throw new EmrmError(
        'option-conflict',
        '--key and --user are two ways to say whose key it is; give --key, or --user when that key is lost',
        {},
      )
    const signer = options.key ?? options.caKey ?? homePaths(options.home).caKey
    return withKey(session, { home: options.home, key: signer }, async ({ api, chainId, key: by }) => {
      const target = options.user === undefined ? by.identifier : (readUserId(options.user) as Identifier)
      const key = newKey(options, target)
      await saveNewKey(session, options.out, key, options.name)
      try {
        const { height } = await submitOperation(
          api,
          { key: by, chainId, timestamp: Date.now() as Timestamp },
          { type: 'user.rotate-key', user: target, publicKey: key.publicKey, scheme: key.scheme },
        )
        const document = { user: target, publicKey: key.publicKey, ...addressOf(key), height, key: options.out }
        return { document, lines: table(document) }
      } catch (error) {
        if (isCertainFailure(error)) await unlink(options.out)
        throw error
      }
    })
  })
}

const ACCOUNTS = ['ed25519', 'ethereum']
const ACCOUNT_HELP = 'ed25519, or ethereum: a secp256k1 key with an address, in a Web3 Secret Storage file'

const newKey = (options: { readonly account?: readonly string[] }, identifier?: Identifier): SigningKey =>
  options.account?.at(-1) === 'ethereum' ? createAccountKey(identifier) : createSigningKey(identifier)

async function importKey(session: Session, file: string): Promise<SigningKey> {
  return loadWeb3File(file, await readPassword(session.io, { what: file, isNew: false }))
}

/** The key is on disk before it is registered: a registered key that nobody holds would be lost for ever. */
async function saveNewKey(session: Session, path: string, key: SigningKey, label: string): Promise<void> {
  const password = await readPassword(session.io, { what: path, isNew: true })
  if (key.scheme === 2) await saveWeb3File(path, key, { password })
  else await saveKeyFile(path, key, password, { label })
}

const addressOf = (key: SigningKey): { readonly address?: string } =>
  key.scheme === 2 ? { address: ethereumAddress(key.publicKey) } : {}

const sorted = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort()
