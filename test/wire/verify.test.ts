// The judge: bad data first. Who signed what, in which certificate, for which height, view, chain and committee.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Block, Request } from '../../src/model/block.ts'
import { type Committee, makeCommittee } from '../../src/model/committee.ts'
import type { Digest, Height, ValidatorIndex, View } from '../../src/model/ids.ts'
import type { ConsensusMessage, PrePrepare, SignedMessage } from '../../src/model/messages.ts'
import {
  decodeRequest,
  decodeStoredBlock,
  encodeMessage,
  encodeStoredBlock,
  sealRequest,
} from '../../src/wire/codec.ts'
import { encodeStatement } from '../../src/wire/request-codec.ts'
import { type Checked, makeVerifier, type SignaturesOf, type Verifier, verifySignature } from '../../src/wire/verify.ts'
import * as s from './samples.ts'

const verifier = (committeeAt: (height: Height) => Committee | null = () => s.committee): Verifier =>
  makeVerifier({ chainId: s.chainId, committeeAt })

const check = (message: ConsensusMessage, by: Verifier = verifier()): Checked<ConsensusMessage> =>
  by.message(encodeMessage(message))

function refused(message: ConsensusMessage, reason: string, sender: number | null = null): void {
  assert.deepEqual(check(message), { type: 'fault', reason, sender })
}

const flip = (signature: Uint8Array): Uint8Array => signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte))
const forged = <M extends SignedMessage>(message: M): M => ({ ...message, signature: flip(message.signature) })
const at = (index: number): ValidatorIndex => index as ValidatorIndex
const propose = (changes: Partial<PrePrepare>): PrePrepare => s.sign({ ...s.prePrepare, ...changes })

test('every correct message is accepted', () => {
  for (const [name, message] of Object.entries(s.messages)) assert.equal(check(message).type, 'ok', name)
})

test('a message whose signature is forged, or made by another validator, is refused and blames nobody', () => {
  for (const message of [s.prePrepare, s.secondProposal, s.commit, s.blockIdVote, s.viewChange(0), s.status]) {
    refused(forged(message), 'signature')
    refused({ ...message, sender: at((message.sender + 1) % 4) } as SignedMessage, 'signature')
  }
  refused({ ...s.commit, sender: at(4) }, 'unknown-sender')
})

test('a COMMIT never passes for a BLOCK-ID, nor for another height, view, block, chain or committee', () => {
  refused({ ...s.commit, type: 'BLOCK-ID' }, 'signature')
  refused({ ...s.commit, height: 3 as Height }, 'signature')
  refused({ ...s.commit, view: 1 as View }, 'signature')
  refused({ ...s.commit, id: s.first.id }, 'signature')
  const elsewhere = makeVerifier({ chainId: s.first.id, committeeAt: () => s.committee })
  assert.equal(elsewhere.message(encodeMessage(s.commit)).type, 'fault')
  const other = makeCommittee(s.committee.validators, 1, 0, s.first.id as Digest)
  assert.equal(
    check(
      s.commit,
      verifier(() => other),
    ).type,
    'fault',
  )
})

test('a message for a height whose committee is unknown is neither true nor false', () => {
  assert.deepEqual(
    check(
      s.commit,
      verifier(() => null),
    ),
    { type: 'unknown-height', height: 2 },
  )
  const onlySecond = verifier(height => (height === 2 ? s.committee : null))
  assert.deepEqual(check(s.prePrepare, onlySecond), { type: 'unknown-height', height: 1 })
})

test('a VIEW-CHANGE is well-formed only when its claims are below its view and its certificate verifies', () => {
  const here = s.statementOf(s.block)
  refused(s.viewChange(0, 0), 'view-change-to-view-zero', 0)
  refused(s.viewChange(2, 1, { lastVote: { view: 1 as View, id: here.id } }), 'last-vote-not-below-view', 2)
  const later = s.commitCertificate({ ...here, view: 1 as View }, [0, 1, 2])
  refused(s.viewChange(2, 1, { highCertificate: later }), 'certificate-not-below-view', 2)
  refused(s.viewChange(2, 1, { highCertificate: s.commitCertificate(here, [0, 1]) }), 'certificate-below-quorum')
  const { highCertificate } = s
  const lies = highCertificate.commits.map((vote, i) => (i === 1 ? { ...vote, signature: flip(vote.signature) } : vote))
  refused(s.viewChange(2, 1, { highCertificate: { ...highCertificate, commits: lies } }), 'certificate-signature')
  const elsewhere = s.commitCertificate({ ...here, height: 1 as Height }, [0, 1, 2])
  refused(s.viewChange(2, 1, { highCertificate: elsewhere }), 'certificate-height')
  const blockIds = { ...highCertificate, commits: s.votes('BLOCK-ID', here, [0, 1, 2]) }
  refused(s.viewChange(2, 1, { highCertificate: blockIds }), 'certificate-signature')
  const stranger = {
    ...highCertificate,
    commits: [...highCertificate.commits, { sender: at(9), signature: s.commit.signature }],
  }
  refused(s.viewChange(2, 1, { highCertificate: stranger }), 'certificate-sender')
})

