// What a test needs around a server that it starts as a child: a free port, waiting until it answers, ending it. Not here: which server.

import type { ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'

const AGAIN_MS = 100

/** Until it does not throw; then the last error. */
export async function answering<T>(ask: () => Promise<T>, timeoutMs: number): Promise<T> {
  const until = performance.now() + timeoutMs
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS))
    }
  }
}

export function ended(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return Promise.resolve()
  return new Promise(resolve => {
    server.once('exit', () => resolve())
    server.kill(signal)
  })
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
