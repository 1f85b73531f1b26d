// Read-only questions to the state, for the API, the enforcer and the records. They change nothing and no decision hangs on them.
// Who may ask what is the caller's matter: what these answer is not public. Not here: explain.ts, preview.ts.

import type { Policy } from '../access/policy.ts'
import type { CompiledRelations } from '../access/relations.ts'
import type { RoleCredential } from '../access/session.ts'
import { fromHex } from '../model/hash.ts'
import type {
  BlockId,
  Digest,
  Height,
  Identifier,
  RecordId,
  RequestId,
  Timestamp,
  ValidatorIndex,
} from '../model/ids.ts'
import type { AttributeRow, ChainParameters, Grant, Relations, Role } from '../model/operations.ts'
import { decisionName } from './access.ts'
import { ranking } from './committee.ts'
import { attributesNow, roleCredentials, rolesNow, stands } from './credentials.ts'
import type * as E from './entries.ts'
import { isErased, type Retention, retentionOf } from './erasure.ts'
import { emergencySuspended } from './reviews.ts'
import type { StateProof } from './sparse-tree.ts'
import type { Store } from './store.ts'

export type Head = {
  readonly height: Height
  /** The chain id at height 0. */
  readonly id: BlockId
  readonly timestamp: Timestamp
  /**
   * base(h) of the *next* height (consensus.md §1.5): the position of the head's author, or of the one after it when the lead moves on.
   * 0, which is the first in the ranking, when an epoch with another committee begins (P-31), and at height 0.
   */
  readonly author: ValidatorIndex
}

/** A decision with its place in the patient's list (or the requester's, for a record that does not exist). */
export type DecisionRow = E.DecisionEntry & { readonly owner: Identifier; readonly number: number }

export type ErasureView = E.Erasure & {
  readonly receipts: readonly E.DestructionEntry[]
  readonly missing: readonly Identifier[]
}

export class Views {
  /** For explain.ts and preview.ts. */
  readonly store: Store
  readonly #head: () => Head

  constructor(store: Store, head: () => Head) {
    this.store = store
    this.#head = head
  }

  head(): Head {
    return this.#head()
  }

  parameters(): ChainParameters {
    return this.store.now().parameters
  }

  relations(): Relations {
    return this.store.now().relations
  }

  compiledRelations(): CompiledRelations {
    return this.store.relations()
  }

  /** Admitted institutions, best-rated first. */
  institutions(): readonly E.Institution[] {
    return ranking(this.store)
  }

  /** Removed ones too, by id. */
  allInstitutions(): readonly E.Institution[] {
    return this.store.institutions.under()
  }

  /** Removed ones too. */
  institution(id: Identifier): E.Institution | null {
    return this.store.institutions.get(id) ?? null
  }

  cas(): readonly E.Ca[] {
    return this.store.cas.under()
  }

  authority(): E.Authority {
    return this.store.authority.get('set')!
  }

  /** Operations of the authority that wait for more of its keys. */
  approvals(): readonly E.Approval[] {
    return this.store.approvals.under()
  }

  user(id: Identifier): E.User | null {
    return this.store.users.get(id) ?? null
  }

  usersOf(institution: Identifier): readonly E.User[] {
    return this.#named(this.store.indexes.usersByInstitution.get(institution), name => this.store.users.get(name))
  }

  /** What the state holds of a user's, over or revoked ones too; `stands`: its CA, its key and itself are not revoked. */
  credentialsOf(user: Identifier): readonly (E.CredentialEntry & { readonly stands: boolean })[] {
    const entry = this.user(user)
    if (entry === null) return []
    const all = this.store.credentials.under(user)
    return all.map(credential => ({ ...credential, stands: stands(this.store, entry, credential) }))
  }

  roleCredentials(user: E.User): readonly RoleCredential[] {
    return roleCredentials(this.store, user)
  }

