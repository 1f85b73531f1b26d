// Calls about the peer and the chain: status, connections, blocks, transactions, genesis, verification, the vault's health. The chain is the same for every
// institution, so the token is enough. Not here: records and what a user may see of them (routes-records.ts).

import type { FastifyInstance } from 'fastify'

import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'
import { type ApiContext, blockRefIn, openLines, requestIdIn } from './context.ts'
import { blockJson, requestJson, toJson } from './present.ts'

export function addChainRoutes(app: FastifyInstance, context: ApiContext): void {
  const { peer } = context

  app.get('/v1/status', async () => toJson(peer.status()))
  app.get('/v1/peers', async () => ({ peers: toJson(peer.connections()) }))
  app.get('/v1/genesis', async () => ({ chainId: peer.chainId, genesis: peer.genesis }))

  app.get<{ Params: { ref: string } }>('/v1/blocks/:ref', async request => {
    const ref = blockRefIn(request.params.ref)
    const stored = await peer.block(ref)
    if (stored === null)
      throw new EmrmError('block-unknown', `no block ${ref} on this peer; its head is ${peer.status().height}`, { ref })
    return blockJson(stored)
  })

  app.get<{ Params: { id: string } }>('/v1/transactions/:id', async request => {
    const id = requestIdIn(request.params.id)
    const found = await peer.transaction(id)
    if (found === null)
      throw new EmrmError('transaction-unknown', `no request ${id} in the chain of this peer; it may still wait`, {
        id,
      })
    // The exact bytes are the Merkle leaf: with them and the proof anyone can check the root in the header.
    return { ...found, request: requestJson(found.request), bytes: toHex(found.request.bytes) }
  })

  app.get('/v1/vault', async () => peer.careReport())

  // Takes as long as counting a large vault takes.
  app.get('/v1/vault/check', async () => peer.examineVault())

  // A line for each record with which something was wrong, then the report.
  app.post('/v1/vault/scrub', async (_request, reply) => {
    const lines = openLines(context, reply)
    const gone = new AbortController()
    reply.raw.on('close', () => gone.abort())
    try {
      for await (const care of peer.scrub(gone.signal)) await lines.write({ care })
      await lines.write(peer.careReport())
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })

  // A large chain takes minutes: progress lines, then the report.
  app.post('/v1/verify', async (_request, reply) => {
    const lines = openLines(context, reply)
    try {
      const report = await peer.verify((stage, done, total) => void lines.write({ progress: { stage, done, total } }))
      await lines.write(report)
    } catch (error) {
      await lines.error(error)
    }
    lines.end()
  })
}
