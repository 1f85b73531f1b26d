// Question: what does executing a request cost, its share of the state digest included, in a state that is already large?
// Estimate: 25 µs for a policy, 60 µs for an access request (three keys). Run: node test/bench/execute.ts [blocks] [users]

import type { Request } from '../../src/model/block.ts'
import type { Timestamp } from '../../src/model/ids.ts'
import { accessRequest, idNamed, keyNamed, policySet, recordRegister, userRegister, World } from '../ledger/world.ts'

const blocks = Number(process.argv[2] ?? 20)
const users = Number(process.argv[3] ?? 20_000)
const PER_BLOCK = 1000

const world = new World()
const fill = (make: (i: number) => Request): void => {
  for (let from = 0; from < users; from += PER_BLOCK)
    world.executeAll(Array.from({ length: Math.min(PER_BLOCK, users - from) }, (_, i) => make(from + i)))
}
fill(i => world.request('ca-north', userRegister(`user-${i}`, 'north', { roles: ['patient', 'attending'] })))
fill(i =>
  world.request(
    'north',
    recordRegister(`${i}`, { record: idNamed(`user-${i}`) as never, owner: idNamed(`user-${i}`) }),
  ),
)

function measure(what: string, make: (i: number) => Request): void {
  const costs: number[] = []
  for (let block = 0; block < blocks; block++) {
    world.nowMs += 1000
    const requests = Array.from({ length: PER_BLOCK }, (_, i) => make(block * PER_BLOCK + i))
    const made = world.block(requests)
    const begin = process.cpuUsage()
    const { outcomes } = world.ledger.execute(made)
    world.ledger.stateRoot()
    const { user, system } = process.cpuUsage(begin)
    costs.push((user + system) / PER_BLOCK)
    const odd = outcomes.find(outcome => outcome.type === 'refused')
    if (odd !== undefined) throw new Error(`refused in ${what}: ${JSON.stringify(odd)}`)
  }
  costs.sort((a, b) => a - b)
  const median = costs[costs.length >> 1]!
  console.log(`${what}: median ${median.toFixed(1)} µs CPU a request, worst block ${costs.at(-1)!.toFixed(1)}`)
}

console.log(
  `node ${process.version}; ${users} users and records, blocks of ${PER_BLOCK}, ${world.views.stateSize()} keys`,
)
const spread = (i: number): string => `user-${(i * 7919) % users}`
measure('policy.set', i => {
  const by = spread(i)
  return world.request(
    by,
    policySet(by, { timestamp: (world.nowMs + i) as Timestamp, grantee: { type: 'role', role: `r${i % 50}` } }),
  )
})
measure('access.request', i => world.request(spread(i), accessRequest({ record: idNamed(spread(i + 1)) as never })))
measure('user.register', i =>
  world.request('ca-south', userRegister(`new-${i}`, 'south', { publicKey: keyNamed(`new-${i}`) })),
)
console.log(`root ${world.ledger.stateRoot()}, ${world.views.stateSize()} keys`)
