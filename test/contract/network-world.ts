// What the contract tests of the Network port need of a maker of networks, and the two makers: memory, and libp2p over TCP on the loopback interface.

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { peerIdOf } from '../../src/adapters/libp2p-identity.ts'
import { makeLibp2pNetwork } from '../../src/adapters/libp2p-network.ts'
import { MemoryHub } from '../../src/adapters/memory-network.ts'
import { sha256, toHex } from '../../src/model/hash.ts'
import type { PeerId, PublicKey } from '../../src/model/ids.ts'
import type { Log, LogFields, Network } from '../../src/ports.ts'
import { publicKeyFromSeed } from '../adapters/keys.ts'

export type World = {
  readonly ids: readonly PeerId[]
  /** A network that has not started; it will know the addresses of those that started before it. */
  make(index: number, admitted?: ReadonlySet<PeerId>): Promise<Network>
  close(): Promise<void>
}

export type MakeWorld = (count: number) => Promise<World>

export const memoryWorld: MakeWorld = async count => {
  const hub = new MemoryHub()
  const ids = seeds(count).map(idOfSeed)
  const made: Network[] = []
  return {
    ids,
    async make(index, admitted = new Set(ids)) {
      const network = hub.network({ self: at(ids, index), admitted })
      made.push(network)
      return network
    },
    async close() {
      for (const network of made) await network.stop()
    },
  }
}

export const loopbackWorld: MakeWorld = async count => {
  const keys = seeds(count)
  const ids = keys.map(idOfSeed)
  const made: Network[] = []
  return {
    ids,
    async make(index, admitted = new Set(ids)) {
      const network = await makeLibp2pNetwork({
        seed: at(keys, index),
        swarmKey: new Uint8Array(32).fill(7),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        bootstrap: made.map(other => ({ peerId: other.self, addresses: other.addresses() })),
        admitted,
        mdns: false,
        peerStoreDir: null,
        log: silentLog,
      })
      made.push(network)
      return network
    },
    async close() {
      for (const network of made) await network.stop()
    },
  }
}

/** Fixed keys, so that who has the lower id, and so dials first, is the same in every run. */
export function seeds(count: number): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, index) => sha256(Uint8Array.of(1, index)))
}

export function idOfSeed(seed: Uint8Array): PeerId {
  return peerIdOf(toHex(publicKeyFromSeed(seed)) as PublicKey)
}

/** Waits for the world to become so; fails when it does not within the time. */
export async function until(what: string, condition: () => boolean, withinMs = 20_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`waited ${withinMs} ms in vain: ${what}`)
    await pause(5)
  }
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

export type LogLine = { readonly level: string; readonly event: string; readonly fields: LogFields }

export function recordingLog(): { readonly log: Log; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}): void => {
      lines.push({ level, event, fields })
    }
  return { lines, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

export function at<T>(list: readonly T[], index: number): T {
  const value = list[index]
  assert.ok(value !== undefined, `nothing at ${index}`)
  return value
}
