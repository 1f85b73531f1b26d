// One run of the command line: where it reads and writes, and how an answer or an error is said (cli.md, scripts rely on it).
// With --json exactly one document goes to stdout; progress and errors go to stderr. Not here: commands.

import { type Command, CommanderError } from 'commander'

import { EmrmError } from '../model/errors.ts'
import type { PasswordSource } from '../password.ts'

export type Io = PasswordSource & {
  readonly stdin: NodeJS.ReadStream
  /** `taken` is called when the bytes have left, or could not. */
  readonly stdout: { write(text: string | Uint8Array, taken?: (error?: Error | null) => void): unknown }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean }
  /** Aborted by SIGINT and SIGTERM from the first call on; before it, the signals end the process as they always do. */
  readonly stopSignal: () => AbortSignal
}

export type ExitCode = 0 | 1 | 2 | 3
/** 0 done, 1 failed, 2 wrong usage, 3 denied by policy. */
export const EXIT = { done: 0, failed: 1, usage: 2, denied: 3 } as const

export type Answer = {
  /** What --json prints. */
  readonly document: unknown
  /** What a person reads; one string for each line. */
  readonly lines: readonly string[]
  readonly exitCode?: ExitCode
}

export type Session = {
  readonly io: Io
  readonly json: boolean
  exitCode: ExitCode
  /** Where answers go: to stderr when stdout carries a record. */
  answersTo: 'stdout' | 'stderr'
}

/** Registers what a command does: its answer is printed, its error becomes an error line and an exit code. `arguments` are the command's positional ones. */
export function handle<Options extends object>(
  session: Session,
  command: Command,
  run: (options: Options, ...positional: string[]) => Promise<Answer | null>,
): void {
  command.action(async (...given: unknown[]) => {
    const positional = given.slice(0, -2) as string[]
    try {
      const answer = await run(command.opts() as Options, ...positional)
      if (answer !== null) printAnswer(session, answer)
    } catch (error) {
      // Values read inside a command (positional ones) are wrong usage like those that the parser reads.
      if (error instanceof CommanderError) throw error
      printError(session, error)
    }
  })
}

export function printAnswer(session: Session, { document, lines, exitCode = EXIT.done }: Answer): void {
  session.exitCode = exitCode
  const text = session.json ? JSON.stringify(document) : lines.join('\n')
  if (text !== '') session.io[session.answersTo].write(`${text}\n`)
}

/** `error CODE: what happened; what to do`. Never a stack trace, unless EMRM_DEBUG asks for it. */
export function printError(session: Session, error: unknown, exitCode: ExitCode = EXIT.failed): void {
  session.exitCode = exitCode
  const known = error instanceof EmrmError
  const code = known ? error.code : 'internal-error'
  const message = known
    ? error.message
    : 'the command failed for a reason that it does not know; set EMRM_DEBUG=1 to see it and report it'
  session.io.stderr.write(`error ${code}: ${message}\n`)
  if (!known && session.io.env['EMRM_DEBUG']) session.io.stderr.write(`${(error as Error).stack ?? String(error)}\n`)
  if (session.json) {
    const facts = known ? error.facts : {}
    session.io[session.answersTo].write(`${JSON.stringify({ error: { ...facts, code, message } })}\n`)
  }
}

/** Denied by policy: an answer, not an error (exit code 3). */
export const denied = (reason: string, facts: Readonly<Record<string, unknown>> = {}): Answer => ({
  document: { decision: 'deny', reason, ...facts },
  lines: [`denied: ${reason}`],
  exitCode: EXIT.denied,
})

/** Long work shows where it is on a terminal and stays silent otherwise. Of bytes: progress.ts. */
export function progress(session: Session, text: string): void {
  if (session.io.stderr.isTTY === true) session.io.stderr.write(`\r\u001b[K${text}`)
}

export function endProgress(session: Session): void {
  if (session.io.stderr.isTTY === true) session.io.stderr.write('\r\u001b[K')
}

/** A flat object as aligned lines: `name  value`. */
export function table(fields: Readonly<Record<string, unknown>>): string[] {
  const shown = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  return shown.map(
    ([name, value]) => `${name.padEnd(width)}  ${typeof value === 'object' ? JSON.stringify(value) : value}`,
  )
}
