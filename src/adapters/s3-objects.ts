// Objects in a bucket of S3-compatible storage: put, get, list, delete, each of which is durable and visible to everybody when it resolves
// (S3 promises so since 2020; a server of one's own must be one that does). Keys come from the usual AWS environment variables alone, so no
// machine's role and no file of a user is ever tried. Not here: which objects a vault has (s3-vault.ts).

import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { EmrmError } from '../model/errors.ts'
import { vaultFull } from '../records/vault-rules.ts'
import type { VaultPlace } from '../vault-place.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** For 8 MiB over a slow line. */
const ANSWER_TIMEOUT_MS = 120_000
const CONNECTIONS_MAX = 16
const TRIES_MAX = 4
const DELETES_AT_A_TIME = 8
const DEFAULT_REGION = 'us-east-1'
/** What MinIO and Ceph say of a limit that they were given; a full disk is 507. Amazon's is never full. */
const FULL = ['XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded', 'QuotaExceeded']
const STATUS_FULL = 507
const STATUS_NOT_FOUND = 404
const STATUS_RANGE = 416

export type BucketPlace = Extract<VaultPlace, { readonly type: 'bucket' }>
type Environment = Readonly<Record<string, string | undefined>>

export type Objects = {
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Null when there is no such object, or nothing of it in that range. */
  get(key: string, range?: { readonly from: number; readonly length: number }): Promise<Buffer | null>
  /** To delete what is not there is no error. */
  delete(keys: AsyncIterable<string> | Iterable<string>): Promise<void>
  /** Keys without the place's own prefix, in order. */
  list(prefix: string): AsyncGenerator<{ readonly key: string; readonly size: number }>
  close(): void
}

/** Sends nothing yet. Throws EmrmError `vault-unusable`. */
export function openObjects(place: BucketPlace, env: Environment = process.env): Objects {
  const { bucket, prefix, endpoint } = place
  const client = new S3Client({
    region: place.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? DEFAULT_REGION,
    credentials: credentialsOf(env),
    ...(endpoint === null ? {} : { endpoint, forcePathStyle: true }),
    maxAttempts: TRIES_MAX,
    // SHA-256 of each body is part of its signature and each piece is checked when it is read; not every server knows S3's newer sums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: ANSWER_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: CONNECTIONS_MAX },
      httpsAgent: { keepAlive: true, maxSockets: CONNECTIONS_MAX },
    },
  })

  async function removeOne(key: string): Promise<void> {
    try {
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: prefix + key }))
    } catch (cause) {
      if (statusOf(cause) !== STATUS_NOT_FOUND || nameOf(cause) === 'NoSuchBucket')
        throw refused(cause, 'vault-write-failed', place)
    }
  }

  return {
    async put(key, bytes) {
      try {
        await client.send(
          new PutObjectCommand({
            Bucket: bucket,
            Key: prefix + key,
            Body: bytes,
            ContentLength: bytes.length,
            ContentType: 'application/octet-stream',
          }),
        )
      } catch (cause) {
        throw refused(cause, 'vault-write-failed', place)
      }
    },
    async get(key, range) {
      try {
        const { Body } = await client.send(
          new GetObjectCommand({
            Bucket: bucket,
            Key: prefix + key,
            ...(range === undefined ? {} : { Range: `bytes=${range.from}-${range.from + range.length - 1}` }),
          }),
        )
        return Buffer.from((await Body?.transformToByteArray()) ?? [])
      } catch (cause) {
        const status = statusOf(cause)
        if (status === STATUS_RANGE || (status === STATUS_NOT_FOUND && nameOf(cause) !== 'NoSuchBucket')) return null
        throw refused(cause, 'vault-unusable', place)
      }
    },
    async delete(keys) {
      // One by one: not every server has the call for many, and Amazon charges for neither.
      let running: Promise<void>[] = []
      for await (const key of keys) {
        running.push(removeOne(key))
        if (running.length < DELETES_AT_A_TIME) continue
        await Promise.all(running)
        running = []
      }
      await Promise.all(running)
    },
    async *list(under) {
      let token: string | undefined
      do {
        const page = await client
          .send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: prefix + under,
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
          )
          .catch(cause => {
            throw refused(cause, 'vault-unusable', place)
          })
        for (const { Key, Size } of page.Contents ?? [])
          if (Key?.startsWith(prefix)) yield { key: Key.slice(prefix.length), size: Size ?? 0 }
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined
      } while (token !== undefined)
    },
    close: () => client.destroy(),
  }
}

function credentialsOf(env: Environment): { accessKeyId: string; secretAccessKey: string; sessionToken?: string } {
  const accessKeyId = env['AWS_ACCESS_KEY_ID']
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY']
  const sessionToken = env['AWS_SESSION_TOKEN']
  if (!accessKeyId || !secretAccessKey)
    throw new EmrmError(
      'vault-unusable',
      'the vault is a bucket and there is no key for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the peer',
      { cause: 'no-credentials' },
    )
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) }
}

const statusOf = (cause: unknown): number | undefined =>
  cause instanceof S3ServiceException ? cause.$metadata.httpStatusCode : undefined

const nameOf = (cause: unknown): string =>
  cause instanceof S3ServiceException
    ? cause.name
    : ((cause as NodeJS.ErrnoException).code ?? (cause as Error).name ?? 'unknown')

function refused(cause: unknown, code: 'vault-unusable' | 'vault-write-failed', place: BucketPlace): EmrmError {
  const reason = nameOf(cause)
  if (FULL.includes(reason) || statusOf(cause) === STATUS_FULL) return vaultFull({ cause: reason }, cause)
  const what = `the vault's bucket ${place.bucket} refuses (${reason})`
  const advice = adviceFor(reason)
  return new EmrmError(code, `${what}; ${advice}`, { cause: reason }, cause)
}

function adviceFor(reason: string): string {
  switch (reason) {
    case 'NoSuchBucket':
      return 'make the bucket, or correct "vault" in config.json'
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'ExpiredToken':
      return 'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and this machine’s clock'
    case 'AccessDenied':
      return 'allow this key to list the bucket and to get, put and delete its objects'
    case 'RequestTimeTooSkewed':
      return 'set this machine’s clock by NTP'
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
      return 'give the bucket’s region in "vault" in config.json'
    default:
      return 'check that the storage answers at the endpoint in "vault" in config.json'
  }
}
