// The yardstick of transfer.ts: a file copied over one bare libp2p stream (TCP, Noise, yamux as they come, with our window), nothing of ours in
// between. One process for each side, as with `cat file | ssh host 'cat > copy'`.
//   node test/bench/plain-copy.ts receive FILE      prints its address, then the seconds from the first byte to the last
//   node test/bench/plain-copy.ts send FILE ADDRESS

import { open } from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'

const MiB = 1_048_576
const PROTOCOL = '/emrm-bench/copy/1'

const makeNode = (listen: readonly string[]): Promise<Libp2p> =>
  createLibp2p({
    addresses: { listen: [...listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: 2 * MiB, maxReadBufferLength: 6 * MiB } })],
    connectionMonitor: { enabled: false },
  })

async function receive(file: string): Promise<void> {
  const node = await makeNode(['/ip4/127.0.0.1/tcp/0'])
  const done = Promise.withResolvers<number>()
  await node.handle(PROTOCOL, async (stream: Stream) => {
    const began = performance.now()
    const handle = await open(file, 'w')
    for await (const chunk of stream) await handle.writeFile(chunk instanceof Uint8Array ? chunk : chunk.subarray())
    await handle.close()
    await stream.close()
    done.resolve((performance.now() - began) / 1000)
  })
  process.stdout.write(`address ${node.getMultiaddrs()[0]}\n`)
  process.stdout.write(`seconds ${await done.promise}\n`)
  await node.stop()
}

async function send(file: string, address: string): Promise<void> {
  const node = await makeNode([])
  const stream = await node.dialProtocol(multiaddr(address), PROTOCOL)
  const handle = await open(file, 'r')
  for await (const chunk of handle.createReadStream({ highWaterMark: MiB }))
    if (!stream.send(chunk as Buffer)) await stream.onDrain()
  await stream.close()
  for await (const _ of stream);
  await node.stop()
}

const [role, file = '', address = ''] = process.argv.slice(2)
await (role === 'receive' ? receive(file) : send(file, address))
process.exit(0)
