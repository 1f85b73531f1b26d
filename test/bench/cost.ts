// Question: what does a record cost the consortium, in bytes on all disks and on the wire, for each byte of the record? One FHIR bundle's size
// and one image's, r = 0, 1, 2 copies, n = 4, 7 hospitals; then one reader at another hospital. Counted in the real code over a network in
// memory: frames of the record protocols, without the chain's own requests (about 1 KB a record at each peer) and without libp2p's framing.
// Estimate: (1 + r) on disk and r on the wire, plus about 1.6 KB for each share and 1 for a read.
//   node test/bench/cost.ts

import type { RecordId } from '../../src/model/ids.ts'
import { collectShares } from '../../src/records/collect.ts'
import { fetchPieces } from '../../src/records/piece-source.ts'
import { createSealKey } from '../../src/records/seal.ts'
import type { Vault } from '../../src/records/vault.ts'
import { fill } from '../records/support.ts'
import { type Hospital, makeWorld, never } from '../records/world.ts'

export type Cost = {
  readonly size: number
  readonly n: number
  readonly r: number
  /** Bytes for each byte of the record. */
  readonly disk: number
  readonly wireToAdd: number
  readonly wireToRead: number
}

export async function costOf(size: number, n: number, r: number): Promise<Cost> {
  const world = await makeWorld(n, { replicas: r })
  const custodian = world.hospitals[0] as Hospital
  const entry = await world.add(custodian, fill(size))
  await custodian.depositor.deliver(entry.record, never)
  await custodian.depositor.replicate(entry.record, never)
  const added = world.bytes
  let disk = 0
  for (const { vault } of world.hospitals) disk += await bytesIn(vault, entry.record)
  const entries = await Promise.all(world.hospitals.map(({ vault }) => vault.entry(entry.record)))
  const reader = world.hospitals.find((_, i) => entries[i] === null) ?? custodian
  const recipient = createSealKey()
  const { grant } = world.grant(entry, reader, recipient)
  const { ledger, clock } = world
  const { network, vault, shares: local } = reader
  const asked = { entry, grant, recipient: recipient.publicBytes, signal: never }
  await collectShares({ ledger, network, local, clock }, asked)
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const source = { vault, ledger, network, clock, log, onDamage: () => undefined }
  for await (const _ of fetchPieces(source, { entry, grant, from: 0, signal: never }));
  return { size, n, r, disk: disk / size, wireToAdd: added / size, wireToRead: (world.bytes - added) / size }
}

async function bytesIn(vault: Vault, record: RecordId): Promise<number> {
  const held = await vault.entry(record)
  let bytes = held === null ? 0 : held.cipherSize + held.leaves.length * 32
  for (const item of await vault.items(record)) bytes += (await vault.item(record, item))?.length ?? 0
  return bytes
}

if (process.argv[1] === import.meta.filename) {
  process.stdout.write('      bytes  n  r   on disk  to add  to read\n')
  for (const size of [20_000, 3_000_000, 50_000_000])
    for (const n of [4, 7])
      for (const r of [0, 1, 2]) {
        const { disk, wireToAdd, wireToRead } = await costOf(size, n, r)
        const figures = [disk, wireToAdd, wireToRead].map(value => value.toFixed(3).padStart(8))
        process.stdout.write(`${String(size).padStart(11)}  ${n}  ${r}  ${figures.join('')}\n`)
      }
}
