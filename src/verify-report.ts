// Checks a patient's report with nothing but the network's genesis: no peer, no chain. In this order: the path of committees from genesis on,
// the header and the quorum that signed it, the count, then the lines one after the other; the first thing that does not fit is named.
// What a line says is encoded again and has to be the very bytes that the state digest covers, so a changed word fails like a changed number.

import { followPath, headerSignedBy } from './committee-path.ts'
import type { DecisionEntry } from './ledger/entries.ts'
import { verifyStateProof } from './ledger/proofs.ts'
import { Store } from './ledger/store.ts'
import type { Table } from './ledger/table.ts'
import type { Committee } from './model/committee.ts'
import { fromHex } from './model/hash.ts'
import { type Digest, isHexadecimal } from './model/ids.ts'
import { isObject, proofFromText } from './proof-text.ts'
import { REPORT_FORMAT, REPORT_LINES_MAX, reportKeys } from './report.ts'

export type ReportVerdict =
  | {
      readonly ok: true
      readonly owner: string
      /** Complete up to and with this block. */
      readonly height: number
      /** Block time of the anchor, ms. */
      readonly time: number
      readonly decisions: number
      readonly granted: number
      readonly opened: number
      /** How often the committee had changed by then. */
      readonly committeeChanges: number
    }
  /** `line`: its number, from 0; null when the report as a whole is wrong. `step`: which change of the committee is not proved, from 0. */
  | { readonly ok: false; readonly line: number | null; readonly step?: number; readonly reason: string }

/** `committee`: that of genesis. */
type Chain = { readonly chainId: Digest; readonly committee: Committee }
type Wrong = { readonly line: number | null; readonly reason: string }

/** `report`: parsed JSON, from anyone. Never throws for what stands in it. */
export function verifyReport(report: unknown, chain: Chain): ReportVerdict {
  const wrong = (reason: string, line: number | null = null): ReportVerdict => ({ ok: false, line, reason })
  if (typeof report === 'object' && report !== null && 'format' in report && report.format !== REPORT_FORMAT)
    return wrong('format-unknown')
  if (!isObject(report, ['format', 'chainId', 'owner', 'height', 'count', 'lines', 'path', 'anchor']))
    return wrong('report-malformed')
  const { chainId, owner, height, lines, path, anchor } = report
  if (chainId !== chain.chainId) return wrong('another-network')
  if (typeof owner !== 'string' || !isHexadecimal(owner, 32)) return wrong('owner-malformed')
  if (!Array.isArray(lines) || lines.length > REPORT_LINES_MAX) return wrong('lines-malformed')
  const office = followPath(path, { chainId: chain.chainId, genesis: chain.committee })
  if (!office.ok)
    return { ok: false, line: null, reason: office.reason, ...(office.step === null ? {} : { step: office.step }) }
  if (!isObject(anchor, ['header', 'certificate'])) return wrong('anchor-malformed')
  const header = headerSignedBy(anchor, chain.chainId, office)
  if (typeof header === 'string') return wrong(`anchor-${header}`)
  if (header.height - 1 !== height) return wrong('anchor-of-another-height')
  const root = fromHex(header.stateRoot)
  const store = new Store()
  const stands = (part: unknown, key: string, table: Table<never>): boolean => {
    if (!isObject(part, ['value', 'proof'])) return false
    const { value } = part
    const proof = proofFromText(part['proof'])
    const bytes = value === null ? null : bytesOf(() => table.bytesOf(value))
    if (proof === null || (value !== null && bytes === null)) return false
    return verifyStateProof({ root, key, value: bytes, proof })
  }
  const tables = store as unknown as Readonly<Record<string, Table<never>>>
  const table = (name: string): Table<never> => tables[name] as Table<never>
  if (!stands(report['count'], reportKeys.count(owner), table('decisionCounts'))) return wrong('count-not-proved')
  const counted = (report['count'] as { value: { count: number } | null }).value?.count ?? 0

  let granted = 0
  let opened = 0
  for (let number = 0; number < counted; number++) {
    const line: unknown = lines[number]
    const found = isObject(line, LINE) ? line['number'] : undefined
    if (line === undefined || (typeof found === 'number' && found !== number))
      return wrong(typeof found === 'number' && found < number ? 'line-repeated' : 'line-missing', number)
    const fault = lineFault(line, owner, number, (part, key, name) => stands(part, key, table(name)))
    if (fault !== null) return wrong(fault, number)
    const { decision, receipt } = line as { decision: DecisionEntry; receipt: { value: unknown } | null }
    if (decision.result === 'granted') granted++
    if (receipt !== null && receipt.value !== null) opened++
  }
  if (lines.length > counted) return wrong('line-not-counted', counted)
  const time = header.timestamp
  const committeeChanges = (path as readonly unknown[]).length
  return { ok: true, owner, height: header.height - 1, time, decisions: counted, granted, opened, committeeChanges }
}

const LINE = ['number', 'decision', 'proof', 'grant', 'receipt', 'emergency']

function lineFault(
  line: unknown,
  owner: string,
  number: number,
  stands: (part: unknown, key: string, table: string) => boolean,
): Wrong['reason'] | null {
  if (!isObject(line, LINE)) return 'line-malformed'
  const { decision, proof, grant, receipt, emergency } = line
  if (decision === null || !stands({ value: decision, proof }, reportKeys.decision(owner, number), 'decisions'))
    return 'decision-not-proved'
  // Proved: it has the fields of a decision from here on.
  const { request, requester, operation, result } = decision as DecisionEntry
  const isGranted = result === 'granted'
  const isEmergency = isGranted && operation === 'access.emergency'
  if ((grant !== null) !== isGranted || (receipt !== null) !== isGranted) return 'grant-or-receipt-left-out'
  if ((emergency !== null) !== isEmergency) return 'emergency-left-out'
  if (!isGranted) return null
  if (!stands(grant, reportKeys.grant(request), 'grants')) return 'grant-not-proved'
  if (!stands(receipt, reportKeys.receipt(request), 'receipts')) return 'receipt-not-proved'
  if (isEmergency && !stands(emergency, reportKeys.emergency(requester, request), 'emergencies'))
    return 'emergency-not-proved'
  return null
}

/** Null for what no peer could have written: the encoder throws at infinite numbers and bottomless lists. */
function bytesOf(write: () => Uint8Array | null): Uint8Array | null {
  try {
    return write()
  } catch {
    return null
  }
}
