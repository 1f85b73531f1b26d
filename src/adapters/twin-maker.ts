// Makes de-identified twins in a thread of their own, with a bound on its memory and its time. Whatever the record does to the thread, the
// asker gets a twin or an error with a reason. Not here: what is left out of a twin (records/deidentify/).

import { Worker } from 'node:worker_threads'
import { EmrmError, type ErrorFacts } from '../model/errors.ts'
import type { MadeTwin, MakeTwin } from '../records/twin.ts'

/** Some twenty times the longest record. */
const HEAP_MAX_MIB = 768
const TIMEOUT_MS = 60_000

type Message =
  | ({ readonly type: 'made' } & MadeTwin)
  | { readonly type: 'refused'; readonly code: string; readonly message: string; readonly facts: ErrorFacts }

export type TwinMakerOptions = { readonly timeoutMs?: number; readonly heapMaxMib?: number }

/** Takes the bytes over: they are gone for the caller. */
export function twinMaker({ timeoutMs = TIMEOUT_MS, heapMaxMib = HEAP_MAX_MIB }: TwinMakerOptions = {}): MakeTwin {
  return async ({ kind, bytes, extractKey, patientKey }) => {
    const worker = new Worker(new URL('./twin-thread.ts', import.meta.url), {
      workerData: { kind, bytes, extractKey, patientKey },
      transferList: [bytes.buffer as ArrayBuffer],
      resourceLimits: { maxOldGenerationSizeMb: heapMaxMib },
      // A trap prints a stack, and a stack may quote the record.
      stderr: true,
      stdout: true,
    })
    const { promise, resolve, reject } = Promise.withResolvers<MadeTwin>()
    const timer = setTimeout(() => reject(failed('it takes too long')), timeoutMs)
    worker.on('message', (message: Message) => {
      if (message.type === 'made') resolve({ bytes: message.bytes, ruleDigest: message.ruleDigest })
      else reject(new EmrmError(message.code, message.message, message.facts))
    })
    worker.on('error', error =>
      reject(failed(isExhausted(error) ? 'it needs too much memory' : 'the rules fail on it')),
    )
    worker.on('exit', () => reject(failed('its thread ended')))
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      await worker.terminate()
    }
  }
}

const isExhausted = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'

const failed = (why: string): EmrmError =>
  new EmrmError(
    'deidentify-failed',
    `no de-identified twin could be made of the record (${why}); share it without the anonymous label only, or add it in parts`,
    { why },
  )
