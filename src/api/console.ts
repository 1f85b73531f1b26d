// The console page (`emrm start --console-port P`): a look at one peer in a browser on the same machine. Read-only, and only what is not about
// anybody: height, view, links, queue, the last blocks by number and kind of request. No record, patient, key or token comes near it, so it
// needs no login; a page of another site cannot read it (Host is checked, no cross-origin headers). Not here: the API (server.ts).

import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

import { isLoopback } from '../config.ts'
import { EmrmError } from '../model/errors.ts'
import type { Height } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import type { PeerHandle } from './peer-handle.ts'

const BLOCKS_SHOWN = 20
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}

export type Console = { readonly address: string; stop(): Promise<void> }

/** Throws EmrmError `console-port-taken`. */
export async function startConsole(options: {
  readonly peer: PeerHandle
  readonly port: number
  readonly log: Log
}): Promise<Console> {
  const asset = (name: string): Promise<Buffer> => readFile(new URL(`./console/${name}`, import.meta.url))
  const [page, script, words, style] = await Promise.all(
    ['console.html', 'console.js', 'words.js', 'console.css'].map(asset),
  )
  const files = new Map([
    ['/', { type: 'text/html; charset=utf-8', body: page }],
    ['/console.js', { type: 'text/javascript; charset=utf-8', body: script }],
    ['/words.js', { type: 'text/javascript; charset=utf-8', body: words }],
    ['/console.css', { type: 'text/css; charset=utf-8', body: style }],
  ])
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
    if (host !== 'localhost' && !isLoopback(host)) return end(response, 403, 'text/plain', 'open it as localhost\n')
    if (request.method !== 'GET') return end(response, 405, 'text/plain', 'this page only shows\n')
    if (request.url === '/view.json')
      return end(response, 200, 'application/json', JSON.stringify(await viewOf(options.peer)))
    const file = files.get(request.url ?? '')
    return file === undefined
      ? end(response, 404, 'text/plain', 'not here\n')
      : end(response, 200, file.type, file.body ?? '')
  }
  const server = createServer((request, response) => {
    answer(request, response).catch(error => {
      options.log.error('console-failed', { name: (error as Error).name })
      end(response, 500, 'text/plain', 'the peer could not answer; see its log\n')
    })
  })
  server.headersTimeout = 10_000
  server.maxConnections = 64
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause =>
      reject(
        new EmrmError(
          'console-port-taken',
          `the console cannot listen on 127.0.0.1:${options.port}; choose another --console-port`,
          { port: options.port },
          cause,
        ),
      ),
    )
    server.listen({ host: '127.0.0.1', port: options.port }, resolve)
  })
  const bound = server.address()
  return {
    address: `http://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : options.port}`,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function end(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  response.writeHead(status, { ...HEADERS, 'content-type': type }).end(body)
}

/** What the page shows, and nothing that names a person. */
async function viewOf(peer: PeerHandle): Promise<object> {
  const { institution, network, height, head, view, primary, role, peers, mempool, stateDigest, version } =
    peer.status()
  const blocks: object[] = []
  for (let at = height; at > Math.max(0, height - BLOCKS_SHOWN); at--) {
    // The page of a home that began with a snapshot shows the blocks that there are.
    const stored = await peer.block(at as Height).catch(() => null)
    if (stored === null) continue
    const kinds: Record<string, number> = {}
    for (const { operation } of stored.block.requests) kinds[operation.type] = (kinds[operation.type] ?? 0) + 1
    const { timestamp } = stored.block.header
    blocks.push({ height: at, id: stored.block.id, time: timestamp, kinds, path: stored.certificate.path })
  }
  const names = new Map(peer.views.institutions().map(({ peerId, name }) => [peerId, name]))
  return {
    ...{ institution: institution.name, network: network.name, chainId: network.chainId, version },
    ...{ height, head, view, role, primary: primary?.name ?? null, mempool, stateDigest },
    peers: peers.map(({ peerId, direct, direction }) => ({ name: names.get(peerId) ?? peerId, direct, direction })),
    blocks,
  }
}
