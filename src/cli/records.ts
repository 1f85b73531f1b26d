// `emrm record add | list | show`: a hospital's record goes in (encrypted there, its digest on the chain), index entries come out.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'

import { type Api, type Line, type Query, toError } from '../api/client.ts'
import { documentReferenceFor, type IndexedRecord, type LocalFacts } from '../interop/fhir/document-reference.ts'
import { EmrmError } from '../model/errors.ts'
import type { Labelling } from '../records/local-index.ts'
import { addErasureCommands, erasureLine } from './erasure.ts'
import { homeCommand, institutionId, withApi, withOptionalKey } from './home.ts'
import { makeByteProgress } from './progress.ts'
import { endProgress, handle, type Session, table } from './session.ts'
import { collect, readChoice, readRecordId, readTime, readUserId } from './values.ts'

type AddOptions = {
  readonly home: string
  readonly patient: string
  readonly kind?: string
  readonly label?: readonly string[]
  readonly confidentiality: string
  readonly encounter?: readonly string[]
  readonly lastVisit?: number
  readonly twin?: true
}
type AskOptions = { readonly home: string; readonly key?: string; readonly patient?: string }
type ListOptions = AskOptions & {
  readonly type?: string
  readonly loinc?: string
  readonly since?: string
  readonly until?: string
}

export function addRecordCommands(session: Session, program: Command): void {
  const record = program.command('record').description('medical records: add one, see the index')

  const add = homeCommand(
    record,
    'add <file>',
    'encrypt a record, deposit its key shares, register it; "-" reads standard input',
    'emrm record add ./bundle.json --home ./net/hospital-1 --patient 4be2… --label PSY',
  )
    .requiredOption('--patient <id>', "the owner's identifier", readUserId)
    .option('--kind <kind>', 'fhir, dicom, pdf, text, other (default: detected)')
    .option(
      '--label <code>',
      "HL7 sensitivity code, beside those derived from the record's codes; may be repeated",
      collect,
    )
    .option(
      '--encounter <kind>',
      'outpatient or inpatient: how long the law keeps it (default: inpatient)',
      readChoice('an encounter', ['outpatient', 'inpatient']),
    )
    .option('--last-visit <time>', 'of the visit or the discharge that it is about (default: now)', readTime)
    .option('--confidentiality <level>', "U, L, M, N, R or V; a record's own codes may raise it, never lower it", 'N')
    .option('--twin', 'make a de-identified twin too (FHIR, DICOM), which an --anonymous policy releases in its place')
  handle<AddOptions>(session, add, (options, file = '') =>
    withApi(options.home, async api => {
      const query = {
        owner: options.patient,
        kind: options.kind,
        confidentiality: options.confidentiality,
        label: options.label,
        encounter: options.encounter?.at(-1),
        lastVisit: options.lastVisit === undefined ? undefined : String(options.lastVisit),
        ...(options.twin === true ? { twin: 'true' } : {}),
      }
      const source = await openSource(session, file)
      const size = source.size === null ? {} : { size: String(source.size) }
      const document = await upload(session, api, { ...query, ...size }, source)
      return { document, lines: addedLines(document) }
    }),
  )

  const list = homeCommand(
    record,
    'list',
    'index entries that this caller may see',
    'emrm record list --home ./net/hospital-1 --key ./patient.key',
  )
    .option('--key <file>', 'ask as this user (default: as the hospital)')
    .option('--patient <id>', 'only records of this patient', readUserId)
    .option('--type <type>', "by this hospital's own index: FHIR resource type, as Observation")
    .option('--loinc <code>', 'by the same: LOINC code')
    .option('--since <day>', 'by the same: of this day or later, as 2027-01-31')
    .option('--until <day>', 'by the same: of this day or earlier')
  handle<ListOptions>(session, list, options =>
    withOptionalKey(session, options, async ({ api, as }) => {
      const { patient: owner, type, loinc, since, until } = options
      const document = await api.call('GET', '/v1/records', { query: { owner, type, loinc, since, until }, as })
      const { records } = document as { records: readonly Line[] }
      return { document, lines: records.length === 0 ? ['no records'] : records.map(recordLine) }
    }),
  )

  const show = homeCommand(
    record,
    'show <record>',
    'one index entry',
    'emrm record show 8c1f… --home ./net/hospital-1 --key ./patient.key',
  )
    .option('--key <file>', 'ask as this user (default: as the hospital)')
    .option('--fhir', 'as a FHIR DocumentReference')
  handle<AskOptions & { readonly fhir?: true }>(session, show, (options, id = '') => {
    const target = readRecordId(id)
    return withOptionalKey(session, options, async ({ api, as }) => {
      const entry = (await api.call('GET', `/v1/records/${target}`, { as })) as Line
      if (options.fhir !== true) return { document: entry, lines: shownLines(entry) }
      const index = entry['index'] as LocalFacts | null
      const document = documentReferenceFor(entry as unknown as IndexedRecord, index)
      return { document, lines: [JSON.stringify(document, null, 2)] }
    })
  })

  addCustodyCommands(session, record)
  addErasureCommands(session, record)
}

