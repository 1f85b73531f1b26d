// A record's pieces into an answer: each is awaited while the one before leaves, and the memory of one that has left is given back.
// Not here: where they come from (records/piece-source.ts), the head of the answer (routes-records.ts).

import type { ServerResponse } from 'node:http'
import { giveBack } from '../short-lived.ts'

/** `first`: what was taken from `rest` before the head went out. Resolves when all has left, or the connection is gone. */
export async function sendPieces(
  raw: ServerResponse,
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): Promise<void> {
  let leaving = Promise.resolve()
  try {
    for (let next = first; !next.done; next = await rest.next()) {
      await leaving
      leaving = send(raw, next.value)
      leaving.catch(() => undefined)
    }
    await leaving
    raw.end()
  } catch {
    // A failure after the head can only cut the connection, behind what has come so far: the reader notices that it is not all.
    await leaving.catch(() => undefined)
    raw.destroy()
    await rest.return?.()
  }
}

function send(raw: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // Called with an error when the connection closes first.
    raw.write(bytes, error => {
      giveBack(bytes)
      if (error) reject(error)
      else resolve()
    })
  })
}
