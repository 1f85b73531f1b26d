// Rpu, Rpe and PR (P-41), compiled from the rows that the chain holds into tables that a decision looks into.
// A role may assert a purpose that stands in its row, or one below it, BTG only where it stands itself. For PR the nearest row counts:
// the purpose's own, else its parent's, and so on up; so a row of its own can also take a right away. BTG needs its own row.

import type { Purpose, RelationRow, Relations, Right, Role } from '../model/operations.ts'
import { BREAK_THE_GLASS, isPurpose, PURPOSES, parentPurpose, purposeMask } from './purposes.ts'
import { RIGHTS, rightIncludes } from './sets.ts'

export type CompiledRelations = {
  /** role → mask over purpose indexes (Rpu). */
  readonly rolePurposes: ReadonlyMap<Role, Uint8Array>
  /** role → rights with what they include (Rpe). */
  readonly rolePermissions: ReadonlyMap<Role, ReadonlySet<Right>>
  /** rights by purpose index (PR). */
  readonly purposePermissions: readonly ReadonlySet<Right>[]
}

const NO_RIGHTS: ReadonlySet<Right> = new Set()

export function compileRelations(relations: Relations): CompiledRelations {
  const rights = new Map(relations.purposePermissions.map(row => [row.key, rightSet(row)]))
  return {
    rolePurposes: new Map(relations.rolePurposes.map(row => [row.key, purposeMask(row.values)])),
    rolePermissions: new Map(relations.rolePermissions.map(row => [row.key, rightSet(row)])),
    purposePermissions: PURPOSES.map(purpose => nearestRow(rights, purpose)),
  }
}

/** (role, AP) ∈ Rpu. `purpose`: an index of purposes.ts. */
export const roleHasPurpose = (relations: CompiledRelations, role: Role, purpose: number): boolean =>
  relations.rolePurposes.get(role)?.[purpose] === 1

/** (role, right) ∈ Rpe. */
export const roleHasRight = (relations: CompiledRelations, role: Role, right: Right): boolean =>
  relations.rolePermissions.get(role)?.has(right) === true

/** (AP, right) ∈ PR. */
export const purposeHasRight = (relations: CompiledRelations, purpose: number, right: Right): boolean =>
  relations.purposePermissions[purpose]?.has(right) === true

/** Whether every code in the rows is known; an unknown one is refused, never ignored. */
export function relationsAreKnown(relations: Relations): boolean {
  const rights = (row: RelationRow): boolean => row.values.every(value => RIGHTS.includes(value as Right))
  return (
    relations.rolePurposes.every(row => row.values.every(isPurpose)) &&
    relations.rolePermissions.every(rights) &&
    relations.purposePermissions.every(row => isPurpose(row.key) && rights(row))
  )
}

const rightSet = (row: RelationRow): ReadonlySet<Right> =>
  new Set(RIGHTS.filter(right => row.values.some(held => rightIncludes(held as Right, right))))

function nearestRow(rows: ReadonlyMap<Purpose, ReadonlySet<Right>>, purpose: Purpose): ReadonlySet<Right> {
  if (purpose === BREAK_THE_GLASS) return rows.get(purpose) ?? NO_RIGHTS
  for (let at: Purpose | null = purpose; at !== null; at = parentPurpose(at)) {
    const row = rows.get(at)
    if (row !== undefined) return row
  }
  return NO_RIGHTS
}
