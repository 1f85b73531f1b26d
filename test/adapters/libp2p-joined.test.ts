// What we changed between our links and the socket: a turn's frames leave together, window updates are rare, and everything still arrives,
// whole and in order. Two real nodes on the loopback interface.

import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Connection, MessageStream, Stream, StreamMuxer } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { Uint8ArrayList } from 'uint8arraylist'
import { makeGate } from '../../src/adapters/libp2p-gate.ts'
import type { GossipNode } from '../../src/adapters/libp2p-gossip.ts'
import { nodeKeyOf } from '../../src/adapters/libp2p-identity.ts'
import { makeNode } from '../../src/adapters/libp2p-node.ts'
import { at, idOfSeed, seeds, silentLog, until } from '../contract/network-world.ts'

const PROTOCOL = '/test/joined/1'

type Pair = {
  readonly connection: Connection
  readonly stream: Stream
  /** The other end of `stream`. */
  readonly inbound: Stream
  /** The muxer under `inbound`. */
  readonly muxer: StreamMuxer & { readonly maConn: MessageStream; send(data: unknown): boolean }
  /** Writes to the dialler's socket so far. */
  writes(): number
}

async function makePair(t: TestContext): Promise<Pair> {
  const keys = seeds(2)
  const ids = new Set(keys.map(idOfSeed))
  const nodes: GossipNode[] = []
  for (const seed of keys) {
    const node = await makeNode({
      privateKey: await nodeKeyOf(seed),
      ...{ swarmKey: new Uint8Array(32).fill(7), listen: ['/ip4/127.0.0.1/tcp/0'], announce: [], bootstrap: [] },
      ...{ mdns: false, datastore: null, gate: makeGate(idOfSeed(seed), ids, silentLog) },
    })
    await node.start()
    t.after(() => node.stop())
    nodes.push(node)
  }
  const [one, two] = [at(nodes, 0), at(nodes, 1)]
  const target = at(two.getMultiaddrs(), 0)
  const port = Number(target.toString().split('/')[4])
  const write = t.mock.method(Socket.prototype, 'write')
  const writes = (): number => write.mock.calls.filter(call => (call.this as Socket).remotePort === port).length
  const met = Promise.withResolvers<[Stream, Connection]>()
  await two.handle(PROTOCOL, (stream, connection) => met.resolve([stream, connection]))
  const connection = await one.dial(multiaddr(target.toString()))
  const stream = await connection.newStream([PROTOCOL])
  stream.send(new Uint8Array(1))
  const [inbound, other] = await met.promise
  const { muxer } = other as unknown as Pick<Pair, 'muxer'>
  // Both have identified each other, and the rest of the first exchange is over.
  await until('quiet', () => one.services.pubsub.getPeers().length === 1 && two.services.pubsub.getPeers().length === 1)
  return { connection, stream, inbound, muxer, writes }
}

function collect(stream: Stream): Uint8ArrayList {
  const all = new Uint8ArrayList()
  stream.addEventListener('message', event => all.append(event.data))
  return all
}

test('what one turn sends on a connection leaves as one write', { timeout: 60_000 }, async t => {
  const { stream, inbound, writes } = await makePair(t)
  const heard = collect(inbound)
  await until('the first byte', () => heard.byteLength === 1)
  const before = writes()
  for (let i = 0; i < 40; i++) stream.send(new Uint8Array(100).fill(i))
  await until('all of it', () => heard.byteLength === 1 + 40 * 100)
  // One, and perhaps a heartbeat of gossip; 80 of the library's own.
  assert.ok(writes() - before <= 3, `${writes() - before} writes`)
  for (let i = 0; i < 40; i++) assert.equal(heard.get(1 + i * 100), i)
})

test('a long transfer arrives whole, also when its reader pauses', { timeout: 60_000 }, async t => {
  const { stream, inbound } = await makePair(t)
  const heard = collect(inbound)
  const piece = (i: number): Uint8Array => new Uint8Array(100_000).fill(i)
  const send = async (): Promise<void> => {
    for (let i = 0; i < 120; i++) if (!stream.send(piece(i))) await stream.onDrain()
  }
  const sending = send()
  await until('a beginning', () => heard.byteLength > 1_000_000)
  inbound.pause()
  const paused = heard.byteLength
  await new Promise(resolve => setTimeout(resolve, 100))
  assert.ok(heard.byteLength === paused)
  inbound.resume()
  await sending
  await until('all of it', () => heard.byteLength === 1 + 12_000_000)
  for (let i = 0; i < 120; i++) assert.deepEqual(heard.subarray(1 + i * 100_000, 1 + (i + 1) * 100_000), piece(i))
})

test('a hundred small frames are not answered with window updates', { timeout: 60_000 }, async t => {
  const { stream, inbound, muxer } = await makePair(t)
  const heard = collect(inbound)
  await until('the first byte', () => heard.byteLength === 1)
  let sent = 0
  const send = muxer.send.bind(muxer)
  muxer.send = data => {
    sent++
    return send(data)
  }
  for (let i = 0; i < 100; i++) {
    stream.send(new Uint8Array(200))
    await until('a frame', () => heard.byteLength === 1 + (i + 1) * 200)
  }
  // Gossip and identify have their say in between.
  assert.ok(sent < 20, `${sent} frames`)
})

test('the library still has what we reach into', { timeout: 60_000 }, async t => {
  const { inbound, muxer } = await makePair(t)
  for (const name of ['state', 'recvWindow', 'recvWindowCapacity'])
    assert.equal(typeof (inbound as unknown as Record<string, unknown>)[name], 'number', name)
  assert.equal((inbound as unknown as { state: number }).state, 3)
  assert.ok(Object.hasOwn(inbound, 'sendWindowUpdate'))
  const { decoder } = muxer.maConn as unknown as { decoder: { lengthDecoder(data: Uint8ArrayList): number } }
  const endOf = (bytes: readonly number[]): unknown => {
    try {
      return decoder.lengthDecoder(new Uint8ArrayList(Uint8Array.from(bytes)))
    } catch (error) {
      return error
    }
  }
  assert.equal(endOf([1, 2]), 258)
  assert.ok(endOf([]) instanceof RangeError)
  assert.equal(endOf([]), endOf([1]), 'one error for all')
})
