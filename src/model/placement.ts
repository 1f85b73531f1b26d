// Where a record's ciphertext is kept beside its custodian: rendezvous hashing of the record's id over the institutions, so that every peer
// and the ledger find the same ones without asking, and one that joins or leaves moves few records. Not here: who else may hold it.

import { fromHex, sha256 } from './hash.ts'
import type { Identifier, RecordId } from './ids.ts'

/** Highest weight first; `candidates`: those that may be chosen at all. */
export function placedWith<T extends { readonly id: Identifier }>(
  record: RecordId,
  candidates: readonly T[],
  count: number,
): readonly T[] {
  const weighed = candidates.map(candidate => ({ candidate, weight: weightOf(record, candidate.id) }))
  weighed.sort((a, b) => Buffer.compare(b.weight, a.weight))
  return weighed.slice(0, count).map(({ candidate }) => candidate)
}

const weightOf = (record: RecordId, institution: Identifier): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('emrm/replica/1'), fromHex(record), fromHex(institution)]))
