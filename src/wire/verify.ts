// The judge: past this door `Verified<M>` means that every signature, hash, threshold and limit was checked (consensus.md §1.2). What
// is checked once is remembered by its exact bytes, so that a request of the mempool is not verified again inside a block, nor a vote
// inside a certificate. A fault names its sender only when the sender's own signature covers the lie; what anyone on the way could
// have put there blames nobody.
// Not here: rules that need the state of a replica or of the ledger (R2: who is primary, `select`, state digest, clock).

import { Behind } from '../model/behind.ts'
import type { Block, Request } from '../model/block.ts'
import type { Committee } from '../model/committee.ts'
import { digestOf } from '../model/hash.ts'
import { type Digest, type Height, previousHeight, type ValidatorIndex, type Verified } from '../model/ids.ts'
import { leafText } from '../model/merkle.ts'
import type {
  Body,
  Commit,
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Decided,
  PrePrepare,
  Signed,
  SignedMessage,
  ViewChange,
} from '../model/messages.ts'
import type { SignatureJob } from '../ports.ts'
import { decodeBlock } from './block-codec.ts'
import { WireFault } from './fault.ts'
import { REQUEST_BYTES_MAX } from './limits.ts'
import { decodeMessage, messageSignedBytes, voteSignedBytes } from './messages-codec.ts'
import { Recent } from './recent.ts'
import { decodeRequest, signedBytesOf, signedPrefix, statementOf } from './request-codec.ts'
import { verifySignature, verifyUserSignature } from './signature.ts'

export { makeRequest, signMessage } from './sign.ts'
export { verifySignature, verifyUserSignature } from './signature.ts'

export type Checked<T> =
  | { readonly type: 'ok'; readonly value: Verified<T> }
  /** `sender`: the validator whose signature proves the fault; null when nobody can be blamed. */
  | { readonly type: 'fault'; readonly reason: string; readonly sender: ValidatorIndex | null }
  /** The committee of that height is not known yet: nothing was checked. */
  | { readonly type: 'unknown-height'; readonly height: Height }

export type Verifier = {
  request(bytes: Uint8Array): Checked<Request>
  message(bytes: Uint8Array): Checked<ConsensusMessage>
  /** A block's exact bytes, as they come from /emrm/body/1. */
  body(bytes: Uint8Array): Checked<Body>
  /** `block` and `certificate` as the codec decoded them. */
  decided(block: Block, certificate: DecideCertificate): Checked<Decided>
  /** Signatures that `decided` would check here and now. `remember` is to be called when all of them hold; `decided` then only counts them. Null when the committee is not known yet. */
  signaturesOf(block: Block, certificate: DecideCertificate): SignaturesOf | null
  /** Alone, for who has the header and not the block. */
  certificate(certificate: DecideCertificate): Checked<DecideCertificate>
}

export type SignaturesOf = { readonly jobs: readonly SignatureJob[]; remember(): void }

/** Bytes of requests that are remembered as verified. */
const REQUEST_CACHE_BYTES = 24 * 1024 * 1024
/** Signatures of validators that are remembered as verified: fifty heights of 200 validators. */
const SIGNATURE_CACHE = 20_000

type Lie = { readonly reason: string; readonly sender: ValidatorIndex | null }
type Unknown = { readonly unknown: Height }

