// record.register, record.withdraw, record.adopt: the index of what the hospitals hold (P-12, P-33). Signed by the custodian institution.
// Only digests and commitments; medical bytes never come here.

import { CONFIDENTIALITIES, isSensitivity } from '../access/sets.ts'
import type { RecordId } from '../model/ids.ts'
import { isHexadecimal } from '../model/ids.ts'
import type { Outcome, RecordAdopt, RecordRegister, RecordWithdraw } from '../model/operations.ts'
import { actingAuthority, actingInstitution } from './actors.ts'
import { authorityAgrees } from './approvals.ts'
import { type Context, DONE, type Refused, refused } from './context.ts'
import { isErased, noteVisit, retentionOf } from './erasure.ts'
import { isName, isWhole, LABELS_MAX, sortedSet } from './syntax.ts'

const SHARES_MAX = 200
/** Twins of one original, withdrawn ones too. */
const TWINS_MAX = 16

export function onRecordRegister(context: Context, operation: RecordRegister): Outcome {
  const { store, height, time } = context
  const institution = actingInstitution(context)
  if (institution === null || operation.custodian !== institution.id) return refused('not-authorized')
  if (!isRecordShape(operation)) return refused('invalid-operation')
  // f peers must not be able to open a record, whatever its custodian finds convenient.
  if (operation.threshold <= store.now().f) return refused('invalid-operation')
  if (!isDealtRecently(context, operation)) return refused('invalid-operation')
  if (!CONFIDENTIALITIES.includes(operation.confidentiality)) return refused('unknown-code')
  if (!operation.labels.every(isSensitivity)) return refused('unknown-code')
  if (!store.users.has(operation.owner)) return refused('unknown-user')
  if (store.records.has(operation.record)) return refused('already-exists')
  // A visit that is yet to come would keep the record for longer than the law does.
  if (operation.lastVisit > time + store.now().parameters.requestWindowFutureMs) return refused('future')
  const fault = twinFault(context, operation)
  if (fault !== null) return fault
  const { type: _, ...terms } = operation
  const entry = { ...terms, labels: sortedSet(terms.labels), height, time, withdrawn: false, twin: null }
  store.records.put(operation.record, entry)
  if (operation.twinOf !== null) addTwin(context, operation.twinOf, operation.record)
  else noteVisit(store, operation.custodian, operation.owner, operation.encounter, operation.lastVisit)
  return DONE
}

/** Final. Stops sharing; what the law makes the custodian keep stays in its vault. */
export function onRecordWithdraw(context: Context, operation: RecordWithdraw): Outcome {
  const { store } = context
  const institution = actingInstitution(context)
  if (institution === null) return refused('not-authorized')
  const record = store.records.get(operation.record)
  if (record === undefined) return refused('unknown-record')
  if (record.custodian !== institution.id) return refused('not-authorized')
  if (record.withdrawn) return refused('already-exists')
  store.records.put(record.record, { ...record, withdrawn: true, twin: null })
  store.redeals.delete(record.record)
  if (record.twinOf !== null) setTwin(context, record.twinOf, null)
  // A withdrawn original takes its twin along: it was made from the same bytes.
  if (record.twin !== null) {
    const twin = store.records.get(record.twin)
    if (twin !== undefined) store.records.put(twin.record, { ...twin, withdrawn: true })
  }
  return DONE
}

/** A custody hand-over needs both: the custodian offers, then the new one adopts. The authority stands in for a custodian that is gone. */
export function onRecordAdopt(context: Context, operation: RecordAdopt): Outcome {
  const { store } = context
  const record = store.records.get(operation.record)
  const institution = actingInstitution(context)
  if (institution === null && actingAuthority(context) === null) return refused('not-authorized')
  if (record === undefined) return refused('unknown-record')
  const heir = store.institutions.get(operation.custodian)
  if (heir === undefined || heir.removed) return refused('unknown-institution')
  if (isErased(store, record.record)) return refused('record-erased')
  if (operation.custodian === record.custodian) return refused('already-exists')
  const offer = { from: record.custodian, to: operation.custodian }
  if (institution === null) {
    if (store.institutions.get(record.custodian)?.removed !== true) return refused('not-authorized')
    return authorityAgrees(context, operation, () => store.adoptions.put(record.record, offer))
  }
  if (institution.id === record.custodian) {
    store.adoptions.put(record.record, offer)
    return DONE
  }
  const offered = store.adoptions.get(record.record)
  const mine = offered !== undefined && offered.from === record.custodian && offered.to === institution.id
  if (!mine || operation.custodian !== institution.id) return refused('not-authorized')
  store.adoptions.delete(record.record)
  // Announced by another custodian, with a key that this one has not.
  store.redeals.delete(record.record)
  // The clock of the old custodian goes along with the record.
  if (record.twinOf === null)
    noteVisit(store, institution.id, record.owner, record.encounter, retentionOf(store, record).since)
  store.records.put(record.record, { ...record, custodian: institution.id })
  return DONE
}

const isRecordShape = (operation: RecordRegister): boolean =>
  isHexadecimal(operation.record, 32) &&
  isName(operation.kind) &&
  operation.labels.length <= LABELS_MAX &&
  [operation.commitment, operation.cipherRoot, operation.shareRoot, operation.keyCommit].every(d =>
    isHexadecimal(d, 64),
  ) &&
  (operation.twinRules === null || isHexadecimal(operation.twinRules, 64)) &&
  isWhole(operation.cipherSize) &&
  isWhole(operation.lastVisit) &&
  (operation.encounter === 'outpatient' || operation.encounter === 'inpatient') &&
  isWhole(operation.shareCount, SHARES_MAX) &&
  isWhole(operation.threshold, operation.shareCount) &&
  operation.threshold >= 2

/** To the present committee, or to the one before: an epoch may have begun while the record was on its way. */
function isDealtRecently({ store, height, committeeAt }: Context, { dealtAt, shareCount }: RecordRegister): boolean {
  if (!isWhole(dealtAt, height) || committeeAt(dealtAt)?.validators.length !== shareCount) return false
  const [before] = store.committees.under().slice(-2)
  return before !== undefined && dealtAt >= before.from
}

/** A twin has the original's owner and custodian; one at a time, and no twin of a twin. */
function twinFault({ store }: Context, operation: RecordRegister): Refused | null {
  if ((operation.twinOf === null) !== (operation.twinRules === null)) return refused('invalid-operation')
  if (operation.twinOf === null) return null
  const original = store.records.get(operation.twinOf)
  if (original === undefined) return refused('unknown-record')
  if (original.owner !== operation.owner || original.custodian !== operation.custodian)
    return refused('invalid-operation')
  if (original.twinOf !== null || original.withdrawn) return refused('invalid-operation')
  if (original.twin !== null) return refused('already-exists')
  return (store.twins.get(original.record)?.twins.length ?? 0) < TWINS_MAX ? null : refused('invalid-operation')
}

function addTwin(context: Context, original: RecordId, twin: RecordId): void {
  const { twins } = context.store
  twins.put(original, { twins: [...(twins.get(original)?.twins ?? []), twin] })
  setTwin(context, original, twin)
}

function setTwin({ store }: Context, original: RecordId, twin: RecordId | null): void {
  const entry = store.records.get(original)
  if (entry !== undefined) store.records.put(original, { ...entry, twin })
}
