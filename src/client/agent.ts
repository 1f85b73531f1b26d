// The user's agent: turns what a patient, clinician or reviewer wants into a REQUEST (P-34) signed with the user's own key. The hospital's
// peer gets signed bytes and nothing else. Timestamps of one agent never repeat, so that two policies set in one millisecond are two
// (P-42: one permission value is set once). Not here: sending (the API), opening what was granted (open.ts).

import type { SigningKey } from '../identity/signing-key.ts'
import type { Request } from '../model/block.ts'
import { digestOf } from '../model/hash.ts'
import {
  asTimestamp,
  type Digest,
  type Identifier,
  type RecordId,
  type RequestId,
  type Verified,
} from '../model/ids.ts'
import type { AccessReview, DelegateSet, Operation, PolicySet, Purpose, Right, Role } from '../model/operations.ts'
import { createSealKey, type SealKey } from '../records/seal.ts'
import { makeRequest } from '../wire/verify.ts'

/** `recipient` is made for this one access and opens what comes back; whoever loses it has to ask again. */
export type AccessAttempt = { readonly request: Verified<Request>; readonly recipient: SealKey }

type Own<T> = Omit<T, 'type' | 'timestamp' | 'owner'> & {
  /** A guardian names the patient; the default is the signer. */
  readonly owner?: Identifier
}

export type Agent = {
  /** The signer's identifier (P-32). */
  readonly identifier: Identifier
  /** Signs any operation as it is. */
  sign(operation: Operation): Verified<Request>
  setPolicy(policy: Own<PolicySet>): Verified<Request>
  revokePolicy(policy: RequestId, owner?: Identifier): Verified<Request>
  setDelegate(delegate: Own<DelegateSet>): Verified<Request>
  revokeDelegate(delegate: Identifier, owner?: Identifier): Verified<Request>
  requestAccess(wish: {
    readonly record: RecordId
    readonly role: Role
    readonly purpose: Purpose
    readonly right: Right
  }): AccessAttempt
  requestEmergency(wish: { readonly record: RecordId; readonly role: Role; readonly reason: string }): AccessAttempt
  /** `commitment`: of the record that was opened, as it stands on the chain. */
  giveReceipt(grant: RequestId, commitment: Digest): Verified<Request>
  review(grant: RequestId, verdict: AccessReview['verdict'], note: string): Verified<Request>
}

export function makeAgent(options: {
  /** Chain id. */
  readonly network: Digest
  readonly key: SigningKey
  /** Milliseconds since 1970. */
  readonly now: () => number
}): Agent {
  const { network, key, now } = options
  let last = 0
  const nextTime = () => {
    last = Math.max(now(), last + 1)
    return asTimestamp(last)
  }
  const signAt = (operation: Operation, timestamp = nextTime()): Verified<Request> =>
    makeRequest({
      ...{ network, operation, timestamp, scheme: key.scheme, publicKey: key.publicKey, client: key.identifier },
      sign: bytes => key.sign(bytes),
    })
  const attempt = (make: (recipient: Digest) => Operation): AccessAttempt => {
    const recipient = createSealKey()
    return { request: signAt(make(digestOf(recipient.publicBytes))), recipient }
  }
  const own = key.identifier

  return {
    identifier: own,
    sign: operation => signAt(operation),
    setPolicy: ({ owner = own, ...policy }) => {
      const timestamp = nextTime()
      return signAt({ type: 'policy.set', owner, ...policy, timestamp }, timestamp)
    },
    revokePolicy: (policy, owner = own) => {
      const timestamp = nextTime()
      return signAt({ type: 'policy.revoke', owner, policy, timestamp }, timestamp)
    },
    setDelegate: ({ owner = own, ...delegate }) => {
      const timestamp = nextTime()
      return signAt({ type: 'delegate.set', owner, ...delegate, timestamp }, timestamp)
    },
    revokeDelegate: (delegate, owner = own) => {
      const timestamp = nextTime()
      return signAt({ type: 'delegate.revoke', owner, delegate, timestamp }, timestamp)
    },
    requestAccess: wish => attempt(recipient => ({ type: 'access.request', ...wish, recipient })),
    requestEmergency: wish => attempt(recipient => ({ type: 'access.emergency', ...wish, recipient })),
    giveReceipt: (grant, sha256Commitment) => signAt({ type: 'access.receipt', grant, sha256Commitment }),
    review: (grant, verdict, note) => signAt({ type: 'access.review', grant, verdict, note }),
  }
}
