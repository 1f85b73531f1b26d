// `emrm audit`, `emrm explain`, `emrm replay`: who read what and why, who could, and whether it was decided rightly.

import type { Command } from 'commander'

import { type Line, type Query, toError } from '../api/client.ts'
import { erasureLine } from './erasure.ts'
import { homeCommand, withApi, withOptionalKey } from './home.ts'
import { addVerifyReportCommand, reportCommand } from './report.ts'
import { EXIT, endProgress, handle, progress, type Session } from './session.ts'
import { readChoice, readRecordId, readUserId, readWhole } from './values.ts'

const readHeightMin = readWhole(1, 999_999_999_999_999)
const readFormat = readChoice('a format', ['json', 'fhir'])

type AuditOptions = {
  readonly home: string
  readonly key?: string
  readonly record?: string
  readonly patient?: string
  readonly user?: string
  readonly from?: number
  readonly report?: string
  readonly format?: readonly string[]
}

export function addAuditCommands(session: Session, program: Command): void {
  const audit = homeCommand(
    program,
    'audit',
    'every request, grant, denial, review and receipt from the chain, in order',
    'emrm audit --home ./net/hospital-1 --key ./patient.key',
  )
    .option('--key <file>', 'ask as this user (default: as the hospital)')
    .option('--record <id>', 'only about this record', readRecordId)
    .option('--patient <id>', "only about this patient's records", readUserId)
    .option('--user <id>', 'only by this user', readUserId)
    .option('--from <height>', 'only from this block on', readHeightMin)
    .option('--report <file>', "write the patient's report with its proofs, for emrm verify-report (needs --key)")
    .option('--format <format>', 'of the report: json, or fhir (IHE BALP AuditEvents, no proofs)', readFormat)
  handle<AuditOptions>(session, audit, options => {
    if (options.report !== undefined) return reportCommand(session, { ...options, report: options.report })
    return withOptionalKey(session, options, async ({ api, as }) => {
      const query: Query = {
        ...{ record: options.record, patient: options.patient, user: options.user },
        from: options.from === undefined ? undefined : String(options.from),
      }
      const entries: Line[] = []
      let end: Line = {}
      for await (const line of api.lines('GET', '/v1/audit', { query, as })) {
        if (line['error'] !== undefined) throw toError(line)
        if (line['end'] === true) end = line
        else entries.push(line)
      }
      return {
        document: { entries, height: end['height'], erasures: end['erasures'] },
        lines:
          entries.length === 0
            ? ['nothing that this caller may see']
            : [...entries.map(entryLine), ...((end['erasures'] ?? []) as readonly Line[]).map(erasureLine)],
      }
    })
  })
  addVerifyReportCommand(session, program)

  const explain = homeCommand(
    program,
    'explain <record>',
    'who can see this record, for which purposes, by which policy',
    'emrm explain 8c1f… --home ./net/hospital-1 --key ./patient.key',
  ).option('--key <file>', "the patient's, a guardian's or a delegate's key (default: as the hospital that keeps it)")
  handle<{ readonly home: string; readonly key?: string }>(session, explain, (options, id = '') => {
    const record = readRecordId(id)
    return withOptionalKey(session, options, async ({ api, as }) => {
      const document = (await api.call('GET', `/v1/records/${record}/explain`, { as })) as Explained
      return { document, lines: explainLines(document) }
    })
  })

  const replay = homeCommand(
    program,
    'replay',
    'make every decision of the chain again and compare',
    'emrm replay --home ./net/hospital-1',
  )
  handle<{ readonly home: string }>(session, replay, ({ home }) =>
    withApi(home, async api => {
      let report: Line = {}
      for await (const line of api.lines('POST', '/v1/replay')) {
        if (line['error'] !== undefined) throw toError(line)
        const step = line['progress'] as { done: number; total: number } | undefined
        if (step === undefined) report = line
        else progress(session, `block ${step.done}/${step.total}`)
      }
      endProgress(session)
      const differences = report['differences'] as readonly Line[]
      if (report['ok'] === true)
        return {
          document: report,
          lines: [
            `ok: ${report['decisions']} decisions in blocks ${report['from']} to ${report['heights']} come out the same`,
          ],
        }
      const message = `${differences.length} difference(s), the first at height ${differences[0]?.['height']}; run "emrm verify" and report it`
      session.io.stderr.write(`error replay-differs: ${message}\n`)
      return {
        document: { ...report, error: { code: 'replay-differs', message, height: differences[0]?.['height'] } },
        lines: differences.map(
          d => `height ${d['height']} request ${d['request']}: ${d['recorded']} ≠ ${d['recomputed']}`,
        ),
        exitCode: EXIT.failed,
      }
    }),
  )
}

function entryLine(entry: Line): string {
  const { role, purpose, right } = entry['details'] as Record<string, unknown>
  const asked = [role, purpose, right].filter(Boolean).join('/')
  const time = new Date(entry['time'] as number).toISOString()
  return `${String(entry['height']).padStart(6)}  ${time}  ${entry['type']}  ${entry['result']}  by ${entry['by']}  ${entry['record'] ?? ''}  ${asked}`.trimEnd()
}

type Explained = {
  readonly owner: string
  readonly confidentiality: string
  readonly delegates: readonly { readonly delegate: string; readonly kind: string }[]
  readonly rules: readonly {
    readonly policy: string
    readonly effect: string
    readonly grantee: object
    readonly scope: object
    readonly purposes: readonly string[]
    readonly rights: readonly string[]
    readonly window: string
    readonly anonymous: boolean
    readonly withheld: boolean
  }[]
}

function explainLines({ owner, delegates, rules }: Explained): string[] {
  const value = (part: object): string => Object.values(part).join(':')
  return [
    `owner ${owner}: everything`,
    ...delegates.map(({ delegate, kind }) => `${kind} ${delegate}`),
    ...rules.map(rule => {
      const marks = [
        rule.anonymous ? 'de-identified only' : '',
        rule.withheld ? 'withheld: more confidential than the ceiling' : '',
        rule.window === 'open' ? '' : `window ${rule.window}`,
      ].filter(Boolean)
      const marked = marks.length === 0 ? '' : ` (${marks.join('; ')})`
      return `${rule.effect} ${value(rule.grantee)} ${rule.rights.join(',')} for ${rule.purposes.join(',')} on ${value(rule.scope)} by ${rule.policy}${marked}`
    }),
    'everyone else: nothing',
  ]
}
