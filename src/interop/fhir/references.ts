// References: who and what a resource points at. Literal ones go to the caller's resolver; logical ones by our own identifier systems
// are read here, since the chain named them.

import { type Identifier, isHexadecimal, type RecordId } from '../../model/ids.ts'
import type { Grantee } from '../../model/operations.ts'
import { OUR_GROUP, OUR_INSTITUTION, OUR_RECORD, OUR_ROLE, OUR_USER } from './codes.ts'
import { object, refuse, text } from './read.ts'
import type { FhirReference, Resolver } from './types.ts'

const LITERAL =
  /^(?:https?:\/\/[^\s?#]+\/)?([A-Z][A-Za-z]{1,63})\/([A-Za-z0-9.-]{1,64})(?:\/_history\/[A-Za-z0-9.-]{1,64})?$/

export function readReference(value: unknown, where: string): FhirReference {
  const reference = object(value, where)
  const literal = text(reference['reference'], where)
  const claimed = text(reference['type'], where)
  if (literal?.startsWith('#')) refuse('reference-contained', `${where} points into the resource itself.`)
  const parts = literal === null ? null : LITERAL.exec(literal)
  const type = parts?.[1] ?? claimed
  if (claimed !== null && type !== claimed) refuse('reference-invalid', `${where} names two types.`)
  const id = parts?.[2] ?? null
  const identifier = reference['identifier'] === undefined ? null : readIdentifier(reference['identifier'], where)
  if (literal === null && identifier === null)
    refuse('reference-invalid', `${where} has no reference and no identifier.`)
  return { type, id, literal: literal ?? '', identifier }
}

function readIdentifier(value: unknown, where: string): { system: string; value: string } {
  const identifier = object(value, where)
  return { system: text(identifier['system'], where) ?? '', value: text(identifier['value'], where) ?? '' }
}

/** `Type/id`, for comparing; null for a logical reference. */
export const nameOf = (reference: FhirReference): string | null =>
  reference.type === null || reference.id === null ? null : `${reference.type}/${reference.id}`

export function resolveOwner(reference: FhirReference, resolver: Resolver): Identifier | null {
  const own = ours(reference)
  if (own === null) return resolver.owner(reference)
  return own.system === OUR_USER && isHexadecimal(own.value, 32) ? (own.value as Identifier) : null
}

export function resolveGrantee(reference: FhirReference, resolver: Resolver): Grantee | null {
  const own = ours(reference)
  if (own === null) return resolver.grantee(reference)
  const { system, value } = own
  const isId = isHexadecimal(value, 32)
  if (system === OUR_USER && isId) return { type: 'user', user: value as Identifier }
  if (system === OUR_INSTITUTION && isId) return { type: 'institution', institution: value as Identifier }
  if (system === OUR_ROLE && value !== '') return { type: 'role', role: value }
  if (system === OUR_GROUP && value !== '') return { type: 'group', group: value }
  return null
}

export function resolveRecord(reference: FhirReference, resolver: Resolver): RecordId | null {
  const own = ours(reference)
  if (own === null) return resolver.record(reference)
  return own.system === OUR_RECORD && isHexadecimal(own.value, 32) ? (own.value as RecordId) : null
}

const OURS: readonly string[] = [OUR_USER, OUR_INSTITUTION, OUR_ROLE, OUR_GROUP, OUR_RECORD]

/** Only when nothing else is said: with a literal beside it the two could disagree, and the literal is the caller's to resolve. */
const ours = (reference: FhirReference): FhirReference['identifier'] =>
  reference.literal === '' && reference.identifier !== null && OURS.includes(reference.identifier.system)
    ? reference.identifier
    : null
