// GET /v1/audit and POST /v1/replay: what happened, and whether it was decided rightly. Both can be long, so both answer in lines.

import type { FastifyInstance } from 'fastify'

import { EmrmError } from '../model/errors.ts'
import { asHeight, type Identifier } from '../model/ids.ts'
import { replayChain } from '../replay.ts'
import { auditEntries } from './audit.ts'
import { type ApiContext, openLines, pathId, queryText, recordIdIn } from './context.ts'
import { sightOf } from './routes-index.ts'

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
      for await (const entry of auditEntries(peer, sight, filter)) {
        if (lines.closed) break
        await lines.write(entry)
        count++
      }
      await lines.write({ end: true, count, height: peer.status().height })
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })

  // {"progress": {"done", "total"}} lines, then the report.
  app.post('/v1/replay', async (_request, reply) => {
    const lines = openLines(context, reply)
    try {
      const report = await replayChain({
        genesis: peer.genesis,
        chainId: peer.chainId,
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
