// Limits on what an operation may carry into the state. wire/codec bounds every field's bytes; here stands what the contract accepts.
// Names become parts of keys, so they cannot hold a slash or a bar. No regular expressions: their meaning moves with the engine.

import { relationsAreKnown } from '../access/relations.ts'
import { isHexadecimal } from '../model/ids.ts'
import type { AttributeRow, Grantee, RelationRow, Relations, Scope } from '../model/operations.ts'

export const NAME_LENGTH_MAX = 64
export const TEXT_LENGTH_MAX = 1000
export const ROLES_MAX = 16
export const GROUPS_MAX = 64
export const ATTRIBUTES_MAX = 32
export const ATTRIBUTE_VALUES_MAX = 16
/** Credentials of one user that stand in the state: a decision looks at all of them. Those that are over make room. */
export const CREDENTIALS_MAX = 32
export const LABELS_MAX = 41
export const PURPOSES_MAX = 64
export const ROWS_MAX = 200
export const INSTITUTIONS_MAX = 5000
export const SCORE_MAX = 1_000_000_000
/** Policies (and remembered timestamps) of one patient: a decision looks at all of them. */
export const POLICIES_MAX = 2000
export const DELEGATES_MAX = 200
export const SEAL_KEY_DIGITS = 2432

/** 1 to 64 of: letters, digits, `-`, `_`, `.`, `:`. */
export function isName(text: string): boolean {
  if (text.length < 1 || text.length > NAME_LENGTH_MAX) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    const letter = (c >= 97 && c <= 122) || (c >= 65 && c <= 90)
    const digit = c >= 48 && c <= 58
    if (!letter && !digit && c !== 45 && c !== 46 && c !== 95) return false
  }
  return true
}

export const areNames = (texts: readonly string[], max: number): boolean => texts.length <= max && texts.every(isName)

/** Free text that somebody wrote: 1 to 1000 code units. */
export const isText = (text: string): boolean => text.length >= 1 && text.length <= TEXT_LENGTH_MAX

export const isWhole = (value: number, max: number = Number.MAX_SAFE_INTEGER): boolean =>
  Number.isSafeInteger(value) && value >= 0 && value <= max

/** Each once, in code-unit order. */
export const sortedSet = <T extends string>(texts: readonly T[]): readonly T[] => [...new Set(texts)].sort()

export function isScope(scope: Scope): boolean {
  switch (scope.type) {
    case 'all':
      return true
    case 'kind':
      return isName(scope.kind)
    case 'record':
      return isHexadecimal(scope.record, 32)
  }
}

export function isGrantee(grantee: Grantee): boolean {
  switch (grantee.type) {
    case 'anyone':
      return true
    case 'institution':
      return isHexadecimal(grantee.institution, 32)
    case 'user':
      return isHexadecimal(grantee.user, 32)
    case 'role':
      return isName(grantee.role)
    case 'group':
      return isName(grantee.group)
  }
}

/** Each name once, with at least one value. */
export const areAttributes = (rows: readonly AttributeRow[]): boolean =>
  areNames(
    rows.map(({ key }) => key),
    ATTRIBUTES_MAX,
  ) &&
  new Set(rows.map(({ key }) => key)).size === rows.length &&
  rows.every(({ values }) => values.length > 0 && areNames(values, ATTRIBUTE_VALUES_MAX))

/** Rows with known codes and each key once. */
export function areRelations(relations: Relations): boolean {
  const rows = (list: readonly RelationRow[]): boolean =>
    areNames(
      list.map(row => row.key),
      ROWS_MAX,
    ) &&
    new Set(list.map(row => row.key)).size === list.length &&
    list.every(row => areNames(row.values, PURPOSES_MAX))
  return (
    rows(relations.rolePurposes) &&
    rows(relations.rolePermissions) &&
    rows(relations.purposePermissions) &&
    relationsAreKnown(relations)
  )
}
