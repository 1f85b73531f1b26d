// peers.json, swarm.key and config.json: what people write by hand is refused with the place of the mistake.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

import { parseSettings } from '../../src/config.ts'
import { parsePeers, parseSwarmKey, printSwarmKey } from '../../src/home-files.ts'
import { EmrmError } from '../../src/model/errors.ts'

const peerId = `12D3KooW${'A'.repeat(44)}`
const peer = { name: 'h1', peerId, addresses: ['/ip4/127.0.0.1/tcp/9710'] }

const refusal = (run: () => unknown): EmrmError => {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof EmrmError)
    return error
  }
  assert.fail('was accepted')
}

test('an unknown setting is refused and named', () => {
  const error = refusal(() => parseSettings({ name: 'h', basePort: 9700, logLevle: 'info' }, 'config.json'))
  assert.equal(error.code, 'config-invalid')
  assert.equal(error.facts['key'], 'logLevle')
  assert.match(error.message, /config\.json\.logLevle/)
})

test('settings of the wrong kind or out of range are refused', () => {
  const good = { name: 'h', basePort: 9700 }
  const bad: readonly object[] = [
    {},
    { name: 'h' },
    { ...good, name: '' },
    { ...good, basePort: '9700' },
    { ...good, basePort: 65_535 },
    { ...good, basePort: 1.5 },
    { ...good, listen: '/ip4/0.0.0.0/tcp/1' },
    { ...good, listen: ['0.0.0.0:9700'] },
    { ...good, api: { host: '0.0.0.0' } },
    { ...good, api: { host: '192.168.1.5' } },
    { ...good, api: { port: 70_000 } },
    { ...good, api: { tls: true } },
    { ...good, logLevel: 'loud' },
    { ...good, data: 7 },
    { ...good, mdns: 'yes' },
  ]
  for (const json of bad)
    assert.equal(refusal(() => parseSettings(json, 'config.json')).code, 'config-invalid', JSON.stringify(json))
  for (const json of [null, [], 'x', 7]) assert.equal(refusal(() => parseSettings(json, 'f')).code, 'config-invalid')
})

test('good settings are read and absent ones stay absent', () => {
  const settings = { name: 'h', basePort: 9700, api: { port: 0 }, listen: ['/dns4/h.example/tcp/9700'] }
  assert.deepEqual(parseSettings(settings, 'config.json'), settings)
})

test('peers with unreadable ids, addresses or twice the same id are refused', () => {
  const bad: readonly unknown[] = [
    {},
    [{ ...peer, peerId: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }],
    [{ ...peer, peerId: `12D3KooW${'0'.repeat(44)}` }],
    [{ ...peer, addresses: ['/ip4/127.0.0.1/udp/9710'] }],
    [{ ...peer, addresses: ['/ip4/127.0.0.1/tcp/99999'] }],
    [{ ...peer, addresses: [`/ip4/127.0.0.1/tcp/9710/p2p/${peerId}`] }],
    [{ ...peer, role: 'primary' }],
    [{ name: 'h1', peerId }],
    [peer, peer],
  ]
  for (const json of bad)
    assert.equal(refusal(() => parsePeers(json, 'peers.json')).code, 'config-invalid', JSON.stringify(json))
  assert.deepEqual(parsePeers([peer], 'peers.json'), [peer])
})

test('a swarm key that is not one is refused, and the error does not show it', () => {
  const digits = 'ab'.repeat(32)
  const bad = [
    '',
    digits,
    `/key/swarm/psk/1.0.0/\n/base16/\n${digits.slice(2)}\n`,
    `/key/swarm/psk/1.0.0/\n/base64/\n${digits}\n`,
    `/key/swarm/psk/1.0.0/\n/base16/\n${digits}\n${digits}\n`,
    `/key/swarm/psk/1.0.0/\n/base16/\n${'zz'.repeat(32)}\n`,
  ]
  for (const text of bad) {
    const error = refusal(() => parseSwarmKey(text, 'swarm.key'))
    assert.equal(error.code, 'swarm-key-invalid')
    assert.ok(!error.message.includes('abab'))
  }
})

test("a swarm key is read back from go-libp2p's text form, whatever its line ends", () => {
  const key = new Uint8Array(32).fill(0xab)
  assert.deepEqual(parseSwarmKey(printSwarmKey(key), 'swarm.key'), key)
  assert.deepEqual(
    parseSwarmKey(
      printSwarmKey(key)
        .toUpperCase()
        .replace('/KEY/SWARM/PSK', '/key/swarm/psk')
        .replace('/BASE16/', '/base16/')
        .replaceAll('\n', '\r\n'),
      'swarm.key',
    ),
    key,
  )
})

test('a vault may be a database, without a password in the file', () => {
  const vaultOf = (vault: string): string | undefined => parseSettings({ name: 'h', basePort: 9700, vault }, 'c').vault
  for (const vault of ['postgres://db.example:5432/emrm', 'postgresql:///emrm', 'vault', '/srv/vault'])
    assert.equal(vaultOf(vault), vault)
  for (const vault of [
    'postgres://u:p@db/emrm',
    'postgres://u@db/emrm',
    'postgres://db/emrm?password=p',
    'postgres://db',
  ])
    assert.equal(refusal(() => vaultOf(vault)).code, 'config-invalid', vault)
})

test('peers.example.json at the top level is a peers file that a peer reads', async () => {
  const file = new URL('../../peers.example.json', import.meta.url)
  const peers = parsePeers(JSON.parse(await readFile(file, 'utf8')), 'peers.example.json')
  assert.equal(peers.length, 4)
})
