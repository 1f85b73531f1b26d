// The same world with what a peer runs: Ed25519 keys, the wire's codec and verifier, and the ledger. Every message is encoded, judged
// and decoded on its way, every record of a vote on its way to the disk and back. Ten times slower than the cheap set.

import { makeLedger } from '../../src/make-ledger.ts'
import type { Block, Request } from '../../src/model/block.ts'
import type { Committee } from '../../src/model/committee.ts'
import { identifierOf } from '../../src/model/hash.ts'
import type { Digest, ValidatorIndex } from '../../src/model/ids.ts'
import type { CommitCertificate, ConsensusMessage, DecideCertificate } from '../../src/model/messages.ts'
import type { Operation } from '../../src/model/operations.ts'
import { defaultFaults } from '../../src/model/quorum.ts'
import {
  chainIdOf,
  decodeVoteRecord,
  encodeMessage,
  encodeVoteRecord,
  genesisCommittee,
  makeBlock,
  parseGenesis,
  requestsRootOf,
} from '../../src/wire/codec.ts'
import { voteSignedBytes } from '../../src/wire/messages-codec.ts'
import { makeRequest, makeVerifier, signMessage, type Verifier, verifySignature } from '../../src/wire/verify.ts'
import { genesisJson, keyOf, TIME } from '../wire/samples.ts'
import type { Application } from './application.ts'
import type { Notary, Parts } from './parts.ts'

/** Refusals by the ledger's door: the operation was not looked at. */
const NOT_RUN: ReadonlySet<string> = new Set(['wrong-network', 'stale', 'future', 'replayed'])

const keyOfHospital = (index: number): ReturnType<typeof keyOf> => keyOf(`hospital ${index}`)

export type MakeVerifier = typeof makeVerifier

/** `make`: another maker of verifiers, to see what a broken one lets through. */
export function makeRealParts(
  n: number,
  { make = makeVerifier, rotationBlocks = 0 }: { make?: MakeVerifier; rotationBlocks?: number } = {},
): Parts & { readonly chainId: Digest } {
  const keys = Array.from({ length: n }, (_, i) => keyOfHospital(i).publicKey)
  const sample = genesisJson as Record<string, unknown> & { institutions: readonly object[] }
  const { f, p } = defaultFaults(n)
  const genesis = parseGenesis({
    ...sample,
    ...{ network: 'simulation', f, p, validatorCount: n },
    institutions: keys.map((publicKey, i) => ({
      ...sample.institutions[0],
      ...{ name: `Hospital ${i}`, publicKey, peerId: `12D3KooWHospital${i}`, score: 1_000 - i },
    })),
    cas: [{ publicKey: keyOf('ca').publicKey, institutions: keys.map(identifierOf) }],
    parameters: { ...(sample['parameters'] as object), shareThreshold: f + 1, rotationBlocks },
  })
  const chainId = chainIdOf(genesis)
  const committee = genesisCommittee(genesis)
  return {
    chainId,
    notary: makeRealNotary(chainId, committee, make({ chainId, committeeAt: () => committee })),
    committee,
    epochMs: TIME,
    makeApplication: () => makeRealApplication(makeLedger({ genesis, chainId, committee })),
    makeRequest: number => registration(chainId, number),
    stored: record => decodeVoteRecord(encodeVoteRecord(record)),
  }
}

function makeRealNotary(chainId: Digest, committee: Committee, verifier: Verifier): Notary {
  const opened = new WeakMap<ConsensusMessage, ConsensusMessage | 'lie'>()
  const read = (message: ConsensusMessage): ConsensusMessage | 'lie' => {
    let bytes: Uint8Array
    try {
      bytes = encodeMessage(message)
    } catch {
      return 'lie'
    }
    const checked = verifier.message(bytes)
    return checked.type === 'ok' ? checked.value : 'lie'
  }
  return {
    penOf(sender: ValidatorIndex) {
      const signer = keyOfHospital(sender)
      return message => signMessage(message, { chainId, committee, signer })
    },
    open(message) {
      const answer = opened.get(message) ?? read(message)
      opened.set(message, answer)
      return answer === 'lie' ? null : answer
    },
    holdsCertificate(certificate: CommitCertificate | DecideCertificate) {
      const type = 'path' in certificate && certificate.path === 'SLOW' ? 'BLOCK-ID' : 'COMMIT'
      const bytes = voteSignedBytes(type, certificate, chainId, committee.hash)
      const votes = 'path' in certificate ? certificate.votes : certificate.commits
      return votes.every(({ sender, signature }) => {
        const validator = committee.validators[sender]
        return validator !== undefined && verifySignature(validator.publicKey, bytes, signature)
      })
    },
  }
}

function makeRealApplication(ledger: ReturnType<typeof makeLedger>): Application {
  return {
    head: () => ledger.head(),
    isExecuted: id => ledger.isExecuted(id),
    checkBlock: (block, fresh, nowMs) => ledger.checkBlock(block, fresh, nowMs),
    build({ author, view, nowMs, requests }): Block {
      const requestsRoot = requestsRootOf(requests)
      const wallMs = Math.floor(nowMs)
      return makeBlock(ledger.headerFor({ author, view, nowMs: wallMs, requests, requestsRoot }), requests)
    },
    execute(block) {
      const { outcomes } = ledger.execute(block)
      const ran = outcomes.map(outcome => outcome.type !== 'refused' || !NOT_RUN.has(outcome.reason))
      return block.requests.filter((_, i) => ran[i]).map(request => request.id)
    },
  }
}

/** One more patient. */
function registration(network: Digest, number: number): Request {
  const ca = keyOf('ca')
  const operation = {
    type: 'user.register',
    publicKey: keyOf(`patient ${number}`).publicKey,
    scheme: 1,
    roles: ['patient'],
    groups: [],
    institution: identifierOf(keyOfHospital(0).publicKey),
    validUntil: TIME + 1e10,
  } as unknown as Operation
  return makeRequest({
    ...{ network, operation, timestamp: TIME, scheme: 1 },
    publicKey: ca.publicKey,
    sign: bytes => ca.sign(bytes),
  })
}
