// A real PostgreSQL server for the contract suite of vaults: from the binaries that Debian installs, with a fresh data folder on a free
// loopback port, stopped at the end. Where there are no binaries the suite says so and skips.

import { execFile, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { answering, ended, freePort } from './child-server.ts'

const VERSIONS = '/usr/lib/postgresql'
const USER = 'emrm'
const PASSWORD = 'for this test alone'
const START_TIMEOUT_MS = 60_000

export type PostgresServer = {
  /** Of a new, empty database; without user and password. */
  newDatabase(): Promise<string>
  /** One statement in that database, as the administrator could give it. */
  run(url: string, statement: string, values?: readonly unknown[]): Promise<void>
  /** Gives a folder to the server's user. */
  own(folder: string): Promise<void>
  stop(): Promise<void>
}

/** The folder of the newest server's programs; null when there is none. */
export function postgresBinaries(): string | null {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : []
  return versions.map(version => join(VERSIONS, version, 'bin')).find(bin => existsSync(join(bin, 'initdb'))) ?? null
}

/** Sets PGUSER and PGPASSWORD of this process. */
export async function startPostgres(bin: string): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'emrm-postgres-'))
  const account = unprivileged()
  if (account !== null) await chown(folder, account.uid, account.gid)
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, PASSWORD)
  if (account !== null) await chown(passwordFile, account.uid, account.gid)
  const data = join(folder, 'data')
  const initialize = [
    '-D',
    data,
    '-U',
    USER,
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
    '--no-sync',
    '-E',
    'UTF8',
  ]
  await promisify(execFile)(join(bin, 'initdb'), initialize, { ...(account ?? {}), cwd: folder })
  const port = await freePort()
  // What is stored lives as long as the test.
  const settings = ['fsync=off', 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`, `port=${port}`]
  const server = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap(each => ['-c', each])], {
    ...(account ?? {}),
    cwd: folder,
    stdio: 'ignore',
  })
  process.env['PGUSER'] = USER
  process.env['PGPASSWORD'] = PASSWORD
  const urlOf = (database: string): string => `postgres://127.0.0.1:${port}/${database}`
  const run: PostgresServer['run'] = async (url, statement, values = []) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      await client.query(statement, [...values])
    } finally {
      await client.end()
    }
  }
  let databases = 0
  const stop = async (): Promise<void> => {
    // Its fast shutdown.
    await ended(server, 'SIGINT')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await answering(() => run(urlOf('postgres'), 'select 1'), START_TIMEOUT_MS)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    async newDatabase() {
      const name = `vault_${++databases}`
      await run(urlOf('postgres'), `create database ${name}`)
      return urlOf(name)
    },
    run,
    own: async path => {
      if (account !== null) await chown(path, account.uid, account.gid)
    },
    stop,
  }
}

/** The server refuses to run as root. */
function unprivileged(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find(each => /^(postgres|nobody):/.test(each))
  const [, , uid, gid] = (line ?? 'nobody:x:65534:65534').split(':')
  return { uid: Number(uid), gid: Number(gid) }
}
