// Who may not come in: a peer without the private network's key, and one whose key is not registered. Both are refused, and the log of the
// peer that refused says why.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePort } from '../contract/child-server.ts'
import { emrmJson, eventually, makePeer, type Swarm, type SwarmPeer, startSwarm, statusOf } from './swarm.ts'

let swarm: Swarm
const guests: SwarmPeer[] = []

before(async () => {
  swarm = await startSwarm()
})
after(async () => {
  await Promise.all(guests.map(guest => guest.stop()))
  await swarm?.stop()
})

/** A further hospital's home, with keys of its own that nobody admitted. */
async function guestHome(name: string, swarmKeyFile: string): Promise<SwarmPeer> {
  const net = join(swarm.dir, 'net')
  const home = join(swarm.dir, name)
  await emrmJson([
    'init',
    '--home',
    home,
    '--genesis',
    join(net, 'genesis.json'),
    '--swarm-key',
    swarmKeyFile,
    '--peers',
    join(net, 'peers.json'),
  ])
  const config = JSON.parse(await readFile(join(home, 'config.json'), 'utf8'))
  await writeFile(
    join(home, 'config.json'),
    JSON.stringify({ ...config, basePort: await freePort(), api: { port: 0 } }),
  )
  const guest = makePeer(home, name, {})
  guests.push(guest)
  return guest
}

async function refusedFor(reason: string): Promise<void> {
  await eventually(async () => {
    const logs = await Promise.all(swarm.peers.map(peer => peer.log()))
    const said = logs
      .flatMap(log => log.split('\n'))
      .some(line => line.includes('connection-refused') && line.includes(reason))
    if (!said) throw new Error(`no peer logged connection-refused with ${reason}`)
  }, 30_000)
}

/** A caller that is refused may see a connection for a moment; a link it never gets. */
const linksOf = async (peer: SwarmPeer): Promise<number> =>
  (await statusOf(peer)).peers.filter(({ direct }) => direct).length

test('a peer whose key is not registered is refused, and the log says so', async () => {
  const guest = await guestHome('unregistered', join(swarm.dir, 'net', 'swarm.key'))
  await guest.start()
  await refusedFor('not-registered')
  assert.equal(await linksOf(guest), 0)
  await guest.stop()
})

test('a peer with another private-network key is refused, and the log says so', async () => {
  const other = join(swarm.dir, 'other-swarm.key')
  await writeFile(other, `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString('hex')}\n`)
  const guest = await guestHome('other-network', other)
  await guest.start()
  await refusedFor('wrong-network-key')
  assert.equal(await linksOf(guest), 0)
  for (const peer of swarm.peers) assert.equal(await linksOf(peer), 3)
  await guest.stop()
})
