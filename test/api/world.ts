// A peer that is not one: answers that a test sets, behind the real API server on a free loopback port.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Api, makeApi } from '../../src/api/client.ts'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { startApi } from '../../src/api/server.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { Digest } from '../../src/model/ids.ts'
import type { Log } from '../../src/ports.ts'

export const CHAIN_ID = 'c'.repeat(64) as Digest

export type World = {
  readonly api: Api
  readonly address: string
  readonly token: string
  readonly home: string
  readonly logged: string[]
  stop(): Promise<void>
}

export async function startWorld(t: TestContext, peer: Partial<PeerHandle>, nowMs?: () => number): Promise<World> {
  const home = await mkdtemp(join(tmpdir(), 'emrm-api-'))
  const logged: string[] = []
  const note = (event: string): void => void logged.push(event)
  const log: Log = { debug: note, info: note, warn: note, error: note }
  const paths = { apiToken: join(home, 'api.token'), apiAddress: join(home, 'api.address') }
  const server = await startApi({
    peer: { chainId: CHAIN_ID, requireRoom: async () => undefined, ...peer } as PeerHandle,
    paths,
    host: '127.0.0.1',
    port: 0,
    log,
    ...(nowMs === undefined ? {} : { nowMs }),
  })
  const token = (await readFile(paths.apiToken, 'utf8')).trim()
  const api = makeApi(server.address, token, () => new EmrmError('peer-not-running', 'not there'))
  let stopped = false
  const stop = async (): Promise<void> => {
    if (stopped) return
    stopped = true
    api.close()
    await server.stop()
    await rm(home, { recursive: true, force: true })
  }
  t.after(stop)
  return {
    api,
    address: server.address,
    token,
    home,
    logged,
    stop,
  }
}
