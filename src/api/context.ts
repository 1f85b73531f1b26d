// What every route gets: the peer, the clock, the log, and who is asking. Not here: routes.

import type { FastifyReply, FastifyRequest } from 'fastify'

import { EmrmError } from '../model/errors.ts'
import { type BlockId, type Height, isHexadecimal, type RecordId, type RequestId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import { type Caller, readCaller } from './auth.ts'
import { errorDocument } from './http-error.ts'
import type { PeerHandle } from './peer-handle.ts'

export type ApiContext = {
  readonly peer: PeerHandle
  readonly log: Log
  readonly nowMs: () => number
}

export const callerOf = (context: ApiContext, request: FastifyRequest): Caller =>
  readCaller(
    { method: request.method, path: request.url, headers: request.headers },
    context.peer.chainId,
    context.nowMs(),
    user => context.peer.views.user(user),
  )

/** An answer that grows: one JSON document a line. The status is sent with the first line, so errors are lines too. */
export type Lines = {
  /** Resolves when the caller has taken it: a slow reader slows the work down, not the memory up. */
  write(line: unknown): Promise<void>
  error(error: unknown, facts?: Readonly<Record<string, unknown>>): Promise<void>
  end(): void
  readonly closed: boolean
}

export function openLines(context: ApiContext, reply: FastifyReply): Lines {
  reply.hijack()
  const raw = reply.raw
  raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  raw.flushHeaders()
  raw.on('error', () => {})
  let waiting = ''
  let flushing: Promise<void> | null = null
  // Lines of one turn go out together: thousands of results a second are then a few writes.
  const flush = async (): Promise<void> => {
    await new Promise(resolve => setImmediate(resolve))
    const text = waiting
    waiting = ''
    flushing = null
    if (raw.destroyed || raw.writableEnded || raw.write(text)) return
    drained ??= new Promise<void>(resolve => {
      const done = (): void => {
        raw.off('drain', done)
        raw.off('close', done)
        drained = null
        resolve()
      }
      raw.once('drain', done)
      raw.once('close', done)
    })
    await drained
  }
  let drained: Promise<void> | null = null
  const write = (line: unknown): Promise<void> => {
    waiting += `${JSON.stringify(line)}\n`
    flushing ??= flush()
    return flushing
  }
  return {
    write,
    error: async (error, facts = {}) => {
      // Whoever hung up has no use for the reason, and a broken connection is not our failure.
      if (!raw.destroyed) await write({ ...facts, ...errorDocument(error, context.log) })
    },
    end: () => void (flushing ?? Promise.resolve()).then(() => raw.end()),
    get closed() {
      return raw.destroyed
    },
  }
}

export function pathId(value: unknown, digits: 32 | 64, what: string): string {
  const text = String(value).toLowerCase()
  if (!isHexadecimal(text, digits))
    throw new EmrmError('id-invalid', `a ${what} has ${digits} hexadecimal digits; check it`, { what })
  return text
}

export const recordIdIn = (value: unknown): RecordId => pathId(value, 32, 'record id') as RecordId
export const requestIdIn = (value: unknown): RequestId => pathId(value, 64, 'request id') as RequestId

/** A height in decimal or a block's id. */
export function blockRefIn(value: unknown): Height | BlockId {
  const text = String(value)
  return /^\d{1,15}$/.test(text) ? (Number(text) as Height) : (pathId(text, 64, 'block id') as BlockId)
}

export function queryText(request: FastifyRequest, key: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[key]
  return typeof value === 'string' && value !== '' ? value : undefined
}

export function queryList(request: FastifyRequest, key: string): readonly string[] {
  const value = (request.query as Record<string, unknown>)[key]
  return value === undefined ? [] : [value].flat().map(String)
}
