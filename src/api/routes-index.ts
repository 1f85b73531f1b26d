// Calls about the index: records, a patient's policies, who can see a record, what a policy would change, institutions and users.
// Each answer is cut to what the caller may see (visibility.ts).

import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Views } from '../ledger/views.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, RecordId } from '../model/ids.ts'
import { type ApiContext, callerOf, pathId, queryText, recordIdIn } from './context.ts'
import { explainRecord } from './explain.ts'
import { decodePolicy } from './policy-body.ts'
import { toJson } from './present.ts'
import { previewPolicy } from './preview.ts'
import {
  isActive,
  isOwnerOrGuardian,
  requireRecord,
  requireRecordAsKeeper,
  type Sight,
  seesAsKeeper,
} from './visibility.ts'

export function sightOf(context: ApiContext, request: FastifyRequest): Sight {
  const { peer } = context
  return {
    views: peer.views,
    caller: callerOf(context, request),
    institution: peer.status().institution.id,
    time: peer.views.head().timestamp,
  }
}

export function addIndexRoutes(app: FastifyInstance, context: ApiContext): void {
  const { views } = context.peer

  app.get('/v1/institutions', async () => ({
    institutions: views
      .institutions()
      .map(({ id, name, peerId, region, score }) => ({ id, name, peerId, region, score })),
  }))

  app.get('/v1/rules', async () => ({ parameters: views.parameters(), relations: views.relations() }))

  // The hospital sees the users it registered; a user sees themselves.
  app.get<{ Params: { id: string } }>('/v1/users/:id', async request => {
    const sight = sightOf(context, request)
    const id = pathId(request.params.id, 32, 'user id') as Identifier
    const user = views.user(id)
    const { caller } = sight
    const sees = caller.type === 'user' ? caller.user === id : user?.institution === sight.institution
    if (user === null || !sees)
      throw new EmrmError('user-unknown', `there is no user ${id} that this caller may see; check the id and the key`, {
        user: id,
      })
    return toJson(user)
  })

  app.get('/v1/records', async request => {
    const sight = sightOf(context, request)
    const owner = ownerIn(request)
    return { records: toJson(recordsFor(sight, owner)) }
  })

  // Keepers also see how long it must be kept and what became of its end: both tell of the patient's other visits.
  app.get<{ Params: { id: string } }>('/v1/records/:id', async request => {
    const sight = sightOf(context, request)
    const entry = requireRecord(sight, recordIdIn(request.params.id))
    if (!seesAsKeeper(sight, entry)) return toJson(entry)
    return toJson({ ...entry, retention: views.retention(entry), erasure: erasureFor(views, entry.record) })
  })

  app.get<{ Params: { id: string } }>('/v1/records/:id/explain', async request => {
    const sight = sightOf(context, request)
    return toJson(explainRecord(sight, requireRecordAsKeeper(sight, recordIdIn(request.params.id))))
  })

  app.get('/v1/policies', async request => {
    const sight = sightOf(context, request)
    const owner = requireOwner(sight, ownerIn(request))
    return { policies: toJson(views.policiesOf(owner)), delegations: toJson(views.delegatesOf(owner)) }
  })

  app.post('/v1/policies/preview', async request => {
    const sight = sightOf(context, request)
    const policy = decodePolicy(request.body)
    requireOwner(sight, policy.owner)
    return toJson(previewPolicy(sight, policy))
  })
}

/** Institutions by name; null when nobody asked for it. */
export function erasureFor(views: Views, record: RecordId): object | null {
  const found = views.erasure(record)
  if (found === null) return null
  const nameOf = (id: Identifier): string => {
    const institution = views.institution(id)
    return institution === null ? id : institution.removed ? `${institution.name} (removed)` : institution.name
  }
  const { askedBy, asked, erased, complete, receipts, missing } = found
  return {
    ...{ askedBy, asked, erased, complete },
    receipts: receipts.map(({ institution, destroyed, height }) => ({
      institution: nameOf(institution),
      destroyed,
      height,
    })),
    missing: missing.map(nameOf),
  }
}

export function ownerIn(request: FastifyRequest): Identifier | null {
  const text = queryText(request, 'owner')
  return text === undefined ? null : (pathId(text, 32, 'patient id') as Identifier)
}

/** The owner, or a guardian. Throws EmrmError `patient-unknown` for anyone else, whether the patient exists or not. */
export function requireOwner(sight: Sight, asked: Identifier | null): Identifier {
  const owner = asked ?? (sight.caller.type === 'user' ? sight.caller.user : null)
  if (owner === null || !isOwnerOrGuardian(sight, owner))
    throw new EmrmError(
      'patient-unknown',
      "this caller may not see what is that patient's; use the patient's or a guardian's key",
    )
  return owner
}

function recordsFor(sight: Sight, owner: Identifier | null): readonly object[] {
  const { views, caller, institution } = sight
  if (caller.type === 'hospital')
    return views.recordsOfCustodian(institution).filter(record => owner === null || record.owner === owner)
  if (!isActive(sight, caller.user)) return []
  const owned = views.recordsOf(owner ?? caller.user).filter(record => seesAsKeeper(sight, record))
  const granted = views
    .decisionsOf({ user: caller.user })
    .flatMap(({ request }) => views.grant(request) ?? [])
    .filter(grant => sight.time < grant.expires && (owner === null || grant.owner === owner))
    .flatMap(grant => views.record(grant.record) ?? [])
  const known = new Map([...owned, ...granted].map(record => [record.record, record]))
  return [...known.values()]
}
