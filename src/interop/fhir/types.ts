// What goes into the mapping of Consents and what comes out of it. FHIR's references become the chain's identifiers through a resolver
// that the caller injects (its registry knows who `Practitioner/17` is); nothing here looks anything up.

import type { Identifier, RecordId, Timestamp } from '../../model/ids.ts'
import type { Confidentiality, Grantee, PolicySet, RecordKind } from '../../model/operations.ts'

/** A policy that is ready but for its Timestamp, which the signer sets (P-42). */
export type PolicyDraft = Omit<PolicySet, 'type' | 'timestamp'>

/** `Practitioner/17`, absolute or not: type `Practitioner`, id `17`. A logical reference has an identifier instead. */
export type FhirReference = {
  readonly type: string | null
  readonly id: string | null
  /** As it was written; empty for a logical reference. */
  readonly literal: string
  readonly identifier: { readonly system: string; readonly value: string } | null
}

/** null: not known here. References by our own identifier systems do not come to it. */
export type Resolver = {
  readonly owner: (reference: FhirReference) => Identifier | null
  readonly grantee: (reference: FhirReference) => Grantee | null
  readonly record: (reference: FhirReference) => RecordId | null
}

/** Milliseconds, `from <= t < to`. */
export type Window = { readonly from: number; readonly to: number }

/** What the hospital knows of a record, for Consents that select data by facts that the chain does not hold. null: not known. */
export type KnownRecord = {
  readonly record: RecordId
  readonly kind: RecordKind
  readonly confidentiality: Confidentiality
  /** Sensitivity codes of HL7 v3 ActCode. */
  readonly labels: readonly string[]
  /** When it was authored. */
  readonly authored: Window | null
  /** `Type/id` of its authors. */
  readonly authors: readonly string[] | null
  /** `Type/id` of what it refers to. */
  readonly related: readonly string[] | null
  readonly resourceType: string | null
  readonly codes: readonly { readonly system: string; readonly code: string }[] | null
}

export type ConsentContext = {
  readonly resolver: Resolver
  /** The patient's records. With them a Consent that selects data by author, date, code or sensitivity becomes policies for single records. */
  readonly records?: readonly KnownRecord[]
  /** For a permit that names no label, N unless told: nothing said of restricted data is no permission for it. */
  readonly defaultCeiling?: Confidentiality
  /** Minutes east of UTC in which a date without time is meant. Without it a permit's day is the part that all zones share. */
  readonly utcOffsetMinutes?: number
}

export type ConsentMapping = {
  readonly type: 'mapped'
  /** At most one for each (scope, grantee). */
  readonly policies: readonly PolicyDraft[]
  /** Where a policy is stricter than the Consent, or what was not looked at. Without names or identifiers. */
  readonly notes: readonly string[]
  /**
   * The Consent says "no, except …". A deny would beat its own exceptions, so the "no" is the default: it holds once the patient's
   * earlier permits are revoked, which the caller does in the same go.
   */
  readonly replacesEarlier: boolean
}

type ConsentRefusal = {
  readonly type: 'refused'
  /** Stable, lower-case words with hyphens. */
  readonly code: string
  readonly reason: string
}

export type ConsentOutcome = ConsentMapping | ConsentRefusal

export type DataReference = {
  readonly meaning: 'instance' | 'related' | 'dependents' | 'authoredby'
  readonly reference: FhirReference
}

/** One provision, read: what it reaches. An empty list says nothing; every non-empty one narrows. */
export type Rule = {
  readonly effect: 'permit' | 'deny'
  /** Its place, for notes. */
  readonly where: string
  readonly grantees: readonly Grantee[]
  /** `unclear`: somebody was named whom we cannot name, or in another part than receiving. */
  readonly actors: 'anyone' | 'named' | 'unclear'
  readonly purposes: readonly string[] | null
  readonly rights: readonly ('read' | 'share')[] | null
  readonly window: Bounds | null
  readonly confidentialities: readonly Confidentiality[]
  readonly sensitivities: readonly string[]
  /** A label of another system, or a code we do not know, stood beside those. */
  readonly otherLabels: boolean
  readonly dataPeriod: Bounds | null
  readonly data: readonly DataReference[]
  readonly classes: readonly Coded[]
  readonly codes: readonly Coded[]
  readonly anonymous: boolean
}

export type Coded = { readonly system: string; readonly code: string }

/** What a Period surely covers (null: nothing) and what it may cover: a date has a different midnight in each zone. */
export type Bounds = { readonly narrow: Window | null; readonly wide: Window }

/** A Consent of either version, read: a base and its exceptions. */
export type ConsentRules = {
  readonly owner: Identifier
  readonly base: Rule
  readonly exceptions: readonly Rule[]
  /** Permits stay within these (an overarching policy, an emergency-only category); null: no such limit. */
  readonly purposesMax: readonly string[] | null
  readonly ceilingMax: Confidentiality | null
  /** From the overarching policy. */
  readonly rights: readonly ('read' | 'share')[] | null
  /** What a deny of our own carries. */
  readonly denyCeiling: Confidentiality
}

export const FOREVER: Timestamp = Number.MAX_SAFE_INTEGER as Timestamp
