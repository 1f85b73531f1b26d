// The peer's clock and its log: Node's timers, and pino writing JSON lines to stderr or to a file, one line for each event, its name
// under `event`. Lines are written at once: what a peer said before it died is what one wants to read. Not here: which level
// (config.ts), what may be logged (never a patient's data, a key or a token: the callers' duty).

import { type Level, pino } from 'pino'

import type { Clock, Log, LogFields } from '../ports.ts'

export type LogLevel = Level | 'silent'

/** setTimeout takes no more than this; a longer wait is made of several. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  steadyMs: () => performance.now(),
  after(ms, callback) {
    let leftMs = Math.max(0, ms)
    let timer: NodeJS.Timeout
    const wait = (): void => {
      const stepMs = Math.min(leftMs, TIMEOUT_MAX_MS)
      leftMs -= stepMs
      timer = setTimeout(leftMs > 0 ? wait : callback, stepMs)
    }
    wait()
    return () => clearTimeout(timer)
  },
}

/** `file`: appended to; stderr without. */
export function makeLog(options: { readonly level: LogLevel; readonly file?: string }): Log {
  const destination = pino.destination({ dest: options.file ?? 2, sync: true, append: true, mkdir: true })
  const logger = pino(
    {
      level: options.level,
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
  return {
    debug: (event, fields) => logger.debug(fields ?? {}, event),
    info: (event, fields) => logger.info(fields ?? {}, event),
    warn: (event, fields) => logger.warn(fields ?? {}, event),
    error: (event, fields) => logger.error(fields ?? {}, event),
  }
}

const nothing = (_event: string, _fields?: LogFields): void => {}
/** For tests and one-shot commands. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }
