// POST /v1/requests: one connection, many requests in flight, a result for each, in any order.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Line } from '../../src/api/client.ts'
import { decodeFrames, encodeFrame, FRAME_BYTES_MAX } from '../../src/api/frames.ts'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { IN_FLIGHT_MAX } from '../../src/api/routes-requests.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { RequestResult } from '../../src/model/operations.ts'
import { startWorld } from './world.ts'

const resultFor = (bytes: Uint8Array): RequestResult =>
  ({
    request: Buffer.from(bytes).toString('hex'),
    height: 1,
    index: 0,
    outcome: { type: 'done' },
  }) as unknown as RequestResult

async function* chunks(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts
}

async function collect(lines: AsyncIterable<Line>): Promise<readonly Line[]> {
  const all: Line[] = []
  for await (const line of lines) all.push(line)
  return all
}

const frame = (n: number): Uint8Array => encodeFrame(new Uint8Array([n]))
const errorOf = (line: Line | undefined): string => (line?.['error'] as { code: string } | undefined)?.code ?? 'none'

test('frames that are empty, too large or cut off are refused before they are buffered', async () => {
  const decode = async (...parts: readonly Uint8Array[]): Promise<number> => {
    let count = 0
    for await (const _ of decodeFrames(chunks(...parts))) count++
    return count
  }
  await assert.rejects(decode(new Uint8Array([0, 0, 0, 0])), { code: 'request-too-large' })
  await assert.rejects(decode(new Uint8Array([255, 255, 255, 255])), { code: 'request-too-large' })
  await assert.rejects(decode(frame(1).subarray(0, 4)), { code: 'request-truncated' })
  await assert.rejects(decode(new Uint8Array([0, 0])), { code: 'request-truncated' })
  assert.throws(() => encodeFrame(new Uint8Array(FRAME_BYTES_MAX + 1)), { code: 'request-too-large' })
  assert.throws(() => encodeFrame(new Uint8Array(0)), { code: 'request-too-large' })
  assert.equal(await decode(), 0)
})

test('frames are found again however the bytes are cut', async () => {
  const bytes = Buffer.concat([1, 2, 3].map(n => encodeFrame(new Uint8Array(n * 10).fill(n))))
  for (let size = 1; size <= bytes.length; size++) {
    const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    )
    const lengths: number[] = []
    for await (const request of decodeFrames(chunks(...parts))) lengths.push(request.length)
    assert.deepEqual(lengths, [10, 20, 30], `pieces of ${size}`)
  }
})

test('a result comes as soon as its request was executed, while the stream is still open', async t => {
  const waiting: (() => void)[] = []
  const world = await startWorld(t, {
    submit: bytes => new Promise(resolve => waiting.push(() => resolve(resultFor(bytes)))),
  })
  let finish: () => void = () => {}
  const open = new Promise<void>(resolve => (finish = resolve))
  const body = (async function* () {
    yield frame(1)
    yield frame(2)
    await open
  })()
  const lines = world.api.exchange('/v1/requests', {}, body)[Symbol.asyncIterator]()
  const first = lines.next()
  while (waiting.length < 2) await new Promise(resolve => setImmediate(resolve))
  // The second is executed first.
  waiting[1]?.()
  assert.deepEqual(((await first).value as Line)['seq'], 1)
  waiting[0]?.()
  assert.deepEqual(((await lines.next()).value as Line)['seq'], 0)
  finish()
  assert.equal((await lines.next()).done, true)
})

test('a refused request has its error in its line and the others go on', async t => {
  const world = await startWorld(t, {
    submit: bytes =>
      bytes[0] === 2
        ? Promise.reject(new EmrmError('mempool-full', 'too many wait; again in a moment'))
        : Promise.resolve(resultFor(bytes)),
  })
  const lines = await collect(world.api.exchange('/v1/requests', {}, chunks(frame(1), frame(2), frame(3))))
  const bySeq = new Map(lines.map(line => [line['seq'], line]))
  assert.deepEqual(
    [0, 1, 2].map(seq => errorOf(bySeq.get(seq))),
    ['none', 'mempool-full', 'none'],
  )
})

test('a broken frame ends the stream, after the results of what came before', async t => {
  const world = await startWorld(t, { submit: bytes => Promise.resolve(resultFor(bytes)) })
  const bad = new Uint8Array([255, 0, 0, 0, 1])
  const lines = await collect(world.api.exchange('/v1/requests', {}, chunks(frame(1), bad)))
  assert.deepEqual(lines.map(errorOf).sort(), ['none', 'request-too-large'])
})

test('ten thousand in flight stop the reading, not the peer', async t => {
  let inFlight = 0
  let most = 0
  const release: (() => void)[] = []
  const world = await startWorld(t, {
    submit: bytes => {
      most = Math.max(most, ++inFlight)
      return new Promise(resolve =>
        release.push(() => {
          inFlight--
          resolve(resultFor(bytes))
        }),
      )
    },
  })
  const total = IN_FLIGHT_MAX + 500
  const all = Buffer.concat(Array.from({ length: total }, () => frame(1)))
  const answered = collect(world.api.exchange('/v1/requests', {}, chunks(all)))
  let done = 0
  while (done < total) {
    await new Promise(resolve => setImmediate(resolve))
    if (inFlight < IN_FLIGHT_MAX && done + inFlight < total) continue
    for (const one of release.splice(0)) {
      one()
      done++
    }
  }
  assert.equal((await answered).length, total)
  assert.equal(most, IN_FLIGHT_MAX)
})

test('one request of the command line: its result, or its error as an error', async t => {
  const submit: PeerHandle['submit'] = bytes =>
    bytes[0] === 1
      ? Promise.resolve(resultFor(bytes))
      : Promise.reject(new EmrmError('request-invalid', 'bad signature; sign again', { reason: 'signature' }))
  const world = await startWorld(t, { submit })
  assert.equal((await world.api.submit(new Uint8Array([1])))['height'], 1)
  await assert.rejects(world.api.submit(new Uint8Array([2])), {
    code: 'request-invalid',
    facts: { reason: 'signature' },
  })
})

test('a peer that dies in the middle is an error, never a silent end', async t => {
  const world = await startWorld(t, { submit: () => new Promise(() => {}) })
  const answered = collect(world.api.exchange('/v1/requests', {}, chunks(frame(1))))
  answered.catch(() => {})
  await new Promise(resolve => setTimeout(resolve, 50))
  await world.stop()
  await assert.rejects(answered, { code: 'api-connection-lost' })
})
