// A real S3 server for the contract suite of vaults: Versity's gateway, which keeps objects as files, built by Go from its module proxy into
// this checkout's node_modules (minutes once, then at once), on a free loopback port, stopped at the end. Where Go is missing or the module
// cannot be had the suite says why and skips.

import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import type { BucketPlace } from '../../src/adapters/s3-objects.ts'
import { answering, ended, freePort } from './child-server.ts'

const VERSION = 'v1.8.0'
const MODULE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`
const BIN = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'node_modules', '.cache', `versitygw-${VERSION}`)
const INSTALL_TIMEOUT_MS = 20 * 60_000
const START_TIMEOUT_MS = 60_000
const ACCESS_KEY = 'emrm'
const SECRET_KEY = 'for this test alone'
const REGION = 'us-east-1'

export type S3Server = {
  /** Of a new, empty bucket, with a prefix. */
  newPlace(): Promise<BucketPlace>
  /** The same as the setting of a peer. */
  urlOf(place: BucketPlace): string
  /** Where the server keeps that object: to damage it behind the vault's back. */
  fileOf(place: BucketPlace, key: string): string
  /** All keys of the place, without its prefix. */
  keysIn(place: BucketPlace): Promise<readonly string[]>
  stop(): Promise<void>
}

/** The server's program, or why there is none. */
export async function s3Program(): Promise<{ readonly program: string } | { readonly absent: string }> {
  const program = join(BIN, 'versitygw')
  if (existsSync(program)) return { program }
  await mkdir(BIN, { recursive: true })
  try {
    const env = { ...process.env, GOBIN: BIN, CGO_ENABLED: '0' }
    await promisify(execFile)('go', ['install', MODULE], { env, timeout: INSTALL_TIMEOUT_MS })
  } catch (error) {
    const { code, stderr } = error as { readonly code?: string; readonly stderr?: string }
    if (code === 'ENOENT') return { absent: 'Go is not installed, and the S3 server is built with it' }
    return { absent: `go install ${MODULE} failed: ${(stderr ?? String(error)).trim().split('\n').at(-1)}` }
  }
  return { program }
}

/** Keeps its objects in `folder`, or in a temporary one. Sets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of this process. */
export async function startS3(program: string, folder?: string): Promise<S3Server> {
  const root = folder ?? (await mkdtemp(join(tmpdir(), 'emrm-s3-')))
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const server = spawn(program, ['--port', `127.0.0.1:${port}`, '--region', REGION, '--quiet', 'posix', root], {
    env: { ...process.env, ROOT_ACCESS_KEY_ID: ACCESS_KEY, ROOT_SECRET_ACCESS_KEY: SECRET_KEY },
    stdio: 'ignore',
  })
  process.env['AWS_ACCESS_KEY_ID'] = ACCESS_KEY
  process.env['AWS_SECRET_ACCESS_KEY'] = SECRET_KEY
  const client = new S3Client({
    ...{ endpoint, region: REGION, forcePathStyle: true, maxAttempts: 1 },
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
  })
  let buckets = 0
  const makeBucket = async (): Promise<string> => {
    const bucket = `vault-${buckets + 1}`
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    buckets++
    return bucket
  }
  const stop = async (): Promise<void> => {
    client.destroy()
    await ended(server, 'SIGTERM')
    if (folder === undefined) await rm(root, { recursive: true, force: true })
  }
  try {
    await answering(makeBucket, START_TIMEOUT_MS)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    newPlace: async () => ({
      ...{ type: 'bucket', bucket: await makeBucket(), prefix: 'hospital/a/', endpoint, region: null },
    }),
    urlOf: ({ bucket, prefix }) => `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(endpoint)}&region=${REGION}`,
    fileOf: ({ bucket, prefix }, key) => join(root, bucket, prefix, key),
    async keysIn({ bucket, prefix }) {
      const folder = join(root, bucket, prefix)
      if (!existsSync(folder)) return []
      const found = await readdir(folder, { recursive: true, withFileTypes: true })
      return found
        .filter(entry => entry.isFile())
        .map(entry => join(entry.parentPath, entry.name).slice(folder.length))
        .sort()
    },
    stop,
  }
}
