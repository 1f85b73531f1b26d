// Question: how many access decisions a second, with 10, 100 and 1000 policies of the patient? Estimate: 3 M/s, 0.6 M/s, 60 k/s; each policy
// costs one comparison of its grantee. Run: node test/bench/decide.ts [millis]

import { decide, type Question } from '../../src/access/decide.ts'
import { DEFAULT_RELATIONS } from '../../src/access/defaults.ts'
import { compilePolicy, type Policy } from '../../src/access/policy.ts'
import { compileRelations } from '../../src/access/relations.ts'
import type { Identifier, RecordId, RequestId, Timestamp } from '../../src/model/ids.ts'
import type { Grantee, PolicySet, Scope } from '../../src/model/operations.ts'
import { accessRequest, idNamed, makeClinic, policySet } from '../ledger/world.ts'

const budgetMs = Number(process.argv[2] ?? 500)
const id = (i: number): Identifier => i.toString(16).padStart(32, '0') as Identifier
const TIME = 1_700_000_000_000 as Timestamp

function grantee(i: number): Grantee {
  const all: readonly Grantee[] = [
    { type: 'user', user: id(i) },
    { type: 'institution', institution: id(i % 7) },
    { type: 'role', role: i % 2 === 0 ? 'attending' : 'nurse' },
    { type: 'group', group: `group-${i % 5}` },
    { type: 'anyone' },
  ]
  return all[i % all.length]!
}

function scope(i: number): Scope {
  if (i % 3 === 0) return { type: 'all' }
  return i % 3 === 1
    ? { type: 'kind', kind: i % 2 === 0 ? 'fhir' : 'dicom' }
    : { type: 'record', record: id(i % 11) as string as RecordId }
}

const policy = (i: number): Policy => ({
  ...{ id: i.toString(16).padStart(64, '0') as RequestId, owner: id(1), scope: scope(i), grantee: grantee(i) },
  ...{ effect: i % 17 === 16 ? 'deny' : 'permit', purposes: i % 4 === 0 ? ['HRESCH'] : ['TREAT'], rights: ['read'] },
  ...{ from: 0 as Timestamp, to: (TIME + (i % 5 === 0 ? -1 : 1000)) as Timestamp, anonymous: false, labelCeiling: 'R' },
  timestamp: i as Timestamp,
})

for (const count of [10, 100, 1000]) {
  const policies = Array.from({ length: count }, (_, i) => compilePolicy(policy(i)))
  const relations = compileRelations(DEFAULT_RELATIONS)
  const questions = Array.from({ length: 64 }, (_, i): Question => {
    const user = { id: id(i + 2), institution: id(i % 7), roles: ['attending', 'nurse'], groups: [`group-${i % 5}`] }
    return {
      user: { ...user, validUntil: (TIME + 1) as Timestamp, revoked: false },
      ...{
        credentials: [],
        institutionActive: true,
        emergencySuspended: false,
        role: i % 2 === 0 ? 'attending' : 'nurse',
      },
      ...{
        purpose: i % 8 === 0 ? 'COC' : 'TREAT',
        right: i % 16 === 15 ? 'share' : 'read',
        time: TIME,
        delegation: null,
        policies,
        relations,
      },
      record: {
        ...{ record: id(i % 11) as string as RecordId, owner: id(1), kind: i % 2 === 0 ? 'fhir' : 'dicom' },
        ...{ confidentiality: 'N', withdrawn: false, twinOf: null, twin: null },
      },
    }
  })
  let done = 0
  let grants = 0
  // CPU time: what else runs on the machine is not the question.
  const begin = process.cpuUsage()
  const spentMs = (): number => {
    const { user, system } = process.cpuUsage(begin)
    return (user + system) / 1000
  }
  while (spentMs() < budgetMs)
    for (const question of questions) {
      done += 1
      if (decide(question).type === 'grant') grants += 1
    }
  const seconds = spentMs() / 1000
  console.log(
    `node ${process.version}; ${count} policies: ${Math.round(done / seconds)} decisions/s, ${(grants / done).toFixed(3)} granted`,
  )
}

// The same inside block execution: look-ups in the state, the decision, its entry, the grant. One request a block, CPU time.
const median = (sorted: readonly number[]): number => sorted[sorted.length >> 1] as number
for (const count of [10, 100, 1000]) {
  const world = makeClinic()
  for (let from = 0; from < count; from += 100)
    world.executeAll(
      Array.from({ length: Math.min(100, count - from) }, (_, i) =>
        world.request('patient', policySet('patient', { ...plain(from + i), timestamp: (from + i + 1) as Timestamp })),
      ),
    )
  const costs: number[] = []
  for (let i = 0; i < 8_000; i++) {
    world.nowMs += 1
    const block = world.block([world.request('doctor', accessRequest())])
    const begin = process.cpuUsage()
    const { outcomes } = world.ledger.execute(block)
    const { user, system } = process.cpuUsage(begin)
    const took = user + system
    if (outcomes[0]?.type !== 'granted') throw new Error(`not granted: ${JSON.stringify(outcomes[0])}`)
    if (i >= 2_000) costs.push(took)
  }
  costs.sort((a, b) => a - b)
  const p99 = costs[Math.floor(costs.length * 0.99)] as number
  console.log(
    `in a block, ${count} policies: ${world.views.policiesOf(idNamed('patient')).length} of them in force: median ${median(costs)} µs, p99 ${p99} µs, head ${world.ledger.stateRoot().slice(0, 16)}`,
  )
}

/** Each under a key of its own; the first is the one that decides. */
function plain(i: number): Partial<PolicySet> {
  if (i === 0) return {}
  if (i % 2 === 0) return { scope: { type: 'kind', kind: `kind-${i}` } }
  return { grantee: { type: 'role', role: `role-${i}` } }
}