  /** At the head's block time, as of block time. */
  rolesNow(user: E.User): readonly Role[] {
    return rolesNow(this.store, user, this.#head().timestamp)
  }

  /** Att_u; empty for nobody. */
  attributesNow(user: Identifier): readonly AttributeRow[] {
    const entry = this.user(user)
    return entry === null ? [] : attributesNow(this.store, entry, this.#head().timestamp)
  }

  record(id: RecordId): E.RecordEntry | null {
    return this.store.records.get(id) ?? null
  }

  recordsOf(owner: Identifier): readonly E.RecordEntry[] {
    return this.#named(this.store.indexes.recordsByOwner.get(owner), name => this.store.records.get(name))
  }

  recordsOfCustodian(custodian: Identifier): readonly E.RecordEntry[] {
    return this.#named(this.store.indexes.recordsByCustodian.get(custodian), name => this.store.records.get(name))
  }

  /** Of all custodians, withdrawn ones too; sorted. */
  recordIds(): readonly RecordId[] {
    return [...this.store.indexes.recordsByCustodian.values()].flatMap(names => [...names] as RecordId[]).sort()
  }

  /** Grants of the right to share a record, whether or not they still stand. */
  shareGrants(record: RecordId): readonly Grant[] {
    return this.#named(this.store.indexes.sharesByRecord.get(record), name => this.store.grants.get(name))
  }

  /** Until when the law keeps it. */
  retention(record: E.RecordEntry): Retention {
    return retentionOf(this.store, record)
  }

  /** What was asked for and done to end it, the receipts, and who still owes one; null when nobody asked. */
  erasure(record: RecordId): ErasureView | null {
    const erasure = this.store.erasures.get(record)
    if (erasure === undefined) return null
    const receipts = this.store.destructions.under(record)
    const missing = erasure.owing.filter(id => !receipts.some(({ institution }) => institution === id))
    return { ...erasure, receipts, missing }
  }

  isErased(record: RecordId): boolean {
    return isErased(this.store, record)
  }

  erasedCount(): number {
    return this.store.indexes.erased.size
  }

  /** Erased records for whose destruction this institution must sign and has not. */
  receiptsOwed(institution: Identifier): readonly RecordId[] {
    const { destructions, erasures, indexes } = this.store
    const owes = (record: string): boolean =>
      erasures.get(record)?.owing.includes(institution) === true && !destructions.has(`${record}/${institution}`)
    return ([...indexes.erasing] as RecordId[]).filter(owes).sort()
  }

  hasDestroyed(record: RecordId, institution: Identifier): boolean {
    return this.store.destructions.has(`${record}/${institution}`)
  }

  /** A custody hand-over that waits for the new custodian. */
  adoption(record: RecordId): E.Adoption | null {
    return this.store.adoptions.get(record) ?? null
  }

  /** A re-deal of its key that was announced and has not ended; it may have expired. */
  redeal(record: RecordId): E.Redeal | null {
    return this.store.redeals.get(record) ?? null
  }

  /** Policies that were not revoked, whether or not their window is open; by scope and grantee. */
  policiesOf(owner: Identifier): readonly Policy[] {
    return this.store.policiesOf(owner).map(({ policy }) => policy)
  }

  policy(owner: Identifier, id: RequestId): Policy | null {
    return this.policiesOf(owner).find(policy => policy.id === id) ?? null
  }

  delegatesOf(owner: Identifier): readonly NonNullable<E.DelegateEntry['delegation']>[] {
    return this.store.delegates.under(owner).flatMap(({ delegation }) => (delegation === null ? [] : [delegation]))
  }

  grant(id: RequestId): Grant | null {
    return this.store.grants.get(id) ?? null
  }

  receipt(grant: RequestId): E.Receipt | null {
    return this.store.receipts.get(grant) ?? null
  }

  /** The break-the-glass access that a grant stands for, with its review. */
  emergency(grant: RequestId): E.Emergency | null {
    const found = this.grant(grant)
    return found === null ? null : (this.store.emergencies.get(`${found.requester}/${grant}`) ?? null)
  }

  /** Of everybody: reviews are few. */
  emergencies(): readonly E.Emergency[] {
    return [...this.store.indexes.emergencies].map(name => this.store.emergencies.get(name)!)
  }

  emergenciesOf(user: Identifier): readonly E.Emergency[] {
    return this.store.emergencies.under(user)
  }

  /** At the head's block time. */
  emergencySuspended(user: Identifier): boolean {
    return emergencySuspended(this.store, user, this.#head().timestamp)
  }

  /** The heights up to `height` from which on another committee decided. */
  committeeChanges(height: number): readonly number[] {
    const beginnings = this.store.committees.under().map(({ from }) => from)
    return beginnings.filter(from => from > 1 && from <= height)
  }

  decisionCount(owner: Identifier): number {
    return this.store.decisionCounts.get(owner)?.count ?? 0
  }

  /** All of them, in order: the count in the state says that none is missing. */
  decisionsOf(
    about: { readonly owner: Identifier } | { readonly record: RecordId } | { readonly user: Identifier },
  ): readonly DecisionRow[] {
    if ('owner' in about) {
      const { owner } = about
      const names = Array.from({ length: this.decisionCount(owner) }, (_, number) => decisionName(owner, number))
      return names.map(name => this.#decision(name))
    }
    const { decisionsByRecord, decisionsByRequester } = this.store.indexes
    const names = 'record' in about ? decisionsByRecord.get(about.record) : decisionsByRequester.get(about.user)
    return [...(names ?? [])].map(name => this.#decision(name)).sort(inChainOrder)
  }

  evidenceAgainst(validator: Identifier): readonly E.EvidenceEntry[] {
    return this.store.evidence.under(validator)
  }

  /** Proof for the state digest of the head, of any key of entries.ts; `value` null when the key is absent. */
  prove(key: string): { readonly root: Digest; readonly value: Uint8Array | null; readonly proof: StateProof } {
    const proof = this.store.state.prove(key)
    return { root: this.store.state.root(), value: this.store.state.get(key) ?? null, proof }
  }

  /** Hash chain over what every request came to. */
  resultsDigest(): Uint8Array {
    return fromHex(this.store.results.get('now')!.digest)
  }

  stateSize(): number {
    return this.store.state.size
  }

  #decision(name: string): DecisionRow {
    const slash = name.indexOf('/')
    const entry = this.store.decisions.get(name)!
    return { ...entry, owner: name.slice(0, slash) as Identifier, number: Number(name.slice(slash + 1)) }
  }

  #named<T>(names: ReadonlySet<string> | undefined, read: (name: string) => T | undefined): readonly T[] {
    return [...(names ?? [])].sort().flatMap(name => read(name) ?? [])
  }
}

const inChainOrder = (a: DecisionRow, b: DecisionRow): number =>
  a.height - b.height || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : a.number - b.number)
