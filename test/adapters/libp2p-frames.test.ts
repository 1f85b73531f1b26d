// Framing on our own streams, and the back-pressure of reader and writer over a pair of streams in memory.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { streamPair } from '@libp2p/utils'
import fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import { encodeFrame, endMark, FrameDecoder, FrameFault, refusalMark } from '../../src/adapters/libp2p-frames.ts'
import { FrameReader, FrameWriter, RefusedError, StreamCutError } from '../../src/adapters/libp2p-stream.ts'
import { until } from '../contract/network-world.ts'

const limit = 300_000

describe('frames on a stream', () => {
  it('refuses a length beyond the limit before a byte of the frame is there', () => {
    const decoder = new FrameDecoder(1_000)
    decoder.append(chunkOf(encodeFrame(new Uint8Array(1_001))).subarray(0, 2))
    assert.throws(() => decoder.next(), new FrameFault('frame-too-long'))
  })

  it('refuses a length that never ends', () => {
    for (const bytes of [
      [0x80, 0x80, 0x80, 0x80],
      [0xff, 0xff, 0xff, 0xff, 0x01],
    ]) {
      const decoder = new FrameDecoder(limit)
      decoder.append(Uint8Array.from(bytes))
      assert.throws(() => decoder.next(), new FrameFault('length-invalid'))
    }
  })

  it('waits for the rest of a prefix and of a frame', () => {
    const whole = chunkOf(encodeFrame(new Uint8Array(200).fill(9)))
    for (let cut = 0; cut < whole.byteLength; cut++) {
      const decoder = new FrameDecoder(limit)
      decoder.append(whole.subarray(0, cut))
      assert.equal(decoder.next(), null)
      decoder.append(whole.subarray(cut))
      assert.deepEqual(decoder.next(), new Uint8Array(200).fill(9))
      assert.equal(decoder.next(), null)
    }
  })

  it('gives back any frames and marks, however the bytes are cut', () => {
    const part = fc.oneof(
      fc.constant('end' as const),
      fc.constant('refused' as const),
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 4_000, max: 20_000 }).map(length => new Uint8Array(length).fill(length & 0xff)),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.array(fc.nat(70_000)), (parts, cuts) => {
        const wire = new Uint8ArrayList()
        for (const item of parts)
          wire.append(item === 'end' ? endMark : item === 'refused' ? refusalMark : encodeFrame(item))
        const bytes = wire.slice()
        const decoder = new FrameDecoder(limit)
        const got: unknown[] = []
        let from = 0
        for (const to of [
          ...cuts.map(cut => cut % (bytes.byteLength + 1)).toSorted((a, b) => a - b),
          bytes.byteLength,
        ]) {
          decoder.append(bytes.subarray(from, to))
          from = to
          for (let item = decoder.next(); item !== null; item = decoder.next()) got.push(item)
        }
        assert.deepEqual(got, parts)
      }),
    )
  })

  it('copies each frame out of what the socket handed over', () => {
    const slab = chunkOf(encodeFrame(Uint8Array.of(1, 2, 3))).slice()
    const decoder = new FrameDecoder(limit)
    decoder.append(slab)
    const frame = decoder.next()
    slab.fill(0xee)
    assert.ok(frame instanceof Uint8Array)
    assert.deepEqual(frame, Uint8Array.of(1, 2, 3))
    assert.equal(frame.buffer.byteLength, 3, 'no slab is kept alive by it')
  })
})

describe('reading and writing frames', () => {
  it('fails when the stream closes before the end mark, and not when after', async () => {
    for (const whole of [true, false]) {
      const [here, there] = await streamPair()
      const reader = new FrameReader(there, limit)
      const writer = new FrameWriter(here)
      await writer.write(Uint8Array.of(1))
      if (whole) await writer.end(AbortSignal.timeout(5_000))
      else await here.close()
      await there.close()
      if (whole) assert.deepEqual(await all(reader), [Uint8Array.of(1)])
      else await assert.rejects(all(reader), StreamCutError)
    }
  })

  it('fails at once on a stream that was dead before the reader came', { timeout: 5_000 }, async () => {
    const [here, there] = await streamPair()
    const closed = new Promise(resolve => there.addEventListener('close', resolve))
    here.abort(new Error('gone'))
    await closed
    await assert.rejects(all(new FrameReader(there, limit)))
  })

  it('hears a refusal as such', async () => {
    const [here, there] = await streamPair()
    const reader = new FrameReader(there, limit)
    await new FrameWriter(here).refuse(AbortSignal.timeout(5_000))
    await assert.rejects(all(reader), RefusedError)
  })

  it('stays paused when a resume brings more than it wanted', async () => {
    const [here, there] = await streamPair()
    there.maxReadBufferLength = 64 * 1_048_576
    const calls: string[] = []
    const inside = there as unknown as { sendPause(): void; sendResume(): void }
    inside.sendPause = () => void calls.push('pause')
    inside.sendResume = () => void calls.push('resume')
    const large = new Uint8Array(1_200_000)
    const frames = new FrameReader(there, large.byteLength)[Symbol.asyncIterator]()
    here.send(encodeFrame(large))
    await until('it is full', () => there.readStatus === 'paused')
    for (let n = 0; n < 3; n++) here.send(encodeFrame(large))
    await until('the rest waits in the stream', () => there.readBufferLength > 3 * large.byteLength)
    await frames.next()
    await until('the rest was handed over', () => there.readBufferLength === 0)
    assert.deepEqual(calls, ['pause', 'resume', 'pause'])
    assert.equal(there.readStatus, 'paused')
  })

  it('aborts the stream of a sender that breaks the framing', async () => {
    const [here, there] = await streamPair()
    const reader = new FrameReader(there, 10)
    here.send(encodeFrame(new Uint8Array(11)))
    await assert.rejects(all(reader), FrameFault)
    assert.equal(there.status, 'aborted')
  })
})

function chunkOf(frame: Uint8Array | Uint8ArrayList): Uint8Array {
  return frame instanceof Uint8Array ? frame : frame.slice()
}

async function all(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const list: Uint8Array[] = []
  for await (const frame of frames) list.push(frame)
  return list
}
