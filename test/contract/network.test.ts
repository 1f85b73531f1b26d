// The promises of the Network port, kept alike by the network in memory and by libp2p over TCP: whoever builds on the port may test on the one and run on the other.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EmrmError } from '../../src/model/errors.ts'
import type { PeerId } from '../../src/model/ids.ts'
import { type GossipVerdict, type Network, PROTOCOLS, TOPICS } from '../../src/ports.ts'
import { at, idOfSeed, loopbackWorld, type MakeWorld, memoryWorld, seeds, until } from './network-world.ts'

const MiB = 1_048_576
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const soon = (): AbortSignal => AbortSignal.timeout(30_000)

for (const [name, makeWorld] of [
  ['memory', memoryWorld],
  ['libp2p over loopback TCP', loopbackWorld],
] as const) {
  describe(`the Network port: ${name}`, { concurrency: false }, () => networkContract(makeWorld))
}

function networkContract(makeWorld: MakeWorld): void {
  it('does nothing for a peer it is not connected to', () =>
    withWorld(2, async world => {
      const alone = await world.make(0)
      alone.onGossip(TOPICS.request, () => 'accept')
      await alone.start()
      const stranger = idOfSeed(at(seeds(9), 8))
      assert.equal(alone.sendDirect(stranger, bytesOf('x')), false)
      assert.equal(alone.publish(TOPICS.request, bytesOf('x')), false)
      await assertRefused(all(alone.request(stranger, PROTOCOLS.body, [], soon())), 'peer-unreachable')
      assert.deepEqual(alone.connections(), [])
    }))

  it('connects peers that admit each other, and says so once', () =>
    withWorld(3, async world => {
      const events: string[] = []
      const networks = await startAll(world, 3, (network, index) => {
        network.onPeer((peer, event) => events.push(`${index} ${event} ${world.ids.indexOf(peer)}`))
      })
      await meshed(networks)
      assert.deepEqual(events.toSorted(), [
        '0 connected 1',
        '0 connected 2',
        '1 connected 0',
        '1 connected 2',
        '2 connected 0',
        '2 connected 1',
      ])
      for (const network of networks) {
        for (const connection of network.connections()) {
          assert.ok(connection.direct && connection.addresses.length > 0)
          assert.ok(world.ids.includes(connection.peerId) && connection.peerId !== network.self)
        }
      }
      await at(networks, 2).stop()
      await until('both see it go', () => events.filter(event => event.endsWith('disconnected 2')).length === 2)
      assert.equal(at(networks, 0).directPeers().has(at(world.ids, 2)), false)
      assert.equal(at(networks, 0).sendDirect(at(world.ids, 2), bytesOf('x')), false)
    }))

  it('delivers direct frames in order, as copies, with the name of the sender', () =>
    withWorld(2, async world => {
      const got: { text: string; from: PeerId }[] = []
      const [one, two] = await pairOf(world, (network, index) => {
        if (index === 1) network.onDirect((bytes, from) => got.push({ text: textOf(bytes), from }))
      })
      const shared = bytesOf('00000')
      for (let n = 0; n < 500; n++) assert.ok(one.sendDirect(two.self, bytesOf(String(n))))
      assert.ok(one.sendDirect(two.self, shared))
      assert.equal(got.length, 0, 'nothing is delivered within the call')
      await until('all frames', () => got.length === 501)
      assert.deepEqual(
        got.map(frame => frame.text),
        [...Array.from({ length: 500 }, (_, n) => String(n)), '00000'],
      )
      assert.ok(got.every(frame => frame.from === one.self))
    }))

  it('carries a direct frame of 4 MiB and refuses one beyond the limit', () =>
    withWorld(2, async world => {
      const got: Uint8Array[] = []
      const [one, two] = await pairOf(world, (network, index) => {
        if (index === 1) network.onDirect(bytes => got.push(bytes))
      })
      const large = new Uint8Array(4 * MiB).map((_, index) => index % 251)
      assert.equal(one.sendDirect(two.self, new Uint8Array(7 * MiB)), false)
      assert.ok(one.sendDirect(two.self, large))
      await until('the frame', () => got.length === 1)
      assert.ok(Buffer.from(at(got, 0)).equals(large))
    }))

  it('drops direct frames rather than let the queue of one peer grow without end', () =>
    withWorld(2, async world => {
      let got = 0
      const [one, two] = await pairOf(world, (network, index) => {
        if (index === 1) network.onDirect(() => got++)
      })
      const frame = new Uint8Array(MiB)
      let taken = 0
      for (let n = 0; n < 64; n++) if (one.sendDirect(two.self, frame)) taken++
      assert.ok(taken > 0 && taken <= 12, `took ${taken} MiB at once`)
      await until('what was taken arrives', () => got === taken)
      assert.ok(one.sendDirect(two.self, frame), 'and then there is room again')
    }))

  it('spreads gossip to every peer but its publisher, once each', () =>
    withWorld(4, async world => {
      const heard: string[] = []
      const networks = await startAll(world, 4, (network, index) => {
        network.onGossip(TOPICS.commit, bytes => {
          heard.push(`${index} ${textOf(bytes)}`)
          return 'accept'
        })
      })
      await meshed(networks)
      await until('somebody listens', () => at(networks, 1).publish(TOPICS.commit, bytesOf('a')))
      await until('three hear it', () => heard.length >= 3)
      at(networks, 1).publish(TOPICS.commit, bytesOf('a'))
      assert.ok(at(networks, 2).publish(TOPICS.commit, bytesOf('b')))
      await until('the second too', () => heard.length >= 6)
      assert.equal(at(networks, 1).publish(TOPICS.commit, new Uint8Array(4 * MiB)), false, 'more than gossip can carry')
      assert.deepEqual(heard.toSorted(), ['0 a', '0 b', '1 b', '2 a', '3 a', '3 b'])
    }))

  it('keeps topics apart: the same bytes on another topic are another message', () =>
    withWorld(2, async world => {
      const heard: string[] = []
      const [one] = await pairOf(world, (network, index) => {
        for (const topic of [TOPICS.commit, TOPICS.request])
          network.onGossip(topic, () => {
            if (index === 1) heard.push(topic)
            return 'accept'
          })
      })
      await until(
        'it listens',
        () => one.publish(TOPICS.commit, bytesOf('x')) && one.publish(TOPICS.request, bytesOf('x')),
      )
      await until('both', () => heard.length === 2)
      assert.deepEqual(heard.toSorted(), [TOPICS.commit, TOPICS.request])
    }))

  for (const verdict of ['accept', 'ignore', 'reject'] satisfies GossipVerdict[]) {
    it(`${verdict === 'accept' ? 'forwards' : 'does not forward'} gossip on the verdict ${verdict}`, () =>
      withWorld(3, async world => {
        const [first, middle, last] = [at(world.ids, 0), at(world.ids, 1), at(world.ids, 2)]
        const heard: string[] = []
        const admitted = [new Set([first, middle]), new Set([first, middle, last]), new Set([middle, last])]
        const networks = await startAll(
          world,
          3,
          (network, index) => {
            network.onGossip(TOPICS.request, bytes => {
              heard.push(`${index} ${textOf(bytes)}`)
              return textOf(bytes).startsWith('the end') ? 'accept' : verdict
            })
          },
          admitted,
        )
        await until(
          'a line',
          () => at(networks, 0).directPeers().size === 1 && at(networks, 1).directPeers().size === 2,
        )
        // The middle may not know yet that the far end listens: said again until it is heard there.
        let said = 0
        await until('the far end hears what is accepted', () => {
          at(networks, 0).publish(TOPICS.request, bytesOf(`the end ${said++}`))
          return heard.some(line => line.startsWith('2 the end'))
        })
        assert.ok(at(networks, 0).publish(TOPICS.request, bytesOf('news')))
        await until('the middle hears it', () => heard.includes('1 news'))
        // What follows shows that the news had its time to pass.
        at(networks, 1).publish(TOPICS.request, bytesOf('after'))
        await until('the far end hears the middle', () => heard.includes('2 after'))
        assert.equal(heard.includes('2 news'), verdict === 'accept')
      }))
  }

  it('answers a request frame by frame', () =>
    withWorld(2, async world => {
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.blocks, async function* (request, from) {
          yield bytesOf(from)
          for await (const frame of request) yield frame
        })
      })
      const frames = [bytesOf('a'), new Uint8Array(0), new Uint8Array(2 * MiB).fill(3), bytesOf('z')]
      const answer = await all(one.request(two.self, PROTOCOLS.blocks, frames, soon()))
      assert.equal(textOf(at(answer, 0)), one.self)
      assert.deepEqual(answer.slice(1), frames)
      // And the other way, with frames that come by themselves.
      async function* slowly(): AsyncGenerator<Uint8Array> {
        for (const frame of frames) {
          await new Promise(resolve => setImmediate(resolve))
          yield frame
        }
      }
      assert.equal((await all(two.request(one.self, PROTOCOLS.blocks, slowly(), soon()))).length, 5)
    }))

  it('takes many requests at once', () =>
    withWorld(2, async world => {
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.body, async function* (request) {
          for await (const frame of request) yield frame
        })
      })
      const asked = Array.from({ length: 80 }, (_, n) => String(n))
      const answers = await Promise.all(
        asked.map(text => all(one.request(two.self, PROTOCOLS.body, [bytesOf(text)], soon()))),
      )
      assert.deepEqual(
        answers.map(answer => answer.map(textOf)),
        asked.map(text => [text]),
      )
    }))

  it('says why a request failed', () =>
    withWorld(2, async world => {
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.body, async function* (request) {
          for await (const _ of request) yield bytesOf('one')
          throw new EmrmError('not-here', 'The body is not here; ask another peer.')
        })
        network.onRequest(PROTOCOLS.share, async function* () {
          await new Promise(() => {})
          yield bytesOf('never')
        })
        network.onRequest(PROTOCOLS.pieces, async function* () {
          yield new Uint8Array(7 * MiB)
        })
      })
      const got: string[] = []
      await assertRefused(
        (async () => {
          for await (const frame of one.request(two.self, PROTOCOLS.body, [bytesOf('x')], soon()))
            got.push(textOf(frame))
        })(),
        'peer-refused',
      )
      assert.deepEqual(got, ['one'], 'what came before the refusal was delivered')
      await assertRefused(all(one.request(two.self, PROTOCOLS.deposit, [], soon())), 'peer-refused')
      await assertRefused(all(one.request(two.self, PROTOCOLS.pieces, [], soon())), 'peer-refused')
      await assertRefused(all(one.request(two.self, PROTOCOLS.body, [new Uint8Array(7 * MiB)], soon())), 'peer-refused')
      await assertRefused(all(one.request(two.self, PROTOCOLS.share, [], AbortSignal.timeout(100))), 'request-timeout')
      const cancelled = new AbortController()
      const waiting = all(one.request(two.self, PROTOCOLS.share, [], cancelled.signal))
      setImmediate(() => cancelled.abort(new Error('the user left')))
      await assert.rejects(waiting, /the user left/)
      // biome-ignore lint/correctness/useYield: frames that fail before the first.
      async function* failing(): AsyncGenerator<Uint8Array> {
        throw new Error('the file is gone')
      }
      await assert.rejects(all(one.request(two.self, PROTOCOLS.body, failing(), soon())), /the file is gone/)
    }))

  it('tells a peer that went away from a peer that refuses', () =>
    withWorld(2, async world => {
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.pieces, async function* () {
          yield bytesOf('first')
          await new Promise(() => {})
        })
      })
      const answer = one.request(two.self, PROTOCOLS.pieces, [], soon())[Symbol.asyncIterator]()
      assert.equal(textOf((await answer.next()).value), 'first')
      const rest = assertRefused(answer.next(), 'peer-unreachable')
      await two.stop()
      await rest
    }))

  it('stops the answering side when the asking side leaves', () =>
    withWorld(2, async world => {
      let stopped = false
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.pieces, async function* () {
          try {
            for (;;) yield new Uint8Array(MiB)
          } finally {
            stopped = true
          }
        })
      })
      for await (const _ of one.request(two.self, PROTOCOLS.pieces, [], soon())) break
      await until('the handler ends', () => stopped)
    }))

  it('passes 64 MiB through flat memory when the reader is slow', () =>
    withWorld(2, async world => {
      const total = 64
      let sent = 0
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.pieces, async function* () {
          for (; sent < total; sent++) yield new Uint8Array(MiB).fill(sent)
        })
      })
      const answer = one.request(two.self, PROTOCOLS.pieces, [], soon())[Symbol.asyncIterator]()
      assert.equal((await answer.next()).done, false)
      await settled(() => sent)
      assert.ok(sent <= 12, `${sent} MiB were sent while one was taken`)
      let taken = 1
      for (let step = await answer.next(); step.done !== true; step = await answer.next()) {
        assert.equal(step.value[0], taken)
        assert.equal(step.value.byteLength, MiB)
        taken++
        // A reader that wakes, takes some and sleeps again: what a pause within a resume would get wrong.
        if (taken === 5 || taken === 20) {
          await settled(() => sent)
          assert.ok(sent <= taken + 12, `${sent} MiB were sent while ${taken} were taken`)
        }
      }
      assert.equal(taken, total)
    }))

  it('passes 64 MiB the other way when the answering side is slow', () =>
    withWorld(2, async world => {
      const total = 64
      let sent = 0
      let open = (): void => {}
      const [one, two] = await pairOf(world, network => {
        network.onRequest(PROTOCOLS.deposit, async function* (request) {
          let taken = 0
          for await (const frame of request) {
            if (taken === 0)
              await new Promise<void>(resolve => {
                open = resolve
              })
            assert.equal(frame[0], taken++)
          }
          yield bytesOf(String(taken))
        })
      })
      async function* source(): AsyncGenerator<Uint8Array> {
        for (; sent < total; sent++) yield new Uint8Array(MiB).fill(sent)
      }
      const answer = all(one.request(two.self, PROTOCOLS.deposit, source(), soon()))
      await settled(() => sent)
      assert.ok(sent <= 12, `${sent} MiB were sent while none was taken`)
      open()
      assert.deepEqual((await answer).map(textOf), [String(total)])
    }))

  it('cuts off a peer that is no longer admitted, at once, and takes it back when it is', () =>
    withWorld(3, async world => {
      const [first, second, third] = [at(world.ids, 0), at(world.ids, 1), at(world.ids, 2)]
      const networks = await startAll(world, 3, network => {
        network.onRequest(PROTOCOLS.body, async function* () {
          await new Promise(() => {})
          yield bytesOf('never')
        })
      })
      await meshed(networks)
      const [one, , three] = [at(networks, 0), at(networks, 1), at(networks, 2)]
      const asked = assertRefused(all(three.request(first, PROTOCOLS.body, [], soon())), 'peer-unreachable')
      one.admit(new Set([first, second]))
      await asked
      await until('the cut shows on both sides', () => !one.directPeers().has(third) && !three.directPeers().has(first))
      assert.equal(three.sendDirect(first, bytesOf('x')), false)
      assert.deepEqual(
        one.connections().map(connection => connection.peerId),
        [second],
      )
      one.admit(new Set(world.ids))
      await until('it is back', () => one.directPeers().has(third) && three.directPeers().has(first))
    }))

  async function withWorld(
    count: number,
    body: (world: Awaited<ReturnType<MakeWorld>>) => Promise<void>,
  ): Promise<void> {
    const world = await makeWorld(count)
    try {
      await body(world)
    } finally {
      await world.close()
    }
  }
}

