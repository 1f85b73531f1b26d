// Lines between peers that a test can cut: for each ordered pair one TCP proxy, which the caller's peers.json names as the other's address.
// What a peer announces itself leads nowhere, so that nobody finds a way around. A cut line is silent: bytes and new connections go in and
// nothing comes out, as when a switch dies, not as when a process does.

import { readFile, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Swarm } from './swarm.ts'

/** A port where nobody listens. */
const NOWHERE = '/ip4/127.0.0.1/tcp/1'

type Entry = { readonly name: string; readonly peerId: string; addresses: readonly string[] }

export type Lines = {
  /** Both directions between two peers, by position. */
  cut(a: number, b: number): void
  cutOff(peer: number): void
  /** Gives all lines back; connections that were silent break. */
  heal(): void
  /** Connections that were ever opened through a line. */
  readonly opened: number
  stop(): Promise<void>
}

/** Before the peers start. */
export async function drawLines(swarm: Swarm): Promise<Lines> {
  const count = swarm.peers.length
  const lines = new Map<string, Line>()
  for (const [from, peer] of swarm.peers.entries()) {
    const file = join(peer.home, 'peers.json')
    const entries = JSON.parse(await readFile(file, 'utf8')) as Entry[]
    for (const [to, entry] of entries.entries()) {
      if (to === from) continue
      const line = new Line(Number(/\/tcp\/(\d+)/.exec(entry.addresses[0] as string)?.[1]))
      lines.set(`${from} ${to}`, line)
      entry.addresses = [`/ip4/127.0.0.1/tcp/${await line.start()}`]
    }
    await writeFile(file, JSON.stringify(entries))
    await changeConfig(peer.home, { announce: [NOWHERE] })
  }
  const cut = (a: number, b: number): void => {
    lines.get(`${a} ${b}`)?.cut()
    lines.get(`${b} ${a}`)?.cut()
  }
  return {
    cut,
    cutOff(peer) {
      for (let other = 0; other < count; other++) if (other !== peer) cut(peer, other)
    },
    heal() {
      for (const line of lines.values()) line.heal()
    },
    get opened() {
      return [...lines.values()].reduce((sum, line) => sum + line.opened, 0)
    },
    async stop() {
      await Promise.all([...lines.values()].map(line => line.stop()))
    },
  }
}

export async function changeConfig(home: string, change: object): Promise<void> {
  const file = join(home, 'config.json')
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...change }))
}

class Line {
  opened = 0
  readonly #target: number
  readonly #server: Server
  #pairs: { readonly in: Socket; readonly out: Socket }[] = []
  #isCut = false

  constructor(target: number) {
    this.#target = target
    this.#server = createServer(socket => this.#accept(socket))
  }

  start(): Promise<number> {
    return new Promise(resolve => {
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as { port: number }).port))
    })
  }

  cut(): void {
    this.#isCut = true
    for (const pair of this.#pairs) {
      pair.in.unpipe(pair.out).pause()
      pair.out.unpipe(pair.in).pause()
    }
  }

  heal(): void {
    if (!this.#isCut) return
    this.#isCut = false
    this.#breakAll()
  }

  stop(): Promise<void> {
    this.#breakAll()
    return new Promise(resolve => this.#server.close(() => resolve()))
  }

  #accept(socket: Socket): void {
    this.opened++
    const out = this.#isCut ? socket : connect(this.#target, '127.0.0.1')
    const pair = { in: socket, out }
    this.#pairs.push(pair)
    const end = (): void => {
      socket.destroy()
      out.destroy()
      this.#pairs = this.#pairs.filter(other => other !== pair)
    }
    for (const side of [socket, out]) side.on('error', end).on('close', end)
    if (this.#isCut) socket.pause()
    else socket.pipe(out).pipe(socket)
  }

  #breakAll(): void {
    for (const pair of this.#pairs) {
      pair.in.destroy()
      pair.out.destroy()
    }
  }
}
