// The Network port over libp2p: puts together the gate, the keeper, direct links, gossip and requests on one node, and starts and stops them in the order that works.
// Handlers are set before the node starts, because a peer may connect and be identified before `start` returns.
// Not here: each of those parts (libp2p-*.ts).

import type { PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { LevelDatastore } from 'datastore-level'
import { assert, EmrmError } from '../model/errors.ts'
import type { PeerId } from '../model/ids.ts'
import type { Connection, Log, Network, Protocol, Topic } from '../ports.ts'
import { DirectLinks } from './libp2p-direct.ts'
import { makeGate } from './libp2p-gate.ts'
import { Gossip, type GossipHandler } from './libp2p-gossip.ts'
import { nodeKeyOf } from './libp2p-identity.ts'
import { Keeper, type KnownPeer, parseAddress } from './libp2p-keeper.ts'
import { makeNode } from './libp2p-node.ts'
import { type RequestHandler, Requests } from './libp2p-requests.ts'

const directProtocol = '/emrm/direct/1'
const frameBytesMaxDefault = 6 * 1_048_576
const directQueueBytesDefault = 8 * 1_048_576

export type Libp2pNetworkOptions = {
  /** Ed25519 seed of the institution's key, 32 bytes. */
  readonly seed: Uint8Array
  /** The private network's key, 32 bytes. */
  readonly swarmKey: Uint8Array
  /** Multiaddrs. */
  readonly listen: readonly string[]
  /** Multiaddrs to tell others instead of those we listen on. */
  readonly announce?: readonly string[]
  readonly bootstrap: readonly KnownPeer[]
  readonly admitted: ReadonlySet<PeerId>
  readonly mdns: boolean
  /** LevelDB folder for the addresses of peers; null keeps them in memory. */
  readonly peerStoreDir: string | null
  readonly log: Log
  /** Largest frame on a stream; 6 MiB unless told. All peers must agree. Gossip takes less (`gossipBytesMax`). */
  readonly maxFrameBytes?: number
  /** What may wait for one slow peer on its direct link; 8 MiB unless told. */
  readonly maxDirectQueueBytes?: number
  /** Milliseconds between heartbeats of direct links, 5,000 unless told; a peer that misses six is cut off. */
  readonly heartbeatMs?: number
}

/** Throws EmrmError `swarm-key-invalid`, `address-invalid`, `peer-store-failed`. */
export async function makeLibp2pNetwork(options: Libp2pNetworkOptions): Promise<Network> {
  for (const address of [...options.listen, ...(options.announce ?? [])]) parseAddress(address)
  const { log } = options
  const frameBytesMax = options.maxFrameBytes ?? frameBytesMaxDefault
  const privateKey = await nodeKeyOf(options.seed)
  const self = peerIdFromPrivateKey(privateKey).toString() as PeerId
  const gate = makeGate(self, options.admitted, log)
  const datastore = options.peerStoreDir === null ? null : await openPeerStore(options.peerStoreDir)
  const node = await makeNode({
    privateKey,
    swarmKey: options.swarmKey,
    listen: options.listen,
    announce: options.announce ?? [],
    bootstrap: options.bootstrap.filter(peer => peer.peerId !== self),
    mdns: options.mdns,
    datastore,
    gate,
  }).catch(async error => {
    await datastore?.close()
    throw error
  })
  const keeper = new Keeper(node, self, options.bootstrap, log)
  const onPeer: ((peer: PeerId, event: 'connected' | 'disconnected') => void)[] = []
  let onFrame: ((bytes: Uint8Array, from: PeerId) => void) | null = null
  const direct = new DirectLinks({
    node,
    protocol: directProtocol,
    frameBytesMax,
    queuedBytesMax: options.maxDirectQueueBytes ?? directQueueBytesDefault,
    ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
    log,
    isAdmitted: gate.isAdmitted,
    onFrame: (bytes, from) => onFrame?.(bytes, from),
    onLink(peer, event) {
      log.info(event === 'up' ? 'peer-connected' : 'peer-disconnected', { peer })
      for (const tell of onPeer) tell(peer, event === 'up' ? 'connected' : 'disconnected')
    },
  })
  const onHeard = (peer: PeerId): void => direct.heard(peer)
  const gossip = new Gossip(node, log, onHeard)
  const requests = new Requests({ node, frameBytesMax, log, isAdmitted: gate.isAdmitted, onHeard })
  const answered = new Map<Protocol, RequestHandler>()
  const topics = new Set<Topic>()
  let state: 'new' | 'started' | 'stopped' = 'new'

  const stop = async (): Promise<void> => {
    if (state === 'stopped') return
    state = 'stopped'
    keeper.stop()
    gossip.stop()
    requests.stop()
    direct.stop()
    await node.stop()
    await datastore?.close()
  }

  return {
    self,
    addresses: () => node.getMultiaddrs().map(String),
    async start() {
      assert(state === 'new', 'a network starts once')
      state = 'started'
      await direct.prepare()
      for (const [protocol, handler] of answered) await requests.serve(protocol, handler)
      try {
        await node.start()
      } catch (error) {
        await stop()
        throw listenFailed(options.listen, error)
      }
      gossip.start()
      keeper.start(gate.admitted())
    },
    stop,
    onGossip(topic: Topic, handler: GossipHandler) {
      assert(state === 'new' && !topics.has(topic), `one handler for ${topic}, before start`)
      topics.add(topic)
      gossip.handle(topic, handler)
    },
    publish: (topic, bytes) => gossip.publish(topic, bytes),
    onDirect(handler) {
      assert(state === 'new' && onFrame === null, 'one handler for direct frames, before start')
      onFrame = handler
    },
    sendDirect: (to, bytes) => direct.send(to, bytes),
    directPeers: () => direct.peers(),
    onRequest(protocol, handler) {
      assert(state === 'new' && !answered.has(protocol), `one handler for ${protocol}, before start`)
      answered.set(protocol, handler)
    },
    request: (to, protocol, frames, signal) => requests.request(to, protocol, frames, signal),
    connections(): readonly Connection[] {
      const found = new Map<PeerId, Connection>()
      for (const connection of node.getConnections()) {
        const peerId = connection.remotePeer.toString() as PeerId
        if (connection.status !== 'open' || !gate.isAdmitted(peerId)) continue
        const addresses = [...(found.get(peerId)?.addresses ?? []), connection.remoteAddr.toString()]
        found.set(peerId, { peerId, addresses, direction: connection.direction, direct: direct.peers().has(peerId) })
      }
      return [...found.values()]
    },
    admit(peers) {
      gate.admit(peers)
      for (const connection of node.getConnections()) {
        const peer = connection.remotePeer.toString() as PeerId
        if (gate.isAdmitted(peer)) continue
        log.warn('connection-refused', { peer, reason: 'not-registered', detail: 'the peer left the register' })
        connection.abort(new Error('the peer is no longer admitted'))
        forget(node.peerStore, connection.remotePeer)
      }
      keeper.retarget(gate.admitted())
    },
    onPeer(handler) {
      onPeer.push(handler)
    },
  }
}

/** Addresses of those who left are of no more use; that they could not be deleted is harmless, since they are never dialled. */
function forget(peerStore: { delete(peer: Libp2pPeerId): Promise<void> }, peer: Libp2pPeerId): void {
  peerStore.delete(peer).catch(() => {})
}

async function openPeerStore(folder: string): Promise<LevelDatastore> {
  const store = new LevelDatastore(folder)
  try {
    await store.open()
  } catch (error) {
    throw new EmrmError(
      'peer-store-failed',
      'The folder with the addresses of peers cannot be opened; is another peer running in this home?',
      { folder },
      error,
    )
  }
  return store
}

function listenFailed(listen: readonly string[], error: unknown): EmrmError {
  const text = error instanceof Error ? error.message : String(error)
  const failing = listen.filter(address => text.includes(`${address}:`))
  const address = (failing.length > 0 ? failing : listen).join(', ')
  const why = /EADDRINUSE|EACCES|EADDRNOTAVAIL/.exec(text)?.[0] ?? 'unknown'
  const advice =
    why === 'EADDRINUSE'
      ? 'the port is taken by another process; stop it or choose another port'
      : why === 'EACCES'
        ? 'the port may not be opened by this user; choose one above 1023'
        : 'choose an address of this machine'
  return new EmrmError('listen-failed', `Cannot listen on ${address}: ${advice}.`, { address, cause: why }, error)
}
