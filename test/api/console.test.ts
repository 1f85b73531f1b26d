// The console page: nobody's data, nothing for other sites, nothing to change.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { type TestContext, test } from 'node:test'
import { startConsole } from '../../src/api/console.ts'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import type { Log, StoredBlock } from '../../src/ports.ts'
import { idNamed, recordNamed, recordRegister, World } from '../ledger/world.ts'

const log: Log = { debug() {}, info() {}, warn() {}, error() {} }

async function open(
  t: TestContext,
): Promise<
  (
    path: string,
    headers?: Record<string, string>,
    method?: string,
  ) => Promise<{ status: number; body: string; policy: string }>
> {
  const world = new World()
  world.register('patient', 'north', { roles: ['patient'] })
  world.do('north', recordRegister('x-ray'))
  const peer: Partial<PeerHandle> = {
    views: world.views,
    status: () =>
      ({
        ...{ peerId: 'p', institution: { id: idNamed('north'), name: 'north' }, network: { name: 'n', chainId: 'c' } },
        ...{
          height: 2,
          head: 'h',
          view: 0,
          primary: null,
          role: 'observer',
          peers: [],
          stateDigest: 's',
          version: '1',
        },
        mempool: { requests: 0, bytes: 0 },
      }) as unknown as ReturnType<PeerHandle['status']>,
    block: ref => {
      const block = world.blocks[Number(ref) - 1]
      return Promise.resolve({ block, certificate: { path: 'FAST' } } as unknown as StoredBlock)
    },
  }
  const console = await startConsole({ peer: peer as PeerHandle, port: 0, log })
  t.after(() => console.stop())
  return (path, headers = {}, method = 'GET') =>
    new Promise((resolve, reject) => {
      const call = httpRequest(new URL(path, console.address), { method, headers }, incoming => {
        let body = ''
        incoming.on('data', chunk => (body += chunk))
        const policy = String(incoming.headers['content-security-policy'])
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body, policy }))
      })
      call.on('error', reject)
      call.end()
    })
}

test('another name, another method and another path get nothing', async t => {
  const get = await open(t)
  assert.equal((await get('/view.json', { host: 'evil.example' })).status, 403)
  assert.equal((await get('/view.json', { host: '127.0.0.1.evil.example:80' })).status, 403)
  assert.equal((await get('/view.json', {}, 'POST')).status, 405)
  for (const path of ['/v1/status', '/../server.ts', '/console.ts', '/view.json?x=1'])
    assert.equal((await get(path)).status, 404)
})

test('the page runs no script but its own, and shows heights and kinds but no person, record or request', async t => {
  const get = await open(t)
  const page = await get('/')
  assert.equal(page.status, 200)
  assert.match(page.policy, /default-src 'none'/)
  assert.doesNotMatch(page.body, /<script>|onclick|style=/)
  for (const path of ['/console.js', '/console.css']) assert.equal((await get(path)).status, 200)
  const { body } = await get('/view.json')
  const view = JSON.parse(body) as { height: number; blocks: { kinds: object }[] }
  assert.equal(view.height, 2)
  assert.deepEqual(
    view.blocks.map(({ kinds }) => kinds),
    [{ 'record.register': 1 }, { 'user.register': 1 }],
  )
  for (const secret of [idNamed('patient'), recordNamed('x-ray'), idNamed('ca-north')])
    assert.ok(!body.includes(secret))
})

test('the page speaks English and Chinese, and no word is missing in either', async () => {
  const { WORDS, languageOf } = (await import(new URL('../../src/api/console/words.js', import.meta.url).href)) as {
    WORDS: Record<string, readonly [string, string]>
    languageOf(hash: string, browser: string): number
  }
  const folder = new URL('../../src/api/console/', import.meta.url)
  const used = ['console.html', 'console.js']
    .map(name => readFileSync(new URL(name, folder), 'utf8'))
    .flatMap(text => [...text.matchAll(/data-word="(\w+)"|say\('(\w+)'\)|\['(\w+)', view/g)])
    .map(match => match[1] ?? match[2] ?? match[3] ?? '')
  assert.ok(used.length > 20)
  for (const key of used) assert.ok(key in WORDS, key)
  for (const [key, [english, chinese]] of Object.entries(WORDS)) {
    assert.ok(english.length > 0 && chinese.length > 0, key)
    if (key !== 'other') assert.match(chinese, /[\u4e00-\u9fff]/, key)
  }
  assert.deepEqual(
    [languageOf('#zh', 'en'), languageOf('', 'zh-CN'), languageOf('#en', 'zh'), languageOf('', 'de')],
    [1, 1, 0, 0],
  )
})
