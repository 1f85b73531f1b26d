// Counts what a process sends and receives over TCP and what CPU it takes, from outside its program: `node --import test/bench/meter.ts …`.
// On SIGUSR2 it writes the counts as JSON into the file that EMRM_METER names, with the process id in place of `%`. Payload of TCP: without
// the headers of TCP and IP. By port, so that the hospital's own API can be told from what goes to other hospitals.

import { subscribe } from 'node:diagnostics_channel'
import { renameSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'

export type Meter = {
  /** By local port of a listener (`in:7001`) or remote port of a call (`out:7001`). */
  readonly sent: Readonly<Record<string, number>>
  readonly cpuMs: number
}

const sent = new Map<string, number>()
const open = new Map<Socket, string>()

function watch(socket: Socket, name: () => string): void {
  const note = (): void => {
    open.set(socket, name())
  }
  if (socket.connecting) socket.once('connect', note)
  else note()
  socket.once('close', () => {
    const key = open.get(socket)
    if (key !== undefined) sent.set(key, (sent.get(key) ?? 0) + socket.bytesWritten)
    open.delete(socket)
  })
}

const file = process.env['EMRM_METER']
if (file !== undefined) {
  subscribe('net.client.socket', message => {
    const { socket } = message as { socket: Socket }
    watch(socket, () => `out:${socket.remotePort}`)
  })
  subscribe('net.server.socket', message => {
    const { socket } = message as { socket: Socket }
    watch(socket, () => `in:${socket.localPort}`)
  })
  process.on('SIGUSR2', () => {
    const now = new Map(sent)
    for (const [socket, key] of open) now.set(key, (now.get(key) ?? 0) + socket.bytesWritten)
    const { user, system } = process.cpuUsage()
    const meter: Meter = { sent: Object.fromEntries(now), cpuMs: (user + system) / 1000 }
    const target = file.replace('%', String(process.pid))
    // By rename: whoever waits for the file finds all of it.
    writeFileSync(`${target}.part`, JSON.stringify(meter))
    renameSync(`${target}.part`, target)
  })
}
