// Runs the command line in this process, with nothing of the surroundings: no environment, no terminal.

import { Readable } from 'node:stream'
import { main } from '../../src/cli/main.ts'
import type { Io } from '../../src/cli/session.ts'

export type Run = {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** Throws when stdout is not exactly one JSON document. */
  readonly json: () => Record<string, unknown>
}

export async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  let stdout = ''
  let stderr = ''
  const io: Io = {
    env,
    stdin: Readable.from([]) as unknown as NodeJS.ReadStream,
    stdout: { write: text => (stdout += String(text)) },
    stderr: { write: text => (stderr += text) },
    stopSignal: () => new AbortController().signal,
  }
  const code = await main(args, io)
  const json = (): Record<string, unknown> => {
    if (stdout.trimEnd().includes('\n')) throw new Error(`more than one line: ${stdout}`)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  return { code, stdout, stderr, json }
}

export const errorCode = (ran: Run): string => (ran.json()['error'] as { code: string }).code
