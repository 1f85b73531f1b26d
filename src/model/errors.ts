// The world fails: an error with a stable code, typed facts and a sentence that says what to do.
// A lying peer is data (a fault), a Deny is an answer; neither is an error. Never a patient's data or a key in here.

export type ErrorFacts = Readonly<Record<string, string | number | boolean>>

export class EmrmError extends Error {
  readonly code: string
  readonly facts: ErrorFacts

  /** `code`: stable, lower-case words with hyphens. `message`: what happened; what to do. `facts` go into `--json` beside them. */
  constructor(code: string, message: string, facts: ErrorFacts = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'EmrmError'
    this.code = code
    this.facts = facts
  }
}

/** We are wrong: crash rather than go on. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`)
}
