// `npm start` with --once: it checks itself; here we look at what it says and that nothing of it is left.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import { emrm } from './swarm.ts'

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const isListening = (address: string): Promise<boolean> =>
  new Promise(resolve => {
    const { hostname, port } = new URL(address)
    const socket = connect(Number(port), hostname, () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

test('the demo shares a record, refuses the wrong purpose, checks itself and leaves nothing behind', async () => {
  const ran = await emrm(['demo', '--once', '--json'], { env: { EMRM_PASSWORD: '' } })
  assert.equal(ran.code, 0, ran.stderr)
  const shown = ran.json as {
    ok: boolean
    directory: string
    refusal: string
    hospitals: { pid: number; api: string }[]
  }
  assert.deepEqual([shown.ok, shown.refusal, shown.hospitals.length], [true, 'purpose-mismatch', 4])
  assert.match(ran.stderr, /GRANTED.*height \d+/)
  assert.match(ran.stderr, /DENIED +purpose-mismatch, height \d+/)
  for (const { pid, api } of shown.hospitals) {
    assert.equal(isAlive(pid), false, `process ${pid} is left`)
    assert.equal(await isListening(api), false, `${api} is left`)
  }
  assert.equal(existsSync(shown.directory), false)
})
