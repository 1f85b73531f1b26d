// The thresholds of IMPBFT from n, f and p, in the words of the specification (consensus.md §1.1).
// n >= 3f+2p+1, 0 <= p <= f, f >= 1. No threshold may be "simplified": each relaxation forks (§4.3).

import { EmrmError } from './errors.ts'

export type Quorum = {
  readonly n: number
  readonly f: number
  readonly p: number
  /** q = ceil((n+f+1)/2): COMMITs of a commit certificate. */
  readonly commitCertificate: number
  /** r = q: BLOCK-IDs that decide slowly. */
  readonly blockId: number
  /** n-p: COMMITs that decide fast (the paper's two phases, P-37). */
  readonly fast: number
  /** n-f: VIEW-CHANGEs that justify a proposal in a view above 0. */
  readonly viewChange: number
  /** T = n-2f-p: votes above w* that force a value. */
  readonly recovery: number
  /** f+1: at least one of them is correct. */
  readonly oneCorrect: number
}

/** Throws EmrmError `quorum-invalid` when the numbers do not fit together. */
export function makeQuorum(n: number, f: number, p: number): Quorum {
  const whole = Number.isSafeInteger(n) && Number.isSafeInteger(f) && Number.isSafeInteger(p)
  if (!whole || f < 1 || p < 0 || p > f || n < 3 * f + 2 * p + 1)
    throw new EmrmError(
      'quorum-invalid',
      `n=${n} f=${f} p=${p} is refused; IMPBFT needs f >= 1, 0 <= p <= f and n >= 3f+2p+1`,
      { n, f, p },
    )
  const q = Math.ceil((n + f + 1) / 2)
  return {
    n,
    f,
    p,
    commitCertificate: q,
    blockId: q,
    fast: n - p,
    viewChange: n - f,
    recovery: n - 2 * f - p,
    oneCorrect: f + 1,
  }
}

/** f = floor((n-1)/3), p = floor((n-3f-1)/2). */
export function defaultFaults(n: number): {
  readonly f: number
  readonly p: number
} {
  const f = Math.floor((n - 1) / 3)
  return { f, p: Math.min(f, Math.floor((n - 3 * f - 1) / 2)) }
}
