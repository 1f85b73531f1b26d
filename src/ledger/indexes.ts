// Look-ups derived from the state, for views only: no decision and no digest hangs on them. They follow each change of the tables and are
// complete again after a restore. An index holds names; the values are read from the tables.

import type { DecisionEntry, Erasure, GrantEntry, RecordEntry, User } from './entries.ts'

type Index = Map<string, Set<string>>

export class Indexes {
  readonly recordsByOwner: Index = new Map()
  readonly recordsByCustodian: Index = new Map()
  /** Names `<owner>/<number>` of decisions. */
  readonly decisionsByRequester: Index = new Map()
  readonly decisionsByRecord: Index = new Map()
  /** Grants of the right to share. */
  readonly sharesByRecord: Index = new Map()
  readonly usersByInstitution: Index = new Map()
  /** Names `<user>/<grant>`: few. */
  readonly emergencies: Set<string> = new Set()
  readonly erased: Set<string> = new Set()
  /** Erased, and not all receipts are in. */
  readonly erasing: Set<string> = new Set()
  readonly #custodians = new Map<string, string>()

  noteUser(name: string, user: User): void {
    add(this.usersByInstitution, user.institution, name)
  }

  noteRecord(name: string, record: RecordEntry): void {
    const before = this.#custodians.get(name)
    if (before !== undefined && before !== record.custodian) this.recordsByCustodian.get(before)?.delete(name)
    this.#custodians.set(name, record.custodian)
    add(this.recordsByCustodian, record.custodian, name)
    add(this.recordsByOwner, record.owner, name)
  }

  noteDecision(name: string, decision: DecisionEntry): void {
    add(this.decisionsByRequester, decision.requester, name)
    add(this.decisionsByRecord, decision.record, name)
  }

  noteGrant(name: string, grant: GrantEntry): void {
    if (grant.right === 'share') add(this.sharesByRecord, grant.record, name)
  }

  noteErasure(name: string, { erased, complete }: Erasure): void {
    if (erased === null) return
    this.erased.add(name)
    if (complete === null) this.erasing.add(name)
    else this.erasing.delete(name)
  }

  clear(): void {
    for (const index of Object.values(this)) if (index instanceof Map || index instanceof Set) index.clear()
    this.#custodians.clear()
  }
}

function add(index: Index, key: string, name: string): void {
  const names = index.get(key)
  if (names === undefined) index.set(key, new Set([name]))
  else names.add(name)
}
