// The libp2p node as we configure it: TCP, Noise with the private network's prologue, yamux with windows that fit its read buffers, identify, ping, gossipsub,
// the bootstrap list, and mDNS when asked for. Each number here was measured or answers an attack; see the comment beside it.
// Not here: our protocols, which are handled on this node by libp2p-direct.ts, libp2p-requests.ts and libp2p-gossip.ts.

import { bootstrap } from '@libp2p/bootstrap'
import { type Identify, identify } from '@libp2p/identify'
import type { PrivateKey } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { type Ping, ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import type { LevelDatastore } from 'datastore-level'
import { createLibp2p } from 'libp2p'
import type { Gate } from './libp2p-gate.ts'
import { type GossipNode, gossipService } from './libp2p-gossip.ts'
import { joiningFrames, joiningWrites } from './libp2p-joined.ts'
import type { KnownPeer } from './libp2p-keeper.ts'
import { privateNoise } from './libp2p-private-network.ts'
import { cheapChunkEnds, rareWindowUpdates } from './libp2p-trimmed.ts'

const MiB = 1_048_576

export type NodeOptions = {
  readonly privateKey: PrivateKey
  readonly swarmKey: Uint8Array
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly bootstrap: readonly KnownPeer[]
  readonly mdns: boolean
  readonly datastore: LevelDatastore | null
  readonly gate: Gate
}

/** A node that has not started. */
export async function makeNode(options: NodeOptions): Promise<GossipNode> {
  const known = options.bootstrap.flatMap(peer =>
    peer.addresses.map(address => (address.includes('/p2p/') ? address : `${address}/p2p/${peer.peerId}`)),
  )
  const node = await createLibp2p<{
    pubsub: ReturnType<ReturnType<typeof gossipService>>
    identify: Identify
    ping: Ping
  }>({
    start: false,
    privateKey: options.privateKey,
    nodeInfo: { name: 'emrm' },
    ...(options.datastore === null ? {} : { datastore: options.datastore }),
    // Addresses are forgotten after an hour by default; a hospital that comes back after a weekend must still find the others.
    peerStore: { maxAddressAge: Number.POSITIVE_INFINITY, maxPeerAge: Number.POSITIVE_INFINITY },
    addresses: { listen: [...options.listen], announce: [...options.announce] },
    transports: [tcp({ backlog: 512 })],
    connectionEncrypters: [
      joiningWrites(cheapChunkEnds(privateNoise(options.swarmKey, failure => options.gate.handshakeFailed(failure)))),
    ],
    // The window must not outgrow the read buffer, or a paused stream is reset. 2 MiB is 40 MB/s at 50 ms.
    streamMuxers: [
      joiningFrames(
        rareWindowUpdates(yamux({ streamOptions: { maxStreamWindowSize: 2 * MiB, maxReadBufferLength: 6 * MiB } })),
      ),
    ],
    connectionGater: options.gate.gater,
    connectionManager: {
      maxConnections: 1_024,
      // Ten silent sockets block all others with the default; a mass restart behind one address needs more than five a second.
      maxIncomingPendingConnections: 64,
      inboundConnectionThreshold: 50,
      inboundUpgradeTimeout: 5_000,
      // Strangers who hold sockets open in silence use up those places; known hospitals need none.
      allow: knownHosts(options.bootstrap),
      dialTimeout: 10_000,
      addressDialTimeout: 3_000,
      // The keeper redials, for ever.
      reconnectRetries: 0,
    },
    // It cuts healthy links when a burst delays a ping, and nothing redials; our direct links have a heartbeat of their own.
    connectionMonitor: { enabled: false },
    peerDiscovery: [
      // Late enough that the keeper has connected by then and this is only the second road.
      ...(known.length > 0 ? [bootstrap({ list: known, timeout: 3_000 })] : []),
      ...(options.mdns ? [mdns({ serviceTag: '_emrm._udp.local' })] : []),
    ],
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: gossipService(),
    },
  })
  return node
}

/** The hosts of addresses that name one by number. */
function knownHosts(peers: readonly KnownPeer[]): string[] {
  const hosts = new Set<string>()
  for (const address of peers.flatMap(peer => peer.addresses)) {
    const [, family, host] = address.split('/')
    if (family === 'ip4') hosts.add(`/ip4/${host}/ipcidr/32`)
    if (family === 'ip6') hosts.add(`/ip6/${host}/ipcidr/128`)
  }
  return [...hosts]
}
