// What commands that act in someone's name need: the running peer of the home, the network's id, and a key opened with its password.

import type { Command } from 'commander'

import { type Api, connectApi, type Line } from '../api/client.ts'
import { type HomePaths, homePaths, loadConfig, loadSigningKey } from '../config.ts'
import type { SigningKey } from '../identity/signing-key.ts'
import { EmrmError } from '../model/errors.ts'
import type { Digest, Identifier } from '../model/ids.ts'
import { readPassword } from '../password.ts'
import type { Session } from './session.ts'

export type HomeOption = { readonly home: string }
export type KeyOption = { readonly key: string }

/** A command that needs --home; `usage` is its name with arguments. */
export function homeCommand(parent: Command, usage: string, description: string, example: string): Command {
  return parent
    .command(usage)
    .description(description)
    .requiredOption('--home <dir>', "the peer's home")
    .addHelpText('after', `\nExample:\n  $ ${example}`)
}

/** Calls the running peer of a home. Throws EmrmError `peer-not-running`. */
export async function withApi<T>(home: string, run: (api: Api, paths: HomePaths) => Promise<T>): Promise<T> {
  const paths = homePaths(home)
  const api = await connectApi(paths)
  try {
    return await run(api, paths)
  } finally {
    api.close()
  }
}

export type Acting = {
  readonly api: Api
  readonly paths: HomePaths
  readonly chainId: Digest
  readonly key: SigningKey
}

/** Like `withApi`, with a key to sign by. The peer is looked for first: nobody types a password in vain. */
export function withKey<T>(
  session: Session,
  { home, key }: { readonly home: string; readonly key: string },
  run: (acting: Acting) => Promise<T>,
): Promise<T> {
  return withApi(home, async (api, paths) => {
    const { chainId } = await loadConfig(home, session.io.env)
    return run({ api, paths, chainId, key: await openKey(session, key) })
  })
}

export async function openKey(session: Session, file: string): Promise<SigningKey> {
  return loadSigningKey(file, await readPassword(session.io, { what: file, isNew: false }))
}

/** How a query is made: signed by --key when there is one, as the hospital otherwise. */
export function withOptionalKey<T>(
  session: Session,
  { home, key }: { readonly home: string; readonly key?: string },
  run: (asking: { readonly api: Api; readonly as: { signer: SigningKey; chainId: Digest } | null }) => Promise<T>,
): Promise<T> {
  if (key === undefined) return withApi(home, api => run({ api, as: null }))
  return withKey(session, { home, key }, ({ api, chainId, key: signer }) => run({ api, as: { signer, chainId } }))
}

/** An institution may be named; the chain knows it by id. Throws EmrmError `institution-unknown`. */
export async function institutionId(api: Api, text: string): Promise<Identifier> {
  const { institutions } = (await api.call('GET', '/v1/institutions')) as { institutions: readonly Line[] }
  const found = institutions.find(({ id, name }) => id === text.toLowerCase() || name === text)
  if (found === undefined)
    throw new EmrmError(
      'institution-unknown',
      `no institution ${text}; the network has ${institutions.map(({ name }) => name).join(', ')}`,
      { institution: text },
    )
  return found['id'] as Identifier
}

/** After a timeout the operation may still happen: then the file that was made for it must stay. */
export const isCertainFailure = (error: unknown): boolean =>
  error instanceof EmrmError && !['request-timeout', 'api-connection-lost', 'peer-stopping'].includes(error.code)
