// This hospital's own rules as Cedar policies: what they can ask about, what a file may hold, and what an answer means. The file holds
// `forbid` policies alone, each with an @id, which the requester is told; the one `permit` is the chain's grant, so no file can widen it.
// The bounds are checked here, before the text reaches the engine: 200 parentheses make it trap (a missing recursion guard on wasm).
// Not here: the engine and its thread (adapters/cedar-*.ts), when files are read (house-rules.ts), rules as JSON (rules.ts).
//
//   @id("no-research-at-night")
//   forbid (principal, action, resource)
//   when { context.purpose in Purpose::"HRESCH" && (context.minuteOfDay >= 1200 || context.minuteOfDay < 360) };

import { parentPurpose } from '../access/purposes.ts'
import { confidentialityRank } from '../access/sets.ts'
import { EmrmError } from '../model/errors.ts'
import type { Identifier, RecordId } from '../model/ids.ts'
import type { Confidentiality, Grant } from '../model/operations.ts'
import type { Enforcement } from './enforce.ts'

const TEXT_LENGTH_MAX = 65_536
const POLICIES_MAX = 200
/** Open brackets of any kind at one place. The engine traps above 100. */
const NESTING_MAX = 32
/** Operators, member accesses and branches of one policy: a chain of them is as deep as it is long. The engine traps above 500. */
const JOINTS_MAX = 200

/** What a policy can name; a file that names anything else is refused. `rank`: U 0, L 1, M 2, N 3, R 4, V 5; `principal.attributes.contains("department=cardiology")`. */
export const CEDAR_SCHEMA = `
entity Institution;
entity Role;
entity Purpose in [Purpose];
entity Patient;
entity User in [Institution, Role] {
  "attributes": Set<String>
};
entity Record in [Institution] {
  "owner": Patient,
  "kind": String,
  "confidentiality": String,
  "rank": Long,
  "labels": Set<String>
};
action "release";
action "read", "share" in [Action::"release"] appliesTo {
  principal: User,
  resource: Record,
  context: {
    "purpose": Purpose,
    "basis": String,
    "variant": String,
    "minuteOfDay": Long,
    "weekday": Long
  }
};
`

/** The chain's grant, as the engine sees it. */
export const CHAIN_GRANT = 'granted-by-the-chain'

export type CedarFacts = {
  readonly record: RecordId
  readonly owner: Identifier
  readonly custodian: Identifier
  readonly kind: string
  readonly confidentiality: Confidentiality
  readonly labels: readonly string[]
  /** Att_u of the requester, by the credentials that hold now: `name=value` each. */
  readonly attributes: readonly string[]
  /** 0 … 1439, this hospital's local time. */
  readonly minuteOfDay: number
  /** Monday 1 … Sunday 7. */
  readonly weekday: number
}

type Uid = { readonly type: string; readonly id: string }
type Entity = { readonly uid: Uid; readonly attrs: Readonly<Record<string, unknown>>; readonly parents: readonly Uid[] }

/** One question to the engine, in its JSON form. */
export type CedarQuestion = {
  readonly principal: Uid
  readonly action: Uid
  readonly resource: Uid
  readonly context: Readonly<Record<string, unknown>>
  readonly entities: readonly Entity[]
}

/** `errors`: policies that could not be evaluated; the engine skips them, we do not. */
export type CedarAnswer = {
  readonly decision: 'allow' | 'deny'
  readonly reasons: readonly string[]
  readonly errors: readonly string[]
}

/** Throws EmrmError `rules-invalid` for a text that must not reach the engine. */
export function checkCedarText(text: string): void {
  if (text.length > TEXT_LENGTH_MAX) throw invalid(`it is longer than ${TEXT_LENGTH_MAX} characters`)
  let depth = 0
  let joints = 0
  let policies = 0
  for (const [token] of text.matchAll(TOKENS)) {
    if (token.startsWith('"') || token.startsWith('//')) continue
    if ('([{'.includes(token)) depth += 1
    else if (')]}'.includes(token)) depth -= 1
    else if (token === ';') {
      policies += 1
      joints = 0
    } else joints += 1
    if (depth > NESTING_MAX) throw invalid(`policy ${policies + 1} is nested deeper than ${NESTING_MAX} brackets`)
    if (joints > JOINTS_MAX) throw invalid(`policy ${policies + 1} has more than ${JOINTS_MAX} operators`)
    if (policies > POLICIES_MAX) throw invalid(`it has more than ${POLICIES_MAX} policies`)
  }
}

/** Strings and comments first, so that what is inside them is not counted. An unterminated string is no string, and its inside counts. */
const TOKENS = /"(?:[^"\\]|\\[\s\S])*"|\/\/[^\n]*|[([{}\])]|;|&&|\|\||[-+*.!<>=]|\b(?:if|in|has|is|like|when|unless)\b/g

export function cedarQuestion(grant: Grant, facts: CedarFacts): CedarQuestion {
  const user = { type: 'User', id: grant.requester }
  const resource = { type: 'Record', id: facts.record }
  const institution = { type: 'Institution', id: grant.institution }
  const role = { type: 'Role', id: grant.role }
  const owner = { type: 'Patient', id: facts.owner }
  const custodian = { type: 'Institution', id: facts.custodian }
  const { kind, confidentiality, labels, attributes, minuteOfDay, weekday } = facts
  const attrs = {
    owner: { __entity: owner },
    ...{ kind, confidentiality, rank: confidentialityRank(confidentiality), labels },
  }
  // The policies that patients set have ids of no interest here; the other grounds are words.
  const basis = ['owner', 'delegate', 'emergency'].includes(grant.basis) ? grant.basis : 'policy'
  return {
    principal: user,
    action: { type: 'Action', id: grant.right },
    resource,
    context: {
      purpose: { __entity: { type: 'Purpose', id: grant.purpose } },
      ...{ basis, variant: grant.variant, minuteOfDay, weekday },
    },
    entities: [
      { uid: user, attrs: { attributes }, parents: [institution, role] },
      { uid: resource, attrs, parents: [custodian] },
      ...purposeEntities(grant.purpose),
    ],
  }
}

/** Null: the engine gave no answer in time, or died of the question. Unsure means deny. */
export function cedarEnforcement(answer: CedarAnswer | null): Enforcement {
  if (answer === null) return { type: 'withhold', rule: 'rules-unavailable' }
  // The engine's order is random; ours is not.
  const failed = [...answer.errors].sort()[0]
  if (failed !== undefined) return { type: 'withhold', rule: failed }
  if (answer.decision === 'allow') return { type: 'release' }
  return { type: 'withhold', rule: [...answer.reasons].sort()[0] ?? 'rules-unavailable' }
}

/** The purpose and those above it, so that `in Purpose::"TREAT"` holds for what is below TREAT. */
function purposeEntities(purpose: string): Entity[] {
  const entities: Entity[] = []
  for (let at: string | null = purpose; at !== null; at = parentPurpose(at)) {
    const parent = parentPurpose(at)
    const parents = parent === null ? [] : [{ type: 'Purpose', id: parent }]
    entities.push({ uid: { type: 'Purpose', id: at }, attrs: {}, parents })
  }
  return entities
}

const invalid = (why: string): EmrmError =>
  new EmrmError('rules-invalid', `the rules file is refused: ${why}; write shorter rules`, {})
