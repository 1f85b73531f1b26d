// A patient's report (P-03): every decision about them, with what makes it provable without any peer. Each decision stands in the state
// under `decision/<owner>/<number>`, numbers have no gaps, and `decisions/<owner>` holds their count; the report carries a proof of each
// of these keys against the state digest, so a line that was changed does not fit its proof, and one that was left out leaves a gap.
//
// What anchors the digest: the state after height h is named by the header of block h+1, and a quorum signed that header. So a report drawn
// at head h is finished when block h+1 exists; on an idle chain the caller's own request makes it. Who that quorum is, the path from genesis
// shows (committee-path.ts). Every granted line also carries the grant and the receipt, or the proof that there is none.
// Not here: checking one (verify-report.ts), who may have one (api).

import { type PathStep, type SignedHeader, signedHeader } from './committee-path.ts'
import type { DecisionCount, DecisionEntry, Emergency, GrantEntry, Receipt } from './ledger/entries.ts'
import type { Views } from './ledger/views.ts'
import { EmrmError } from './model/errors.ts'
import type { Digest, Identifier } from './model/ids.ts'
import type { StoredBlock } from './ports.ts'
import { type ProofText, proofText } from './proof-text.ts'

export const REPORT_FORMAT = 'emrm-report/3'
/** Some 5 KB a line; a longer trail is read with `emrm audit`. */
export const REPORT_LINES_MAX = 20_000

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
  /** From the committee of genesis to the one that signed the anchor. */
  readonly path: readonly PathStep[]
  /** Of block `height` + 1. */
  readonly anchor: SignedHeader
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

/** `next`: block `draft.height` + 1. `path`: to the committee of that height. */
export const anchorReport = (draft: ReportDraft, path: readonly PathStep[], next: StoredBlock): Report => ({
  ...draft,
  path,
  anchor: signedHeader(next),
})

/** Names in the state (ledger/store.ts). */
export const reportKeys = {
  count: (owner: string): string => `decisions/${owner}`,
  decision: (owner: string, number: number): string => `decision/${owner}/${String(number).padStart(10, '0')}`,
  grant: (request: string): string => `grant/${request}`,
  receipt: (request: string): string => `receipt/${request}`,
  emergency: (user: string, request: string): string => `emergency/${user}/${request}`,
} as const
