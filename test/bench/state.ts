// Question: what does the state digest cost for a block of 1000 changed keys among 200 000? Estimate: 12 hashes of 0.45 µs each, so 8 ms.
// Run: node test/bench/state.ts [keys] [updates]

import { State } from '../../src/ledger/state.ts'
import { sha256 } from '../../src/model/hash.ts'

const keys = Number(process.argv[2] ?? 200_000)
const updates = Number(process.argv[3] ?? 1000)
const state = new State(new Set())
const value = (i: number): Uint8Array => sha256(Buffer.from(`value ${i}`))

let begin = process.hrtime.bigint()
for (let i = 0; i < keys; i++) state.put(`key/${i}`, value(i))
state.root()
console.log(`fill ${keys} keys: ${millis(begin)} ms`)
const samples: number[] = []
for (let round = 0; round < 40; round++) {
  for (let i = 0; i < updates; i++) state.put(`key/${(i * 7919 + round * 104_729) % keys}`, value(i + round + 1))
  begin = process.hrtime.bigint()
  state.root()
  samples.push(millis(begin))
}
samples.sort((a, b) => a - b)
console.log(
  `node ${process.version} ${process.arch}; ${updates} updates in ${keys} keys: median ${samples[20]} ms, p99 ${samples[39]} ms`,
)
console.log(`root ${state.root()}`)

function millis(from: bigint): number {
  return Number((process.hrtime.bigint() - from) / 10_000n) / 100
}
