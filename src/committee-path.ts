// How to trust a late committee with nothing but genesis: step by step. When an epoch brings another committee, the header of the last block
// of the old epoch stands on a state that names the new one (ledger/committee.ts), and a quorum of the old one signed that header. A
// step is that header, its certificate, the new committee and its proof; a path has one for each change, in order. Epochs without a
// change cost nothing. Not here: what is trusted at the end of the path (report.ts, verify-report.ts).
//
// What no path can tell: whether members of a committee that is long out of office have lost their keys since. A quorum of stolen old keys
// can sign another history from their time on; whoever doubts compares the anchor with a block that they know.

import { committeeFrom, committeeName } from './ledger/committee.ts'
import type { CommitteeEntry } from './ledger/entries.ts'
import { verifyStateProof } from './ledger/proofs.ts'
import { Store } from './ledger/store.ts'
import type { Views } from './ledger/views.ts'
import type { Block, BlockHeader } from './model/block.ts'
import type { Committee } from './model/committee.ts'
import { EmrmError } from './model/errors.ts'
import { blockIdOf, fromHex, sha256, toHex } from './model/hash.ts'
import { asHeight, type Digest, type Height } from './model/ids.ts'
import type { DecideCertificate } from './model/messages.ts'
import { bytesFromText, isObject, siblingsFromText } from './proof-text.ts'
import { decodeCertificate, decodeHeader, encodeCertificate, encodeHeader, WireFault } from './wire/codec.ts'
import { makeVerifier } from './wire/verify.ts'

/** Changes of the committee in one path: some 3 KB each with four hospitals, 80 KB with two hundred. */
export const PATH_STEPS_MAX = 4096

/** A header in its exact bytes and those who decided it, both as hexadecimal. */
export type SignedHeader = { readonly header: string; readonly certificate: string }

export type PathStep = SignedHeader & {
  /** Who validates from the next height on. */
  readonly committee: CommitteeEntry
  /** Of `committee/<from>`, against the header's state digest: from the root down, 64 digits each. */
  readonly siblings: string
}

/** What a step needs of a block. */
export type Headed = { readonly block: Pick<Block, 'header'>; readonly certificate: DecideCertificate }

export const signedHeader = ({ block, certificate }: Headed): SignedHeader => ({
  header: toHex(encodeHeader(block.header)),
  certificate: toHex(encodeCertificate(certificate)),
})

/** From genesis to the committee of `height`, which is at most one above the head. Throws EmrmError `path-too-long`, `block-missing`. */
export async function drawPath(
  views: Views,
  height: number,
  blockAt: (height: Height) => Promise<Headed | null>,
): Promise<readonly PathStep[]> {
  const successions = views.successions(height)
  if (successions.length > PATH_STEPS_MAX)
    throw new EmrmError(
      'path-too-long',
      `the committee changed ${successions.length} times and a proof from genesis holds at most ${PATH_STEPS_MAX} changes; check the chain itself with "emrm verify"`,
      { changes: successions.length, changesMax: PATH_STEPS_MAX },
    )
  const steps: PathStep[] = []
  for (const { from, siblings, committee } of successions) {
    const block = await blockAt(asHeight(from - 1))
    if (block === null)
      throw new EmrmError(
        'block-missing',
        `block ${from - 1}, which names a committee, is not in this peer's store; ask another peer`,
        { height: from - 1 },
      )
    steps.push({ ...signedHeader(block), committee, siblings: toHex(siblings) })
  }
  return steps
}

/** `genesis`: the committee that is trusted to begin with. `step` says which one does not hold, from 0. */
export function followPath(
  path: unknown,
  chain: { readonly chainId: Digest; readonly genesis: Committee },
):
  | { readonly ok: true; readonly committee: Committee; readonly from: number }
  | { readonly ok: false; readonly step: number | null; readonly reason: string } {
  if (!Array.isArray(path) || path.length > PATH_STEPS_MAX) return { ok: false, step: null, reason: 'path-malformed' }
  const { chainId } = chain
  let committee = chain.genesis
  let from = 1
  for (const [at, step] of path.entries()) {
    const next = committeeAfter(step, chainId, { committee, from })
    if (typeof next === 'string') return { ok: false, step: at, reason: next }
    committee = next.committee
    from = next.from
  }
  return { ok: true, committee, from }
}

type Office = { readonly committee: Committee; readonly from: number }

function committeeAfter(step: unknown, chainId: Digest, office: Office): Office | string {
  if (!isObject(step, ['header', 'certificate', 'committee', 'siblings'])) return 'step-malformed'
  const signed = headerSignedBy(step, chainId, office)
  if (typeof signed === 'string') return `step-${signed}`
  const siblings = siblingsFromText(step['siblings'])
  const from = signed.height + 1
  const { committees } = new Store()
  const name = committeeName(from)
  const value = bytesOf(() => committees.bytesOf(step['committee']))
  if (siblings === null || value === null) return 'step-malformed'
  const key = committees.keyOf(name)
  const proof = { siblings, leaf: { keyHash: sha256(Buffer.from(key)), valueHash: sha256(value) } }
  if (!verifyStateProof({ root: fromHex(signed.stateRoot), key, value, proof })) return 'committee-not-proved'
  // Proved: these are the very bytes that the ledger wrote.
  return { committee: committeeFrom(step['committee'] as CommitteeEntry), from }
}

/** The header that a quorum of this committee signed in its time, or what is wrong with it. */
export function headerSignedBy(
  signed: Readonly<Record<string, unknown>>,
  chainId: Digest,
  { committee, from }: Office,
): BlockHeader | string {
  const [headerBytes, certificateBytes] = [bytesFromText(signed['header']), bytesFromText(signed['certificate'])]
  if (headerBytes === null || certificateBytes === null) return 'malformed'
  let header: BlockHeader
  let certificate: DecideCertificate
  try {
    header = decodeHeader(headerBytes)
    certificate = decodeCertificate(certificateBytes)
  } catch (error) {
    if (error instanceof WireFault) return 'malformed'
    throw error
  }
  if (header.chainId !== chainId) return 'of-another-network'
  if (certificate.height !== header.height || certificate.id !== blockIdOf(headerBytes))
    return 'certificate-of-another-block'
  if (header.height < from) return 'before-its-committee'
  const verdict = makeVerifier({ chainId, committeeAt: () => committee }).certificate(certificate)
  return verdict.type === 'ok' ? header : verdict.type === 'fault' ? verdict.reason : verdict.type
}

/** Null for what no peer could have written: the encoder throws at infinite numbers and bottomless lists. */
export function bytesOf(write: () => Uint8Array | null): Uint8Array | null {
  try {
    return write()
  } catch {
    return null
  }
}