test('a validator that stands twice in a certificate is refused', () => {
  const [one] = s.highCertificate.commits
  const twice = { ...s.highCertificate, commits: [one!, one!, one!] }
  refused(s.viewChange(2, 1, { highCertificate: twice }), 'senders-not-ascending')
})

test('FAST needs n-p COMMITs and SLOW needs r BLOCK-IDs, for the very block', () => {
  const here = s.statementOf(s.block)
  const decided = (certificate: typeof s.parentCertificate, block: Block = s.block): ConsensusMessage => ({
    type: 'DECIDED',
    block,
    certificate,
  })
  assert.equal(check(decided(s.decideCertificate('SLOW', here, [1, 2, 3]))).type, 'ok')
  refused(decided(s.decideCertificate('FAST', here, [0, 1, 2])), 'certificate-below-quorum')
  refused(decided(s.decideCertificate('SLOW', here, [0, 1])), 'certificate-below-quorum')
  refused(decided({ ...s.decideCertificate('FAST', here, [0, 1, 2, 3]), path: 'SLOW' }), 'certificate-signature')
  refused(decided(s.decideCertificate('SLOW', here, [1, 2, 3]), s.first), 'height-differs')
  const twin = s.blockOf({ parentId: s.first.id, timestamp: (s.TIME + 1) as never })
  refused(decided(s.decideCertificate('SLOW', here, [1, 2, 3]), twin), 'id-differs')
  const mixed = s.decideCertificate('SLOW', here, [1, 2, 3])
  const other = s.votes('BLOCK-ID', s.statementOf(s.block, 1), [2])
  refused(decided({ ...mixed, votes: [mixed.votes[0]!, other[0]!, mixed.votes[2]!] }), 'certificate-signature')
})

test('a PRE-PREPARE whose block is not the one that it names blames nobody: its block is not signed', () => {
  refused({ ...s.prePrepare, block: s.first }, 'id-differs')
})

test('a PRE-PREPARE whose signed parts lie blames its sender', () => {
  refused(propose({ height: 3 as Height }), 'height-differs', 1)
  const strange = s.blockOf({ parentId: s.first.id, author: at(4) })
  refused(propose({ block: strange, id: strange.id }), 'unknown-author', 1)
  const early = s.blockOf({ parentId: s.first.id, birthView: 1 as View })
  refused(propose({ block: early, id: early.id }), 'born-after-its-view', 1)
  const abroad = s.blockOf({ parentId: s.first.id, chainId: s.first.id })
  refused(propose({ block: abroad, id: abroad.id }), 'wrong-chain', 1)
  const unsigned = badRequest(flip)
  const holding = s.blockOf({ parentId: s.first.id }, [unsigned])
  refused(propose({ block: holding, id: holding.id }), 'request-signature', 1)
})

test('a proposal in view 0 has no justification, one in a later view exactly n-f, each of them well-formed', () => {
  const justified = (justification: PrePrepare['justification'], view = 1): PrePrepare =>
    propose({ view: view as View, justification })
  refused(justified([s.viewChange(0)], 0), 'justification-count', 1)
  refused(justified([]), 'justification-count', 1)
  refused(justified([s.viewChange(0), s.viewChange(1)]), 'justification-count', 1)
  refused(justified([0, 1, 2, 3].map(i => s.viewChange(i))), 'justification-count', 1)
  refused(justified([s.viewChange(0), s.viewChange(1), s.viewChange(2, 2)]), 'justification-for-another-view', 1)
  refused(justified([s.viewChange(0), s.viewChange(1), forged(s.viewChange(2))]), 'justification-signature', 1)
  const hollow = s.viewChange(2, 1, { highCertificate: { ...s.highCertificate, commits: [] } })
  refused(justified([s.viewChange(0), s.viewChange(1), hollow]), 'justification-malformed', 1)
  refused(justified([s.viewChange(1), s.viewChange(0), s.viewChange(2)]), 'senders-not-ascending')
  const signedOther = { ...s.secondProposal, justification: [s.viewChange(0), s.viewChange(1), s.viewChange(2)] }
  refused(signedOther, 'signature')
})

test('a proposal carries the certificate of its parent, and only the first has none', () => {
  const with_ = (parentCertificate: PrePrepare['parentCertificate']): PrePrepare => ({
    ...s.prePrepare,
    parentCertificate,
  })
  refused(with_(null), 'parent-certificate-missing')
  refused(with_(s.decideCertificate('SLOW', s.statementOf(s.block), [0, 1, 2])), 'parent-certificate-height')
  const sibling = s.blockOf({ height: 1 as Height, parentId: s.chainId as Block['id'], author: at(2) })
  refused(with_(s.decideCertificate('SLOW', s.statementOf(sibling), [0, 1, 2])), 'parent-certificate-id')
  refused(
    with_({ ...s.parentCertificate, votes: s.parentCertificate.votes.slice(1) }),
    'parent-certificate-below-quorum',
  )
  const one = s.sign({ ...s.prePrepare, ...s.statementOf(s.first), block: s.first, sender: at(0) })
  assert.equal(check({ ...one, parentCertificate: null }).type, 'ok')
  refused(one, 'parent-certificate-at-first-height')
})

