// How to trust a late committee with nothing but genesis: step by step. Where an epoch brings another committee, the header of the last block
// of the old epoch stands on a state that names the new one, and a quorum of the old one signed that header: a handover (ledger/handover.ts).
// A path has one for each change, in order. Epochs without a change cost nothing.
// Not here: what is trusted at the end of the path (report.ts, verify-report.ts), and peers that follow every epoch (snapshot/trust.ts).
//
// What no path can tell: whether members of a committee that is long out of office have lost their keys since. A quorum of stolen old keys
// can sign another history from their time on; whoever doubts compares the anchor with a block that they know.

import { readHandover } from './ledger/handover.ts'
import type { Views } from './ledger/views.ts'
import type { BlockHeader } from './model/block.ts'
import type { Committee } from './model/committee.ts'
import { EmrmError } from './model/errors.ts'
import { blockIdOf, toHex } from './model/hash.ts'
import { asHeight, type Digest, type Height, nextHeight } from './model/ids.ts'
import type { CertifiedHeader, Handover } from './model/snapshot.ts'
import type { StoredBlock } from './ports.ts'
import { bytesFromText } from './proof-text.ts'
import { decodeCertificate, decodeHeader, encodeCertificate, encodeHeader, WireFault } from './wire/codec.ts'
import { decodeHandover, encodeHandover } from './wire/snapshot-codec.ts'
import { makeVerifier } from './wire/verify.ts'

/** Changes of the committee in one path: some 4 KB each with four hospitals, 80 KB with two hundred. */
export const PATH_STEPS_MAX = 4096

/** A header in its exact bytes and those who decided it, both as hexadecimal. */
export type SignedHeader = { readonly header: string; readonly certificate: string }

/** A handover in its exact bytes (wire/snapshot-codec.ts), as hexadecimal. */
export type PathStep = string

export const signedHeader = ({ block, certificate }: Pick<StoredBlock, 'block' | 'certificate'>): SignedHeader => ({
  header: toHex(encodeHeader(block.header)),
  certificate: toHex(encodeCertificate(certificate)),
})

/** From genesis to the committee of `height`, which is at most one above the head. Throws EmrmError `path-too-long`, `block-missing`. */
export async function drawPath(
  views: Views,
  height: number,
  handoverAt: (height: Height) => Promise<Handover | null>,
): Promise<readonly PathStep[]> {
  const changes = views.committeeChanges(height)
  if (changes.length > PATH_STEPS_MAX)
    throw new EmrmError(
      'path-too-long',
      `the committee changed ${changes.length} times and a proof from genesis holds at most ${PATH_STEPS_MAX} changes; check the chain itself with "emrm verify"`,
      { changes: changes.length, changesMax: PATH_STEPS_MAX },
    )
  const steps: PathStep[] = []
  for (const from of changes) {
    const handover = await handoverAt(asHeight(from - 1))
    if (handover === null)
      throw new EmrmError(
        'block-missing',
        `what block ${from - 1} says of the next committee is not in this peer's store; ask another peer`,
        { height: from - 1 },
      )
    steps.push(toHex(encodeHandover(handover)))
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
  let office: Office = { committee: chain.genesis, from: 1 }
  for (const [at, step] of path.entries()) {
    const next = officeAfter(step, chain.chainId, office)
    if (typeof next === 'string') return { ok: false, step: at, reason: next }
    office = next
  }
  return { ok: true, ...office }
}

type Office = { readonly committee: Committee; readonly from: number }

function officeAfter(step: unknown, chainId: Digest, office: Office): Office | string {
  const bytes = bytesFromText(step)
  const handover = bytes === null ? null : decoded(() => decodeHandover(bytes))
  if (handover === null) return 'step-malformed'
  const fault = signingFault(handover, chainId, office)
  if (fault !== null) return `step-${fault}`
  const { height, stateRoot } = handover.header
  const next = readHandover(handover, { root: stateRoot, end: height })
  // A step without a change is none.
  return next?.committee ? { committee: next.committee, from: nextHeight(height) } : 'committee-not-proved'
}

/** The header that a quorum of this committee signed in its time, or what is wrong with it. */
export function headerSignedBy(
  signed: Readonly<Record<string, unknown>>,
  chainId: Digest,
  office: Office,
): BlockHeader | string {
  const [headerBytes, certificateBytes] = [bytesFromText(signed['header']), bytesFromText(signed['certificate'])]
  if (headerBytes === null || certificateBytes === null) return 'malformed'
  const certified = decoded(() => ({
    header: decodeHeader(headerBytes),
    id: blockIdOf(headerBytes),
    certificate: decodeCertificate(certificateBytes),
  }))
  if (certified === null) return 'malformed'
  return signingFault(certified, chainId, office) ?? certified.header
}

function signingFault(
  { header, id, certificate }: CertifiedHeader,
  chainId: Digest,
  { committee, from }: Office,
): string | null {
  if (header.chainId !== chainId) return 'of-another-network'
  if (certificate.height !== header.height || certificate.id !== id) return 'certificate-of-another-block'
  if (header.height < from) return 'before-its-committee'
  const verdict = makeVerifier({ chainId, committeeAt: () => committee }).certificate(certificate)
  return verdict.type === 'ok' ? null : verdict.type === 'fault' ? verdict.reason : verdict.type
}

/** Null for bytes that no peer wrote. */
function decoded<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof WireFault) return null
    throw error
  }
}
