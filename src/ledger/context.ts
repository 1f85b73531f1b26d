// What a handler of an operation is given, and what it answers. A handler is a ladder of guards and then the one change: it writes
// nothing before the last guard, so a refused request leaves no trace in the state but its id.

import type { Rules } from '../access/rules.ts'
import type { Request } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import type { Digest, PublicKey, Timestamp } from '../model/ids.ts'
import type { EvidenceSubmit, Outcome, RefusalReason } from '../model/operations.ts'
import type { Store } from './store.ts'

export type Context = {
  readonly store: Store
  readonly request: Request
  readonly height: number
  /** Block time, the only clock. */
  readonly time: Timestamp
  readonly chainId: Digest
  readonly committee: Committee
  /** Null beyond the present epoch. */
  readonly committeeAt: (height: number) => Committee | null
  readonly rulesVersion: number
  readonly rules: Rules
  /** Whether the evidence's signatures prove the fault; the same on every peer. */
  readonly verifyEvidence: (operation: EvidenceSubmit) => boolean
  /** The one verifier (wire/verify); the same on every peer. */
  readonly verifySignature: VerifySignature
}

export type VerifySignature = (publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array) => boolean

export type Refused = Extract<Outcome, { type: 'refused' }>

export const DONE: Outcome = { type: 'done' }
export const refused = (reason: RefusalReason): Refused => ({ type: 'refused', reason })
