// The thread in which Cedar runs: it may trap or hang, and then the thread is thrown away (cedar-engine.ts). Messages in, messages out;
// nothing else is shared. One program for each thread: slots of the engine are never freed.

import { parentPort, workerData } from 'node:worker_threads'
import type { Policy, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'

const SLOT = 'house'
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/
const NAME_LENGTH_MAX = 100

type Source = { readonly text: string; readonly schema: string; readonly permitName: string }
type Question = Omit<StatefulAuthorizationCall, 'preparsedSchemaName' | 'preparsedPolicySetId' | 'validateRequest'>
class Refusal extends Error {}
type Failed = { readonly message: string }

const port = parentPort
if (port !== null) {
  const source = workerData as Source
  try {
    port.postMessage({ type: 'loaded', rules: load(source) })
    port.on('message', ({ id, question }: { id: number; question: Question }) =>
      port.postMessage({ type: 'answer', id, ...answer(question) }),
    )
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    port.postMessage({ type: 'refused', why: error.message })
  }
}

/** The number of rules. */
function load({ text, schema, permitName }: Source): number {
  const parts = cedar.policySetTextToParts(text)
  if (parts.type === 'failure') throw new Refusal(reasonOf(parts.errors))
  if (parts.policy_templates.length > 0) throw new Refusal('it holds a template; write each rule out')
  const policies: Record<string, Policy> = {
    [permitName]: 'permit (principal, action, resource);',
  }
  for (const policy of parts.policies) {
    const parsed = cedar.policyToJson(policy)
    if (parsed.type === 'failure') throw new Refusal(reasonOf(parsed.errors))
    const name = parsed.json.annotations?.['id']
    if (name === undefined || !NAME.test(name) || name.length > NAME_LENGTH_MAX)
      throw new Refusal('each rule needs an @id("…") of lower-case words with hyphens')
    if (policies[name] !== undefined) throw new Refusal(`two rules have the @id "${name}"`)
    if (parsed.json.effect !== 'forbid')
      throw new Refusal(`"${name}" is a permit; a hospital can narrow a grant, never widen it`)
    policies[name] = policy
  }
  const set = { staticPolicies: policies }
  const checked = cedar.validate({ schema, policies: set })
  if (checked.type === 'failure') throw new Refusal(reasonOf(checked.errors))
  // A rule that can never fire is a misspelt rule: what the engine only warns of is refused as well.
  const wrong = checked.validationErrors[0] ?? checked.validationWarnings[0]
  if (wrong !== undefined) throw new Refusal(`"${wrong.policyId}": ${wrong.error.message}`)
  for (const result of [cedar.preparseSchema(SLOT, schema), cedar.preparsePolicySet(SLOT, set)])
    if (result.type === 'failure') throw new Refusal(reasonOf(result.errors))
  return Object.keys(policies).length - 1
}

/** Null when the question does not fit the schema. */
function answer(question: Question): { readonly answer: unknown } {
  const result = cedar.statefulIsAuthorized({
    ...question,
    preparsedSchemaName: SLOT,
    preparsedPolicySetId: SLOT,
    validateRequest: true,
  })
  if (result.type === 'failure') return { answer: null }
  const { decision, diagnostics } = result.response
  return { answer: { decision, reasons: diagnostics.reason, errors: diagnostics.errors.map(error => error.policyId) } }
}

const reasonOf = (errors: readonly Failed[]): string => errors[0]?.message ?? 'it cannot be read'
