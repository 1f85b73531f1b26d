// Calls about the index: records, a patient's policies, who can see a record, what a policy would change, institutions and users.
// Each answer is cut to what the caller may see (visibility.ts).

import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RecordEntry } from '../ledger/entries.ts'
import type { Views } from '../ledger/views.ts'
import { EmrmError } from '../model/errors.ts'
import { asHeight, type Identifier, nextHeight, type RecordId } from '../model/ids.ts'
import { dealStands } from '../model/redeal.ts'
import type { LocalEntry } from '../records/local-index.ts'
import { type ApiContext, callerOf, pathId, queryText, recordIdIn } from './context.ts'
import { explainRecord } from './explain.ts'
import type { PeerHandle } from './peer-handle.ts'
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

  // `index`: what this hospital noted for itself when it took the record in; null for records of others, and for who is no keeper.
  app.get('/v1/records', async request => {
    const sight = sightOf(context, request)
    const wanted = wantedIn(request)
    const records: object[] = []
    for (const record of recordsFor(sight, ownerIn(request))) {
      const shown = await withIndex(context, sight, record)
      if (wanted === null || (shown.index !== null && wanted(shown.index))) records.push(shown)
    }
    return { records: toJson(records) }
  })

  // Keepers also see how long it must be kept and what became of its end: both tell of the patient's other visits.
  app.get<{ Params: { id: string } }>('/v1/records/:id', async request => {
    const sight = sightOf(context, request)
    const entry = requireRecord(sight, recordIdIn(request.params.id))
    const shown = { ...(toJson(await withIndex(context, sight, entry)) as object), ...keyHolders(context.peer, entry) }
    if (!seesAsKeeper(sight, entry)) return shown
    return {
      ...shown,
      ...(toJson({ retention: views.retention(entry), erasure: erasureFor(views, entry.record) }) as object),
    }
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

type Indexed = RecordEntry & { readonly index: LocalEntry | null; readonly indexFault?: string }

async function withIndex({ peer }: ApiContext, sight: Sight, record: RecordEntry): Promise<Indexed> {
  if (record.custodian !== sight.institution || !seesAsKeeper(sight, record)) return { ...record, index: null }
  try {
    return { ...record, index: await peer.localEntry(record.record) }
  } catch (error) {
    // One note that is damaged must not hide the others.
    if (!(error instanceof EmrmError)) throw error
    return { ...record, index: null, indexFault: error.code }
  }
}

/** `type`, `loinc`, `since` and `until` (days, both included); null when nothing of the kind is asked. */
function wantedIn(request: FastifyRequest): ((entry: LocalEntry) => boolean) | null {
  const [type, loinc] = [queryText(request, 'type'), queryText(request, 'loinc')]
  const [since, until] = [dayIn(request, 'since'), dayIn(request, 'until')]
  if ([type, loinc, since, until].every(asked => asked === undefined)) return null
  return entry => {
    if (type !== undefined && entry.type !== type) return false
    if (loinc !== undefined && !entry.loinc.includes(loinc)) return false
    if (since === undefined && until === undefined) return true
    // A date may be a year or a month: it counts when any day of it is asked for.
    const date = entry.date?.slice(0, 10)
    if (date === undefined) return false
    return (since === undefined || date >= since.slice(0, date.length)) && (until === undefined || date <= until)
  }
}

function dayIn(request: FastifyRequest, key: string): string | undefined {
  const text = queryText(request, key)
  if (text === undefined || /^\d{4}-\d\d-\d\d$/.test(text)) return text
  throw new EmrmError('date-invalid', `${key} is refused; send a day as 2027-01-31`, { [key]: text })
}

/** Who holds the key's shares, and whether they are the committee of now; if not, the custodian's peer deals the key anew by itself. */
function keyHolders(peer: PeerHandle, { dealtAt }: RecordEntry): object {
  const dealt = peer.committeeAt(asHeight(dealtAt))
  const { height } = peer.views.head()
  const present = peer.committeeAt(nextHeight(height)) ?? peer.committeeAt(height)
  if (dealt === null || present === null) return {}
  const names = dealt.validators.map(({ name }) => name)
  return { sharesWith: names, sharesWithPresentCommittee: dealStands(dealt, present) }
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

function recordsFor(sight: Sight, owner: Identifier | null): readonly RecordEntry[] {
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
