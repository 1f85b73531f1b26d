// `emrm user register`: a key for a patient, a clinician, a researcher or a clerk, registered by this hospital's CA (P-44).
// The label stays in the key file; the chain sees the key, the roles and the institution only.

import { unlink } from 'node:fs/promises'
import type { Command } from 'commander'

import { submitOperation } from '../api/operations.ts'
import { loadConfig } from '../config.ts'
import { createSigningKey, saveKeyFile } from '../identity/keystore.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, Timestamp } from '../model/ids.ts'
import { readPassword } from '../password.ts'
import { homeCommand, openKey, withApi, withKey } from './home.ts'
import { handle, type Session, table } from './session.ts'
import { readTime, readUserId } from './values.ts'

/** A credential is renewed once a year when nothing else is said. */
const VALID_MS = 365 * 24 * 3600 * 1000

type RegisterOptions = {
  readonly home: string
  readonly role: readonly string[]
  readonly group?: readonly string[]
  readonly name: string
  readonly out: string
  readonly validUntil?: Timestamp
  readonly caKey?: string
}

export function addUserCommands(session: Session, program: Command): void {
  const user = program.command('user').description('users of this hospital: keys and registration')

  const register = homeCommand(
    user,
    'register',
    "make a user's key and have this hospital's CA register it",
    'emrm user register --home ./net/hospital-1 --role patient --name "bed 12" --out ./patient.key',
  )
    .requiredOption('--role <role...>', 'patient, attending, nurse, researcher, … (several are allowed)')
    .requiredOption('--name <label>', 'shown in the key file only; never leaves this machine')
    .requiredOption('--out <file>', 'encrypted key file to make')
    .option('--group <group...>', 'groups for group policies')
    .option('--valid-until <time>', 'end of the credential (default: in one year)', readTime)
    .option('--ca-key <file>', "the CA's key (default: the one in the home)")
  handle<RegisterOptions>(session, register, options =>
    withApi(options.home, async (api, paths) => {
      const { chainId, genesis } = await loadConfig(options.home, session.io.env)
      requireRoles(
        options.role,
        genesis.relations.rolePurposes.map(({ key }) => key),
      )
      const ca = await openKey(session, options.caKey ?? paths.caKey)
      const { institution } = (await api.call('GET', '/v1/status')) as { institution: { id: Identifier } }
      const key = createSigningKey()
      const password = await readPassword(session.io, { what: options.out, isNew: true })
      // The key is on disk before it is registered: a registered key that nobody holds would be lost for ever.
      await saveKeyFile(options.out, key, password, { label: options.name })
      const now = Date.now()
      try {
        const { height } = await submitOperation(
          api,
          { key: ca, chainId, timestamp: now as Timestamp },
          {
            type: 'user.register',
            publicKey: key.publicKey,
            scheme: 1,
            roles: sorted(options.role),
            groups: sorted(options.group ?? []),
            institution: institution.id,
            validUntil: options.validUntil ?? ((now + VALID_MS) as Timestamp),
          },
        )
        const document = {
          user: key.identifier,
          publicKey: key.publicKey,
          roles: sorted(options.role),
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

function requireRoles(roles: readonly string[], known: readonly string[]): void {
  for (const role of roles)
    if (!known.includes(role))
      throw new EmrmError('role-unknown', `${role} is not a role of this network; it has ${known.join(', ')}`, { role })
}

const sorted = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort()

/** After a timeout the registration may still happen: then the key must stay. */
const isCertainFailure = (error: unknown): boolean =>
  error instanceof EmrmError && !['request-timeout', 'api-connection-lost', 'peer-stopping'].includes(error.code)
