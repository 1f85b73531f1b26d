// `emrm start`: runs the peer in the foreground until SIGINT or SIGTERM, then stops cleanly.

import type { Command } from 'commander'

import { loadConfig, unlockKeys } from '../config.ts'
import { readPassword } from '../password.ts'
import { homeCommand } from './home.ts'
import { handle, type Session } from './session.ts'
import { readWhole } from './values.ts'

type StartOptions = { readonly home: string; readonly consolePort?: number; readonly stopWithStdin?: boolean }

export function addStartCommand(session: Session, program: Command): void {
  const start = homeCommand(
    program,
    'start',
    'run the peer in the foreground until Ctrl-C',
    'EMRM_PASSWORD_FILE=./password emrm start --home ./net/hospital-1',
  )
    .option('--console-port <port>', 'serve the console page on this loopback port', readWhole(0, 65_535))
    .option('--stop-with-stdin', 'stop when standard input closes, for a parent process that may die')
  handle<StartOptions>(session, start, async ({ home, consolePort, stopWithStdin }) => {
    const { io } = session
    const [{ startPeer }, { startApi }, { startConsole }] = await Promise.all([
      import('../peer.ts'),
      import('../api/server.ts'),
      import('../api/console.ts'),
    ])
    const config = await loadConfig(home, io.env)
    const keys = await unlockKeys(config.paths, await readPassword(io, { what: config.name, isNew: false }))
    const stopped = stopSignal(session, stopWithStdin === true)
    const { peer, log, failed } = await startPeer(config, keys)
    const closing: (() => Promise<void>)[] = [() => peer.stop()]
    try {
      const api = await startApi({ peer, paths: config.paths, ...config.api, log })
      closing.push(() => api.stop())
      const page = consolePort === undefined ? null : await startConsole({ peer, port: consolePort, log })
      if (page !== null) closing.push(() => page.stop())
      const { peerId, height } = peer.status()
      const ready = { peer: peerId, height, api: api.address, ...(page === null ? {} : { console: page.address }) }
      const words = Object.entries(ready).map(([name, value]) => `${name}=${value}`)
      io.stdout.write(`${session.json ? JSON.stringify({ ready: true, ...ready }) : `ready ${words.join(' ')}`}\n`)
      await Promise.race([stopped, failed])
    } finally {
      for (const close of closing.reverse()) await close()
    }
    return null
  })
}

function stopSignal({ io }: Session, withStdin: boolean): Promise<void> {
  return new Promise(resolve => {
    io.stopSignal().addEventListener('abort', () => resolve(), { once: true })
    if (!withStdin) return
    io.stdin.on('end', () => resolve())
    io.stdin.on('close', () => resolve())
    io.stdin.resume()
  })
}
