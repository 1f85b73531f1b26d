// Question: what does one block cost each replica, as the committee grows? n real replicas with real keys, codec and ledger in one
// process on virtual time; every receiver decodes and verifies for itself, as in processes of their own. Links take 1 to 4 ms, an fsync 5 ms.
// Estimate: a replica hears n COMMITs (and n BLOCK-IDs, unless it decides while its own waits for the disk), so messages, bytes and
// checks of signatures grow as n, and so may CPU; the parent's certificate in the proposal adds n more checks, known from the COMMITs.
//   node test/sim/scale.ts [--n 4,7,13,31,64,100,200] [--blocks 10] [--plot scale.svg]

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import sodium from 'sodium-native'
import { Replica } from '../../src/consensus/replica.ts'
import type { ValidatorIndex } from '../../src/model/ids.ts'
import type { ConsensusMessage } from '../../src/model/messages.ts'
import { encodeMessage } from '../../src/wire/codec.ts'
import { makeVerifier, type Verifier } from '../../src/wire/verify.ts'
import { lineChart } from '../bench/plot.ts'
import { makeRandom } from './random.ts'
import { makeRealParts } from './real-parts.ts'
import { Scheduler } from './scheduler.ts'
import { type Host, SimPeer } from './sim-peer.ts'

const FSYNC_MS = 5
const BLOCK_REQUESTS = 10

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '4,7,13,31,64,100,200' },
    blocks: { type: 'string', default: '10' },
    plot: { type: 'string' },
  },
})

let checks = 0
const verify = sodium.crypto_sign_verify_detached
sodium.crypto_sign_verify_detached = (...given) => {
  checks++
  return verify(...given)
}

type Cost = { readonly n: number; readonly fast: number; readonly perReplica: readonly number[] }

/** Messages, bytes and checks that a replica receives or makes, and CPU in ms, for one block. */
function measure(n: number, blocks: number): Cost {
  const parts = makeRealParts(n)
  const { committee, chainId, notary } = parts
  const scheduler = new Scheduler()
  const random = makeRandom(n)
  const peers: SimPeer[] = []
  const verifiers: Verifier[] = []
  let messages = 0
  let bytes = 0
  let fast = 0
  const send = (to: SimPeer, encoded: Uint8Array): void => {
    messages++
    bytes += encoded.length
    scheduler.after(1 + 3 * random.next(), () => {
      const checked = verifiers[to.node]?.message(encoded)
      if (checked?.type !== 'ok') throw new Error(`a correct message was refused: ${JSON.stringify(checked)}`)
      to.receive(checked.value)
    })
  }
  const others = (peer: SimPeer, message: ConsensusMessage, only: (to: SimPeer) => boolean): void => {
    const encoded = encodeMessage(message)
    for (const to of peers) if (to !== peer && only(to)) send(to, encoded)
  }
  const host: Host = {
    ...{ scheduler, random, blockRequestsMax: BLOCK_REQUESTS },
    ...{ makeApplication: parts.makeApplication, stored: parts.stored },
    pacemaker: { viewTimeoutMs: 1_000, viewTimeoutMaxMs: 60_000, resendMs: 250 },
    makeReplica: environment => new Replica(environment),
    committeeAt: () => committee,
    fsyncMs: () => FSYNC_MS,
    crashesAt: () => false,
    sendToAll: (peer, message) => others(peer, message, () => true),
    sendTo: (peer, index, message) => others(peer, message, to => to.self === index),
    includes: () => true,
    askForBody: () => {},
    askForBlocks: () => {},
    onDecided: (_peer, _block, { path }) => {
      if (path === 'FAST') fast++
    },
    onExecuted: () => {},
    onFault: (_peer, { fault }) => {
      throw new Error(`a correct replica is accused of ${fault}`)
    },
  }
  for (let node = 0; node < n; node++) {
    const self = node as ValidatorIndex
    const peer = new SimPeer(host, { node, self, correct: true, pen: notary.penOf(self) })
    peer.skewMs = parts.epochMs
    peers.push(peer)
    verifiers.push(makeVerifier({ chainId, committeeAt: () => committee }))
  }
  const requests = Array.from({ length: blocks * BLOCK_REQUESTS }, (_, i) => parts.makeRequest(i))
  for (const verifier of verifiers) for (const request of requests) verifier.request(request.bytes)
  checks = 0
  for (const peer of peers) {
    peer.start()
    for (const request of requests) peer.submit(request)
  }
  const startedUs = cpuUs()
  scheduler.run(600_000, () => peers.every(peer => peer.height > blocks))
  const ids = new Set(peers.map(peer => peer.application.head().id))
  if (ids.size !== 1 || peers.some(peer => peer.height <= blocks)) throw new Error(`n=${n}: no agreement`)
  const share = (total: number): number => total / blocks / n
  return {
    n,
    fast: fast / blocks / n,
    perReplica: [share(messages), share(bytes) / 1_000, share(checks), share(cpuUs() - startedUs) / 1_000],
  }
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

const UNITS = ['messages', 'kB', 'checks', 'CPU ms']
console.log(`for one block of ${BLOCK_REQUESTS} requests and one replica:`)
console.log(['n', ...UNITS, 'CPU ms / n', 'fast'].map(word => word.padStart(11)).join(''))
const costs: Cost[] = []
for (const word of values.n.split(',')) {
  const n = Number(word)
  // A warm-up for the smallest; few blocks for the largest, whose messages grow with the square of n.
  if (costs.length === 0) measure(n, 5)
  const cost = measure(n, n >= 100 ? Math.min(3, Number(values.blocks)) : Number(values.blocks))
  costs.push(cost)
  const row = [...cost.perReplica, (cost.perReplica[3] ?? 0) / n]
  console.log(
    [String(n), ...row.map((value, i) => value.toFixed(i === 4 ? 3 : 1)), `${(100 * cost.fast).toFixed(0)} %`]
      .map(cell => cell.padStart(11))
      .join(''),
  )
}
if (values.plot !== undefined)
  writeFileSync(
    values.plot,
    lineChart({
      title: 'Cost of one block for each replica',
      x: 'validators',
      y: 'messages, kB, checks, CPU ms',
      series: UNITS.map((name, i) => ({ name, points: costs.map(cost => [cost.n, cost.perReplica[i] ?? 0] as const) })),
    }),
  )
