// The end of a record's life: record.ask-erasure (the patient or a guardian asks), record.erase (the custodian executes), record.destroyed (each
// holder signs that it has destroyed what it had). Retention comes before erasure: as long as the law's clock runs, asking and erasing are
// both refused as `retention-not-over`, and the refusal stands on the chain. The clock is the parameter for the record's encounter,
// counted from the patient's last visit of that kind at the custodian; the law of the day counts, not that of the registration.
// A receipt is a statement under the institution's key, not a proof: nobody can prove that no copy is left.
// Not here: the destruction itself (records/eraser.ts).

import type { Identifier, RecordId, Timestamp } from '../model/ids.ts'
import { asTimestamp } from '../model/ids.ts'
import type { Encounter, Outcome, RecordAskErasure, RecordDestroyed, RecordErase } from '../model/operations.ts'
import { DESTROYABLES } from '../model/operations.ts'
import { placedWith } from '../model/placement.ts'
import { actingInstitution, actingUser, identifierOfKey } from './actors.ts'
import { committeeEntryAt } from './committee.ts'
import { type Context, DONE, refused } from './context.ts'
import type { Erasure, RecordEntry } from './entries.ts'
import { signerFault } from './policies.ts'
import type { Store } from './store.ts'
import { sortedSet } from './syntax.ts'

export type Retention = {
  readonly encounter: Encounter
  /** The chain parameter of that encounter. */
  readonly periodMs: number
  /** The patient's last visit of that kind at the custodian. */
  readonly since: Timestamp
  /** From here on it may be erased. */
  readonly until: Timestamp
}

export function retentionOf(store: Store, record: RecordEntry): Retention {
  const { owner, custodian, encounter, lastVisit } = record
  const { retentionInpatientMs, retentionOutpatientMs } = store.now().parameters
  const periodMs = encounter === 'inpatient' ? retentionInpatientMs : retentionOutpatientMs
  const since = asTimestamp(Math.max(lastVisit, store.visits.get(visitName(owner, custodian, encounter))?.last ?? 0))
  return { encounter, periodMs, since, until: asTimestamp(since + periodMs) }
}

/** Another visit of the patient, or a record that came from another custodian, moves the clock forward and never back. */
export function noteVisit(
  store: Store,
  custodian: Identifier,
  owner: Identifier,
  encounter: Encounter,
  at: Timestamp,
): void {
  const name = visitName(owner, custodian, encounter)
  const before = store.visits.get(name)?.last ?? 0
  if (at > before) store.visits.put(name, { last: at })
}

/** What cannot be erased yet is refused at once: the patient hears the ground when asking, not after a silence of years. */
export function onRecordAskErasure(context: Context, operation: RecordAskErasure): Outcome {
  const { store, request, height, time } = context
  if (actingUser(context) === null) return refused('not-authorized')
  const record = store.records.get(operation.record)
  // Another patient's record looks as if it did not exist.
  if (record === undefined || signerFault(context, record.owner, scopeOf(record)) !== null)
    return refused('unknown-record')
  if (record.twinOf !== null) return refused('invalid-operation')
  if (store.erasures.has(record.record)) return refused('already-exists')
  if (time < retentionOf(store, record).until) return refused('retention-not-over')
  const asked = { record: record.record, owner: record.owner, askedBy: request.client, asked: height }
  store.erasures.put(record.record, { ...asked, erased: null, owing: [], complete: null })
  return DONE
}

/** Final. The twins fall with the original: they were made from the same bytes. */
export function onRecordErase(context: Context, operation: RecordErase): Outcome {
  const { store, time } = context
  const institution = actingInstitution(context)
  if (institution === null) return refused('not-authorized')
  const record = store.records.get(operation.record)
  if (record === undefined) return refused('unknown-record')
  if (record.custodian !== institution.id) return refused('not-authorized')
  if (record.twinOf !== null) return refused('invalid-operation')
  const erasure = store.erasures.get(record.record)
  if (erasure !== undefined && erasure.erased !== null) return refused('already-exists')
  if (time < retentionOf(store, record).until) return refused('retention-not-over')
  if (erasure === undefined) return refused('erasure-not-asked')
  for (const id of [record.record, ...(store.twins.get(record.record)?.twins ?? [])]) end(context, id, erasure)
  return DONE
}

function end(context: Context, id: RecordId, { owner, askedBy, asked }: Erasure): void {
  const { store, height } = context
  const record = store.records.get(id)
  if (record === undefined) return
  store.records.put(id, { ...record, withdrawn: true, twin: null })
  store.adoptions.delete(id)
  const owing = owingOf(context, record)
  store.erasures.put(id, { record: id, owner, askedBy, asked, erased: height, owing, complete: null })
}

/**
 * Who must have something of it, by the chain's knowledge: those that the key was dealt to, the present committee, the custodian, the
 * replica holders, and whoever was ever granted to share. Removed ones too: what they have is still there, and they are shown as missing.
 */
function owingOf({ store, committee }: Context, record: RecordEntry): readonly Identifier[] {
  const dealt = committeeEntryAt(store, record.height)?.validators.slice(0, record.shareCount) ?? []
  const candidates = store.institutions.under().filter(({ id, removed }) => !removed && id !== record.custodian)
  return sortedSet([
    ...[...dealt, ...committee.validators].map(({ publicKey }) => identifierOfKey(publicKey)),
    record.custodian,
    ...placedWith(record.record, candidates, store.now().parameters.replicas).map(({ id }) => id),
    ...store.sharers.under(record.record).map(({ institution }) => institution),
  ])
}

/** Once for each institution, also for one of which nobody knew that it held anything. */
export function onRecordDestroyed(context: Context, operation: RecordDestroyed): Outcome {
  const { store, height, time } = context
  const institution = actingInstitution(context)
  if (institution === null) return refused('not-authorized')
  const { record, destroyed } = operation
  if (!destroyed.every(thing => DESTROYABLES.includes(thing))) return refused('unknown-code')
  const erasure = store.erasures.get(record)
  if (erasure === undefined || erasure.erased === null) return refused('record-not-erased')
  const name = `${record}/${institution.id}`
  if (store.destructions.has(name)) return refused('already-exists')
  store.destructions.put(name, {
    ...{ record, institution: institution.id, destroyed: sortedSet(destroyed), height, time },
  })
  const isLast = erasure.complete === null && erasure.owing.every(id => store.destructions.has(`${record}/${id}`))
  if (isLast) store.erasures.put(record, { ...erasure, complete: height })
  return DONE
}

/** Erased, as far as the chain goes: what is left of it anywhere has to be destroyed. */
export const isErased = (store: Store, record: RecordId): boolean =>
  (store.erasures.get(record)?.erased ?? null) !== null

const scopeOf = ({ record }: RecordEntry) => ({ type: 'record', record }) as const

const visitName = (owner: Identifier, custodian: Identifier, encounter: Encounter): string =>
  `${owner}/${custodian}/${encounter}`
