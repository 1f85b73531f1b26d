// A peer in a process of its own, for what only a process can show: that it ends when it has stopped, and what others see when it is frozen.
// Argument: JSON { seed, swarmKey, bootstrap, admitted } (bytes in hexadecimal). Prints its address when it listens; stops when its input closes.

import { makeLibp2pNetwork } from '../../src/adapters/libp2p-network.ts'
import { fromHex } from '../../src/model/hash.ts'
import type { PeerId } from '../../src/model/ids.ts'

type Order = {
  readonly seed: string
  readonly swarmKey: string
  readonly bootstrap: readonly { readonly peerId: PeerId; readonly addresses: readonly string[] }[]
  readonly admitted: readonly PeerId[]
  readonly heartbeatMs: number
}

const order = JSON.parse(process.argv[2] ?? '{}') as Order
const network = await makeLibp2pNetwork({
  seed: fromHex(order.seed),
  swarmKey: fromHex(order.swarmKey),
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: order.bootstrap,
  admitted: new Set(order.admitted),
  mdns: false,
  peerStoreDir: null,
  log: { debug() {}, info() {}, warn() {}, error() {} },
  heartbeatMs: order.heartbeatMs,
})
network.onDirect((bytes, from) => network.sendDirect(from, bytes))
await network.start()
process.stdout.write(`${network.addresses()[0]}\n`)
process.stdin.resume()
process.stdin.on('end', () => {
  network.stop().then(() => process.stdout.write('stopped\n'))
})
