// One request seen from the asking side: its deadlines, its turn among the requests to the same peer, and what its failure means to the caller.
// Not here: the stream (libp2p-requests.ts).

import type { Connection as LibConnection } from '@libp2p/interface'
import { EmrmError } from '../model/errors.ts'
import type { PeerId } from '../model/ids.ts'
import type { Protocol } from '../ports.ts'

/** After a reset, how long to wait to see whether the whole connection died. */
const settleMs = 100
/** These leave no doubt; a mere reset may be the first sign of a connection that dies. */
const saidByThePeer: ReadonlySet<string> = new Set(['RefusedError', 'UnsupportedProtocolError', 'FrameFault'])

/** The caller's own frames threw; the caller gets that error back as it was. */
export class SourceError extends Error {
  constructor(cause: unknown) {
    super('the frames to send threw', { cause })
  }
}

export function unreachable(peer: PeerId, cause?: unknown): EmrmError {
  return new EmrmError(
    'peer-unreachable',
    'There is no connection to the peer; it is dialled in the background, so try another peer or again later.',
    { peer },
    cause,
  )
}

export class Call {
  readonly #to: PeerId
  readonly #protocol: Protocol
  readonly #caller: AbortSignal
  readonly #controller = new AbortController()
  #timer: NodeJS.Timeout | null = null
  #stalled = false

  constructor(to: PeerId, protocol: Protocol, caller: AbortSignal) {
    this.#to = to
    this.#protocol = protocol
    this.#caller = caller
    caller.addEventListener('abort', this.#cancel)
    if (caller.aborted) this.#cancel()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** The other side must move within this time; null: it is not its turn. */
  expectWithin(ms: number | null): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (ms === null || this.#controller.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#stalled = true
      this.#controller.abort()
    }, ms)
    this.#timer.unref()
  }

  end(): void {
    this.expectWithin(null)
    this.#caller.removeEventListener('abort', this.#cancel)
  }

  async explain(error: unknown, connection: LibConnection | null): Promise<unknown> {
    const facts = { peer: this.#to, protocol: this.#protocol }
    const reason: unknown = this.#caller.reason
    if (this.#stalled || (this.#caller.aborted && reason instanceof Error && reason.name === 'TimeoutError')) {
      return new EmrmError(
        'request-timeout',
        'The peer did not answer in time; try another peer or again later.',
        facts,
      )
    }
    if (this.#caller.aborted) return reason
    if (error instanceof SourceError) return error.cause
    if (error instanceof EmrmError) return error
    const name = error instanceof Error ? error.name : 'unknown'
    if (!saidByThePeer.has(name)) {
      if (connection !== null && connection.status === 'open')
        await new Promise(resolve => setTimeout(resolve, settleMs))
      if (connection === null || connection.status !== 'open') return unreachable(this.#to, error)
    }
    return new EmrmError(
      'peer-refused',
      'The peer refused the request or broke it off.',
      { ...facts, reason: name },
      error,
    )
  }

  #cancel = (): void => this.#controller.abort()
}

/** Turns: at most `max` at a time, the others in the order they came. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(max: number) {
    this.#free = max
  }

  /** Rejects when the signal aborts before the turn came. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1)
        reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled'))
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(turn)
    })
  }

  give(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