type Setup = (network: Network, index: number) => void

async function startAll(
  world: Awaited<ReturnType<MakeWorld>>,
  count: number,
  setup: Setup = () => {},
  admitted: readonly ReadonlySet<PeerId>[] = [],
): Promise<readonly Network[]> {
  const networks: Network[] = []
  for (let index = 0; index < count; index++) {
    const network = await world.make(index, admitted[index])
    setup(network, index)
    await network.start()
    networks.push(network)
  }
  return networks
}

async function pairOf(world: Awaited<ReturnType<MakeWorld>>, setup: Setup = () => {}): Promise<[Network, Network]> {
  const networks = await startAll(world, 2, setup)
  await meshed(networks)
  return [at(networks, 0), at(networks, 1)]
}

function meshed(networks: readonly Network[]): Promise<void> {
  return until('every peer has a link to every other', () =>
    networks.every(network => network.directPeers().size === networks.length - 1),
  )
}

async function all(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const list: Uint8Array[] = []
  for await (const frame of frames) list.push(frame)
  return list
}

/** Waits until a count has not moved for a while. */
async function settled(count: () => number): Promise<void> {
  let last = -1
  let since = performance.now()
  await until('it settles', () => {
    if (count() !== last) {
      last = count()
      since = performance.now()
    }
    return performance.now() - since > 300
  })
}

async function assertRefused(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof EmrmError, `an EmrmError, not ${String(error)}`)
    assert.equal(error.code, code)
    return true
  })
}
