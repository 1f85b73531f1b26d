// record.redeal, record.reshare: a record's key follows the committee. The custodian announces that it will collect the shares and deal the
// key anew, so that whoever reads the chain sees that it could; the new deal counts when 2f+1 of the new committee have signed for their
// shares. The key itself stays (`keyCommit`). Not here: collecting and dealing (records/redeal.ts).

import { isHexadecimal, type Timestamp } from '../model/ids.ts'
import type { Outcome, RecordRedeal, RecordReshare } from '../model/operations.ts'
import { acksNeeded, dealStands, redealAckBytes, shareLossBytes } from '../model/redeal.ts'
import { actingInstitution } from './actors.ts'
import { type Context, DONE, type Refused, refused } from './context.ts'
import type { RecordEntry } from './entries.ts'

/** Replaces an earlier announcement: its secret key died with the process that made it. */
export function onRecordRedeal(context: Context, operation: RecordRedeal): Outcome {
  const { store, request, height, time, committee, committeeAt } = context
  const record = ownRecord(context, operation)
  if ('reason' in record) return record
  if (!isHexadecimal(operation.recipient, 64)) return refused('invalid-operation')
  const dealt = committeeAt(record.dealtAt)
  if (dealt !== null && dealStands(dealt, committee) && !isLost(context, record, operation))
    return refused('already-exists')
  const expires = (time + store.now().parameters.grantMs) as Timestamp
  const { recipient } = operation
  store.redeals.put(record.record, {
    ...{ intent: request.id, record: record.record, custodian: record.custodian, recipient, height, time, expires },
  })
  return DONE
}

export function onRecordReshare(context: Context, operation: RecordReshare): Outcome {
  const { store, committee, committeeAt } = context
  const record = ownRecord(context, operation)
  if ('reason' in record) return record
  const { intent, shareRoot, shareCount, threshold } = operation
  const redeal = store.redeals.get(record.record)
  if (redeal?.intent !== intent) return refused('redeal-closed')
  const target = committeeAt(redeal.height)
  if (target === null || !dealStands(target, committee)) return refused('redeal-closed')
  const { f, n } = target.quorum
  if (shareCount !== n || !isHexadecimal(shareRoot, 64) || shareRoot === record.shareRoot)
    return refused('invalid-operation')
  // f cannot open it, and without f it still opens.
  if (threshold < 2 || threshold <= f || threshold > n - f) return refused('invalid-operation')
  if (acknowledged(context, operation) < acksNeeded(target)) return refused('not-acknowledged')
  store.redeals.delete(record.record)
  store.records.put(record.record, { ...record, shareRoot, shareCount, threshold, dealtAt: redeal.height })
  return DONE
}

function ownRecord(context: Context, operation: RecordRedeal | RecordReshare): RecordEntry | Refused {
  const institution = actingInstitution(context)
  if (institution === null) return refused('not-authorized')
  const record = context.store.records.get(operation.record)
  if (record === undefined) return refused('unknown-record')
  if (record.custodian !== institution.id || record.withdrawn) return refused('not-authorized')
  return record
}

/** A disk that was lost takes its share along: without a new deal every such loss would bring the record nearer to its end. */
function isLost(context: Context, { record, shareRoot, dealtAt }: RecordEntry, { losses }: RecordRedeal): boolean {
  const { chainId, committeeAt, verifySignature } = context
  const validators = committeeAt(dealtAt)?.validators ?? []
  return losses.some(({ index, signature }) => {
    const validator = validators[index]
    const signed = shareLossBytes({ chainId, record, index, shareRoot })
    return validator !== undefined && verifySignature(validator.publicKey, signed, signature)
  })
}

/** Validators of the intent's committee whose signature is good, each counted once. */
function acknowledged(context: Context, { record, intent, shareRoot, acks }: RecordReshare): number {
  const { store, chainId, committeeAt, verifySignature } = context
  const validators = committeeAt(store.redeals.get(record)!.height)!.validators
  const good = new Set<number>()
  for (const { index, signature } of acks) {
    const validator = validators[index]
    if (validator === undefined) continue
    const signed = redealAckBytes({ chainId, record, intent, index, shareRoot })
    if (verifySignature(validator.publicKey, signed, signature)) good.add(index)
  }
  return good.size
}