/** `committeeAt`: null for heights whose committee is not known (yet). */
export function makeVerifier(options: {
  readonly chainId: Digest
  readonly committeeAt: (height: Height) => Committee | null
}): Verifier {
  const { chainId, committeeAt } = options
  const requests = new Recent<Verified<Request>>(REQUEST_CACHE_BYTES)
  /** Checked in a thread, together with a range of blocks. */
  const provenRequests = new WeakSet<Request>()
  const provenCertificates = new WeakSet<DecideCertificate>()
  const signatures = new Recent<string>(SIGNATURE_CACHE)
  const knownRequest = (leaf: string): Verified<Request> | undefined => requests.get(leaf)
  const signedInput = new Behind(signedPrefix(chainId))

  return {
    request: bytes => guarded(() => checkRequestBytes(bytes)),
    message: bytes => guarded(() => checkMessage(decodeMessage(bytes, knownRequest))),
    body: bytes => guarded(() => checkBody({ type: 'BODY', block: decodeBlock(bytes, knownRequest) })),
    decided: (block, certificate) => guarded(() => checkDecided({ type: 'DECIDED', block, certificate })),
    signaturesOf,
    certificate: certificate => guarded(() => checkCertificate(certificate)),
  }

  // ---- requests and blocks ----

  function checkRequestBytes(bytes: Uint8Array): Checked<Request> {
    if (bytes.length > REQUEST_BYTES_MAX) return fault('too-large')
    const leaf = leafText(bytes)
    const known = knownRequest(leaf)
    if (known !== undefined) return { type: 'ok', value: known }
    const request = decodeRequest(ownBytes(bytes), leaf)
    const reason = lieOfRequest(request)
    return reason === null ? { type: 'ok', value: remember(request) } : fault(reason)
  }

  function lieOfRequest(request: Request): string | null {
    if (request.network !== chainId) return 'wrong-network'
    const signed = signedInput.lay(statementOf(request))
    // That the key may speak for the client, the registry decides (ledger/actors.ts): keys are rotated.
    const { scheme, publicKey, signature } = request
    return verifyUserSignature(scheme, publicKey, signed, signature) ? null : 'request-signature'
  }

  function remember(request: Request): Verified<Request> {
    const bytes = ownBytes(request.bytes)
    const kept = (bytes === request.bytes ? request : { ...request, bytes }) as Verified<Request>
    requests.set(kept.leaf, kept, bytes.length)
    return kept
  }

  /** Root, count and id hold by decoding (block-codec.ts). */
  function lieOfBlock(block: Block): string | null {
    if (block.header.chainId !== chainId) return 'wrong-chain'
    for (const request of block.requests) {
      if (provenRequests.has(request) || knownRequest(request.leaf) !== undefined) continue
      const reason = lieOfRequest(request)
      if (reason !== null) return reason
      remember(request)
    }
    return null
  }

  function checkBody(message: Body): Checked<Body> {
    const reason = lieOfBlock(message.block)
    return reason === null ? ok(message) : fault(reason)
  }

  function checkDecided(message: Decided): Checked<Decided> {
    const { block, certificate } = message
    if (certificate.height !== block.header.height) return fault('height-differs')
    if (certificate.id !== block.id) return fault('id-differs')
    const committee = committeeAt(certificate.height)
    if (committee === null) return { type: 'unknown-height', height: certificate.height }
    // The certificate is cheaper than the block's signatures and says the most: first.
    const reason = lieOfDecision(certificate, committee) ?? lieOfBlock(block)
    return reason === null ? ok(message) : fault(reason)
  }

  /** The committee of a height that is known never becomes another, so what held for it holds. */
  function signaturesOf(block: Block, certificate: DecideCertificate): SignaturesOf | null {
    const committee = committeeAt(certificate.height)
    if (committee === null) return null
    const type = certificate.path === 'FAST' ? 'COMMIT' : 'BLOCK-ID'
    const signed = voteSignedBytes(type, certificate, chainId, committee.hash)
    const jobs: SignatureJob[] = []
    for (const { sender, signature } of certificate.votes) {
      const validator = committee.validators[sender]
      if (validator === undefined) return null
      jobs.push({ publicKey: validator.publicKey, bytes: signed, signature })
    }
    const requested = block.requests.filter(request => isToBeProven(request))
    for (const request of requested) {
      const { publicKey, signature, network } = request
      jobs.push({ publicKey, bytes: signedBytesOf(network, statementOf(request)), signature })
    }
    const remember = (): void => {
      provenCertificates.add(certificate)
      for (const request of requested) provenRequests.add(request)
    }
    return { jobs, remember }
  }

  /** Accounts (scheme 2) are checked where they stand. */
  function isToBeProven(request: Request): boolean {
    if (request.scheme !== 1 || request.network !== chainId) return false
    return !provenRequests.has(request) && knownRequest(request.leaf) === undefined
  }

  function checkCertificate(certificate: DecideCertificate): Checked<DecideCertificate> {
    const committee = committeeAt(certificate.height)
    if (committee === null) return { type: 'unknown-height', height: certificate.height }
    const reason = lieOfDecision(certificate, committee)
    return reason === null ? ok(certificate) : fault(reason)
  }

  // ---- messages ----

  function checkMessage(message: ConsensusMessage): Checked<ConsensusMessage> {
    switch (message.type) {
      case 'FETCH':
        return ok(message)
      case 'BODY':
        return checkBody(message)
      case 'DECIDED':
        return checkDecided(message)
      case 'PRE-PREPARE':
      case 'COMMIT':
      case 'BLOCK-ID':
      case 'VIEW-CHANGE':
      case 'STATUS':
        return checkSigned(message)
    }
  }

  function checkSigned(message: SignedMessage): Checked<ConsensusMessage> {
    const committee = committeeAt(message.height)
    if (committee === null) return { type: 'unknown-height', height: message.height }
    if (committee.validators[message.sender] === undefined) return fault('unknown-sender')
    if (!holds(committee, message, messageSignedBytes(message, chainId, committee.hash))) return fault('signature')
    const lie = lieOfSigned(message, committee)
    if (lie === null) return ok(message)
    return 'unknown' in lie ? { type: 'unknown-height', height: lie.unknown } : { type: 'fault', ...lie }
  }

  /** Once its own signature holds. */
  function lieOfSigned(message: SignedMessage, committee: Committee): Lie | Unknown | null {
    switch (message.type) {
      case 'COMMIT':
      case 'BLOCK-ID':
      case 'STATUS':
        return null
      case 'VIEW-CHANGE': {
        const reason = lieOfViewChange(message, committee)
        return reason === null ? null : { reason, sender: isSignedLie(reason) ? message.sender : null }
      }
      case 'PRE-PREPARE':
        return lieOfPrePrepare(message, committee)
    }
  }

  /** Well-formed iff lastVote.view < v, highCC.view < v, and the attached certificate verifies (§1.2). */
  function lieOfViewChange(message: ViewChange, committee: Committee): string | null {
    const { view, lastVote, highCertificate } = message
    if (view < 1) return 'view-change-to-view-zero'
    if (lastVote !== null && lastVote.view >= view) return 'last-vote-not-below-view'
    if (highCertificate === null) return null
    if (highCertificate.view >= view) return 'certificate-not-below-view'
    return lieOfCertificate(highCertificate, message.height, committee)
  }

  function lieOfPrePrepare(message: PrePrepare, committee: Committee): Lie | Unknown | null {
    const { height, view, id, block, justification, sender } = message
    // The signature covers the id and the justification; the id covers the block. The block itself could be anyone's.
    if (block.id !== id) return { reason: 'id-differs', sender: null }
    const { header } = block
    if (header.height !== height) return { reason: 'height-differs', sender }
    if (header.author >= committee.validators.length) return { reason: 'unknown-author', sender }
    if (header.birthView > view) return { reason: 'born-after-its-view', sender }
    const unjustified = lieOfJustification(message, justification, committee)
    if (unjustified !== null) return { reason: unjustified, sender }
    const parent = lieOfParent(message)
    if (parent !== null) return parent
    const reason = lieOfBlock(block)
    return reason === null ? null : { reason, sender }
  }

  /** v = 0: none. v > 0: exactly n-f well-formed VIEW-CHANGEs for (h,v); the codec saw that their senders differ (R2). */
  function lieOfJustification(
    { height, view }: PrePrepare,
    justification: readonly ViewChange[],
    committee: Committee,
  ): string | null {
    const count = view === 0 ? 0 : committee.quorum.viewChange
    if (justification.length !== count) return 'justification-count'
    for (const change of justification) {
      if (change.height !== height || change.view !== view) return 'justification-for-another-view'
      if (committee.validators[change.sender] === undefined) return 'justification-sender'
      if (!holds(committee, change, messageSignedBytes(change, chainId, committee.hash)))
        return 'justification-signature'
      if (lieOfViewChange(change, committee) !== null) return 'justification-malformed'
    }
    return null
  }

  /** DECIDE-CERT(h-1) hangs on the message unsigned. */
  function lieOfParent(message: PrePrepare): Lie | Unknown | null {
    const { height, block, parentCertificate } = message
    if (parentCertificate === null) return height === 1 ? null : { reason: 'parent-certificate-missing', sender: null }
    if (height === 1) return { reason: 'parent-certificate-at-first-height', sender: null }
    if (parentCertificate.height !== height - 1) return { reason: 'parent-certificate-height', sender: null }
    if (parentCertificate.id !== block.header.parentId) return { reason: 'parent-certificate-id', sender: null }
    const committee = committeeAt(previousHeight(height))
    if (committee === null) return { unknown: previousHeight(height) }
    const reason = lieOfDecision(parentCertificate, committee)
    return reason === null ? null : { reason: `parent-${reason}`, sender: null }
  }

  // ---- certificates ----

  /** CC: q COMMITs of distinct validators for one (h,w,id). */
  function lieOfCertificate(certificate: CommitCertificate, height: Height, committee: Committee): string | null {
    if (certificate.height !== height) return 'certificate-height'
    if (certificate.commits.length < committee.quorum.commitCertificate) return 'certificate-below-quorum'
    return lieOfVotes('COMMIT', certificate, certificate.commits, committee)
  }

  /** DECIDE-CERT: FAST n-p COMMITs or SLOW r BLOCK-IDs for one (h,w,id). */
  function lieOfDecision(certificate: DecideCertificate, committee: Committee): string | null {
    const fast = certificate.path === 'FAST'
    const needed = fast ? committee.quorum.fast : committee.quorum.blockId
    if (certificate.votes.length < needed) return 'certificate-below-quorum'
    if (provenCertificates.has(certificate)) return null
    return lieOfVotes(fast ? 'COMMIT' : 'BLOCK-ID', certificate, certificate.votes, committee)
  }

  /** All votes sign one statement; the codec saw that their senders ascend. */
  function lieOfVotes(
    type: 'COMMIT' | 'BLOCK-ID',
    statement: Pick<Commit, 'height' | 'view' | 'id'>,
    votes: readonly Signed[],
    committee: Committee,
  ): string | null {
    const signed = voteSignedBytes(type, statement, chainId, committee.hash)
    const digest = digestOf(signed)
    for (const vote of votes) {
      if (committee.validators[vote.sender] === undefined) return 'certificate-sender'
      if (!holds(committee, vote, signed, digest)) return 'certificate-signature'
    }
    return null
  }

  /** Caller checked that the sender is in the committee. */
  function holds(committee: Committee, by: Signed, signed: Uint8Array, digest: Digest = digestOf(signed)): boolean {
    const { publicKey } = committee.validators[by.sender] as Committee['validators'][number]
    const key = textOf(by.signature)
    const proven = digest + publicKey
    if (signatures.get(key) === proven) return true
    if (!verifySignature(publicKey, signed, by.signature)) return false
    signatures.set(key, proven)
    return true
  }
}

/** The attached certificate's votes are not covered by the VIEW-CHANGE's signature; its view and id are. */
const isSignedLie = (reason: string): boolean =>
  !reason.startsWith('certificate-') || reason === 'certificate-not-below-view'

/** A key for a Map; one character for each byte. */
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

/** A view (which a Buffer's `slice` is) would keep the whole block or batch alive for one request. */
const ownBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)

const ok = <T extends object>(value: T): Checked<T> => ({ type: 'ok', value: value as Verified<T> })

const fault = (
  reason: string,
  sender: ValidatorIndex | null = null,
): { type: 'fault'; reason: string; sender: typeof sender } => ({
  type: 'fault',
  reason,
  sender,
})

/** Bytes that do not decode are a fault like any other. */
function guarded<T>(check: () => Checked<T>): Checked<T> {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof WireFault)) throw error
    return fault(error.reason)
  }
}
