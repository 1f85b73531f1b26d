// `emrm demo`: what `npm start` runs. Keeps running until Ctrl-C; with --once it checks itself, stops everything and ends with 0.

import type { Command } from 'commander'

import { EXIT, type ExitCode, handle, type Io, printAnswer, type Session } from './session.ts'
import { readWhole } from './values.ts'

type DemoOptions = { readonly hospitals: number; readonly dir?: string; readonly once?: boolean }

/** `main`: the command line itself, which the demo uses as a reader would. */
export function addDemoCommand(
  session: Session,
  program: Command,
  main: (argv: readonly string[], io: Io) => Promise<ExitCode>,
): void {
  const demo = program
    .command('demo')
    .description('a network of real peers on this machine that shares a sample record; runs until Ctrl-C')
    .option('--hospitals <count>', 'hospitals, 4 to 20', readWhole(4, 20), 4)
    .option('--dir <dir>', 'where everything goes and stays (default: a temporary directory)')
    .option('--once', 'check everything, stop everything, exit code 0')
    .addHelpText('after', '\nExample:\n  $ emrm demo\n  $ emrm demo --once --json')
  handle<DemoOptions>(session, demo, async ({ hospitals, dir, once }) => {
    const { runDemo, whatNext } = await import('../demo.ts')
    const { io, json } = session
    const signal = io.stopSignal()
    const out = json ? io.stderr : io.stdout
    const say = (line: string): void => void out.write(`${line}\n`)
    const running = await runDemo({ hospitals, directory: dir ?? null, io, main, signal, say })
    if (once === true) {
      await running.stop()
      return { document: running.document, lines: ['', 'everything was checked and stopped'] }
    }
    if (json) printAnswer(session, { document: running.document, lines: [], exitCode: EXIT.done })
    for (const line of ['', ...whatNext(running.document), '', 'Ctrl-C stops all of it.']) say(line)
    for (const peer of running.peers)
      void peer.ended.then(how => {
        if (!signal.aborted) say(`${peer.name} ended (${how}); its log is ${peer.home}.log`)
      })
    await Promise.race([aborted(signal), Promise.all(running.peers.map(peer => peer.ended))])
    await running.stop()
    return null
  })
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
