// The door of the local API: who gets in, what is too large, what an error looks like.

import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { startWorld, type World } from './world.ts'

type Answer = { readonly status: number; readonly body: string }

function raw(world: World, path: string, headers: Record<string, string>, method = 'GET', body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(new URL(path, world.address), { method, headers }, incoming => {
      let text = ''
      incoming.on('data', chunk => {
        text += chunk
      })
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: text }))
    })
    call.on('error', reject)
    call.end(body)
  })
}

const codeOf = ({ body }: Answer): string => (JSON.parse(body) as { error: { code: string } }).error.code

test('without the right token, from a web page or under a foreign name nobody gets in', async t => {
  const world = await startWorld(t, { status: () => assert.fail('the peer was asked') })
  const good = `Bearer ${world.token}`
  const table: readonly Record<string, string>[] = [
    {},
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: `Bearer ${'0'.repeat(64)}` },
    { authorization: `Bearer ${world.token}0` },
    { authorization: `Basic ${world.token}` },
    { authorization: world.token },
    { authorization: good, host: 'evil.example' },
    { authorization: good, host: '127.0.0.1.evil.example' },
    { authorization: good, origin: 'https://evil.example' },
  ]
  for (const headers of table) {
    const answer = await raw(world, '/v1/status', headers)
    assert.equal(answer.status, 401, JSON.stringify(headers))
    assert.equal(codeOf(answer), 'unauthorized')
    assert.ok(!answer.body.includes(world.token))
  }
})

test('the token file can be read by its owner only and goes away with the peer', async t => {
  const world = await startWorld(t, {})
  const { mode } = await stat(join(world.home, 'api.token'))
  assert.equal(mode & 0o777, 0o600)
  await world.stop()
  await assert.rejects(stat(join(world.home, 'api.token')), { code: 'ENOENT' })
})

test('each start makes another token', async t => {
  const [one, two] = [await startWorld(t, {}), await startWorld(t, {})]
  assert.notEqual(one.token, two.token)
})

test('the peer listens on loopback only', async t => {
  const world = await startWorld(t, {})
  assert.match(world.address, /^http:\/\/127\.0\.0\.1:\d+$/)
})

test('an error carries its code and facts; our own failure carries neither text nor stack', async t => {
  const world = await startWorld(t, {
    block: ref => Promise.reject(new EmrmError('block-corrupt', 'the block is bad; restore', { height: Number(ref) })),
    transaction: () => Promise.reject(new Error('secret of a patient')),
  })
  await assert.rejects(world.api.call('GET', '/v1/blocks/7'), { code: 'block-corrupt', facts: { height: 7 } })
  await assert.rejects(world.api.call('GET', `/v1/transactions/${'a'.repeat(64)}`), error => {
    assert.equal((error as EmrmError).code, 'internal-error')
    assert.ok(!(error as EmrmError).message.includes('secret'))
    return true
  })
  assert.deepEqual(world.logged, ['api-internal-error'])
})

test('calls, heights and ids that are not there say so', async t => {
  const world = await startWorld(t, {
    block: () => Promise.resolve(null),
    transaction: () => Promise.resolve(null),
    status: () => ({ height: 3 }) as ReturnType<PeerHandle['status']>,
  })
  const table: readonly [string, string][] = [
    ['/v1/nothing', 'not-found'],
    ['/v1/blocks/9', 'block-unknown'],
    [`/v1/blocks/${'a'.repeat(64)}`, 'block-unknown'],
    ['/v1/blocks/-1', 'id-invalid'],
    ['/v1/blocks/xyz', 'id-invalid'],
    ['/v1/transactions/12', 'id-invalid'],
    [`/v1/transactions/${'a'.repeat(64)}`, 'transaction-unknown'],
  ]
  for (const [path, code] of table)
    await assert.rejects(world.api.call('GET', path), error => {
      assert.equal((error as EmrmError).code, code, path)
      return true
    })
})

test('a body that is too large, not JSON or of an unknown type is refused', async t => {
  const world = await startWorld(t, {})
  const authorization = `Bearer ${world.token}`
  const path = `/v1/grants/${'a'.repeat(64)}/release`
  const json = { authorization, 'content-type': 'application/json' }
  const table: readonly [Record<string, string>, string, string][] = [
    [json, JSON.stringify({ recipientKey: 'a'.repeat(300_000) }), 'body-too-large'],
    [json, '{', 'body-invalid'],
    [json, '', 'body-invalid'],
    [json, '{"recipientKey":"ab"}', 'recipient-key-invalid'],
    [json, '{"recipientKey":"ab","more":1}', 'config-invalid'],
    [{ authorization, 'content-type': 'text/html' }, 'x', 'media-type-unknown'],
  ]
  for (const [headers, body, code] of table) assert.equal(codeOf(await raw(world, path, headers, 'POST', body)), code)
})

test('bytes that are no HTTP do not stop the server', async t => {
  const world = await startWorld(t, { connections: () => [] })
  const port = Number(new URL(world.address).port)
  await new Promise<void>(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.end(Buffer.alloc(70_000, 0xff)))
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
  assert.deepEqual(await world.api.call('GET', '/v1/peers'), { peers: [] })
})
