// A patient's report (P-03): every decision about them, with what makes it provable without any peer. Each decision stands in the state
// under `decision/<owner>/<number>`, numbers have no gaps, and `decisions/<owner>` holds their count; the report carries a proof of each
// of these keys against the state digest, so a line that was changed does not fit its proof, and one that was left out leaves a gap.
//
// What anchors the digest: the state after height h is named by the header of block h+1, and a quorum signed that header. So a report drawn
// at head h is finished when block h+1 exists; on an idle chain the caller's own request makes it. Every granted line also carries the
// grant and the receipt, or the proof that there is none. Not here: checking one (verify-report.ts), who may have one (api).

import type { DecisionCount, DecisionEntry, Emergency, GrantEntry, Receipt } from './ledger/entries.ts'
import type { StateProof } from './ledger/sparse-tree.ts'
import type { Views } from './ledger/views.ts'
import { EmrmError } from './model/errors.ts'
import { fromHex, toHex } from './model/hash.ts'
import { type Digest, type Identifier, isHexadecimal } from './model/ids.ts'
import type { StoredBlock } from './ports.ts'
import { encodeCertificate, encodeHeader } from './wire/codec.ts'

export const REPORT_FORMAT = 'emrm-report/1'
/** Some 5 KB a line; a longer trail is read with `emrm audit`. */
export const REPORT_LINES_MAX = 20_000

const HASH_DIGITS = 64

/** A state proof as text: siblings from the root down, 64 digits each, and the leaf where the path ends. */
export type ProofText = {
  readonly siblings: string
  readonly leaf: { readonly keyHash: string; readonly valueHash: string } | null
}

/** `value` null: proved to be absent. */
export type Proved<T> = { readonly value: T | null; readonly proof: ProofText }

export type ReportLine = {
  readonly number: number
  readonly decision: DecisionEntry
  readonly proof: ProofText
  /** Null for a denial. */
  readonly grant: Proved<GrantEntry> | null
  /** That the requester opened the record; null for a denial. */
  readonly receipt: Proved<Receipt> | null
  /** Reason, deadline and verdict of break-the-glass; null for everything else. */
  readonly emergency: Proved<Emergency> | null
}

export type ReportDraft = {
  readonly format: typeof REPORT_FORMAT
  readonly chainId: Digest
  readonly owner: Identifier
  /** The report is complete up to and with this block. */
  readonly height: number
  readonly count: Proved<DecisionCount>
  readonly lines: readonly ReportLine[]
}

export type Report = ReportDraft & {
  /** Of block `height` + 1, in their exact bytes. `committee`: the hash of those who signed. */
  readonly anchor: { readonly header: string; readonly certificate: string; readonly committee: Digest }
}

/** Of the head, at one moment. Throws EmrmError `report-too-long`. */
export function drawReport(views: Views, chainId: Digest, owner: Identifier): ReportDraft {
  const count = views.decisionCount(owner)
  if (count > REPORT_LINES_MAX)
    throw new EmrmError(
      'report-too-long',
      `there are ${count} decisions and a report has at most ${REPORT_LINES_MAX} lines; read them with "emrm audit"`,
      { count, countMax: REPORT_LINES_MAX },
    )
  const prove = (key: string): ProofText => proofText(views.prove(key).proof)
  const lines = views.decisionsOf({ owner }).map(({ owner: _, number, ...decision }): ReportLine => {
    const { request, requester, operation, result } = decision
    const granted = result === 'granted'
    const emergency = granted && operation === 'access.emergency'
    return {
      ...{ number, decision, proof: prove(reportKeys.decision(owner, number)) },
      grant: granted ? { value: views.grant(request), proof: prove(reportKeys.grant(request)) } : null,
      receipt: granted ? { value: views.receipt(request), proof: prove(reportKeys.receipt(request)) } : null,
      emergency: emergency
        ? { value: views.emergency(request), proof: prove(reportKeys.emergency(requester, request)) }
        : null,
    }
  })
  const value = count === 0 ? null : { count }
  const { height } = views.head()
  const proved = { value, proof: prove(reportKeys.count(owner)) }
  return { format: REPORT_FORMAT, chainId, owner, height, count: proved, lines }
}

/** `next`: block `draft.height` + 1. */
export function anchorReport(draft: ReportDraft, next: StoredBlock, committee: Digest): Report {
  const header = toHex(encodeHeader(next.block.header))
  return { ...draft, anchor: { header, certificate: toHex(encodeCertificate(next.certificate)), committee } }
}

/** Names in the state (ledger/store.ts). */
export const reportKeys = {
  count: (owner: string): string => `decisions/${owner}`,
  decision: (owner: string, number: number): string => `decision/${owner}/${String(number).padStart(10, '0')}`,
  grant: (request: string): string => `grant/${request}`,
  receipt: (request: string): string => `receipt/${request}`,
  emergency: (user: string, request: string): string => `emergency/${user}/${request}`,
} as const

const proofText = ({ siblings, leaf }: StateProof): ProofText => ({
  siblings: toHex(Buffer.concat(siblings)),
  leaf: leaf === null ? null : { keyHash: toHex(leaf.keyHash), valueHash: toHex(leaf.valueHash) },
})

/** Null for text that is no proof. */
export function proofFromText(text: unknown): StateProof | null {
  if (!isObject(text, ['siblings', 'leaf'])) return null
  const { siblings, leaf } = text
  if (typeof siblings !== 'string' || siblings.length % HASH_DIGITS !== 0 || siblings.length > 256 * HASH_DIGITS)
    return null
  if (!isHexadecimal(siblings, siblings.length)) return null
  const hashes: Uint8Array[] = []
  for (let at = 0; at < siblings.length; at += HASH_DIGITS) hashes.push(fromHex(siblings.slice(at, at + HASH_DIGITS)))
  if (leaf === null) return { siblings: hashes, leaf: null }
  if (!isObject(leaf, ['keyHash', 'valueHash'])) return null
  const { keyHash, valueHash } = leaf
  if (typeof keyHash !== 'string' || typeof valueHash !== 'string') return null
  if (!isHexadecimal(keyHash, HASH_DIGITS) || !isHexadecimal(valueHash, HASH_DIGITS)) return null
  return { siblings: hashes, leaf: { keyHash: fromHex(keyHash), valueHash: fromHex(valueHash) } }
}

/** An object with exactly these fields. */
export function isObject(value: unknown, fields: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const keys = Object.keys(value)
  return keys.length === fields.length && fields.every(field => keys.includes(field))
}
