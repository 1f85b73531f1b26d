// The caller of a running peer's local API: finds address and token in the peer's home. The command line and the demo use it; so can any
// program of the hospital. node:http rather than fetch, because one connection must carry requests out and results in at the same time.
// Not here: what the calls answer (routes-*.ts).

import { existsSync } from 'node:fs'
import { Agent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { type HomePaths, homeMissing } from '../config.ts'
import { EmrmError, type ErrorFacts } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import type { Digest, Identifier, PublicKey } from '../model/ids.ts'
import { readTextFile } from '../shape.ts'
import { noteShortLived } from '../short-lived.ts'
import { HEADERS, querySignedBytes } from './auth.ts'
import { encodeFrame } from './frames.ts'

/** A user's key for signed queries: shows what that user may see. */
export type QuerySigner = {
  readonly publicKey: PublicKey
  /** For whom the key acts. */
  readonly identifier: Identifier
  sign(bytes: Uint8Array): Uint8Array
}

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>

export type Line = Readonly<Record<string, unknown>>

export type Api = {
  readonly address: string
  /** One JSON document. Throws the peer's EmrmError. */
  call(method: 'GET' | 'POST', path: string, options?: CallOptions): Promise<unknown>
  /** Sends the body as it comes and yields the NDJSON lines of the answer as they come; an `error` line before the end is yielded, not thrown. */
  exchange(path: string, query: Query, body: AsyncIterable<Uint8Array>): AsyncIterable<Line>
  /** The NDJSON lines of a long answer as they come. */
  lines(method: 'GET' | 'POST', path: string, options?: CallOptions): AsyncIterable<Line>
  /** The answer's bytes as they come. */
  download(path: string, query: Query, signal?: AbortSignal): AsyncIterable<Uint8Array>
  /** Resolves when the peer executed the request; throws its EmrmError. */
  submit(bytes: Uint8Array): Promise<Line>
  close(): void
}

export type CallOptions = {
  readonly query?: Query
  readonly body?: unknown
  readonly as?: { readonly signer: QuerySigner; readonly chainId: Digest } | null
  readonly timeoutMs?: number
}

const CALL_TIMEOUT_MS = 60_000
/** The chunk that was read: the piece that is made of it, and what that becomes, are lent. */
const COPIES_OF_A_DOWNLOAD = 1
const COPIES_OF_AN_UPLOAD = 1

/** Throws EmrmError `home-missing`, or `peer-not-running` when the home has no live peer. */
export async function connectApi(paths: HomePaths): Promise<Api> {
  const notRunning = (cause: unknown): EmrmError =>
    new EmrmError(
      'peer-not-running',
      `no peer is running on ${paths.home}; start it with "emrm start --home ${paths.home}"`,
      { home: paths.home },
      cause,
    )
  let address: string
  let token: string
  try {
    address = (await readTextFile(paths.apiAddress)).trim()
    token = (await readTextFile(paths.apiToken)).trim()
  } catch (error) {
    if (!(error instanceof EmrmError) || error.code !== 'file-missing') throw error
    throw existsSync(paths.config) ? notRunning(error) : homeMissing(paths.home)
  }
  return makeApi(address, token, notRunning)
}

export function makeApi(address: string, token: string, notRunning: (cause: unknown) => EmrmError): Api {
  const agent = new Agent({ keepAlive: true })
  const send = async (
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    body: Uint8Array | AsyncIterable<Uint8Array> | null,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> => {
    const outgoing = httpRequest(new URL(path, address), {
      agent,
      method,
      ...(signal && { signal }),
      headers: { ...headers, authorization: `Bearer ${token}` },
    })
    if (timeoutMs > 0) outgoing.setTimeout(timeoutMs, () => outgoing.destroy(timedOut(path, timeoutMs)))
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve)
      outgoing.on('error', error => reject(isRefused(error) ? notRunning(error) : error))
    })
    answer.catch(() => {})
    if (body === null || body instanceof Uint8Array) outgoing.end(body ?? undefined)
    // An upload that the peer cuts short has its reason in the answer; a source that fails tears the call down.
    else pipeline(Readable.from(body), outgoing).catch(error => outgoing.destroy(error as Error))
    const incoming = await answer.catch(error => {
      throw error instanceof EmrmError ? error : lost(error)
    })
    if ((incoming.statusCode ?? 500) >= 400) {
      const error = toError(await readJson(incoming))
      // A refused upload is not read any further: neither end should go on with it.
      outgoing.destroy()
      throw error
    }
    return incoming
  }

  const api: Api = {
    address,
    async call(method, path, { query, body, as, timeoutMs = CALL_TIMEOUT_MS } = {}) {
      const target = withQuery(path, query)
      const headers: OutgoingHttpHeaders = as ? signedHeaders(as, method, target) : {}
      const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body))
      if (bytes !== null) Object.assign(headers, { 'content-type': 'application/json', 'content-length': bytes.length })
      return readJson(await send(method, target, headers, bytes, timeoutMs))
    },
    async *exchange(path, query, body) {
      const headers = { 'content-type': 'application/octet-stream' }
      const failed: { reason?: unknown } = {}
      try {
        const incoming = await send('POST', withQuery(path, query), headers, noting(body, failed), 0)
        for await (const line of splitLines(incoming)) yield JSON.parse(line) as Line
      } catch (error) {
        // What broke first is what is told: a file that could not be read, rather than the connection that ended for it.
        throw failed.reason === undefined ? error : sourceFailed(failed.reason)
      }
    },
    async *lines(method, path, { query, as } = {}) {
      const target = withQuery(path, query)
      const headers = as ? signedHeaders(as, method, target) : {}
      for await (const line of splitLines(await send(method, target, headers, null, 0))) yield JSON.parse(line) as Line
    },
    async *download(path, query, signal) {
      const incoming = await send('GET', withQuery(path, query), {}, null, CALL_TIMEOUT_MS, signal)
      try {
        for await (const chunk of incoming) {
          noteShortLived(COPIES_OF_A_DOWNLOAD * chunk.length)
          yield chunk
        }
      } catch (error) {
        throw lost(error)
      }
    },
    async submit(bytes) {
      const frames = (async function* () {
        yield encodeFrame(bytes)
      })()
      for await (const line of api.exchange('/v1/requests', {}, frames)) {
        if (line['error'] !== undefined) throw toError(line)
        return line
      }
      throw lost(undefined)
    },
    close: () => agent.destroy(),
  }
  return api
}

