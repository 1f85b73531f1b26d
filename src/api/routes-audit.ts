// GET /v1/audit, POST /v1/report and POST /v1/replay: what happened, the proof of it, and whether it was decided rightly. All can be long,
// so all answer in lines.

import type { FastifyInstance } from 'fastify'

import { drawPath } from '../committee-path.ts'
import { EmrmError } from '../model/errors.ts'
import { asHeight, type Identifier, type RecordId } from '../model/ids.ts'
import type { StoredBlock } from '../ports.ts'
import { replayChain } from '../replay.ts'
import { anchorReport, drawReport } from '../report.ts'
import { auditEntries } from './audit.ts'
import { type ApiContext, openLines, pathId, queryText, recordIdIn } from './context.ts'
import { emergenciesFor } from './emergencies.ts'
import { toJson } from './present.ts'
import { erasureFor, ownerIn, requireOwner, sightOf } from './routes-index.ts'

const ANCHOR_TIMEOUT_MS = 60_000
const ANCHOR_LOOK_MS = 50

export function addAuditRoutes(app: FastifyInstance, context: ApiContext): void {
  const { peer } = context

  // A line for each entry, then {"end": true, "count", "height"}.
  app.get('/v1/audit', async (request, reply) => {
    const sight = sightOf(context, request)
    const id = (key: string): Identifier | null => {
      const text = queryText(request, key)
      return text === undefined ? null : (pathId(text, 32, key) as Identifier)
    }
    const record = queryText(request, 'record')
    const fromHeight = Number(queryText(request, 'from') ?? '1')
    if (!Number.isSafeInteger(fromHeight))
      throw new EmrmError('height-invalid', 'from is refused; send a height, a whole number')
    const filter = {
      record: record === undefined ? null : recordIdIn(record),
      patient: id('patient'),
      user: id('user'),
      fromHeight,
    }
    const lines = openLines(context, reply)
    try {
      let count = 0
      const erased = new Set<RecordId>()
      for await (const entry of auditEntries(peer, sight, filter)) {
        if (lines.closed) break
        await lines.write(entry)
        count++
        if (entry.type === 'record.erase' && entry.result === 'done' && entry.record !== null) erased.add(entry.record)
      }
      const erasures = [...erased].map(id => ({ record: id, ...erasureFor(peer.views, id) }))
      await lines.write({ end: true, count, height: peer.status().height, erasures })
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })

  // The patient's own or a ward's; without a user's key those that this hospital has to review.
  app.get('/v1/emergencies', async request => ({ emergencies: toJson(emergenciesFor(sightOf(context, request))) }))

  // {"drawn": {"height"}}: from now on a block makes the report provable; then the report. The owner or a guardian.
  app.post('/v1/report', async (request, reply) => {
    const sight = sightOf(context, request)
    const owner = requireOwner(sight, ownerIn(request))
    const draft = drawReport(peer.views, peer.chainId, owner)
    const lines = openLines(context, reply)
    try {
      await lines.write({ drawn: { height: draft.height } })
      const next = await blockAbove(draft.height, () => lines.closed)
      if (next === null) return lines.end()
      const path = await drawPath(peer.views, draft.height + 1, height => peer.handover(height))
      await lines.write(anchorReport(draft, path, next))
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })

  /** Null when the caller went. Throws EmrmError `report-not-anchored`. */
  async function blockAbove(height: number, gone: () => boolean): Promise<StoredBlock | null> {
    for (let waited = 0; waited < ANCHOR_TIMEOUT_MS; waited += ANCHOR_LOOK_MS) {
      const next = await peer.block(asHeight(height + 1))
      if (next !== null || gone()) return next
      await new Promise(resolve => setTimeout(resolve, ANCHOR_LOOK_MS))
    }
    throw new EmrmError(
      'report-not-anchored',
      'no block was decided above the report, so it proves nothing yet; see whether the network decides (emrm status) and ask again',
      { height },
    )
  }

  // {"progress": {"done", "total"}} lines, then the report.
  app.post('/v1/replay', async (_request, reply) => {
    const lines = openLines(context, reply)
    try {
      const report = await replayChain({
        ledger: await peer.beginning(),
        head: asHeight(peer.status().height),
        blockAt: height => peer.block(height),
        onProgress: (done, total) => void lines.write({ progress: { done, total } }),
      })
      await lines.write(report)
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })
}
