// `emrm network ca …`: a hospital's CA has a new key, the authority takes an old one out (P-44). A new key is authorized with
// `emrm network admit`, from the file that `ca create --json` prints. Not here: what CAs issue (users.ts, credentials.ts).

import type { Command } from 'commander'

import type { Line } from '../api/client.ts'
import { submitOperation } from '../api/operations.ts'
import { createSigningKey, saveKeyFile } from '../identity/keystore.ts'
import type { Identifier, Timestamp } from '../model/ids.ts'
import { readPassword } from '../password.ts'
import { homeCommand, withApi, withKey } from './home.ts'
import { handle, type Session, table } from './session.ts'
import { readUserId } from './values.ts'

export function addCaCommands(session: Session, network: Command): void {
  const ca = network.command('ca').description('certificate authorities: a new key, the list, taking one out')

  const create = homeCommand(
    ca,
    'create',
    "make a new CA key of this hospital; the authority authorizes it with `emrm network admit`, users' commands take it by --ca-key",
    'emrm network ca create --home ./net/hospital-1 --out ./net/hospital-1/keys/ca-2.key --json > ./ca-2.json',
  ).requiredOption('--out <file>', 'encrypted key file to make')
  handle<{ readonly home: string; readonly out: string }>(session, create, ({ home, out }) =>
    withApi(home, async api => {
      const { institution } = (await api.call('GET', '/v1/status')) as { institution: { id: Identifier } }
      const key = createSigningKey()
      await saveKeyFile(out, key, await readPassword(session.io, { what: out, isNew: true }), { label: 'CA' })
      const { publicKey, identifier } = key
      const admission = [{ type: 'ca.authorize', publicKey, institutions: [institution.id] }]
      const made = { ca: identifier, publicKey, key: out }
      const lines = [...table(made), 'admission request for the authority:', JSON.stringify(admission)]
      return { document: { ...made, admission }, lines }
    }),
  )

  const list = homeCommand(
    ca,
    'list',
    'the CAs of the network and the hospitals whose users they vouch for',
    'emrm network ca list --home ./net/hospital-1',
  )
  handle<{ readonly home: string }>(session, list, ({ home }) =>
    withApi(home, async api => {
      const document = (await api.call('GET', '/v1/cas')) as { readonly cas: readonly Line[] }
      const lines = document.cas.map(
        ({ id, revoked, institutions }) =>
          `${id}  ${revoked === true ? 'revoked' : 'valid'}  for ${(institutions as readonly string[]).join(', ')}`,
      )
      return { document, lines }
    }),
  )

  const revoke = homeCommand(
    ca,
    'revoke <ca>',
    'take a CA out (the authority): it vouches for nobody from now on, its credentials fall, its registrations stay',
    'emrm network ca revoke 4be2… --home ./net/hospital-1 --authority-key ./net/authority/authority.key',
  ).requiredOption('--authority-key <file>', "one of the authority's keys")
  handle<{ readonly home: string; readonly authorityKey: string }>(session, revoke, (options, id = '') => {
    const target = readUserId(id) as Identifier
    return withKey(session, { home: options.home, key: options.authorityKey }, async ({ api, chainId, key }) => {
      const signing = { key, chainId, timestamp: Date.now() as Timestamp }
      const { height } = await submitOperation(api, signing, { type: 'ca.revoke', ca: target })
      return { document: { ca: target, height }, lines: [`signed at height ${height}`] }
    })
  })
}
