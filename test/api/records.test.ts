// POST /v1/records: a stream in, progress lines out, and an end for every way in which it can go wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Line, toError } from '../../src/api/client.ts'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { startWorld } from './world.ts'

const OWNER = 'a'.repeat(32)
const PIECE = new Uint8Array(1_048_576).fill(7)

/** Never ends by itself; counts what was taken. */
function endless(): { readonly source: AsyncGenerator<Uint8Array>; taken: () => number } {
  let taken = 0
  const source = (async function* () {
    for (;;) {
      taken++
      yield PIECE
    }
  })()
  return { source, taken: () => taken }
}

async function last(lines: AsyncIterable<Line>): Promise<Line> {
  let line: Line = {}
  for await (const next of lines) {
    line = next
    if (line['error'] !== undefined) throw toError(line)
  }
  return line
}

test('a call that is refused before the body is read ends the upload, however long it is', async t => {
  const world = await startWorld(t, { addRecord: () => assert.fail('the peer was asked') })
  for (const [query, code] of [
    [{ owner: 'nobody' }, 'id-invalid'],
    [{}, 'id-invalid'],
    [{ owner: OWNER, confidentiality: 'X' }, 'confidentiality-unknown'],
    [{ owner: OWNER, twin: 'perhaps' }, 'twin-invalid'],
    [{ owner: OWNER, label: Array(33).fill('PSY') }, 'label-invalid'],
  ] as const) {
    const { source, taken } = endless()
    await assert.rejects(last(world.api.exchange('/v1/records', query, source)), { code })
    assert.ok(taken() < 200, `${taken()} MiB were sent for nothing`)
  }
})

test('a record that is refused in the middle ends the upload with the reason', async t => {
  const addRecord: PeerHandle['addRecord'] = async source => {
    let read = 0
    for await (const chunk of source) {
      read += chunk.length
      if (read > 3 * PIECE.length) throw new EmrmError('record-malformed', 'this is no DICOM; check the file')
    }
    return assert.fail('it ended')
  }
  const world = await startWorld(t, { addRecord })
  const { source } = endless()
  const query = { owner: OWNER, kind: 'dicom' }
  await assert.rejects(last(world.api.exchange('/v1/records', query, source)), { code: 'record-malformed' })
})

test('progress and the result come in lines, and the options arrive as they were given', async t => {
  let given: unknown
  const addRecord: PeerHandle['addRecord'] = async (source, { onProgress, signal: _, ...options }) => {
    given = options
    let size = 0
    for await (const chunk of source) {
      size += chunk.length
      onProgress?.('encrypted', size)
    }
    return { record: 'b'.repeat(32), height: 3, size } as Awaited<ReturnType<PeerHandle['addRecord']>>
  }
  const world = await startWorld(t, { addRecord })
  const body = (async function* () {
    yield PIECE
    yield PIECE
  })()
  const query = { owner: OWNER, label: ['PSY', 'HIV'], confidentiality: 'R', twin: 'true', lastVisit: '7' }
  const added = await last(world.api.exchange('/v1/records', query, body))
  assert.deepEqual(added, { record: 'b'.repeat(32), height: 3, size: 2 * PIECE.length })
  const said = { owner: OWNER, kind: null, confidentiality: 'R', labels: ['PSY', 'HIV'], twin: true, lastVisit: 7 }
  assert.deepEqual(given, { ...said, encounter: 'inpatient' }, 'what nobody said is kept for longer')
})

test('an upload whose source fails says so, tells the peer, and is no failure of the peer', async t => {
  const first = Promise.withResolvers<void>()
  const told = Promise.withResolvers<void>()
  const addRecord: PeerHandle['addRecord'] = async (source, { signal }) => {
    signal?.addEventListener('abort', () => told.resolve())
    for await (const _ of source) first.resolve()
    return assert.fail('it ended')
  }
  const world = await startWorld(t, { addRecord })
  const broken = (async function* () {
    yield PIECE
    await first.promise
    throw Object.assign(new Error('read failed'), { code: 'EIO' })
  })()
  const upload = last(world.api.exchange('/v1/records', { owner: OWNER }, broken))
  await assert.rejects(upload, { code: 'source-failed', facts: { reason: 'EIO' } })
  await told.promise
  assert.deepEqual(world.logged, [])
})

test('a record for which there is no room is refused before a byte of it is read, when its size is said', async t => {
  const addRecord: PeerHandle['addRecord'] = async source => {
    for await (const _ of source);
    return { record: 'b'.repeat(32), height: 3, size: 0 } as Awaited<ReturnType<PeerHandle['addRecord']>>
  }
  const requireRoom = async (bytes: number): Promise<void> => {
    if (bytes > 1_000) throw new EmrmError('vault-full', 'there is no room')
  }
  const world = await startWorld(t, { addRecord, requireRoom })
  const add = (size: string): Promise<unknown> =>
    last(
      world.api.exchange(
        '/v1/records',
        { owner: OWNER, size },
        (async function* () {
          yield PIECE
        })(),
      ),
    )
  await assert.rejects(add('1001'), { code: 'vault-full' })
  for (const size of ['-1', 'many', '1.5']) await assert.rejects(add(size), { code: 'size-invalid' })
  await add('1000')
  const headers = { authorization: `Bearer ${world.token}`, 'content-type': 'application/octet-stream' }
  const path = `${world.address}/v1/records?owner=${OWNER}&size=1001`
  const answer = await fetch(path, { method: 'POST', headers, body: 'x' })
  assert.equal(answer.status, 507)
})
