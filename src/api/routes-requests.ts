// POST /v1/requests: signed requests in, one connection with thousands in flight, a result line for each as this peer executes it
// (the REPLY of P-37), in any order. Not here: making and signing requests (client/), checking them (wire/verify).

import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'

import { decodeRequest } from '../wire/codec.ts'
import { type ApiContext, openLines } from './context.ts'
import { decodeFrames } from './frames.ts'
import { toJson } from './present.ts'

/** Beyond this the stream is read no further until results have gone out. */
export const IN_FLIGHT_MAX = 10_000

export function addRequestRoutes(app: FastifyInstance, context: ApiContext): void {
  const { peer } = context

  // Each line: {"seq": position in the stream, from 0, "request", "height", "index", "outcome"} or {"seq", "request", "error": {…}}.
  app.post('/v1/requests', async (request, reply) => {
    const lines = openLines(context, reply)
    let inFlight = 0
    let wake: (() => void) | null = null
    const settled = (): void => {
      inFlight--
      wake?.()
    }
    const waitBelow = async (limit: number): Promise<void> => {
      while (inFlight >= limit) await new Promise<void>(resolve => (wake = resolve))
    }
    let seq = 0
    try {
      for await (const bytes of decodeFrames(request.body as Readable)) {
        if (lines.closed) break
        await waitBelow(IN_FLIGHT_MAX)
        const position = seq++
        inFlight++
        peer
          .submit(bytes)
          .then(
            result => lines.write({ seq: position, ...(toJson(result) as object) }),
            error => lines.error(error, { seq: position, request: idOf(bytes) }),
          )
          .finally(settled)
      }
    } catch (error) {
      // The framing is lost: what came before still gets its results.
      await lines.error(error, { seq })
    }
    await waitBelow(1)
    lines.end()
  })
}

/** Null for bytes that are no request: nothing was accepted, so nothing has an id. */
function idOf(bytes: Uint8Array): string | null {
  try {
    return decodeRequest(bytes).id
  } catch {
    return null
  }
}
