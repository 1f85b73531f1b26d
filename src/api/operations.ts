// Signs an operation with a key and sends it through the running peer, the way every user's program does (P-34): the peer never sees the
// key. A refusal by the contract becomes an error with its reason as the code; a denial is an answer and stays one.

import type { SigningKey } from '../identity/signing-key.ts'
import { EmrmError } from '../model/errors.ts'
import type { Digest, RequestId, Timestamp } from '../model/ids.ts'
import type { Operation, Outcome, RefusalReason } from '../model/operations.ts'
import { makeRequest } from '../wire/verify.ts'
import type { Api } from './client.ts'

export type Executed = {
  readonly request: RequestId
  readonly height: number
  readonly outcome: Exclude<Outcome, { readonly type: 'refused' }>
}

/** Throws EmrmError with the contract's reason when it refuses, and what `Api.submit` throws. */
export async function submitOperation(
  api: Api,
  signing: { readonly key: SigningKey; readonly chainId: Digest; readonly timestamp: Timestamp },
  operation: Operation,
): Promise<Executed> {
  const { key, chainId, timestamp } = signing
  const request = makeRequest({
    network: chainId,
    operation,
    timestamp,
    scheme: key.scheme,
    publicKey: key.publicKey,
    client: key.identifier,
    sign: key.sign,
  })
  const line = await api.submit(request.bytes)
  const { outcome, height } = line as unknown as { outcome: Outcome; height: number }
  if (outcome.type === 'refused') throw refusedError(outcome.reason, operation.type, request.id, height)
  return { request: request.id, height, outcome }
}

/** The request stands in the chain at `height`, without effect. */
export function refusedError(reason: RefusalReason, operation: string, request: string, height: number): EmrmError {
  return new EmrmError(reason, `the network refused ${operation}: ${ADVICE[reason]}`, { operation, request, height })
}

const ADVICE: Readonly<Record<RefusalReason, string>> = {
  replayed: 'this request was executed before; sign a new one',
  stale: 'the request is too old for block time; check the clock and sign it again',
  future: 'the request is ahead of block time; check the clock and sign it again',
  'wrong-network': 'the request names another network; use the genesis.json of this one',
  'not-authorized': 'this key may not do that; use the key of the owner, the guardian, the CA or the authority',
  'unknown-institution': 'no such institution is registered; emrm status shows this one, genesis.json the first ones',
  'unknown-user': 'no such user is registered; register it first',
  'unknown-credential': 'this user has no such credential; emrm user credential show lists them',
  'unknown-record': 'there is no such record; check its id',
  'unknown-policy': 'there is no such policy in force; emrm policy list shows them',
  'unknown-grant': 'there is no such grant; check its id',
  'unknown-code': 'a role, purpose, label or code is not one that the network knows; check the spelling',
  'already-exists': 'it is there already; nothing was changed, look it up instead',
  'timestamp-not-above-last':
    'a policy for this owner, scope and grantee has this timestamp or a later one; set it again with a newer timestamp',
  'window-empty': 'the window ends before it begins; correct from and to',
  'invalid-operation': 'a field has a value that the contract does not take; check the options',
  'redeal-closed':
    'no re-deal of this record to the present committee is announced; the peer announces it again by itself',
  'not-acknowledged': 'fewer than 2f+1 validators have signed for their new shares; the peer tries again by itself',
  'retention-not-over': 'the law keeps this record for longer; emrm record show names the rule and the date',
  'erasure-not-asked': 'the patient, or a guardian, has not asked for it; emrm record ask-erasure does, with their key',
  'record-not-erased': 'nothing is to be destroyed before the custodian erases the record; emrm record show says more',
  'record-erased': 'the record was erased; nothing can be done with it any more',
  'review-closed': 'this emergency access was reviewed already; emrm audit shows the verdict',
}
