// All tables of the state in one place, with what is compiled from them for decisions. Handlers write through this; views read it.

import { type CompiledPolicy, compilePolicy } from '../access/policy.ts'
import { type CompiledRelations, compileRelations } from '../access/relations.ts'
import { assert } from '../model/errors.ts'
import type { Identifier } from '../model/ids.ts'
import type * as E from './entries.ts'
import { Indexes } from './indexes.ts'
import { State } from './state.ts'
import { Table } from './table.ts'

const SCANNED = [
  'approval',
  'institution',
  'ca',
  'credential',
  'policy',
  'delegate',
  'emergency',
  'evidence',
  'committee',
  'executed',
  'sharer',
  'destruction',
]
/** Owners whose compiled policies are remembered. Changes no answer. */
const COMPILED_MAX = 10_000

export class Store {
  readonly indexes: Indexes = new Indexes()
  readonly state: State = new State(new Set(SCANNED))

  readonly authority: Table<E.Authority> = new Table(this.state, 'authority', { threshold: true, keys: true })
  readonly settings: Table<E.Settings> = new Table(this.state, 'settings', {
    ...{ validatorCount: true, f: true, p: true, parameters: true, relations: true },
  })
  readonly approvals: Table<E.Approval> = new Table(this.state, 'approval', { operation: true, approvals: true })
  readonly institutions: Table<E.Institution> = new Table(this.state, 'institution', {
    ...{ id: true, name: true, publicKey: true, peerId: true, sealKey: true, region: true, score: true },
    ...{ removed: true, faults: true },
  })
  readonly cas: Table<E.Ca> = new Table(this.state, 'ca', {
    ...{ id: true, publicKey: true, institutions: true, revoked: true },
  })
  readonly users: Table<E.User> = new Table(
    this.state,
    'user',
    {
      ...{ id: true, publicKey: true, scheme: true, institution: true, roles: true, groups: true, validUntil: true },
      ...{ revoked: true, registeredBy: true, height: true },
    },
    (name, user) => this.indexes.noteUser(name, user),
  )
  readonly credentials: Table<E.CredentialEntry> = new Table(this.state, 'credential', {
    ...{ credential: true, user: true, publicKey: true, roles: true, attributes: true, validUntil: true },
    ...{ issuer: true, height: true, issued: true, revoked: true },
  })
  readonly records: Table<E.RecordEntry> = new Table(
    this.state,
    'record',
    {
      ...{ record: true, owner: true, custodian: true, kind: true, confidentiality: true, labels: true },
      ...{
        commitment: true,
        cipherRoot: true,
        cipherSize: true,
        shareRoot: true,
        shareCount: true,
        threshold: true,
        keyCommit: true,
        dealtAt: true,
      },
      ...{
        twinOf: true,
        twinRules: true,
        encounter: true,
        lastVisit: true,
        height: true,
        time: true,
        withdrawn: true,
        twin: true,
      },
    },
    (name, record) => this.indexes.noteRecord(name, record),
  )
  readonly adoptions: Table<E.Adoption> = new Table(this.state, 'adoption', { from: true, to: true })
  readonly redeals: Table<E.Redeal> = new Table(this.state, 'redeal', {
    ...{ intent: true, record: true, custodian: true, recipient: true, height: true, time: true, expires: true },
  })
  readonly twins: Table<E.Twins> = new Table(this.state, 'twins', { twins: true })
  readonly visits: Table<E.Visit> = new Table(this.state, 'visit', { last: true })
  readonly sharers: Table<E.Sharer> = new Table(this.state, 'sharer', { institution: true })
  readonly erasures: Table<E.Erasure> = new Table(
    this.state,
    'erasure',
    { record: true, owner: true, askedBy: true, asked: true, erased: true, owing: true, complete: true },
    (name, erasure) => this.indexes.noteErasure(name, erasure),
  )
  readonly destructions: Table<E.DestructionEntry> = new Table(this.state, 'destruction', {
    ...{ record: true, institution: true, destroyed: true, height: true, time: true },
  })
  readonly policies: Table<E.PolicyEntry> = new Table(this.state, 'policy', { timestamp: true, policy: true })
  readonly delegates: Table<E.DelegateEntry> = new Table(this.state, 'delegate', { timestamp: true, delegation: true })
  readonly decisions: Table<E.DecisionEntry> = new Table(
    this.state,
    'decision',
    {
      ...{ request: true, operation: true, requester: true, institution: true, role: true, purpose: true, right: true },
      ...{
        record: true,
        height: true,
        time: true,
        result: true,
        basis: true,
        policyTimestamp: true,
        rulesVersion: true,
      },
    },
    (name, decision) => this.indexes.noteDecision(name, decision),
  )
  readonly decisionCounts: Table<E.DecisionCount> = new Table(this.state, 'decisions', { count: true })
  readonly grants: Table<E.GrantEntry> = new Table(
    this.state,
    'grant',
    {
      ...{ grant: true, record: true, owner: true, requester: true, institution: true, role: true, purpose: true },
      ...{ right: true, variant: true, recipient: true, height: true, time: true, expires: true, basis: true },
      ...{ rulesVersion: true },
    },
    (name, grant) => this.indexes.noteGrant(name, grant),
  )
  readonly receipts: Table<E.Receipt> = new Table(this.state, 'receipt', {
    ...{ grant: true, requester: true, commitment: true, height: true, time: true },
  })
  readonly emergencies: Table<E.Emergency> = new Table(
    this.state,
    'emergency',
    {
      ...{ grant: true, user: true, institution: true, record: true, owner: true, reason: true, time: true },
      ...{ deadline: true, verdict: true, reviewer: true, note: true },
    },
    name => this.indexes.emergencies.add(name),
  )
  readonly evidence: Table<E.EvidenceEntry> = new Table(this.state, 'evidence', {
    ...{ validator: true, fault: true, faultHeight: true, submitter: true, request: true, height: true },
  })
  readonly committees: Table<E.CommitteeEntry> = new Table(this.state, 'committee', {
    ...{ from: true, f: true, p: true, hash: true, validators: true },
  })
  readonly epochs: Table<E.Epoch> = new Table(this.state, 'epoch', { start: true, end: true })
  readonly executed: Table<E.ExecutedEntry> = new Table(this.state, 'executed', {
    ...{ height: true, timestampMax: true, ids: true },
  })
  readonly floors: Table<E.Floor> = new Table(this.state, 'floor', { timestamp: true })

