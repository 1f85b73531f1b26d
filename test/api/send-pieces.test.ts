// An answer of any length takes the memory of a few pieces, and ends its source when the caller has gone.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { sendPieces } from '../../src/api/send-pieces.ts'
import { borrow, noteShortLived } from '../../src/short-lived.ts'

const MiB = 1_048_576

/** The answer to one call, and what `answer` resolved to. */
async function answered(
  t: { after(fn: () => void): void },
  answer: (raw: ServerResponse) => Promise<void>,
): Promise<{ readonly incoming: IncomingMessage; readonly done: Promise<void> }> {
  const done = Promise.withResolvers<void>()
  const server = createServer((_, raw) => void answer(raw).then(done.resolve, done.reject))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  const [incoming] = await once(get({ port: (server.address() as AddressInfo).port, agent: false }), 'response')
  return { incoming: incoming as IncomingMessage, done: done.promise }
}

test('four hundred pieces that nobody lent are gone when they have left', async t => {
  let peak = 0
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 400; i++) {
      noteShortLived(MiB)
      yield new Uint8Array(Buffer.alloc(MiB, i).buffer)
      peak = Math.max(peak, process.memoryUsage().arrayBuffers)
    }
  }
  const { incoming, done } = await answered(t, async raw => {
    const source = pieces()
    await sendPieces(raw, await source.next(), source)
  })
  let [bytes, sum] = [0, 0]
  for await (const chunk of incoming) {
    bytes += (chunk as Buffer).length
    sum += (chunk as Buffer)[0] as number
  }
  await done
  assert.equal(bytes, 400 * MiB)
  assert.ok(sum > 0)
  assert.ok(peak < 128 * MiB, `${peak / MiB} MiB at a time`)
})

test('lent memory comes back when its piece has left, and holds what was sent until then', async t => {
  const seen = new Set<ArrayBufferLike>()
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 40; i++) {
      const piece = borrow(MiB)
      piece.fill(i)
      seen.add(piece.buffer)
      yield piece
    }
  }
  const { incoming, done } = await answered(t, async raw => {
    const source = pieces()
    await sendPieces(raw, await source.next(), source)
  })
  let at = 0
  for await (const chunk of incoming)
    for (const byte of chunk as Buffer) if (byte !== Math.floor(at++ / MiB)) assert.fail(`byte ${at - 1} is ${byte}`)
  await done
  assert.equal(at, 40 * MiB)
  assert.ok(seen.size <= 4, `${seen.size} pieces' memory`)
})

test('a caller who goes ends the source, and one that breaks ends the connection', async t => {
  let ended = false
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield new Uint8Array(MiB)
    } finally {
      ended = true
    }
  }
  const left = await answered(t, async raw => {
    const source = endless()
    await sendPieces(raw, await source.next(), source)
  })
  left.incoming.once('data', () => left.incoming.destroy())
  await left.done
  assert.equal(ended, true)

  async function* broken(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(MiB)
    throw new Error('no holder is left')
  }
  const cut = await answered(t, async raw => {
    const source = broken()
    await sendPieces(raw, await source.next(), source)
  })
  await assert.rejects(async () => {
    for await (const _ of cut.incoming);
  }, /aborted/)
  await cut.done
})