async function* noting(source: AsyncIterable<Uint8Array>, failed: { reason?: unknown }): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      // Only what the source throws: a connection that breaks is thrown into this generator at the `yield`.
      const next = await iterator.next().catch(error => {
        failed.reason = error
        throw error
      })
      if (next.done) return
      noteShortLived(COPIES_OF_AN_UPLOAD * next.value.length)
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}

function sourceFailed(reason: unknown): EmrmError {
  if (reason instanceof EmrmError) return reason
  const code = (reason as NodeJS.ErrnoException).code ?? (reason as Error).name
  return new EmrmError(
    'source-failed',
    `what was being sent could not be read (${code}); nothing was kept of it`,
    { reason: code },
    reason,
  )
}

function signedHeaders(
  { signer, chainId }: { readonly signer: QuerySigner; readonly chainId: Digest },
  method: string,
  path: string,
): OutgoingHttpHeaders {
  const timeMs = Date.now()
  return {
    [HEADERS.key]: signer.publicKey,
    [HEADERS.user]: signer.identifier,
    [HEADERS.time]: String(timeMs),
    [HEADERS.signature]: toHex(signer.sign(querySignedBytes({ chainId, method, path, timeMs }))),
  }
}

/** Throws `api-connection-lost` when the peer went before the end of its answer. */
async function* splitLines(incoming: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = ''
  const decoder = new TextDecoder()
  try {
    for await (const chunk of incoming) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') yield line
    }
  } catch (error) {
    throw error instanceof EmrmError ? error : lost(error)
  }
}

function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query))
    for (const item of value === undefined ? [] : [value].flat()) parameters.append(key, item)
  return parameters.size === 0 ? path : `${path}?${parameters}`
}

async function readJson(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw lost(error)
  }
}

/** The peer's own words back into an error; anything else on that port is not our peer. */
export function toError(document: unknown): EmrmError {
  const error = (document as { error?: Record<string, unknown> } | null)?.error
  if (typeof error?.['code'] !== 'string' || typeof error['message'] !== 'string') return lost(undefined)
  const { code, message, ...facts } = error
  return new EmrmError(code as string, message as string, facts as ErrorFacts)
}

const isRefused = (error: Error): boolean =>
  ['ECONNREFUSED', 'ENOENT', 'EADDRNOTAVAIL'].includes((error as NodeJS.ErrnoException).code ?? '')

const timedOut = (path: string, timeoutMs: number): EmrmError =>
  new EmrmError('api-timeout', `the peer did not answer ${path} in ${timeoutMs} ms; look at its log`, { timeoutMs })

const lost = (cause: unknown): EmrmError =>
  new EmrmError(
    'api-connection-lost',
    'the peer ended the connection; see whether it still runs, then try again',
    {},
    cause,
  )