  readonly results: Table<E.Results> = new Table(this.state, 'results', { digest: true })

  readonly #compiledPolicies = new Map<Identifier, readonly CompiledPolicy[]>()
  #compiledRelations: CompiledRelations | null = null

  /** Chain parameters and relations; they stand in the state from genesis on. */
  now(): E.Settings {
    const settings = this.settings.get('now')
    assert(settings !== undefined, 'settings stand in the state')
    return settings
  }

  relations(): CompiledRelations {
    this.#compiledRelations ??= compileRelations(this.now().relations)
    return this.#compiledRelations
  }

  changeSettings(settings: E.Settings): void {
    this.settings.put('now', settings)
    this.#compiledRelations = null
  }

  /** Policies that the owner set and did not revoke. */
  policiesOf(owner: Identifier): readonly CompiledPolicy[] {
    let compiled = this.#compiledPolicies.get(owner)
    if (compiled === undefined) {
      const entries = this.policies.under(owner)
      compiled = entries.flatMap(({ policy }) => (policy === null ? [] : [compilePolicy(policy)]))
      if (this.#compiledPolicies.size >= COMPILED_MAX) this.#compiledPolicies.clear()
      this.#compiledPolicies.set(owner, compiled)
    }
    return compiled
  }

  /** Policies and remembered timestamps of one owner. */
  policyCount(owner: Identifier): number {
    return this.state.countUnder(`policy/${owner}`)
  }

  changePolicy(owner: Identifier, key: string, entry: E.PolicyEntry): void {
    this.policies.put(`${owner}/${key}`, entry)
    this.#compiledPolicies.delete(owner)
  }

  /** Replaces the whole state. Nothing is decoded yet: the entries may be anybody's until their root is checked; then call `announce`. */
  load(entries: Iterable<readonly [string, Uint8Array]>): void {
    this.state.load(entries)
    this.#compiledPolicies.clear()
    this.#compiledRelations = null
    for (const table of Object.values(this)) if (table instanceof Table) table.forget()
  }

  /** Fills the indexes from the tables. */
  announce(): void {
    this.indexes.clear()
    for (const table of [this.users, this.records, this.decisions, this.grants, this.emergencies, this.erasures])
      table.announce()
  }
}
