// Which institutions hold a record's ciphertext: its custodian; those that rendezvous hashing of the record's id chooses, so that every peer
// finds the same ones without asking, and one that joins or leaves moves few records; and those to whom the right to share was granted.
// The next ones in the same order stand in for those that are full.
// Not here: copying (deposit.ts, caretaker.ts).

import type { Identifier } from '../model/ids.ts'
import type { Grant } from '../model/operations.ts'
import { placedWith } from '../model/placement.ts'
import { type InstitutionFacts, institutionOf, type LedgerView, type RecordFacts } from './ledger-view.ts'

type Placed = Pick<RecordFacts, 'record' | 'custodian'>

type Places = Pick<LedgerView, 'institutions' | 'parameters'>

/** As many as the chain's parameter says. */
export const replicaHolders = (entry: Placed, ledger: Places): readonly InstitutionFacts[] =>
  firstFew(entry, ledger, ledger.parameters().replicas)

/** Who is asked to hold instead when one of the holders has no room, and is asked last for pieces: as many again. */
export function standIns(entry: Placed, ledger: Places): readonly InstitutionFacts[] {
  const { replicas } = ledger.parameters()
  return firstFew(entry, ledger, 2 * replicas).slice(replicas)
}

/** Highest weight first; neither the custodian nor a removed institution. */
function firstFew({ record, custodian }: Placed, ledger: Places, count: number): readonly InstitutionFacts[] {
  const candidates = ledger.institutions().filter(({ id, removed }) => !removed && id !== custodian)
  return placedWith(record, candidates, count)
}

/** Everyone who may and should have the ciphertext now, in the order in which to ask: custodian, replicas, who was granted to share. */
export function holdersOf(entry: Placed, ledger: LedgerView): readonly InstitutionFacts[] {
  const custodian = institutionOf(ledger, entry.custodian)
  const placed = custodian === null || custodian.removed ? [] : [custodian]
  const all = [...placed, ...replicaHolders(entry, ledger), ...shareHolders(entry, ledger)]
  return [...new Map(all.map(holder => [holder.id, holder])).values()]
}

export const isHolder = (entry: Placed, id: Identifier, ledger: LedgerView): boolean =>
  holdersOf(entry, ledger).some(holder => holder.id === id)

/** Whether this institution may be given ciphertext to hold without a grant: a holder, or one that may stand in for one. */
export const mayHold = (entry: Placed, id: Identifier, ledger: LedgerView): boolean =>
  isHolder(entry, id, ledger) || standIns(entry, ledger).some(holder => holder.id === id)

/** `share` lets the requester's institution keep the record and serve it, for as long as the policy behind the grant would grant it again. */
function shareHolders({ record }: Placed, ledger: LedgerView): readonly InstitutionFacts[] {
  const found = new Map<Identifier, InstitutionFacts>()
  for (const grant of ledger.shareGrants(record)) {
    if (found.has(grant.institution)) continue
    const institution = institutionOf(ledger, grant.institution)
    if (institution !== null && !institution.removed && mayKeep(grant, ledger)) found.set(institution.id, institution)
  }
  return [...found.values()]
}

/** Grants that rest on no policy end when they expire. */
const WITHOUT_POLICY: readonly string[] = ['owner', 'delegate', 'emergency']

const mayKeep = (grant: Grant, ledger: LedgerView): boolean =>
  ledger.standing(grant) === null && (!WITHOUT_POLICY.includes(grant.basis) || ledger.head().timestamp < grant.expires)
