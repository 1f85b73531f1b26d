// The gate by itself: strangers are neither dialled nor let in nor remembered, and cannot fill the log.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { MultiaddrConnection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { makeGate } from '../../src/adapters/libp2p-gate.ts'
import { libp2pIdOf } from '../../src/adapters/libp2p-identity.ts'
import { at, idOfSeed, recordingLog, seeds } from '../contract/network-world.ts'

const ids = seeds(40).map(idOfSeed)
const [self, friend, stranger] = [at(ids, 0), at(ids, 1), at(ids, 2)]
const address = multiaddr('/ip4/192.0.2.7/tcp/4001')
const connection = { remoteAddr: address } as unknown as MultiaddrConnection

it('lets registered peers pass and nobody else, in each direction, and changes its mind when the register does', async () => {
  const { log, lines } = recordingLog()
  const gate = makeGate(self, new Set([self, friend]), log)
  const { gater } = gate
  const deniedNow = async (id: typeof self): Promise<readonly unknown[]> => [
    await gater.denyDialPeer?.(libp2pIdOf(id)),
    await gater.denyInboundEncryptedConnection?.(libp2pIdOf(id), connection),
    await gater.denyOutboundEncryptedConnection?.(libp2pIdOf(id), connection),
    !(await gater.filterMultiaddrForPeer?.(libp2pIdOf(id), address)),
  ]
  assert.deepEqual(await deniedNow(stranger), [true, true, true, true])
  assert.deepEqual(await deniedNow(friend), [false, false, false, false])
  assert.deepEqual([...gate.admitted()], [friend])
  assert.equal(await gater.filterMultiaddrForPeer?.(libp2pIdOf(self), address), true, 'its own addresses')
  assert.deepEqual(
    lines.map(line => [line.event, line.fields['peer'], line.fields['direction'], line.fields['reason']]),
    [
      ['connection-refused', stranger, 'inbound', 'not-registered'],
      ['connection-refused', stranger, 'outbound', 'not-registered'],
    ],
  )
  gate.admit(new Set([stranger]))
  assert.deepEqual(await deniedNow(stranger), [false, false, false, false])
  assert.deepEqual(await deniedNow(friend), [true, true, true, true])
})

it('says a repeated refusal once, and a different one by itself', async () => {
  const { log, lines } = recordingLog()
  const { gater } = makeGate(self, new Set([friend]), log)
  for (let n = 0; n < 1_000; n++) await gater.denyInboundEncryptedConnection?.(libp2pIdOf(stranger), connection)
  assert.equal(lines.length, 1)
  for (const id of ids.slice(3)) await gater.denyInboundEncryptedConnection?.(libp2pIdOf(id), connection)
  assert.equal(lines.length, 1 + ids.length - 3)
})
