// What the real network must do beyond the port's contract, over TCP on the loopback interface: refuse whoever holds another key or no registration and say why,
// come back after every kind of loss, survive a burst, and leave nothing behind.

import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { gossipBytesMax } from '../../src/adapters/libp2p-gossip.ts'
import { nodeKeyOf } from '../../src/adapters/libp2p-identity.ts'
import { type Libp2pNetworkOptions, makeLibp2pNetwork } from '../../src/adapters/libp2p-network.ts'
import { EmrmError } from '../../src/model/errors.ts'
import { toHex } from '../../src/model/hash.ts'
import type { PeerId } from '../../src/model/ids.ts'
import { type Network, PROTOCOLS, TOPICS } from '../../src/ports.ts'
import { at, idOfSeed, type LogLine, recordingLog, seeds, silentLog, until } from '../contract/network-world.ts'

const swarmKey = new Uint8Array(32).fill(7)
const keys = seeds(8)
const ids = keys.map(idOfSeed)
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('who may connect', () => {
  it('refuses a peer with another private-network key, and both sides say why', async t => {
    const { log, lines } = recordingLog()
    const callerLog = recordingLog()
    const host = await started(t, 0, { log })
    await started(t, 1, {
      log: callerLog.log,
      swarmKey: new Uint8Array(32).fill(8),
      bootstrap: [{ peerId: ids[0] as PeerId, addresses: host.addresses() }],
    })
    const refused = await lineOf(lines, 'connection-refused')
    assert.equal(refused.level, 'warn')
    assert.equal(refused.fields['reason'], 'wrong-network-key')
    assert.equal(refused.fields['direction'], 'inbound')
    assert.match(String(refused.fields['address']), /^\/ip4\/127\.0\.0\.1\/tcp\/\d+/)
    assert.match(String(refused.fields['detail']), /swarm\.key/)
    const seen = await lineOf(callerLog.lines, 'connection-refused')
    assert.equal(seen.fields['reason'], 'wrong-network-key')
    assert.equal(seen.fields['peer'], ids[0])
    assert.deepEqual(host.connections(), [])
  })

  it('refuses a libp2p node that knows of no private network', async t => {
    const { log, lines } = recordingLog()
    const host = await started(t, 0, { log })
    const stranger = await createLibp2p({
      privateKey: await nodeKeyOf(at(keys, 1)),
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    })
    t.after(() => stranger.stop())
    await assert.rejects(stranger.dial(multiaddr(at(host.addresses(), 0))))
    const refused = await lineOf(lines, 'connection-refused')
    assert.equal(refused.fields['reason'], 'wrong-network-key')
    assert.deepEqual(host.connections(), [])
  })

  it('refuses a caller that speaks no libp2p at all, without harm', async t => {
    const host = await started(t, 0)
    const port = Number(/tcp\/(\d+)/.exec(at(host.addresses(), 0))?.[1])
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end('GET / HTTP/1.1\r\n\r\n')
    await once(socket, 'close')
    await started(t, 1, { bootstrap: [{ peerId: ids[0] as PeerId, addresses: host.addresses() }] })
    await until('a good peer connects', () => host.directPeers().size === 1)
  })

  it('refuses a peer that is not on the register, says so, and is not dialled by it in a tight loop', async t => {
    const { log, lines } = recordingLog()
    const host = await started(t, 0, { log, admitted: new Set([at(ids, 0), at(ids, 1)]) })
    const strangerLog = recordingLog()
    let connected = 0
    await started(t, 2, {
      log: strangerLog.log,
      bootstrap: [{ peerId: ids[0] as PeerId, addresses: host.addresses() }],
      prepare: network => network.onPeer(() => connected++),
    })
    const refused = await lineOf(lines, 'connection-refused')
    assert.equal(refused.level, 'warn')
    assert.equal(refused.fields['reason'], 'not-registered')
    assert.equal(refused.fields['peer'], ids[2])
    await until('the stranger learns that something is wrong', () =>
      strangerLog.lines.some(
        line => line.level === 'warn' && line.event === 'dial-failed' && line.fields['peer'] === ids[0],
      ),
    )
    // The delays before the tries are drawn from 125 … 375, 250 … 750 and 500 … 1,500 ms: the third failure cannot be there at once.
    const failures = strangerLog.lines.filter(line => line.event === 'dial-failed' && line.fields['peer'] === ids[0])
    assert.ok(failures.length < 3)
    assert.equal(connected, 0, 'a refused peer never believes that it was let in')
    assert.equal(host.directPeers().size, 0)
    assert.deepEqual(host.connections(), [])
  })

  it('says that another peer answers at an address', async t => {
    const { log, lines } = recordingLog()
    const host = await started(t, 1)
    await started(t, 0, { log, bootstrap: [{ peerId: ids[2] as PeerId, addresses: [portOf(host)] }] })
    const refused = await lineOf(lines, 'connection-refused')
    assert.equal(refused.fields['reason'], 'wrong-peer-id')
  })

  it('lets a known hospital in while a stranger holds every place of those who have not shown a name', async t => {
    const host = await started(t, 0, { bootstrap: [{ peerId: ids[1] as PeerId, addresses: ['/ip4/127.0.0.1/tcp/9'] }] })
    const port = Number(/tcp\/(\d+)/.exec(portOf(host))?.[1])
    // From two hosts, since one may open fifty a second.
    const silent = Array.from({ length: 80 }, (_, n) =>
      net.connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${2 + (n % 2)}` }),
    )
    t.after(() => {
      for (const socket of silent) socket.destroy()
    })
    for (const socket of silent) socket.on('error', () => {})
    await until('all have tried', () => silent.every(socket => !socket.connecting))
    await started(t, 1, { bootstrap: [{ peerId: ids[0] as PeerId, addresses: host.addresses() }] })
    // Places become free after five seconds; it must not take that long.
    await until('the known one is in', () => host.directPeers().size === 1, 3_000)
  })

  it('wants a key of 32 bytes', async () => {
    await assert.rejects(makeNetwork(0, { swarmKey: new Uint8Array(31) }), hasCode('swarm-key-invalid'))
    await assert.rejects(makeNetwork(0, { listen: ['127.0.0.1:4001'] }), hasCode('address-invalid'))
  })
})

describe('coming back', () => {
  it('takes the same port after a restart, and is found again by those who knew it', async t => {
    const { log, lines } = recordingLog()
    // It is told no address: it learns that of the first when the first dials it.
    const other = await started(t, 1, { log })
    const first = await started(t, 0, { bootstrap: [{ peerId: ids[1] as PeerId, addresses: other.addresses() }] })
    const address = portOf(first)
    await until('connected', () => other.directPeers().size === 1)
    await first.stop()
    await until('gone', () => other.directPeers().size === 0)
    await until('a dial in vain', () =>
      lines.some(line => line.event === 'dial-failed' && /ECONNREFUSED/.test(String(line.fields['detail']))),
    )
    // It knows nobody: only the other one's keeper can bring them together.
    await started(t, 0, { listen: [address] })
    await until('connected again', () => other.directPeers().size === 1)
  })

  it('finds the others again from its own store of addresses', async t => {
    const folder = await mkdtemp(join(tmpdir(), 'emrm-peers-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const other = await started(t, 1)
    const first = await makeNetwork(0, {
      peerStoreDir: folder,
      bootstrap: [{ peerId: ids[1] as PeerId, addresses: other.addresses() }],
    })
    await first.start()
    await until('connected', () => first.directPeers().size === 1)
    await first.stop()
    const again = await started(t, 0, { peerStoreDir: folder })
    await until('connected without a bootstrap list', () => again.directPeers().size === 1)
    await assert.rejects(makeNetwork(0, { peerStoreDir: folder }), hasCode('peer-store-failed'))
  })

  it('says which address it cannot listen on, and leaves nothing open', async t => {
    const first = await started(t, 0)
    const second = await makeNetwork(1, { listen: ['/ip4/127.0.0.1/tcp/0', portOf(first)] })
    await assert.rejects(second.start(), (error: unknown) => {
      assert.ok(error instanceof EmrmError)
      assert.equal(error.code, 'listen-failed')
      assert.equal(error.facts['address'], portOf(first))
      assert.equal(error.facts['cause'], 'EADDRINUSE')
      return true
    })
    assert.deepEqual(second.addresses(), [])
  })

  it('opens a link again when the stream under it is killed', async t => {
    const events: string[] = []
    const { host, kill } = await meddlesomePair(t, event => events.push(event))
    await until('linked', () => host.directPeers().size === 1)
    kill()
    await until('down and up again', () => events.length === 3, 3_000)
    assert.deepEqual(events, ['connected', 'disconnected', 'connected'])
    assert.ok(host.sendDirect(ids[1] as PeerId, bytesOf('x')))
  })

  it('cuts off a peer that froze, and takes it back when it thaws', { timeout: 60_000 }, async t => {
    const { log, lines } = recordingLog()
    const echoed: number[] = []
    const host = await started(t, 0, {
      log,
      heartbeatMs: 50,
      prepare: network => network.onDirect(bytes => echoed.push(bytes.byteLength)),
    })
    const child = spawnPeer(t, 1, [{ peerId: ids[0] as PeerId, addresses: host.addresses() }])
    await until('linked', () => host.directPeers().size === 1)
    child.kill('SIGSTOP')
    const silent = await lineOf(lines, 'peer-silent')
    assert.equal(silent.fields['peer'], ids[1])
    await until('cut', () => host.directPeers().size === 0)
    child.kill('SIGCONT')
    await until('back', () => host.directPeers().size === 1)
    await until('and it answers', () => host.sendDirect(ids[1] as PeerId, bytesOf('abc')) && echoed.includes(3))
  })

  it('lets its process end when it has stopped', { timeout: 60_000 }, async t => {
    const host = await started(t, 0)
    const child = spawnPeer(t, 1, [{ peerId: ids[0] as PeerId, addresses: host.addresses() }])
    await until('linked', () => host.directPeers().size === 1)
    const lines: string[] = []
    createInterface(child.stdout).on('line', line => lines.push(line))
    child.stdin.end()
    await until('it stops', () => lines.includes('stopped'))
    const from = performance.now()
    const [code] = await once(child, 'exit')
    assert.equal(code, 0)
    assert.ok(performance.now() - from < 5_000, `it took ${performance.now() - from} ms to end`)
  })
})

describe('under load', () => {
  it('loses no link and no request in a burst of 10,000 publishes', { timeout: 120_000 }, async t => {
    const count = 4
    const networks: Network[] = []
    const heard = Array.from({ length: count }, () => 0)
    let downs = 0
    for (let index = 0; index < count; index++) {
      const network = await started(t, index, {
        admitted: new Set(ids.slice(0, count)),
        bootstrap: networks.map(other => ({ peerId: other.self, addresses: other.addresses() })),
        prepare(network) {
          network.onGossip(TOPICS.request, () => {
            heard[index] = at(heard, index) + 1
            return 'accept'
          })
          network.onRequest(PROTOCOLS.body, async function* (request) {
            for await (const frame of request) yield frame
          })
          network.onPeer((_, event) => {
            if (event === 'disconnected') downs++
          })
        },
      })
      networks.push(network)
    }
    await until('full mesh', () => networks.every(network => network.directPeers().size === count - 1))
    const [first, second] = [at(networks, 0), at(networks, 1)]
    await until('they listen', () => first.publish(TOPICS.request, bytesOf('first')))
    await until('all hear', () => heard.slice(1).every(number => number === 1))
    const messages = 10_000
    const body = new Uint8Array(250)
    const from = performance.now()
    for (let n = 0; n < messages; n++) {
      new DataView(body.buffer).setUint32(0, n)
      assert.ok(first.publish(TOPICS.request, body.slice()))
    }
    assert.ok(performance.now() - from < 2_000, 'publishing does not wait')
    // Meanwhile others are served.
    let served = 0
    for await (const frame of second.request(first.self, PROTOCOLS.body, [body], AbortSignal.timeout(60_000)))
      served += frame.byteLength
    assert.equal(served, 250)
    assert.ok(at(heard, 1) < messages / 2, `served only after ${at(heard, 1)} messages of the burst`)
    await until('every peer hears every message', () => heard.slice(1).every(n => n === messages + 1), 100_000)
    assert.equal(downs, 0, 'no healthy link was lost')
    const before = at(heard, 2)
    assert.ok(at(networks, 3).publish(TOPICS.request, bytesOf('probe')))
    await until('gossip is alive afterwards', () => at(heard, 2) > before)
  })

  it('refuses to queue without end', async t => {
    const { log, lines } = recordingLog()
    const first = await started(t, 0, { log, prepare: hears })
    const second = await started(t, 1, {
      prepare: hears,
      bootstrap: [{ peerId: ids[0] as PeerId, addresses: first.addresses() }],
    })
    await until('linked', () => second.directPeers().size === 1)
    await until('it listens', () => first.publish(TOPICS.commit, bytesOf('x')))
    const large = new Uint8Array(gossipBytesMax)
    let taken = 0
    while (taken < 100 && first.publish(TOPICS.commit, large)) taken++
    assert.ok(taken > 0 && taken <= 17, `took ${taken} large messages`)
    assert.ok(lines.some(line => line.event === 'gossip-queue-full'))
  })

  it('carries a message of the largest size by gossip', async t => {
    let got = 0
    const first = await started(t, 0, { prepare: hears })
    const second = await started(t, 1, {
      prepare: network =>
        network.onGossip(TOPICS.commit, bytes => {
          got = Math.max(got, bytes.byteLength)
          return 'accept'
        }),
      bootstrap: [{ peerId: ids[0] as PeerId, addresses: first.addresses() }],
    })
    await until('linked', () => second.directPeers().size === 1)
    const block = new Uint8Array(gossipBytesMax).fill(1)
    await until('it listens', () => first.publish(TOPICS.commit, bytesOf('x')))
    assert.ok(first.publish(TOPICS.commit, block))
    await until('the block', () => got === block.byteLength)
  })

  it('counts what a peer forwards that is rejected', async t => {
    const { log, lines } = recordingLog()
    const first = await started(t, 0, { prepare: hears })
    const second = await started(t, 1, {
      log,
      prepare: network => network.onGossip(TOPICS.commit, () => 'reject'),
      bootstrap: [{ peerId: ids[0] as PeerId, addresses: first.addresses() }],
    })
    await until('linked', () => second.directPeers().size === 1)
    await until('it listens', () => first.publish(TOPICS.commit, bytesOf('0')))
    for (let n = 1; n < 10; n++) first.publish(TOPICS.commit, bytesOf(String(n)))
    await until(
      'four lines: for 1, 2, 4 and 8',
      () => lines.filter(line => line.event === 'gossip-rejected').length === 4,
    )
    assert.equal(lines.findLast(line => line.event === 'gossip-rejected')?.fields['count'], 8)
    assert.equal(lines.find(line => line.event === 'gossip-rejected')?.fields['peer'], ids[0])
  })
})

type Wishes = Partial<Libp2pNetworkOptions> & { readonly prepare?: (network: Network) => void }

function makeNetwork(index: number, wishes: Wishes = {}): Promise<Network> {
  const { prepare: _, ...options } = wishes
  return makeLibp2pNetwork({
    seed: at(keys, index),
    swarmKey,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    admitted: new Set(ids),
    mdns: false,
    peerStoreDir: null,
    log: silentLog,
    ...options,
  })
}

async function started(t: TestContext, index: number, wishes: Wishes = {}): Promise<Network> {
  const network = await makeNetwork(index, wishes)
  t.after(() => network.stop())
  wishes.prepare?.(network)
  await network.start()
  return network
}

function hears(network: Network): void {
  network.onGossip(TOPICS.commit, () => 'accept')
}

/** The address without the peer id behind it. */
function portOf(network: Network): string {
  return at(network.addresses(), 0).replace(/\/p2p\/.*/, '')
}

async function lineOf(lines: readonly LogLine[], event: string): Promise<LogLine> {
  await until(`a line ${event}`, () => lines.some(line => line.event === event))
  const line = lines.find(candidate => candidate.event === event)
  assert.ok(line)
  return line
}

function hasCode(code: string): (error: unknown) => boolean {
  return error => error instanceof EmrmError && error.code === code
}

/** A network, and a bare libp2p node that resets the direct stream which the network opened to it. */
async function meddlesomePair(
  t: TestContext,
  onEvent: (event: string) => void,
): Promise<{ host: Network; kill: () => void }> {
  const { privateNoise } = await import('../../src/adapters/libp2p-private-network.ts')
  const { identify } = await import('@libp2p/identify')
  const host = await started(t, 0, { prepare: network => network.onPeer((_, event) => onEvent(event)) })
  const other = await createLibp2p({
    privateKey: await nodeKeyOf(at(keys, 1)),
    transports: [tcp()],
    connectionEncrypters: [privateNoise(swarmKey, () => {})],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  t.after(() => other.stop())
  await other.handle('/emrm/direct/1', () => {})
  await other.dial(multiaddr(at(host.addresses(), 0)))
  return {
    host,
    kill() {
      for (const connection of other.getConnections())
        for (const stream of connection.streams)
          if (stream.protocol === '/emrm/direct/1') stream.abort(new Error('killed by the test'))
    },
  }
}

function spawnPeer(
  t: TestContext,
  index: number,
  bootstrap: readonly { readonly peerId: PeerId; readonly addresses: readonly string[] }[],
): ChildProcessWithoutNullStreams {
  const order = {
    seed: toHex(at(keys, index)),
    swarmKey: toHex(swarmKey),
    bootstrap,
    admitted: ids,
    heartbeatMs: 50,
  }
  const file = fileURLToPath(new URL('./libp2p-child.ts', import.meta.url))
  const child = spawn(process.execPath, [file, JSON.stringify(order)])
  child.stderr.pipe(process.stderr)
  t.after(() => child.kill('SIGKILL'))
  return child
}
