// Where a hospital's vault is, as its setting says: a folder, a PostgreSQL database, or a bucket of S3-compatible object storage. No user, no
// password and no key ever stands in a setting: they come from the environment. Not here: the vaults themselves (adapters/).

import { isAbsolute, join } from 'node:path'
import type { EmrmError } from './model/errors.ts'
import { refuse } from './shape.ts'

export type VaultPlace =
  | { readonly type: 'folder'; readonly path: string }
  | { readonly type: 'database'; readonly url: string }
  | {
      readonly type: 'bucket'
      readonly bucket: string
      /** Empty, or ends with a slash. */
      readonly prefix: string
      /** Null for Amazon's own. */
      readonly endpoint: string | null
      /** Null to take AWS_REGION. */
      readonly region: string | null
    }

const isDatabase = (vault: string): boolean => /^postgres(ql)?:\/\//.test(vault)
const isBucket = (vault: string): boolean => /^s3:\/\//.test(vault)

/** What a backup leaves as it is: it has its own address, and its own backup. */
export const isElsewhere = (vault: string): boolean => isDatabase(vault) || isBucket(vault)

/** Throws EmrmError `config-invalid`; `where` is the setting. */
export function readVaultPlace(vault: string, home: string, where: string): VaultPlace {
  if (isDatabase(vault)) return { type: 'database', url: checkedDatabase(vault, where) }
  if (isBucket(vault)) return bucketOf(vault, where)
  return { type: 'folder', path: isAbsolute(vault) ? vault : join(home, vault) }
}

function checkedDatabase(vault: string, where: string): string {
  const url = URL.canParse(vault) ? new URL(vault) : null
  if (url === null || url.pathname.length < 2)
    throw refuse(where, 'must name a database, as in postgres://host:5432/emrm')
  if (url.username !== '' || url.password !== '' || url.searchParams.has('password'))
    throw refuse(where, 'must hold no user and no password; set PGUSER and PGPASSWORD for the peer instead')
  return vault
}

function bucketOf(vault: string, where: string): VaultPlace {
  const url = URL.canParse(vault) ? new URL(vault) : null
  if (url === null || !/^[a-z0-9][a-z0-9.-]{2,62}$/.test(url.host)) throw malformed(where)
  if (url.username !== '' || url.password !== '')
    throw refuse(where, 'must hold no key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the peer instead')
  for (const name of url.searchParams.keys())
    if (name !== 'endpoint' && name !== 'region')
      throw refuse(where, `knows endpoint and region, not ${name}; keys belong into the environment`)
  const endpoint = url.searchParams.get('endpoint')
  if (endpoint !== null && !isPlainHttp(endpoint)) throw malformed(where)
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '')
  if (!/^[\w.\-/]*$/.test(prefix) || prefix.split('/').some(part => part === '.' || part === '..'))
    throw refuse(where, 'has a prefix with other signs than letters, digits, ".", "_", "-" and "/"')
  return {
    type: 'bucket',
    bucket: url.host,
    prefix: prefix === '' ? '' : `${prefix}/`,
    endpoint,
    region: url.searchParams.get('region'),
  }
}

function isPlainHttp(endpoint: string): boolean {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

const malformed = (where: string): EmrmError =>
  refuse(where, 'must be as s3://bucket/prefix?endpoint=https://host:9000&region=eu-central-1')
