// Cedar in a thread that is thrown away when it traps or hangs. Whoever asks gets an answer or null, never a wait without end; the next
// question finds a new thread. Not here: what is asked and what null means (enforcer/cedar.ts).

import { Worker } from 'node:worker_threads'
import { EmrmError } from '../model/errors.ts'
import type { Log } from '../ports.ts'

const LOAD_TIMEOUT_MS = 20_000
/** Rules answer in under a millisecond; a loaded machine gets some more. */
const ANSWER_TIMEOUT_MS = 2_000
const PENDING_MAX = 1_000
/** MiB of the thread's heap and stack. */
const HEAP_MAX_MIB = 64

export type CedarSource = { readonly text: string; readonly schema: string; readonly permitName: string }

export type CedarProgram = {
  /** How many rules the file holds. */
  readonly rules: number
  /** Null when there is no answer. Never throws. */
  ask(question: object): Promise<unknown>
  /** Questions that are under way get their answers first. */
  stop(): Promise<void>
}

type Message =
  | { readonly type: 'loaded'; readonly rules: number }
  | { readonly type: 'refused'; readonly why: string }
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown }

type Thread = { readonly rules: number; ask(question: object): Promise<unknown>; end(): Promise<void> }

export type CedarOptions = {
  readonly log: Log
  readonly answerTimeoutMs?: number
  /** Another thread in tests. */
  readonly threadFile?: URL
}

/** Throws EmrmError `rules-invalid` when the engine refuses the text, traps on it or does not come to an end. */
export async function openCedar(source: CedarSource, options: CedarOptions): Promise<CedarProgram> {
  const first = await startThread(source, options)
  let current: Promise<Thread | null> = Promise.resolve(first)
  let pending = 0
  let idle: (() => void) | null = null

  const thread = async (): Promise<Thread | null> => {
    const found = await current
    if (found !== null) return found
    const mine = startThread(source, options).catch(() => null)
    current = mine
    return mine
  }
  const ask = async (question: object): Promise<unknown> => {
    const asked = await thread()
    if (asked === null) return null
    try {
      return await asked.ask(question)
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      options.log.error('house-rules-restarted', { reason: error.code })
      // Only the first of those that waited for the dead thread replaces it.
      if ((await current) === asked) current = Promise.resolve(null)
      await asked.end()
      return null
    }
  }
  return {
    rules: first.rules,
    async ask(question) {
      if (pending >= PENDING_MAX) return null
      pending += 1
      try {
        return await ask(question)
      } finally {
        pending -= 1
        if (pending === 0) idle?.()
      }
    },
    async stop() {
      if (pending > 0)
        await new Promise<void>(resolve => {
          idle = resolve
        })
      await (await current)?.end()
    },
  }
}

function startThread(source: CedarSource, options: CedarOptions): Promise<Thread> {
  const { answerTimeoutMs = ANSWER_TIMEOUT_MS, threadFile = new URL('./cedar-thread.ts', import.meta.url) } = options
  const worker = new Worker(threadFile, {
    workerData: source,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MAX_MIB },
    // A trap prints a stack; the log says it in one line.
    stderr: true,
  })
  worker.unref()
  const waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>()
  let serial = 0
  const dead = (code: string): EmrmError =>
    new EmrmError(code, 'the engine of the rules ended while it was asked; shorten the rules if this happens again')
  const fail = (code: string): void => {
    for (const { reject } of waiting.values()) reject(dead(code))
    waiting.clear()
  }
  const ask = (question: object): Promise<unknown> => {
    const id = ++serial
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const timer = setTimeout(() => reject(dead('rules-timeout')), answerTimeoutMs)
    waiting.set(id, { resolve, reject })
    worker.postMessage({ id, question })
    return promise.finally(() => {
      clearTimeout(timer)
      waiting.delete(id)
    })
  }
  const end = async (): Promise<void> => {
    fail('rules-stopped')
    await worker.terminate()
  }
  return new Promise((resolve, reject) => {
    const refuse = (why: string): void => {
      clearTimeout(timer)
      void worker.terminate()
      reject(new EmrmError('rules-invalid', `the rules file is refused: ${why}`, {}))
    }
    const timer = setTimeout(() => refuse('reading it takes too long; write simpler rules'), LOAD_TIMEOUT_MS)
    worker.on('message', (message: Message) => {
      if (message.type === 'answer') return waiting.get(message.id)?.resolve(message.answer)
      if (message.type === 'refused') return refuse(message.why)
      clearTimeout(timer)
      resolve({ rules: message.rules, ask, end })
    })
    worker.on('error', () => {
      refuse('its engine fails on it; write simpler rules')
      fail('rules-trap')
    })
    worker.on('exit', () => {
      refuse('its engine ended; write simpler rules')
      fail('rules-trap')
    })
  })
}
