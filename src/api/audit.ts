// The audit trail (P-03: patients see who reads their records, and why): every request about records, policies and access as it stands in
// the chain, in order, cut to what the caller may see. Read from the blocks themselves, not from an index that could leave something out.

import type { Request } from '../model/block.ts'
import type { Height, Identifier, RecordId } from '../model/ids.ts'
import type { Operation, Outcome } from '../model/operations.ts'
import type { PeerHandle } from './peer-handle.ts'
import { isActive, isOwnerOrGuardian, type Sight, seesAsKeeper } from './visibility.ts'

export type AuditFilter = {
  readonly record: RecordId | null
  readonly patient: Identifier | null
  readonly user: Identifier | null
  readonly fromHeight: number
}

export type AuditEntry = {
  readonly height: number
  readonly index: number
  /** Block time, ms. */
  readonly time: number
  readonly request: string
  readonly type: Operation['type']
  readonly by: Identifier
  readonly institution: string | null
  readonly owner: Identifier | null
  readonly record: RecordId | null
  readonly result: string
  /** What was asked and decided: role, purpose, right, basis, variant, verdict … */
  readonly details: Readonly<Record<string, unknown>>
}

/** Yields as it reads; a long chain is read block by block and other work goes on between. */
export async function* auditEntries(peer: PeerHandle, sight: Sight, filter: AuditFilter): AsyncGenerator<AuditEntry> {
  const head = peer.status().height
  for (let height = Math.max(1, filter.fromHeight); height <= head; height++) {
    const stored = await peer.block(height as Height)
    if (stored === null) continue
    const { block, outcomes } = stored
    for (const [index, request] of block.requests.entries()) {
      const entry = entryOf(sight, request, outcomes[index], { height, index, time: block.header.timestamp })
      if (entry !== null && matches(entry, filter) && maySee(sight, entry)) yield entry
    }
  }
}

type Place = { readonly height: number; readonly index: number; readonly time: number }

function entryOf(sight: Sight, request: Request, outcome: Outcome | undefined, place: Place): AuditEntry | null {
  const subject = subjectOf(sight, request.operation)
  if (subject === null) return null
  const granted = outcome?.type === 'granted' ? outcome.grant : null
  const { owner, record, details } = subject
  return {
    ...place,
    request: request.id,
    type: request.operation.type,
    by: request.client,
    institution: granted?.institution ?? institutionOf(sight, request.client),
    owner: granted?.owner ?? owner,
    record,
    result:
      outcome === undefined ? 'unknown' : 'reason' in outcome ? `${outcome.type}: ${outcome.reason}` : outcome.type,
    details: granted
      ? {
          ...details,
          basis: granted.basis,
          variant: granted.variant,
          released: granted.record,
          expires: granted.expires,
        }
      : details,
  }
}

/** The institution itself, or that of its user. */
function institutionOf({ views }: Sight, client: Identifier): Identifier | null {
  return views.institution(client)?.id ?? views.user(client)?.institution ?? null
}

type Subject = {
  readonly owner: Identifier | null
  readonly record: RecordId | null
  readonly details: Readonly<Record<string, unknown>>
}

/** Whom and what an operation is about; null for those of the consortium and of identity, which are no access to anything. */
function subjectOf({ views }: Sight, operation: Operation): Subject | null {
  const ofRecord = (record: RecordId, details: Subject['details']): Subject => ({
    owner: views.record(record)?.owner ?? null,
    record,
    details,
  })
  switch (operation.type) {
    case 'record.register': {
      const { owner, record, kind, confidentiality, custodian } = operation
      return { owner, record, details: { kind, confidentiality, custodian } }
    }
    case 'record.withdraw':
      return ofRecord(operation.record, {})
    case 'record.adopt':
      return ofRecord(operation.record, { custodian: operation.custodian })
    case 'record.redeal':
      return ofRecord(operation.record, { sharesLost: operation.losses.length })
    case 'record.reshare': {
      const { record, intent, shareCount, threshold } = operation
      return ofRecord(record, { intent, shareCount, threshold })
    }
    case 'record.ask-erasure':
    case 'record.erase':
      return ofRecord(operation.record, {})
    case 'record.destroyed':
      return ofRecord(operation.record, { destroyed: operation.destroyed })
    case 'policy.set': {
      const { type: _, owner, scope, ...details } = operation
      return { owner, record: scope.type === 'record' ? scope.record : null, details: { scope, ...details } }
    }
    case 'policy.revoke':
      return { owner: operation.owner, record: null, details: { policy: operation.policy } }
    case 'delegate.set': {
      const { type: _, owner, ...details } = operation
      return { owner, record: null, details }
    }
    case 'delegate.revoke':
      return { owner: operation.owner, record: null, details: { delegate: operation.delegate } }
    case 'access.request': {
      const { record, role, purpose, right } = operation
      return ofRecord(record, { role, purpose, right })
    }
    case 'access.emergency': {
      const { record, role, reason } = operation
      return ofRecord(record, { role, purpose: 'BTG', right: 'read', reason })
    }
    case 'access.receipt':
    case 'access.review': {
      const grant = views.grant(operation.grant)
      const details = operation.type === 'access.review' ? { verdict: operation.verdict, note: operation.note } : {}
      return {
        owner: grant?.owner ?? null,
        record: grant?.record ?? null,
        details: { grant: operation.grant, ...details },
      }
    }
    case 'institution.admit':
    case 'institution.rate':
    case 'institution.remove':
    case 'validators.set':
    case 'ca.authorize':
    case 'ca.revoke':
    case 'relations.set':
    case 'user.register':
    case 'user.revoke':
    case 'user.rotate-key':
    case 'credential.issue':
    case 'credential.revoke':
    case 'evidence.submit':
      return null
  }
}

function matches(entry: AuditEntry, { record, patient, user }: AuditFilter): boolean {
  return (
    (record === null || entry.record === record || entry.details['released'] === record) &&
    (patient === null || entry.owner === patient) &&
    (user === null || entry.by === user)
  )
}

/** The patient or guardian sees all about the patient, a user what they asked themselves, the hospital what is about records that it keeps. */
function maySee(sight: Sight, entry: AuditEntry): boolean {
  const { caller, views } = sight
  const record = entry.record === null ? null : views.record(entry.record)
  if (caller.type === 'hospital') return record !== null && seesAsKeeper(sight, record)
  if (!isActive(sight, caller.user)) return false
  if (entry.by === caller.user) return true
  return entry.owner !== null && isOwnerOrGuardian(sight, entry.owner)
}
