// Calls about who vouches for whom: the CAs with their keys, a user's credentials and their status (P-44).
// Not here: issuing and revoking (a CA's signed request, like any other), the user's registration (routes-index.ts).

import type { FastifyInstance } from 'fastify'
import type { CredentialEntry } from '../ledger/entries.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, Timestamp } from '../model/ids.ts'
import { type ApiContext, pathId } from './context.ts'
import { sightOf } from './routes-index.ts'

export function addIdentityRoutes(app: FastifyInstance, context: ApiContext): void {
  const { views } = context.peer

  app.get('/v1/cas', async () => ({ cas: views.cas() }))

  // The hospital sees those of its users; a user sees their own.
  app.get<{ Params: { id: string } }>('/v1/users/:id/credentials', async request => {
    const { caller, institution, time } = sightOf(context, request)
    const id = pathId(request.params.id, 32, 'user id') as Identifier
    const sees = caller.type === 'user' ? caller.user === id : views.user(id)?.institution === institution
    if (!sees)
      throw new EmrmError('user-unknown', `there is no user ${id} that this caller may see; check the id and the key`, {
        user: id,
      })
    return { credentials: views.credentialsOf(id).map(entry => shown(entry, time)) }
  })

  // Whoever knows a credential's digest has seen the credential, and may ask whether it still holds.
  app.get<{ Params: { id: string; credential: string } }>('/v1/users/:id/credentials/:credential', async request => {
    const { time } = sightOf(context, request)
    const id = pathId(request.params.id, 32, 'user id') as Identifier
    const digest = pathId(request.params.credential, 64, 'credential')
    const found = views.credentialsOf(id).find(({ credential }) => credential === digest)
    if (found === undefined)
      throw new EmrmError(
        'credential-unknown',
        'no such credential is registered; it was never issued on this network, or has been over for long',
        { credential: digest },
      )
    return shown(found, time)
  })
}

type Status = 'valid' | 'expired' | 'revoked'

/** As of block time. */
const shown = (entry: CredentialEntry & { readonly stands: boolean }, time: Timestamp): object => {
  const { stands, revoked: _, ...fields } = entry
  const status: Status = !stands ? 'revoked' : time < entry.validUntil ? 'valid' : 'expired'
  return { ...fields, status }
}
