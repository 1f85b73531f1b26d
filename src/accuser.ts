// What becomes of a lie that a replica saw (consensus.md §1.8): this institution puts the proof on the chain as `evidence.submit`, once
// for each fault. Validators take turns by their position, so that one request does it and not n; who finds it there stays silent.
// Not here: what proves a lie (evidence.ts), and what it costs (ledger/evidence.ts).

import { evidenceOperation } from './evidence.ts'
import type { Committee } from './model/committee.ts'
import { EmrmError } from './model/errors.ts'
import { identifierOf } from './model/hash.ts'
import type { Digest, Identifier, Timestamp, ValidatorIndex } from './model/ids.ts'
import type { Evidence } from './model/messages.ts'
import type { RequestResult } from './model/operations.ts'
import type { Clock, Log, Signer } from './ports.ts'
import { makeRequest } from './wire/verify.ts'

/** Position i waits i times this long: those before it may be stopped, or the liar itself. */
const TURN_MS = 1_000
const SUBMIT_TIMEOUT_MS = 60_000
/** Faults that wait for their turn or their block. More say no more than these. */
const WAITING_MAX = 64

type Options = {
  readonly chainId: Digest
  readonly signer: Signer
  readonly clock: Clock
  readonly log: Log
  readonly isKnown: (accused: Identifier, evidence: Evidence) => boolean
  readonly blockTime: () => Timestamp
  readonly submit: (request: ReturnType<typeof makeRequest>, timeoutMs: number) => Promise<RequestResult>
}

export type Accuser = {
  /** `self`: null for an observer, whose word is not heard. */
  accuse(evidence: Evidence, committee: Committee, self: ValidatorIndex | null): void
  stop(): void
}

export function makeAccuser(options: Options): Accuser {
  const { chainId, signer, clock, log } = options
  const waiting = new Map<string, () => void>()

  async function submit(key: string, evidence: Evidence, committee: Committee, self: ValidatorIndex): Promise<void> {
    const accused = committee.validators[evidence.replica]
    const publicKey = committee.validators[self]?.publicKey
    const operation = evidenceOperation(evidence, chainId, committee)
    const { fault, height } = evidence
    const facts = { fault, height, validator: evidence.replica }
    try {
      if (
        accused === undefined ||
        publicKey === undefined ||
        options.isKnown(identifierOf(accused.publicKey), evidence)
      )
        return
      if (operation === null) return log.warn('evidence-too-large', facts)
      const request = makeRequest({
        ...{ network: chainId, operation, timestamp: options.blockTime(), scheme: 1, publicKey },
        sign: bytes => signer.sign(bytes),
      })
      const { outcome } = await options.submit(request, SUBMIT_TIMEOUT_MS)
      log.warn('evidence-submitted', { ...facts, outcome: outcome.type })
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      log.warn('evidence-not-submitted', { ...facts, reason: error.code })
    } finally {
      waiting.delete(key)
    }
  }

  return {
    accuse(evidence, committee, self) {
      const { fault, replica, height } = evidence
      log.warn('validator-fault', { fault, validator: replica, height })
      const key = `${fault} ${replica} ${height}`
      if (self === null || self === replica || waiting.has(key) || waiting.size >= WAITING_MAX) return
      waiting.set(
        key,
        clock.after(self * TURN_MS, () => void submit(key, evidence, committee, self)),
      )
    },
    stop() {
      for (const cancel of waiting.values()) cancel()
      waiting.clear()
    },
  }
}
