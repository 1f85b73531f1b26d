// Question: what does a committed request cost four peers inside: wire, mempool, consensus, ledger; real signatures and codec, but the
// network and the store in memory and all four in one process? What `commit.ts` measures above this is libp2p, LevelDB and HTTP.
// CPU time only, so a busy machine changes it little. Run: node test/bench/inside.ts [rounds] [users]

import { identifierOf } from '../../src/model/hash.ts'
import { asTimestamp } from '../../src/model/ids.ts'
import type { Operation } from '../../src/model/operations.ts'
import { Cluster } from '../cluster/cluster.ts'
import { keyOf, TIME } from '../wire/samples.ts'

const rounds = Number(process.argv[2] ?? 12)
const users = Number(process.argv[3] ?? 4_000)
const PER_ROUND = 1_000

const cluster = await new Cluster().start()
const keys = Array.from({ length: users }, (_, i) => keyOf(`user ${i}`))
const institution = identifierOf(keyOf('hospital 0').publicKey)

async function commit(operations: readonly { readonly by: (typeof keys)[number]; readonly operation: Operation }[]) {
  const signed = operations.map(({ by, operation }) => cluster.request(by, operation))
  let left = signed.length
  // The bytes go through each peer's door, as they would from its API.
  const begin = process.cpuUsage()
  const checked = signed.map((request, i) => {
    const value = cluster.verify(i % 4, request.bytes)
    if (value.type !== 'ok') throw new Error(value.type)
    return value.value
  })
  checked.forEach((request, i) => {
    void cluster
      .peer(i % 4)
      .driver.submit(request, 60_000)
      .then(result => {
        if (result.outcome.type !== 'done') throw new Error(JSON.stringify(result.outcome))
        left--
      })
  })
  await cluster.until(() => left === 0)
  await cluster.agreed()
  const { user, system } = process.cpuUsage(begin)
  return (user + system) / signed.length
}

for (let from = 0; from < users; from += PER_ROUND)
  await commit(
    keys.slice(from, from + PER_ROUND).map(({ publicKey }) => ({
      by: cluster.ca,
      operation: {
        type: 'user.register',
        ...{ publicKey, scheme: 1, roles: ['patient'], groups: [], institution },
        validUntil: asTimestamp(TIME + 1e12),
      } as Operation,
    })),
  )

const costs: number[] = []
for (let round = 0; round < rounds; round++) {
  const timestamp = asTimestamp(TIME + cluster.timeline.now + round)
  const operations = Array.from({ length: PER_ROUND }, (_, i) => {
    const by = keys[(round * PER_ROUND + i) % users] as (typeof keys)[number]
    const owner = identifierOf(by.publicKey)
    const operation = {
      type: 'policy.set',
      ...{ owner, scope: { type: 'all' }, grantee: { type: 'role', role: 'attending' }, effect: 'permit' },
      ...{ purposes: ['TREAT'], rights: ['read'], from: asTimestamp(0), to: asTimestamp(TIME + 1e12) },
      ...{ anonymous: false, labelCeiling: 'N', timestamp },
    } as Operation
    return { by, operation }
  })
  costs.push(await commit(operations))
}
costs.sort((a, b) => a - b)
process.stdout.write(
  `node ${process.version}; CPU of four peers for 1,000 requests: median ${costs[costs.length >> 1]?.toFixed(0)} ms, best ${costs[0]?.toFixed(0)} ms, height ${cluster.peer(0).ledger.head().height}\n`,
)
await cluster.stop()