function badRequest(change: (signature: Uint8Array) => Uint8Array, fields: Partial<Request> = {}): Request {
  const good = s.requests[0]!
  return sealRequest(encodeStatement({ ...good, ...fields }), change(good.signature))
}

test('a request counts only with its client, its network and its signature', () => {
  const ask = (request: Request): Checked<Request> => verifier().request(request.bytes)
  const reason = (request: Request): string => {
    const checked = ask(request)
    return checked.type === 'fault' ? checked.reason : checked.type
  }
  for (const request of s.requests) assert.equal(ask(request).type, 'ok')
  assert.equal(reason(badRequest(flip)), 'request-signature')
  assert.equal(reason(badRequest(x => x, { timestamp: 1 as never })), 'request-signature')
  assert.equal(reason(badRequest(x => x, { network: s.first.id })), 'wrong-network')
  assert.equal(reason(badRequest(x => x, { client: '0'.repeat(32) as never })), 'request-signature')
  const curve = { scheme: 2, publicKey: `02${s.first.id}` } as never
  assert.equal(reason(badRequest(x => x, curve)), 'request-signature')
  assert.equal(verifierFault(new Uint8Array(70_000)), 'too-large')
})

const verifierFault = (bytes: Uint8Array): string | null => {
  const checked = verifier().request(bytes)
  return checked.type === 'fault' ? checked.reason : null
}

test('what was verified once is known again by its exact bytes alone', () => {
  const by = verifier()
  const good = s.requests[0]!
  const once = by.request(good.bytes)
  const again = by.request(good.bytes.slice())
  assert.ok(once.type === 'ok' && again.type === 'ok')
  assert.equal(again.value, once.value)
  const inBlock = by.body(s.block.bytes)
  assert.ok(inBlock.type === 'ok')
  assert.equal(inBlock.value.block.requests[0], once.value)
  assert.equal(by.request(badRequest(flip).bytes).type, 'fault')

  assert.equal(check(s.commit, by).type, 'ok')
  assert.equal(check({ ...s.commit, id: s.first.id }, by).type, 'fault')
  assert.equal(check({ ...s.commit, sender: at(3) }, by).type, 'fault')
})

test('a decided block of another peer is checked with its certificate', () => {
  const decided = s.decideCertificate('FAST', s.statementOf(s.block), [0, 1, 2, 3])
  const stored = decodeStoredBlock(encodeStoredBlock(s.block, decided))
  assert.equal(verifier().decided(stored.block, stored.certificate).type, 'ok')
  assert.equal(verifier().decided(stored.block, { ...stored.certificate, votes: decided.votes.slice(1) }).type, 'fault')
})

test('of a decided block the signatures that are to be checked elsewhere are all of them, and count only once they were remembered', () => {
  const { block, parentCertificate: certificate } = { ...s, block: s.first }
  const judge = verifier()
  const { jobs } = judge.signaturesOf(block, certificate) as SignaturesOf
  const ed25519 = block.requests.filter(({ scheme }) => scheme === 1).length
  assert.equal(jobs.length, certificate.votes.length + ed25519)
  for (const { publicKey, bytes, signature } of jobs) assert.ok(verifySignature(publicKey, bytes, signature))
  const bad = { ...certificate, votes: certificate.votes.map(vote => ({ ...vote, signature: flip(vote.signature) })) }
  assert.ok(judge.signaturesOf(block, bad)?.jobs.some(job => !verifySignature(job.publicKey, job.bytes, job.signature)))
  assert.equal(judge.decided(block, bad).type, 'fault', 'not remembered')
  const few = { ...certificate, votes: certificate.votes.slice(1) }
  judge.signaturesOf(block, few)?.remember()
  assert.equal(judge.decided(block, few).type, 'fault', 'too few, whatever was remembered')
  judge.signaturesOf(block, certificate)?.remember()
  assert.equal(judge.decided(block, certificate).type, 'ok')
  assert.equal(judge.signaturesOf(block, certificate)?.jobs.length, certificate.votes.length, 'requests are known now')
  assert.equal(verifier(() => null).signaturesOf(block, certificate), null)
})

test('a verified request does not keep the block alive that it came in', () => {
  const by = verifier()
  by.body(s.block.bytes)
  const known = by.request(s.requests[1]!.bytes)
  assert.ok(known.type === 'ok')
  assert.ok(known.value.bytes.buffer.byteLength < s.block.bytes.length)
  assert.deepEqual(decodeRequest(known.value.bytes).id, known.value.id)
})
