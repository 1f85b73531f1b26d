// `emrm user credential …` (P-44): short-lived credentials that this hospital's CA issues to its registered users, as files that any JOSE
// library checks; their digest and status stand on the chain. Not here: their form (identity/credential.ts), registration (users.ts).

import { existsSync } from 'node:fs'
import { unlink, writeFile } from 'node:fs/promises'
import { type Command, InvalidArgumentError } from 'commander'

import type { Api, Line } from '../api/client.ts'
import { submitOperation } from '../api/operations.ts'
import { homePaths, loadConfig } from '../config.ts'
import type { CaKeys, Credential } from '../identity/credential.ts'
import { EmrmError } from '../model/errors.ts'
import { type Digest, type Identifier, isHexadecimal, type PublicKey, type Timestamp } from '../model/ids.ts'
import type { AttributeRow } from '../model/operations.ts'
import { readJsonFile, readTextFile } from '../shape.ts'
import { homeCommand, isCertainFailure, withApi, withKey, withOptionalKey } from './home.ts'
import { handle, type Session, table } from './session.ts'
import { readRequestId, readTime, readUserId, requireRoles } from './values.ts'

/** A working day and a night: what is lost or withdrawn in silence is over soon. */
const VALID_MS = 24 * 3600 * 1000

type IssueOptions = {
  readonly home: string
  readonly role?: readonly string[]
  readonly attribute?: readonly AttributeRow[]
  readonly private?: readonly AttributeRow[]
  readonly validUntil?: Timestamp
  readonly out: string
  readonly caKey?: string
}

export function addCredentialCommands(session: Session, user: Command): void {
  const credential = user
    .command('credential')
    .description('short-lived roles and attributes of a user, vouched for by this hospital’s CA')

  const issue = homeCommand(
    credential,
    'issue <user>',
    "have this hospital's CA issue a credential, bound to the user's present key, and register it",
    'emrm user credential issue 4be2… --home ./net/hospital-1 --role emergency --attribute department=cardiology --out ./night.jwt',
  )
    .option('--role <role...>', 'roles that the user holds while the credential does')
    .option(
      '--attribute <name=value>',
      'department, specialty, licence, …; stands on the chain too; may be repeated',
      chainRows,
    )
    .option('--private <name=value>', 'the same for other systems: in the file only, never on the chain', rows)
    .option('--valid-until <time>', 'end of the credential (default: in 24 hours)', readTime)
    .requiredOption('--out <file>', 'file to make: one compact JWS (vc+jwt)')
    .option('--ca-key <file>', "the CA's key (default: the one in the home)")
  handle<IssueOptions>(session, issue, (options, id = '') => {
    const target = readUserId(id) as Identifier
    return withKey(
      session,
      { home: options.home, key: options.caKey ?? homePaths(options.home).caKey },
      async acting => {
        const { api, chainId, key: ca } = acting
        const { genesis } = await loadConfig(options.home, session.io.env)
        const roles = [...new Set(options.role ?? [])].sort()
        requireRoles(
          roles,
          genesis.relations.rolePurposes.map(({ key }) => key),
        )
        const attributes = options.attribute ?? []
        if (roles.length + attributes.length === 0)
          throw new EmrmError(
            'credential-empty',
            'a credential without role and attribute says nothing; give --role or --attribute',
          )
        const holder = (await api.call('GET', `/v1/users/${target}`)) as Line
        const { signCredential, credentialDigest } = await import('../identity/credential.ts')
        const now = Date.now()
        const terms = {
          ...{ network: chainId, user: target, roles, attributes, privateAttributes: options.private ?? [] },
          publicKey: holder['publicKey'] as PublicKey,
          scheme: holder['scheme'] as 1 | 2,
          institution: holder['institution'] as Identifier,
          issued: now as Timestamp,
          // JWTs count seconds; the shorter end holds for both.
          validUntil: (Math.floor((options.validUntil ?? now + VALID_MS) / 1000) * 1000) as Timestamp,
        }
        const jws = await signCredential(ca, terms)
        await writeNew(options.out, `${jws}\n`)
        const { publicKey, validUntil } = terms
        const digest = credentialDigest(jws)
        try {
          const { height } = await submitOperation(
            api,
            { key: ca, chainId, timestamp: now as Timestamp },
            { type: 'credential.issue', credential: digest, user: target, publicKey, roles, attributes, validUntil },
          )
          const what = {
            credential: digest,
            user: target,
            issuer: ca.identifier,
            roles,
            attributes: byName(attributes),
          }
          const document = { ...what, validUntil, height, file: options.out }
          return { document, lines: table({ ...document, validUntil: isoTime(validUntil) }) }
        } catch (error) {
          if (isCertainFailure(error)) await unlink(options.out)
          throw error
        }
      },
    )
  })

  const show = homeCommand(
    credential,
    'show <user>',
    'what the chain holds of a user: credentials, their ends and their status',
    'emrm user credential show 4be2… --home ./net/hospital-1',
  ).option('--key <file>', 'ask as this user (default: as the hospital)')
  handle<{ readonly home: string; readonly key?: string }>(session, show, (options, id = '') => {
    const target = readUserId(id)
    return withOptionalKey(session, options, async ({ api, as }) => {
      const document = (await api.call('GET', `/v1/users/${target}/credentials`, { as })) as Line
      const all = document['credentials'] as readonly Line[]
      return { document, lines: all.length === 0 ? ['no credentials'] : all.map(credentialLine) }
    })
  })

  addRevokeCommand(session, credential)
  addVerifyCommands(session, credential)
}

