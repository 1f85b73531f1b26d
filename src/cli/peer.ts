// Commands about one peer, its chain and its vault: status, peers, block, tx, verify, scrub.

import type { Command } from 'commander'

import { type Line, toError } from '../api/client.ts'
import { loadConfig } from '../config.ts'
import { EmrmError } from '../model/errors.ts'
import type { Care, CareReport } from '../records/caretaker.ts'
import { usageText } from '../vault-text.ts'
import type { VerifyProgress, VerifyReport } from '../verify-home.ts'
import { type HomeOption, homeCommand, withApi } from './home.ts'
import { type Answer, EXIT, endProgress, handle, progress, type Session, table } from './session.ts'

export function addPeerCommands(session: Session, program: Command): void {
  const status = homeCommand(
    program,
    'status',
    "show the peer's place in the network",
    'emrm status --home ./net/hospital-1',
  )
  handle<HomeOption>(session, status, ({ home }) =>
    withApi(home, async api => {
      const document = (await api.call('GET', '/v1/status')) as Record<string, unknown>
      const peers = document['peers'] as readonly unknown[]
      const lines = table({
        ...document,
        primary: nameOf(document['primary']),
        peers: `${peers.length} connected`,
        vault: usageText(document['vault'] as Parameters<typeof usageText>[0]),
      })
      return { document, lines }
    }),
  )

  const peers = homeCommand(program, 'peers', 'show the connections', 'emrm peers --home ./net/hospital-1')
  handle<HomeOption>(session, peers, ({ home }) =>
    withApi(home, async api => {
      const document = (await api.call('GET', '/v1/peers')) as { peers: readonly Line[] }
      const line = ({ peerId, direction, direct, addresses }: Line): string =>
        `${peerId}  ${direction}  ${direct === true ? 'direct' : 'gossip'}  ${(addresses as readonly string[]).join(' ')}`
      return { document, lines: document.peers.length === 0 ? ['no connections'] : document.peers.map(line) }
    }),
  )

  const block = homeCommand(
    program,
    'block <height|id>',
    'show a block with its certificate',
    'emrm block 7 --home ./net/hospital-1',
  )
  handle<HomeOption>(session, block, ({ home }, ref = '') =>
    withApi(home, async api => {
      const document = (await api.call('GET', `/v1/blocks/${encodeURIComponent(ref)}`)) as Line
      const requests = document['requests'] as readonly Line[]
      const certificate = document['certificate'] as { path: string; view: number; votes: readonly unknown[] }
      return {
        document,
        lines: [
          ...table({ height: document['height'], id: document['id'], ...(document['header'] as object) }),
          `certificate  ${certificate.path} view ${certificate.view}, ${certificate.votes.length} votes`,
          ...requests.map(requestLine),
        ],
      }
    }),
  )

  const tx = homeCommand(
    program,
    'tx <id>',
    'show a request with its result and its Merkle proof',
    'emrm tx 3f0c… --home ./net/hospital-1',
  )
  handle<HomeOption>(session, tx, ({ home }, id = '') =>
    withApi(home, async api => {
      const document = (await api.call('GET', `/v1/transactions/${encodeURIComponent(id)}`)) as Line
      const { request, bytes: _, ...place } = document
      return { document, lines: [requestLine({ ...(request as Line), outcome: place['outcome'] }), ...table(place)] }
    }),
  )

  const verify = homeCommand(
    program,
    'verify',
    'check the whole local chain and the vault again; works on a stopped peer too',
    'emrm verify --home ./net/hospital-1',
  )
  handle<HomeOption>(session, verify, async ({ home }) => {
    const report = await verifyRunningOrStopped(session, home)
    endProgress(session)
    return verifyAnswer(session, report)
  })
}

export function addScrubCommand(session: Session, program: Command): void {
  const scrub = homeCommand(
    program,
    'scrub',
    'look through the vault now and fetch from other holders what is damaged or missing',
    'emrm scrub --home ./net/hospital-1',
  )
  handle<HomeOption>(session, scrub, ({ home }) =>
    withApi(home, async api => {
      const cares: Care[] = []
      let report: Line = {}
      for await (const line of api.lines('POST', '/v1/vault/scrub')) {
        if (line['error'] !== undefined) throw toError(line)
        if (line['care'] === undefined) report = line
        else cares.push(line['care'] as Care)
        progress(session, `${cares.length} records mended or damaged`)
      }
      endProgress(session)
      return scrubAnswer(session, report as unknown as CareReport, cares)
    }),
  )
}

function scrubAnswer(session: Session, report: CareReport, cares: readonly Care[]): Answer {
  const { records, mended, leftCount } = report
  const lines = cares.flatMap(({ record, left }) => left.map(problem => `left ${record}: ${problem.type}`))
  const summary = `${records} records, ${mended} problem(s) mended, ${leftCount} left`
  if (leftCount === 0) return { document: report, lines: [summary] }
  const message = `${leftCount} problem(s) in the vault could not be mended now; a later round tries again, "emrm verify" names them`
  session.io.stderr.write(`error vault-damaged: ${message}\n`)
  return {
    document: { ...report, error: { code: 'vault-damaged', message } },
    lines: [...lines, summary],
    exitCode: EXIT.failed,
  }
}

async function verifyRunningOrStopped(session: Session, home: string): Promise<VerifyReport> {
  const show: VerifyProgress = (stage, done, total) => progress(session, `${stage} ${done}/${total}`)
  try {
    return await withApi(home, async api => {
      let last: Line = {}
      for await (const line of api.lines('POST', '/v1/verify')) {
        if (line['error'] !== undefined) throw toError(line)
        const step = line['progress'] as { stage: 'blocks'; done: number; total: number } | undefined
        if (step === undefined) last = line
        else show(step.stage, step.done, step.total)
      }
      return last as unknown as VerifyReport
    })
  } catch (error) {
    if (!(error instanceof EmrmError) || error.code !== 'peer-not-running') throw error
    // Loaded here and not above: most commands need neither libp2p nor the store, and start in half the time.
    const { verifyOffline } = await import('../offline.ts')
    return verifyOffline(await loadConfig(home, session.io.env), show)
  }
}

function verifyAnswer(session: Session, report: VerifyReport): Answer {
  const all = [...report.problems, ...report.missing]
  const [first] = all
  if (first === undefined)
    return {
      document: report,
      lines: [
        report.from === 1
          ? `ok: ${report.heights} blocks and ${report.records} records are what the chain says`
          : `ok: the snapshot at ${report.from - 1}, the blocks from ${report.from} to ${report.heights} and ${report.records} records are what the chain says; older blocks are not here`,
      ],
    }
  const where = first.height === undefined ? `record ${first.record}` : `height ${first.height}`
  const message = `${all.length} problem(s), the first at ${where}: ${first.reason}; restore from a backup or let the peer fetch it again (emrm scrub)`
  session.io.stderr.write(`error verification-failed: ${message}\n`)
  return {
    document: { ...report, error: { code: 'verification-failed', message, ...first } },
    lines: all.map(({ what, height, record, reason }) => `bad ${what} ${height ?? record ?? ''}: ${reason}`),
    exitCode: EXIT.failed,
  }
}

const nameOf = (primary: unknown): unknown => (primary as { name?: string } | null)?.name

function requestLine(request: Line): string {
  const operation = request['operation'] as { type: string }
  const outcome = request['outcome'] as { type: string; reason?: string } | undefined
  const result = outcome === undefined ? '' : [outcome.type, outcome.reason].filter(Boolean).join(' ')
  return `${request['id']}  ${operation.type}  by ${request['client']}  ${result}`
}
