// Which institutions hold a record's ciphertext beside its custodian: rendezvous hashing of the record's id over the institutions, so that
// every peer finds the same ones without asking, and one that joins or leaves moves few records. Not here: copying (deposit.ts).

import { fromHex, sha256 } from '../model/hash.ts'
import type { Identifier, RecordId } from '../model/ids.ts'
import type { InstitutionFacts, LedgerView, RecordFacts } from './ledger-view.ts'

/** As many as the chain's parameter says. Highest weight first; neither the custodian nor a removed institution. */
export function replicaHolders(
  { record, custodian }: Pick<RecordFacts, 'record' | 'custodian'>,
  ledger: Pick<LedgerView, 'institutions' | 'parameters'>,
): readonly InstitutionFacts[] {
  const weighed = ledger
    .institutions()
    .filter(({ id, removed }) => !removed && id !== custodian)
    .map(institution => ({ institution, weight: weightOf(record, institution.id) }))
  weighed.sort((a, b) => Buffer.compare(b.weight, a.weight))
  return weighed.slice(0, ledger.parameters().replicas).map(({ institution }) => institution)
}

const weightOf = (record: RecordId, institution: Identifier): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('emrm/replica/1'), fromHex(record), fromHex(institution)]))
