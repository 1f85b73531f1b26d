// The few FHIR R4 shapes that we write. Only what we emit: reading never trusts a type (read.ts).

export type Coding = { readonly system: string; readonly code: string; readonly display?: string }
export type CodeableConcept = { readonly coding: readonly Coding[] }
type Identified = { readonly system: string; readonly value: string }
export type Reference = { readonly type?: string; readonly identifier?: Identified; readonly display?: string }
export type Extension = {
  readonly url: string
  readonly valueCode?: string
  readonly valueCoding?: Coding
  readonly valueUri?: string
  readonly valueString?: string
}
type Period = { readonly start?: string; readonly end?: string }
type Meta = {
  readonly versionId?: string
  readonly profile?: readonly string[]
  readonly security?: readonly Coding[]
}

export type Consent = {
  readonly resourceType: 'Consent'
  readonly id: string
  readonly meta: Meta
  readonly extension: readonly Extension[]
  readonly status: 'active' | 'inactive'
  readonly scope: CodeableConcept
  readonly category: readonly CodeableConcept[]
  readonly patient: Reference
  readonly dateTime: string
  readonly performer: readonly Reference[]
  readonly organization: readonly Reference[]
  readonly sourceReference: Reference
  readonly policy: readonly { readonly uri: string }[]
  readonly provision: {
    readonly type: 'permit' | 'deny'
    readonly period?: Period
    readonly actor?: readonly { readonly role: CodeableConcept; readonly reference: Reference }[]
    readonly securityLabel?: readonly Coding[]
    readonly purpose: readonly Coding[]
    readonly class?: readonly Coding[]
    readonly data?: readonly { readonly meaning: 'instance'; readonly reference: Reference }[]
  }
}

export type AuditAgent = {
  readonly type: CodeableConcept
  readonly role?: readonly CodeableConcept[]
  readonly who: Reference
  readonly requestor: boolean
  readonly policy?: readonly string[]
  readonly network?: { readonly address: string; readonly type: '1' | '2' | '5' }
  readonly purposeOfUse?: readonly CodeableConcept[]
}

export type AuditEntity = {
  readonly what: Reference
  readonly type: Coding
  readonly role?: Coding
  readonly securityLabel?: readonly Coding[]
  readonly detail?: readonly { readonly type: string; readonly valueString: string }[]
}

export type AuditEvent = {
  readonly resourceType: 'AuditEvent'
  readonly meta: Meta
  readonly type: Coding
  readonly subtype: readonly Coding[]
  readonly action: 'C' | 'R' | 'E'
  readonly recorded: string
  readonly outcome: '0' | '8'
  readonly outcomeDesc?: string
  readonly purposeOfEvent?: readonly CodeableConcept[]
  readonly agent: readonly AuditAgent[]
  readonly source: { readonly observer: Reference; readonly type: readonly Coding[] }
  readonly entity: readonly AuditEntity[]
}

export type DocumentReference = {
  readonly resourceType: 'DocumentReference'
  readonly id: string
  readonly meta: Meta
  readonly masterIdentifier: Identified
  readonly status: 'current' | 'superseded' | 'entered-in-error'
  readonly type?: CodeableConcept
  readonly category: readonly CodeableConcept[]
  readonly subject: Reference
  readonly date: string
  readonly custodian: Reference
  readonly securityLabel: readonly CodeableConcept[]
  readonly relatesTo?: readonly { readonly code: 'transforms'; readonly target: Reference }[]
  readonly content: readonly {
    readonly attachment: {
      readonly extension: readonly Extension[]
      readonly contentType: string
      readonly url: string
      readonly size?: number
    }
  }[]
  /** When what it says was true of the patient. */
  readonly context?: { readonly period: { readonly start: string } }
}

export const coding = (system: string, code: string, display?: string): Coding =>
  display === undefined ? { system, code } : { system, code, display }

export const concept = (system: string, code: string, display?: string): CodeableConcept => ({
  coding: [coding(system, code, display)],
})

/** A logical reference: by what the chain calls it. */
export const named = (system: string, value: string, type?: string): Reference =>
  type === undefined ? { identifier: { system, value } } : { type, identifier: { system, value } }