function addRevokeCommand(session: Session, credential: Command): void {
  const revoke = homeCommand(
    credential,
    'revoke <credential>',
    'revoke one credential; the registration and the others stay',
    'emrm user credential revoke ./night.jwt --home ./net/hospital-1',
  )
    .option('--user <id>', 'whose it is, when it is named by its id instead of its file', readUserId)
    .option('--ca-key <file>', "the CA's key (default: the one in the home)")
  type Options = { readonly home: string; readonly user?: string; readonly caKey?: string }
  handle<Options>(session, revoke, async (options, given = '') => {
    const paths = homePaths(options.home)
    return withKey(
      session,
      { home: options.home, key: options.caKey ?? paths.caKey },
      async ({ api, chainId, key }) => {
        const target = await named(api, given, options.user)
        const signing = { key, chainId, timestamp: Date.now() as Timestamp }
        const { height } = await submitOperation(api, signing, { type: 'credential.revoke', ...target })
        return { document: { ...target, height }, lines: [`revoked ${target.credential} at height ${height}`] }
      },
    )
  })
}

/** A file, or an id with --user. A credential that is over, or of a CA that is gone, can still be named by its id. */
async function named(
  api: Api,
  given: string,
  user: string | undefined,
): Promise<{ user: Identifier; credential: Digest }> {
  if (isHexadecimal(given.toLowerCase(), 64) && !existsSync(given)) {
    if (user === undefined)
      throw new EmrmError('option-missing', 'a credential named by its id needs --user; or name its file', {})
    return { credential: readRequestId(given) as string as Digest, user: user as Identifier }
  }
  const { user: holder, credential } = await readFileOf(given, await knownKeys(api), Date.now())
  return { user: holder, credential }
}

function addVerifyCommands(session: Session, credential: Command): void {
  const verify = credential
    .command('verify <file>')
    .description('check a credential: its signature and end, and with --home its status on the chain')
    .option('--home <dir>', "a running peer's home: keys of the CAs and status from the chain")
    .option('--jwks <file>', 'offline: keys of the CAs, as "user credential issuers" prints them')
    .addHelpText('after', '\nExample:\n  $ emrm user credential verify ./night.jwt --home ./net/hospital-2')
  handle<{ readonly home?: string; readonly jwks?: string }>(session, verify, async ({ home, jwks }, file = '') => {
    if ((home === undefined) === (jwks === undefined))
      throw new EmrmError(
        'option-conflict',
        'say where the CAs’ keys come from: --home (a running peer) or --jwks (a file)',
        {},
      )
    const read =
      home === undefined
        ? {
            ...(await readFileOf(file, (await readJsonFile(jwks as string)) as CaKeys, Date.now())),
            status: 'not-asked',
          }
        : await withApi(home, async api => {
            const { chainId } = await loadConfig(home, session.io.env)
            return requireRegistered(api, chainId, await readFileOf(file, await knownKeys(api), Date.now()))
          })
    const { attributes, privateAttributes, scheme: _, ...fields } = read
    const document = {
      valid: true,
      ...fields,
      attributes: byName(attributes),
      privateAttributes: byName(privateAttributes),
    }
    return {
      document,
      lines: table({ ...document, validUntil: isoTime(read.validUntil), issued: isoTime(read.issued) }),
    }
  })

  const issuers = homeCommand(
    credential,
    'issuers',
    'public keys of the CAs as a JWK Set, for systems that check credentials without a peer',
    'emrm user credential issuers --home ./net/hospital-1 --json > ./cas.jwks',
  )
  handle<{ readonly home: string }>(session, issuers, ({ home }) =>
    withApi(home, async api => {
      const document = await knownKeys(api)
      return { document, lines: [JSON.stringify(document, null, 2)] }
    }),
  )
}

