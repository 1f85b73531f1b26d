// Question: does the time of an answer tell a stranger whether a record exists? Estimate: no; the median difference is below a microsecond
// in the ladder and below the noise of the API, since both answers take the same path. Run: node test/bench/sight.ts [rounds]
//
// Asked in turn, in random order, about a record that is there and one that is not, at three doors: the ladder as the contract executes
// it, the API's look at a record, the API's list of policies of a patient who is there and one who is not. sight.long.ts asks it small.

import type { TestContext } from 'node:test'
import type { PeerHandle } from '../../src/api/peer-handle.ts'
import { createSigningKey } from '../../src/identity/keystore.ts'
import type { Identifier } from '../../src/model/ids.ts'
import { CHAIN_ID, startWorld } from '../api/world.ts'
import { accessRequest, idNamed, makeClinic, recordNamed, userRegister } from '../ledger/world.ts'
import { makeRandom } from '../sim/random.ts'

export type Door = {
  readonly door: string
  /** Medians and 99th percentiles, microseconds. */
  readonly there: number
  readonly thereP99: number
  readonly not: number
  readonly notP99: number
  readonly difference: number
  /** Half the distance between the quartiles: what one measurement differs from the next. */
  readonly noise: number
}

export async function measureSight(rounds: number): Promise<readonly Door[]> {
  const random = makeRandom(1)
  const world = makeClinic()
  const stranger = createSigningKey()
  world.do('ca-west', userRegister('stranger', 'west', { publicKey: stranger.publicKey }))
  world.policy('patient', { grantee: { type: 'user', user: idNamed('doctor') } })

  const ending: (() => unknown)[] = []
  const context = { after: (end: () => unknown) => void ending.push(end) } as unknown as TestContext
  const status = (): ReturnType<PeerHandle['status']> =>
    ({ height: world.blocks.length, institution: { id: idNamed('west'), name: 'west' } }) as ReturnType<
      PeerHandle['status']
    >
  const { api } = await startWorld(context, { views: world.views, status })
  const as = { signer: stranger, chainId: CHAIN_ID }
  const doors: readonly [string, (exists: boolean) => unknown][] = [
    [
      'ladder',
      exists => {
        const operation = accessRequest({ record: recordNamed(exists ? 'x-ray' : 'nothing') })
        const change = { publicKey: stranger.publicKey, client: stranger.identifier }
        const outcome = world.do('stranger', operation, change)
        if (outcome.type !== 'denied' || outcome.reason !== 'no-policy') throw new Error('not the same answer')
        return undefined
      },
    ],
    ['record', exists => refused(api.call('GET', `/v1/records/${recordNamed(exists ? 'x-ray' : 'nothing')}`, { as }))],
    [
      'policies',
      exists => {
        const owner: Identifier = idNamed(exists ? 'patient' : 'nobody')
        return refused(api.call('GET', '/v1/policies', { query: { owner }, as }))
      },
    ],
  ]
  const measured: Door[] = []
  for (const [door, ask] of doors) {
    const times: Record<'there' | 'not', number[]> = { there: [], not: [] }
    for (let i = 0; i < 2 * rounds + 200; i++) {
      const exists = random.chance(0.5)
      const begin = process.hrtime.bigint()
      await ask(exists)
      const took = Number(process.hrtime.bigint() - begin) / 1000
      if (i >= 200) times[exists ? 'there' : 'not'].push(took)
    }
    const [there, not] = [times.there, times.not].map(all => all.sort((a, b) => a - b)) as [number[], number[]]
    measured.push({
      ...{ door, there: at(there, 0.5), thereP99: at(there, 0.99), not: at(not, 0.5), notP99: at(not, 0.99) },
      difference: at(there, 0.5) - at(not, 0.5),
      noise: (at(not, 0.75) - at(not, 0.25)) / 2,
    })
  }
  for (const end of ending) await end()
  return measured
}

const refused = async (call: Promise<unknown>): Promise<void> => {
  await call.then(
    () => {
      throw new Error('was answered')
    },
    () => undefined,
  )
}

const at = (sorted: readonly number[], share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0

if (process.argv[1] === import.meta.filename) {
  const rounds = Number(process.argv[2] ?? 2_000)
  process.stdout.write(`node ${process.version}, ${rounds} rounds; microseconds\n`)
  for (const { door, there, thereP99, not, notP99, difference, noise } of await measureSight(rounds))
    process.stdout.write(
      `${door.padEnd(9)} there ${there.toFixed(1)} (p99 ${thereP99.toFixed(0)})  not ${not.toFixed(1)} (p99 ${notP99.toFixed(0)})  difference ${difference.toFixed(2)}  noise ±${noise.toFixed(1)}\n`,
    )
}
