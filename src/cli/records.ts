// `emrm record add | list | show`: a hospital's record goes in (encrypted there, its digest on the chain), index entries come out.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'

import { type Api, type Line, type Query, toError } from '../api/client.ts'
import { EmrmError } from '../model/errors.ts'
import { homeCommand, institutionId, withApi, withOptionalKey } from './home.ts'
import { makeByteProgress } from './progress.ts'
import { endProgress, handle, type Session, table } from './session.ts'
import { collect, readRecordId, readUserId } from './values.ts'

type AddOptions = {
  readonly home: string
  readonly patient: string
  readonly kind?: string
  readonly label?: readonly string[]
  readonly confidentiality: string
  readonly twin?: true
}
type AskOptions = { readonly home: string; readonly key?: string; readonly patient?: string }

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
    .option('--label <code>', 'HL7 sensitivity code; may be given several times', collect)
    .option('--confidentiality <level>', 'U, L, M, N, R or V', 'N')
    .option('--twin', 'make a de-identified twin too (FHIR, DICOM), which an --anonymous policy releases in its place')
  handle<AddOptions>(session, add, (options, file = '') =>
    withApi(options.home, async api => {
      const query = {
        owner: options.patient,
        kind: options.kind,
        confidentiality: options.confidentiality,
        label: options.label,
        ...(options.twin === true ? { twin: 'true' } : {}),
      }
      const document = await upload(session, api, query, await openSource(session, file))
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
  handle<AskOptions>(session, list, options =>
    withOptionalKey(session, options, async ({ api, as }) => {
      const document = await api.call('GET', '/v1/records', { query: { owner: options.patient }, as })
      const { records } = document as { records: readonly Line[] }
      return { document, lines: records.length === 0 ? ['no records'] : records.map(recordLine) }
    }),
  )

  const show = homeCommand(
    record,
    'show <record>',
    'one index entry',
    'emrm record show 8c1f… --home ./net/hospital-1 --key ./patient.key',
  ).option('--key <file>', 'ask as this user (default: as the hospital)')
  handle<AskOptions>(session, show, (options, id = '') => {
    const target = readRecordId(id)
    return withOptionalKey(session, options, async ({ api, as }) => {
      const document = (await api.call('GET', `/v1/records/${target}`, { as })) as Line
      return { document, lines: table(document) }
    })
  })

  addCustodyCommands(session, record)
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

const recordLine = (record: Line): string =>
  `${record['record']}  ${record['kind']}  ${record['confidentiality']}  owner ${record['owner']}  custodian ${record['custodian']}`

function addedLines({ twinRefused, ...added }: Line): readonly string[] {
  const refused = twinRefused as { readonly message: string } | undefined
  return refused === undefined ? table(added) : [...table(added), `no twin: ${refused.message}`]
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
