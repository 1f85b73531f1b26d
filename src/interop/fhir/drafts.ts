// Policies in the making. The ledger holds one permission value for each (scope, grantee): two drafts for one key become one that is
// never wider than both together. Purposes and rights stand sorted, as the chain keeps them.

import { confidentialityRank, RIGHTS } from '../../access/sets.ts'
import type { Confidentiality, Grantee, Right, Scope } from '../../model/operations.ts'
import { unionPurposes } from './purpose-sets.ts'
import type { PolicyDraft, Window } from './types.ts'

/** One for each key; a deny takes the place of a permit. */
export function onePerKey(drafts: readonly PolicyDraft[], notes: string[]): readonly PolicyDraft[] {
  const byKey = new Map<string, PolicyDraft>()
  for (const draft of drafts) {
    const key = keyOf(draft)
    const before = byKey.get(key)
    byKey.set(key, before === undefined ? draft : merge(before, draft, notes))
  }
  return [...byKey.values()]
}

export const keyOf = ({ scope, grantee }: PolicyDraft): string => JSON.stringify([scope, grantee])

function merge(a: PolicyDraft, b: PolicyDraft, notes: string[]): PolicyDraft {
  if (a.effect !== b.effect) {
    notes.push('A permit and a deny for the same recipient and data: the deny stands.')
    return a.effect === 'deny' ? a : b
  }
  const purposes = unionPurposes(a.purposes, b.purposes)
  if (a.effect === 'deny') {
    const window = { from: Math.min(a.from, b.from), to: Math.max(a.to, b.to) }
    return { ...a, purposes, rights: sortedRights([...a.rights, ...b.rights]), ...stamps(window) }
  }
  const window = shared(a, b)
  const rights = a.rights.filter(right => b.rights.includes(right))
  if (window === null || rights.length === 0) {
    notes.push('Two permits for the same recipient and data have nothing in common: the first stands.')
    return a
  }
  notes.push(
    'Two permits for the same recipient and data became one: what both have in common, for the purposes of either.',
  )
  const labelCeiling = lower(a.labelCeiling, b.labelCeiling)
  return { ...a, purposes, rights, labelCeiling, anonymous: a.anonymous || b.anonymous, ...stamps(window) }
}

export const lower = (a: Confidentiality, b: Confidentiality): Confidentiality =>
  confidentialityRank(a) <= confidentialityRank(b) ? a : b

export function shared(a: Window, b: Window): Window | null {
  const window = { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) }
  return window.from < window.to ? window : null
}

/** The longer way out of a window: what is left before, or after, what is cut out. */
export function cut(window: Window, out: Window): Window | null {
  if (shared(window, out) === null) return window
  const before = { from: window.from, to: out.from }
  const after = { from: out.to, to: window.to }
  const longer = before.to - before.from >= after.to - after.from ? before : after
  return longer.from < longer.to ? longer : null
}

export const stamps = ({ from, to }: Window): Pick<PolicyDraft, 'from' | 'to'> =>
  ({ from, to }) as Pick<PolicyDraft, 'from' | 'to'>

export const sortedRights = (rights: readonly Right[]): readonly Right[] => RIGHTS.filter(r => rights.includes(r))

export const EVERYTHING: Scope = { type: 'all' }
export const ANYONE: Grantee = { type: 'anyone' }