/** The chain must say the same as the file. Throws EmrmError `credential-unknown`, `credential-revoked`, `credential-expired`, `credential-differs`. */
async function requireRegistered(
  api: Api,
  chainId: Digest,
  read: Credential,
): Promise<Credential & { readonly status: unknown }> {
  if (read.network !== chainId)
    throw new EmrmError('credential-differs', 'the credential is of another network; verify it there', {})
  const entry = (await api.call('GET', `/v1/users/${read.user}/credentials/${read.credential}`)) as Line
  if (entry['status'] !== 'valid')
    throw new EmrmError(
      `credential-${entry['status']}`,
      `the credential is ${entry['status']}; have the CA issue another`,
      {
        credential: read.credential,
      },
    )
  const said = (of: Record<string, unknown>): string =>
    JSON.stringify(['publicKey', 'roles', 'attributes', 'validUntil', 'issuer'].map(name => of[name]))
  if (said(entry) !== said(read))
    throw new EmrmError(
      'credential-differs',
      'the chain registered something else under this credential; ask the CA',
      {},
    )
  return { ...read, status: entry['status'] }
}

async function knownKeys(api: Api): Promise<CaKeys> {
  const { cas } = (await api.call('GET', '/v1/cas')) as { cas: readonly { publicKey: PublicKey; revoked: boolean }[] }
  const { caKeys } = await import('../identity/credential.ts')
  return caKeys(cas.filter(({ revoked }) => !revoked).map(({ publicKey }) => publicKey))
}

async function readFileOf(file: string, keys: CaKeys, nowMs: number): Promise<Credential> {
  const { readCredential } = await import('../identity/credential.ts')
  return readCredential((await readTextFile(file)).trim(), keys, nowMs)
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError(
      'file-exists',
      `${file} cannot be made (${code}); name a new file`,
      { file, cause: code },
      cause,
    )
  }
}

/** `name=value`, collected into rows in the order of the wire. */
function rows(text: string, earlier: readonly AttributeRow[] = []): readonly AttributeRow[] {
  const equals = text.indexOf('=')
  const key = text.slice(0, equals)
  const value = text.slice(equals + 1)
  if (equals < 1 || value === '') throw new InvalidArgumentError('an attribute is NAME=VALUE.')
  const values = [...new Set([...(earlier.find(row => row.key === key)?.values ?? []), value])].sort()
  return [...earlier.filter(row => row.key !== key), { key, values }].sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** What the chain takes: codes, no free text. */
function chainRows(text: string, earlier?: readonly AttributeRow[]): readonly AttributeRow[] {
  if (!/^[\w.:-]{1,64}=[\w.:-]{1,64}$/.test(text))
    throw new InvalidArgumentError(
      'an attribute is NAME=VALUE, each of up to 64 letters, digits, "-", "_", "." and ":".',
    )
  return rows(text, earlier)
}

const byName = (attributes: readonly AttributeRow[]): Readonly<Record<string, readonly string[]>> =>
  Object.fromEntries(attributes.map(({ key, values }) => [key, values]))

const credentialLine = (entry: Line): string =>
  `${entry['credential']}  ${entry['status']}  until ${isoTime(entry['validUntil'] as number)}  ${(entry['roles'] as readonly string[]).join(',')}  ${Object.entries(
    byName(entry['attributes'] as readonly AttributeRow[]),
  )
    .map(([name, values]) => `${name}=${values.join(',')}`)
    .join(' ')}`

const isoTime = (ms: number): string => new Date(ms).toISOString()
