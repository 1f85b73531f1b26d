// The local HTTP interface of a running peer, for the command line and the hospital's own systems (HIS): loopback only, a bearer token in
// a file that only the peer's account can read, limits on everything. Not here: what the calls do (routes-*.ts), TLS (nothing leaves the machine).

import { rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance } from 'fastify'

import { type HomePaths, isLoopback } from '../config.ts'
import { EmrmError } from '../model/errors.ts'
import type { Log } from '../ports.ts'
import { isToken, writePrivate, writeToken } from './auth.ts'
import type { ApiContext } from './context.ts'
import { errorDocument, statusOf } from './http-error.ts'
import type { PeerHandle } from './peer-handle.ts'
import { addAuditRoutes } from './routes-audit.ts'
import { addChainRoutes } from './routes-chain.ts'
import { addIdentityRoutes } from './routes-identity.ts'
import { addIndexRoutes } from './routes-index.ts'
import { addRecordRoutes } from './routes-records.ts'
import { addRequestRoutes } from './routes-requests.ts'

/** A JSON body: a policy or a query. Requests and records come as streams with limits of their own. */
const JSON_BYTES_MAX = 256 * 1024
const HEADERS_TIMEOUT_MS = 10_000
/** A connection on which nothing moves. */
const IDLE_TIMEOUT_MS = 10 * 60_000
const CONNECTIONS_MAX = 512

export type ApiServer = {
  /** http://127.0.0.1:PORT */
  readonly address: string
  stop(): Promise<void>
}

export type ApiOptions = {
  readonly peer: PeerHandle
  readonly paths: Pick<HomePaths, 'apiToken' | 'apiAddress'>
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly log: Log
  readonly nowMs?: () => number
}

/** Throws EmrmError `api-port-taken` or `api-listen-failed`. */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const { peer, paths, host, port, log, nowMs = Date.now } = options
  const token = await writeToken(paths.apiToken)
  const app = makeApp({ peer, log, nowMs }, token)
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    throw listenError(error, host, port)
  }
  const bound = app.server.address() as AddressInfo
  const address = `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  await writePrivate(paths.apiAddress, `${address}\n`)
  return {
    address,
    async stop() {
      await Promise.all([rm(paths.apiAddress, { force: true }), rm(paths.apiToken, { force: true })])
      // Streams of load generators never end by themselves: close what is idle, then the rest.
      app.server.closeIdleConnections()
      const grace = setTimeout(() => app.server.closeAllConnections(), 500)
      await app.close()
      clearTimeout(grace)
    },
  }
}

function makeApp(context: ApiContext, token: string): FastifyInstance {
  const app = fastify({
    bodyLimit: JSON_BYTES_MAX,
    // A stream of requests may last for ever; what must be quick is the head, and something has to move.
    requestTimeout: 0,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: 60_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 128 },
  })
  app.server.headersTimeout = HEADERS_TIMEOUT_MS
  app.server.maxConnections = CONNECTIONS_MAX
  // Bytes are handed on as they come: a record is larger than memory.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))

  app.addHook('onRequest', async request => {
    // A page in a browser can be pointed at a loopback port by DNS: its Host is its own name, not ours.
    if (
      !isOurHost(request.headers.host) ||
      request.headers.origin !== undefined ||
      !isToken(request.headers.authorization, token)
    )
      throw new EmrmError(
        'unauthorized',
        'this call is refused; send the bearer token from the file api.token in the home of the peer',
      )
  })
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  app.setErrorHandler((error, _request, reply) => {
    const document = errorDocument(error, context.log)
    void reply.code(statusOf(document.error.code)).send(document)
  })
  app.setNotFoundHandler((request, reply) => {
    const error = new EmrmError(
      'not-found',
      `${request.method} ${request.url.split('?')[0]} is no call of this API; see the README`,
    )
    void reply.code(404).send(errorDocument(error, context.log))
  })
  addChainRoutes(app, context)
  addRequestRoutes(app, context)
  addRecordRoutes(app, context)
  addIdentityRoutes(app, context)
  addIndexRoutes(app, context)
  addAuditRoutes(app, context)
  return app
}

function isOurHost(header: string | undefined): boolean {
  const host = (header ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  return host === 'localhost' || isLoopback(host)
}

function listenError(error: unknown, host: string, port: number): EmrmError {
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
  return code === 'EADDRINUSE'
    ? new EmrmError(
        'api-port-taken',
        `${host}:${port} is in use; stop what listens there or set api.port in config.json`,
        { host, port },
        error,
      )
    : new EmrmError(
        'api-listen-failed',
        `the API cannot listen on ${host}:${port} (${code}); check api in config.json`,
        {
          host,
          port,
          reason: code,
        },
        error,
      )
}
