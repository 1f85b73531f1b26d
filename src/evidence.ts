// When a validator's lie proves itself on the chain (consensus.md §1.8, E1 … E7): how what a replica saw becomes `evidence.submit`, and the
// judge that every peer's ledger asks, which believes the two halves and nothing else. It answers the same everywhere and for ever: it
// needs only the committee of the height, which the ledger knows from the chain. No correct replica can be convicted by it: it never
// signs two such statements. Not here: the price of a lie (ledger/evidence.ts), and who accuses when (accuser.ts).

import { select } from './consensus/view-change.ts'
import type { Committee, Validator } from './model/committee.ts'
import { identifierOf } from './model/hash.ts'
import type { Digest, Height, Verified } from './model/ids.ts'
import type { Evidence, FaultName, ViewChange, VoteClaim } from './model/messages.ts'
import type { EvidenceSubmit } from './model/operations.ts'
import { encodeMessage, WireFault } from './wire/codec.ts'
import { decodeGrounds, decodeHalf, encodeGrounds, encodeHalf, type Statement } from './wire/evidence-codec.ts'
import { EVIDENCE_BYTES_MAX } from './wire/limits.ts'
import { type Verifier, verifySignature } from './wire/verify.ts'

/** Null when its proof is larger than a request may be (E7 in a large committee with certificates), or is none. */
export function evidenceOperation(evidence: Evidence, chainId: Digest, committee: Committee): EvidenceSubmit | null {
  const { fault, height, first, second } = evidence
  const accused = committee.validators[evidence.replica]
  if (accused === undefined) return null
  const firstHalf = encodeHalf(first, chainId, committee.hash)
  const secondHalf =
    second !== null
      ? encodeHalf(second, chainId, committee.hash)
      : first.type === 'PRE-PREPARE'
        ? encodeGrounds(first)
        : null
  if (secondHalf === null || secondHalf.length > EVIDENCE_BYTES_MAX || firstHalf.length > EVIDENCE_BYTES_MAX)
    return null
  const validator = identifierOf(accused.publicKey)
  return { type: 'evidence.submit', validator, fault, height, first: firstHalf, second: secondHalf }
}

type Court = {
  readonly chainId: Digest
  /** Of a height at or below the head: known from the chain. */
  readonly committeeAt: (height: Height) => Committee | null
  readonly verifier: Verifier
}

/** Whether the two halves prove this fault of this validator at this height. Never throws on bad bytes. */
export function provesFault(operation: EvidenceSubmit, court: Court): boolean {
  const committee = court.committeeAt(operation.height as Height)
  const accused = committee?.validators.find(({ publicKey }) => identifierOf(publicKey) === operation.validator)
  if (committee === null || accused === undefined) return false
  try {
    const first = statementBy(accused, operation.first, operation, committee, court)
    if (first === null) return false
    if (operation.fault === 'unjustified-proposal')
      return isUnjustified(first, operation.second, accused, committee, court)
    const second = statementBy(accused, operation.second, operation, committee, court)
    return second !== null && contradict(operation.fault as FaultName, first, second)
  } catch (error) {
    if (error instanceof WireFault) return false
    throw error
  }
}

/** Signed by the accused, for this chain, this committee and this height. */
function statementBy(
  accused: Validator,
  half: Uint8Array,
  operation: EvidenceSubmit,
  committee: Committee,
  court: Court,
): Statement | null {
  const { statement, chainId, committeeHash, signedBytes, signature } = decodeHalf(half)
  if (chainId !== court.chainId || committeeHash !== committee.hash || statement.height !== operation.height)
    return null
  return verifySignature(accused.publicKey, signedBytes, signature) ? statement : null
}

/** E1 to E6. */
function contradict(fault: FaultName, first: Statement, second: Statement): boolean {
  switch (fault) {
    case 'two-proposals-in-one-view':
      return areTwo('PRE-PREPARE', first, second)
    case 'two-commits-in-one-view':
      return areTwo('COMMIT', first, second)
    case 'two-block-ids-in-one-view':
      return areTwo('BLOCK-ID', first, second)
    case 'two-view-changes-for-one-view':
      return (
        first.type === 'VIEW-CHANGE' &&
        second.type === 'VIEW-CHANGE' &&
        first.view === second.view &&
        !(sameClaim(first.lastVote, second.lastVote) && sameClaim(first.highCertificate, second.highCertificate))
      )
    case 'vote-hidden-in-view-change': {
      if (first.type !== 'COMMIT' || second.type !== 'VIEW-CHANGE' || second.view <= first.view) return false
      const { lastVote } = second
      return (
        lastVote === null || lastVote.view < first.view || (lastVote.view === first.view && lastVote.id !== first.id)
      )
    }
    case 'certificate-hidden-in-view-change':
      return (
        first.type === 'BLOCK-ID' &&
        second.type === 'VIEW-CHANGE' &&
        second.view > first.view &&
        (second.highCertificate?.view ?? -1) < first.view
      )
    default:
      return false
  }
}

function areTwo(type: 'PRE-PREPARE' | 'COMMIT' | 'BLOCK-ID', first: Statement, second: Statement): boolean {
  if (first.type !== type || second.type !== type) return false
  return first.view === second.view && first.id !== second.id
}

const sameClaim = (a: VoteClaim | null, b: VoteClaim | null): boolean =>
  a === null || b === null ? a === b : a.view === b.view && a.id === b.id

/** E7: judged as every replica judges a proposal above view 0 (R2.1), from what its signature covers. */
function isUnjustified(
  proposal: Statement,
  bytes: Uint8Array,
  accused: Validator,
  committee: Committee,
  court: Court,
): boolean {
  if (proposal.type !== 'PRE-PREPARE' || proposal.view === 0) return false
  const { justification, justificationDigest, header, id } = decodeGrounds(bytes)
  if (justificationDigest !== proposal.justificationDigest || id !== proposal.id) return false
  if (justification.length !== committee.quorum.viewChange) return true
  for (const viewChange of justification) {
    if (viewChange.height !== proposal.height || viewChange.view !== proposal.view) return true
    if (!isWellFormed(viewChange, court)) return true
  }
  const selection = select(justification, committee.quorum)
  if (selection.type === 'forced') return selection.id !== id
  return header.author !== accused.index || header.birthView !== proposal.view
}

function isWellFormed(viewChange: ViewChange, { verifier }: Court): boolean {
  return verifier.message(encodeMessage(viewChange as Verified<ViewChange>)).type === 'ok'
}