function addCustodyCommands(session: Session, record: Command): void {
  const withdraw = homeCommand(
    record,
    'withdraw <record>',
    'take a record back: nothing is released of it any more (the custodian)',
    'emrm record withdraw 8c1f… --home ./net/hospital-1',
  )
  handle<{ readonly home: string }>(session, withdraw, ({ home }, id = '') => {
    const target = readRecordId(id)
    return withApi(home, async api => {
      const document = (await api.call('POST', `/v1/records/${target}/withdraw`)) as Line
      return { document, lines: [`withdrawn at height ${document['height']}`] }
    })
  })

  const adopt = homeCommand(
    record,
    'adopt <record>',
    'hand custody over: the custodian names the new one, then the new one names itself',
    'emrm record adopt 8c1f… --home ./net/hospital-1 --custodian hospital-2',
  ).requiredOption('--custodian <institution>', 'id or name of the new custodian')
  handle<{ readonly home: string; readonly custodian: string }>(session, adopt, ({ home, custodian }, id = '') => {
    const target = readRecordId(id)
    return withApi(home, async api => {
      const body = { custodian: await institutionId(api, custodian) }
      const document = (await api.call('POST', `/v1/records/${target}/adopt`, { body })) as Line
      return { document, lines: [`agreed at height ${document['height']}`] }
    })
  })
}

/** Retention and erasure in words after the fields. */
function shownLines({ retention, erasure, ...fields }: Line): readonly string[] {
  const until = (retention as { readonly until: number } | undefined)?.until
  const kept = until === undefined ? [] : [`kept by law until ${new Date(until).toISOString()}`]
  if (erasure === undefined || erasure === null) return [...table(fields), ...kept]
  const { erased, asked, receipts } = erasure as Line & { readonly receipts: readonly Line[] }
  if (erased === null) return [...table(fields), ...kept, `erasure asked for at height ${asked}`]
  const signed = receipts.map(
    ({ institution, destroyed, height }) =>
      `destroyed by ${institution} at height ${height}: ${(destroyed as string[]).join(', ') || 'nothing was held'}`,
  )
  return [...table(fields), erasureLine({ record: fields['record'], ...erasure }), ...signed]
}

const recordLine = (record: Line): string => {
  const index = record['index'] as LocalFacts | null
  const local =
    index === null
      ? ''
      : ['', index.type ?? record['kind'], ...index.loinc, index.date ?? 'undated', `${index.size} B`].join('  ')
  return `${record['record']}  ${record['kind']}  ${record['confidentiality']}  owner ${record['owner']}  custodian ${record['custodian']}${local}`
}

type Said = { readonly confidentiality: string; readonly labels: readonly string[] }

function addedLines({ twinRefused, labelling, ...added }: Line): readonly string[] {
  const refused = twinRefused as { readonly message: string } | undefined
  const { given, rules, ruleSet, unread } = labelling as Labelling
  const said = ({ confidentiality, labels }: Said): string => [confidentiality, ...labels].join(' ')
  const now = said(added as unknown as Said)
  const by = rules.length === 0 ? '' : ` by ${rules.join(', ')}`
  const lines = [
    ...table({ ...added, labels: undefined, confidentiality: undefined }),
    unread === null
      ? `labels: ${said(given)} given, ${now} registered${by} (rules ${ruleSet.id} ${ruleSet.version})`
      : `labels: ${now} as given; ${UNREAD[unread]}, so nothing was derived: see that they fit`,
  ]
  return refused === undefined ? lines : [...lines, `no twin: ${refused.message}`]
}

const UNREAD: Readonly<Record<NonNullable<Labelling['unread']>, string>> = {
  'not-fhir': 'the record is no FHIR resource as JSON',
  'too-large': 'the record is JSON of more than 32 MiB',
}

type Source = {
  readonly bytes: AsyncIterable<Uint8Array>
  /** Null for what is piped in. */
  readonly size: number | null
}

async function upload(
  session: Session,
  api: Api,
  query: Query,
  source: Source,
): Promise<Readonly<Record<string, unknown>>> {
  const shown = makeByteProgress(session)
  let added: Line | null = null
  for await (const line of api.exchange('/v1/records', query, source.bytes)) {
    const step = line['progress'] as { stage: string; bytes: number } | undefined
    if (step !== undefined) shown.show(step.stage, step.bytes, source.size)
    else if (line['error'] !== undefined) {
      endProgress(session)
      throw toError(line)
    } else added = line
  }
  endProgress(session)
  if (added === null) throw toError(null)
  return added
}

/** Looked at before it is sent, so that a wrong path is said at once. */
async function openSource(session: Session, file: string): Promise<Source> {
  if (file === '-') return { bytes: session.io.stdin, size: null }
  const found = await stat(file).catch(() => null)
  if (found === null) throw new EmrmError('file-missing', `${file} does not exist; check the path`, { file })
  if (!found.isFile()) throw new EmrmError('file-unreadable', `${file} is not a file; give a file or "-"`, { file })
  return { bytes: createReadStream(file, { highWaterMark: 1_048_576 }), size: found.size }
}
