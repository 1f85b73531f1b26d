// What a simulated world is made of besides replicas: who signs and judges, what a chain is, what a request is. The cheap set is for
// long campaigns; the real one (real-parts.ts) is what a peer runs.

import type { Request } from '../../src/model/block.ts'
import { type Committee, leadAfter } from '../../src/model/committee.ts'
import type { ValidatorIndex } from '../../src/model/ids.ts'
import type { CommitCertificate, ConsensusMessage, DecideCertificate } from '../../src/model/messages.ts'
import type { VoteRecord } from '../../src/model/vote-record.ts'
import { type Application, makeApplication, makeSimRequest } from './application.ts'
import { type Pen, SignatureOracle } from './oracle.ts'

export type Notary = {
  penOf(sender: ValidatorIndex): Pen
  /** The message as its receiver reads it; null: a signature or the form is wrong. */
  open(message: ConsensusMessage): ConsensusMessage | null
  holdsCertificate(certificate: CommitCertificate | DecideCertificate): boolean
}

export type Parts = {
  readonly notary: Notary
  readonly committee: Committee
  /** Added to virtual time, ms. */
  readonly epochMs: number
  readonly makeApplication: () => Application
  readonly makeRequest: (number: number) => Request
  /** A record of a vote as it comes back from a disk. */
  readonly stored: (record: VoteRecord) => VoteRecord
}

export const makeSimParts = (committee: Committee, rotationBlocks = 0): Parts => ({
  notary: new SignatureOracle(),
  committee,
  epochMs: 0,
  makeApplication: () => makeApplication(header => leadAfter(header, committee, rotationBlocks)),
  makeRequest: makeSimRequest,
  stored: record => record,
})
