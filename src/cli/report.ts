// `emrm audit --report` and `emrm verify-report`: a patient's report with its proofs, and checking one on a machine that has nothing but
// the network's genesis.json. Not here: what a report is (report.ts), the checks (verify-report.ts).

import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { type Api, type Line, toError } from '../api/client.ts'
import { makeAgent } from '../client/agent.ts'
import { auditEventFor } from '../interop/fhir/audit-event.ts'
import { EmrmError } from '../model/errors.ts'
import { digestOf } from '../model/hash.ts'
import type { Digest, RequestId } from '../model/ids.ts'
import type { Report } from '../report.ts'
import { readJsonFile } from '../shape.ts'
import { verifyReport } from '../verify-report.ts'
import { chainIdOf, genesisCommittee, parseGenesis } from '../wire/codec.ts'
import { withKey } from './home.ts'
import { type Answer, EXIT, handle, type Session, table } from './session.ts'

export type ReportOptions = {
  readonly home: string
  readonly report: string
  readonly key?: string
  readonly patient?: string
  readonly format?: readonly string[]
}

export function reportCommand(session: Session, options: ReportOptions): Promise<Answer> {
  const { home, key: keyFile, patient, report: file } = options
  if (keyFile === undefined)
    throw new EmrmError('option-missing', "a report is the patient's; add --key with the patient's or a guardian's key")
  return withKey(session, { home, key: keyFile }, async ({ api, key, chainId }) => {
    let report: Report | null = null
    const as = { signer: key, chainId }
    for await (const line of api.lines('POST', '/v1/report', { query: { owner: patient }, as })) {
      if (line['error'] !== undefined) throw toError(line)
      if (line['drawn'] === undefined) report = line as unknown as Report
      else await makeBlock(api, makeAgent({ network: chainId, key, now: Date.now }), line)
    }
    if (report === null)
      throw new EmrmError('api-connection-lost', 'the peer ended before the report was complete; ask again')
    const asFhir = options.format?.at(-1) === 'fhir'
    const content = asFhir ? await auditBundle(api, report) : report
    await writeReport(file, `${JSON.stringify(content, null, 1)}\n`)
    const { owner, height, lines } = report
    const document = { report: file, format: asFhir ? 'fhir' : 'json', owner, height, decisions: lines.length }
    return { document, lines: table(document) }
  })
}

/**
 * A report is anchored in the block above it, and an idle chain makes none: a receipt for a grant that does not exist makes one, and has
 * no effect but to stand there, refused.
 */
async function makeBlock(api: Api, agent: ReturnType<typeof makeAgent>, drawn: Line): Promise<void> {
  const nothing = digestOf(Buffer.from(`emrm/report/1 ${JSON.stringify(drawn)} ${agent.identifier}`))
  await api.submit(agent.giveReceipt(nothing as RequestId, nothing as Digest).bytes)
}

/** IHE BALP; one AuditEvent for each decision. */
async function auditBundle(api: Api, { owner, lines }: Report): Promise<object> {
  const { institutions } = (await api.call('GET', '/v1/institutions')) as { institutions: readonly Line[] }
  const { institution, peerId } = (await api.call('GET', '/v1/status')) as {
    institution: { name: string }
    peerId: string
  }
  const observer = { name: institution.name, address: peerId }
  const partyOf = (id: string): { name: string; address: string } => {
    const found = institutions.find(each => each['id'] === id)
    return found === undefined
      ? { name: 'unregistered', address: 'unknown' }
      : { name: String(found['name']), address: String(found['peerId']) }
  }
  const entry = lines.map(({ decision }) => ({
    fullUrl: `urn:emrm:request:${decision.request}`,
    resource: auditEventFor(
      { ...decision, owner },
      { event: 'decision', client: partyOf(decision.institution), observer },
    ),
  }))
  return { resourceType: 'Bundle', type: 'collection', entry }
}

async function writeReport(file: string, text: string): Promise<void> {
  try {
    // It says who asked for what about a patient: for its owner's eyes.
    await writeFile(file, text, { mode: 0o600 })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError('output-failed', `${file} cannot be written (${code}); check the folder and free space`, {
      cause: code,
    })
  }
}

export function addVerifyReportCommand(session: Session, program: Command): void {
  const verify = program
    .command('verify-report <file>')
    .description("check a patient's report without any peer; the first wrong line is named")
    .requiredOption('--genesis <file>', 'genesis.json of the network')
    .addHelpText('after', '\nExample:\n  $ emrm verify-report ./report.json --genesis ./genesis.json')
  handle<{ readonly genesis: string }>(session, verify, async (options, file = '') => {
    const genesis = parseGenesis(await readJsonFile(options.genesis))
    const chain = { chainId: chainIdOf(genesis), committee: genesisCommittee(genesis) }
    const verdict = verifyReport(await readJsonFile(file), chain)
    if (verdict.ok) {
      const { decisions, granted, opened, height, time, committeeChanges } = verdict
      const said = `ok: all ${decisions} decisions about ${verdict.owner} up to block ${height} (${new Date(time).toISOString()}): ${granted} granted, ${opened} opened; ${committeeChanges} change(s) of the committee since genesis`
      return { document: verdict, lines: [said] }
    }
    const { line, step, reason } = verdict
    const where = line !== null ? `line ${line}` : step !== undefined ? `change ${step} of the committee` : 'the report'
    const message = `${where} is refused (${reason}); ask for the report again, and tell the authority if it fails again`
    session.io.stderr.write(`error report-refused: ${message}\n`)
    return {
      document: { ...verdict, error: { code: 'report-refused', message, line, step, reason } },
      lines: [],
      exitCode: EXIT.failed,
    }
  })
}
