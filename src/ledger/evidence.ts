// evidence.submit: proof that a validator lied (consensus.md §1.8). Recorded once for each fault, and it costs the liar half its score, so
// that the next ranking feels it whatever the scale. The proof's signatures are checked by an injected function: they need wire's bytes.

import type { FaultName } from '../model/messages.ts'
import type { EvidenceSubmit, Outcome } from '../model/operations.ts'
import { actingInstitution } from './actors.ts'
import { type Context, DONE, refused } from './context.ts'
import { isWhole } from './syntax.ts'

const FAULTS: Readonly<Record<FaultName, true>> = {
  'two-proposals-in-one-view': true,
  'two-commits-in-one-view': true,
  'two-block-ids-in-one-view': true,
  'two-view-changes-for-one-view': true,
  'vote-hidden-in-view-change': true,
  'certificate-hidden-in-view-change': true,
  'unjustified-proposal': true,
}

export function onEvidenceSubmit(context: Context, operation: EvidenceSubmit): Outcome {
  const { store, request, height, committee } = context
  const submitter = actingInstitution(context)
  const validates = committee.validators.some(validator => validator.publicKey === submitter?.publicKey)
  if (submitter === null || !validates) return refused('not-authorized')
  const accused = store.institutions.get(operation.validator)
  if (accused === undefined) return refused('unknown-institution')
  if (!Object.hasOwn(FAULTS, operation.fault)) return refused('unknown-code')
  if (!isWhole(operation.height) || operation.height < 1 || operation.height > height)
    return refused('invalid-operation')
  const name = `${accused.id}/${operation.fault}-${String(operation.height).padStart(16, '0')}`
  if (store.evidence.has(name)) return refused('already-exists')
  if (!context.verifyEvidence(operation)) return refused('invalid-operation')
  store.evidence.put(name, {
    ...{ validator: accused.id, fault: operation.fault, faultHeight: operation.height },
    ...{ submitter: submitter.id, request: request.id, height },
  })
  store.institutions.put(accused.id, { ...accused, score: Math.floor(accused.score / 2), faults: accused.faults + 1 })
  return DONE
}
