// Keeps this peer connected to every admitted peer: dials for ever, with a jittered delay that doubles up to 30 s. The library gives up after five tries.
// A connection that drops within five seconds counts as a failed try: a peer that refuses us looks connected for a moment, and would be dialled in a tight loop.
// Of two peers the one with the lower id dials at once and the other half a second later, so that they seldom dial each other at the same time.
// Not here: who is admitted (libp2p-gate.ts); what runs over the connection.

import type { Libp2p } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { EmrmError } from '../model/errors.ts'
import type { PeerId } from '../model/ids.ts'
import type { Log } from '../ports.ts'
import { libp2pIdOf } from './libp2p-identity.ts'

const retryMsFirst = 250
const retryMsMax = 30_000
const youngMs = 5_000
const higherIdWaitsMs = 500
const dialTimeoutMs = 10_000

export type KnownPeer = { readonly peerId: PeerId; readonly addresses: readonly string[] }

type Target = {
  failures: number
  timer: NodeJS.Timeout | null
  dial: AbortController | null
  connectedAtMs: number | null
  /** Last failure that was logged, so that a peer that stays down is told once. */
  told: string | null
}

export class Keeper {
  readonly #node: Libp2p
  readonly #self: PeerId
  readonly #log: Log
  readonly #addresses: ReadonlyMap<PeerId, readonly Multiaddr[]>
  readonly #targets = new Map<PeerId, Target>()
  #running = false

  /** Throws EmrmError `address-invalid`. */
  constructor(node: Libp2p, self: PeerId, known: readonly KnownPeer[], log: Log) {
    this.#node = node
    this.#self = self
    this.#log = log
    this.#addresses = new Map(known.map(peer => [peer.peerId, peer.addresses.map(parseAddress)]))
    node.addEventListener('peer:connect', event => this.#onConnect(event.detail.toString() as PeerId))
    node.addEventListener('peer:disconnect', event => this.#onDisconnect(event.detail.toString() as PeerId))
    // Discovery (mDNS) and identify put addresses into the peer store: worth a try before the next round.
    node.addEventListener('peer:discovery', event => this.#hurry(event.detail.id.toString() as PeerId))
  }

  start(admitted: ReadonlySet<PeerId>): void {
    this.#running = true
    this.retarget(admitted)
  }

  stop(): void {
    this.#running = false
    for (const peer of this.#targets.keys()) this.#drop(peer)
  }

  retarget(admitted: ReadonlySet<PeerId>): void {
    if (!this.#running) return
    for (const peer of this.#targets.keys()) if (!admitted.has(peer)) this.#drop(peer)
    for (const peer of admitted) {
      if (peer === this.#self || this.#targets.has(peer)) continue
      const connected = this.#node.getConnections(libp2pIdOf(peer)).length > 0
      const target: Target = {
        failures: 0,
        timer: null,
        dial: null,
        connectedAtMs: connected ? performance.now() : null,
        told: null,
      }
      this.#targets.set(peer, target)
      if (!connected) this.#schedule(peer, target, this.#self < peer ? 0 : higherIdWaitsMs)
    }
  }

  #drop(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target?.timer) clearTimeout(target.timer)
    target?.dial?.abort(new Error('the peer is no longer wanted'))
    this.#targets.delete(peer)
  }

  #onConnect(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target === undefined) return
    target.connectedAtMs = performance.now()
    if (target.timer !== null) clearTimeout(target.timer)
    target.timer = null
    // Both dialled at once: the lower id's connection stays. If both gave way, none would be left.
    const inbound = this.#node.getConnections(libp2pIdOf(peer)).every(connection => connection.direction === 'inbound')
    if (inbound && this.#self > peer) target.dial?.abort(new Error('the peer dialled us'))
  }

  #onDisconnect(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target === undefined || !this.#running) return
    const aliveMs = target.connectedAtMs === null ? 0 : performance.now() - target.connectedAtMs
    target.connectedAtMs = null
    if (aliveMs < youngMs) {
      target.failures++
      this.#tell(
        peer,
        target,
        'dropped-early',
        'the connection closed soon after it opened; the peer may have started anew or may not admit us',
      )
    } else {
      target.failures = 0
      target.told = null
    }
    this.#schedule(peer, target, this.#delayMs(target) + (this.#self < peer ? 0 : higherIdWaitsMs))
  }

  #hurry(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target === undefined || target.timer === null || target.failures === 0) return
    target.failures = 0
    this.#schedule(peer, target, this.#delayMs(target))
  }

  #schedule(peer: PeerId, target: Target, delayMs: number): void {
    if (!this.#running) return
    if (target.timer !== null) clearTimeout(target.timer)
    target.timer = setTimeout(() => {
      target.timer = null
      void this.#dial(peer, target)
    }, delayMs)
    target.timer.unref()
  }

  async #dial(peer: PeerId, target: Target): Promise<void> {
    if (target.dial !== null || !this.#running || target.connectedAtMs !== null) return
    const id = libp2pIdOf(peer)
    // One controller for each dial: signals joined to a long-lived one leak in Node.
    const dial = new AbortController()
    target.dial = dial
    const deadline = setTimeout(() => dial.abort(new Error('the peer did not answer in time')), dialTimeoutMs)
    try {
      const addresses = this.#addresses.get(peer)
      if (addresses !== undefined && addresses.length > 0)
        await this.#node.peerStore.merge(id, { multiaddrs: [...addresses] })
      await this.#node.dial(id, { signal: dial.signal })
    } catch (error) {
      if (!this.#running || this.#targets.get(peer) !== target || target.connectedAtMs !== null) return
      target.failures++
      const name = error instanceof Error ? error.name : 'unknown'
      this.#tell(peer, target, name, error instanceof Error ? error.message : 'the dial failed')
      this.#schedule(peer, target, this.#delayMs(target))
    } finally {
      clearTimeout(deadline)
      target.dial = null
    }
  }

  #delayMs(target: Target): number {
    const base = Math.min(retryMsMax, retryMsFirst * 2 ** Math.min(target.failures, 10))
    return Math.min(retryMsMax, base * (0.5 + Math.random()))
  }

  #tell(peer: PeerId, target: Target, reason: string, detail: string): void {
    const fields = { peer, reason, detail: detail.slice(0, 300), failures: target.failures }
    // A peer whose address nobody told us yet will dial us.
    if (target.told === reason || reason === 'NoValidAddressesError') this.#log.debug('dial-failed', fields)
    else this.#log.warn('dial-failed', fields)
    target.told = reason
  }
}

/** Throws EmrmError `address-invalid`. */
export function parseAddress(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (error) {
    throw new EmrmError(
      'address-invalid',
      `"${text}" is not a multiaddr; write for example /ip4/192.0.2.1/tcp/4001.`,
      { address: text },
      error,
    )
  }
}
