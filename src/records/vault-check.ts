// A look at a vault as an operator would take it: can it be written and read back, how full is it, and do a few pieces, taken at random,
// match their hashes. A sample finds a disk that rots, not each rotten piece. Not here: reading all of it (scrub.ts), what to do about it.

import { randomBytes, randomInt } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import { asRecordId, type RecordId } from '../model/ids.ts'
import { equalBytes } from './bytes.ts'
import type { Vault } from './vault.ts'
import type { LimitedVault, VaultUsage } from './vault-limit.ts'

export const SAMPLE_PIECES = 16
const PROBE_BYTES = 1024

export type VaultExamination = VaultUsage & {
  /** Of which anything is held. */
  readonly records: number
  /** Pieces that were read. */
  readonly sampled: number
  /** Records that a sample found damaged. */
  readonly damaged: readonly RecordId[]
}

/** Throws EmrmError `vault-unusable`, `vault-write-failed`, `vault-full`. */
export async function examineVault(vault: LimitedVault, samples: number = SAMPLE_PIECES): Promise<VaultExamination> {
  await writeAndReadBack(vault)
  const usage = await vault.usage()
  const records = await vault.list()
  const damaged = new Set<RecordId>()
  let sampled = 0
  for (const record of chosen(records, samples))
    switch (await sample(vault, record)) {
      case 'whole':
        sampled++
        break
      case 'damaged':
        sampled++
        damaged.add(record)
        break
      case 'no-ciphertext':
    }
  return { ...usage, records: records.length, sampled, damaged: [...damaged].sort() }
}

/** Under the name of a record that nobody has; gone again when this resolves. */
async function writeAndReadBack(vault: Vault): Promise<void> {
  const record = asRecordId(toHex(randomBytes(16)))
  const bytes = new Uint8Array(randomBytes(PROBE_BYTES))
  try {
    await vault.putItem(record, 'copies', bytes)
    const read = await vault.item(record, 'copies')
    if (read === null || !equalBytes(read, bytes))
      throw new EmrmError(
        'vault-unusable',
        'what was written into the vault does not come back; check its disk, database or storage before anything else',
        { cause: 'read-back' },
      )
  } finally {
    await vault.remove(record)
  }
}

function chosen(records: readonly RecordId[], count: number): readonly RecordId[] {
  if (records.length <= count) return records
  const indexes = new Set<number>()
  while (indexes.size < count) indexes.add(randomInt(records.length))
  return [...indexes].map(index => records[index]!)
}

async function sample(vault: Vault, record: RecordId): Promise<'whole' | 'damaged' | 'no-ciphertext'> {
  try {
    const entry = await vault.entry(record)
    if (entry === null || entry.leaves.length === 0) return 'no-ciphertext'
    await vault.piece(record, randomInt(entry.leaves.length))
    return 'whole'
  } catch (error) {
    if (error instanceof EmrmError && error.code === 'piece-corrupt') return 'damaged'
    // Removed in between.
    if (error instanceof EmrmError && error.code === 'record-not-held') return 'no-ciphertext'
    throw error
  }
}
