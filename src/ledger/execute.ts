// One operation on the state: the one switch of the contract (P-20). No default: an operation that the compiler does not find here does
// not compile, one that wire does not know never gets here.

import type { Operation, Outcome } from '../model/operations.ts'
import { onAccessEmergency, onAccessReceipt, onAccessRequest } from './access.ts'
import {
  onCaAuthorize,
  onCaRevoke,
  onInstitutionAdmit,
  onInstitutionRate,
  onInstitutionRemove,
  onRelationsSet,
  onValidatorsSet,
} from './consortium.ts'
import type { Context } from './context.ts'
import { onCredentialIssue, onCredentialRevoke } from './credentials.ts'
import { onDelegateRevoke, onDelegateSet } from './delegates.ts'
import { onRecordAskErasure, onRecordDestroyed, onRecordErase } from './erasure.ts'
import { onEvidenceSubmit } from './evidence.ts'
import { onUserRegister, onUserRevoke, onUserRotateKey } from './identity.ts'
import { onPolicyRevoke, onPolicySet } from './policies.ts'
import { onRecordAdopt, onRecordRegister, onRecordWithdraw } from './records.ts'
import { onRecordRedeal, onRecordReshare } from './redeals.ts'
import { onAccessReview } from './reviews.ts'

export function execute(context: Context, operation: Operation): Outcome {
  switch (operation.type) {
    case 'institution.admit':
      return onInstitutionAdmit(context, operation)
    case 'institution.rate':
      return onInstitutionRate(context, operation)
    case 'institution.remove':
      return onInstitutionRemove(context, operation)
    case 'validators.set':
      return onValidatorsSet(context, operation)
    case 'ca.authorize':
      return onCaAuthorize(context, operation)
    case 'ca.revoke':
      return onCaRevoke(context, operation)
    case 'relations.set':
      return onRelationsSet(context, operation)
    case 'user.register':
      return onUserRegister(context, operation)
    case 'user.revoke':
      return onUserRevoke(context, operation)
    case 'user.rotate-key':
      return onUserRotateKey(context, operation)
    case 'credential.issue':
      return onCredentialIssue(context, operation)
    case 'credential.revoke':
      return onCredentialRevoke(context, operation)
    case 'record.register':
      return onRecordRegister(context, operation)
    case 'record.withdraw':
      return onRecordWithdraw(context, operation)
    case 'record.adopt':
      return onRecordAdopt(context, operation)
    case 'record.redeal':
      return onRecordRedeal(context, operation)
    case 'record.reshare':
      return onRecordReshare(context, operation)
    case 'record.ask-erasure':
      return onRecordAskErasure(context, operation)
    case 'record.erase':
      return onRecordErase(context, operation)
    case 'record.destroyed':
      return onRecordDestroyed(context, operation)
    case 'policy.set':
      return onPolicySet(context, operation)
    case 'policy.revoke':
      return onPolicyRevoke(context, operation)
    case 'delegate.set':
      return onDelegateSet(context, operation)
    case 'delegate.revoke':
      return onDelegateRevoke(context, operation)
    case 'access.request':
      return onAccessRequest(context, operation)
    case 'access.emergency':
      return onAccessEmergency(context, operation)
    case 'access.receipt':
      return onAccessReceipt(context, operation)
    case 'access.review':
      return onAccessReview(context, operation)
    case 'evidence.submit':
      return onEvidenceSubmit(context, operation)
  }
}
