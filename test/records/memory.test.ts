// A record of any size passes in and out in constant memory: what a large one needs beyond a small one is bounded.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

type Needed = { readonly isSame: boolean; readonly bytes: number; readonly maxRssKiB: number }

async function passThrough(mebibytes: number): Promise<Needed> {
  const folder = await mkdtemp(join(tmpdir(), 'emrm-flat-'))
  try {
    const script = join(import.meta.dirname, 'flat-memory.ts')
    const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', script, String(mebibytes), folder])
    return JSON.parse(stdout) as Needed
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('a record of 200 MiB goes through vault and reader byte for byte in the memory of a small one', async () => {
  const small = await passThrough(8)
  const large = await passThrough(200)
  assert.deepEqual([small.isSame, large.isSame, large.bytes], [true, true, 200 * 1024 * 1024])
  const more = (large.maxRssKiB - small.maxRssKiB) / 1024
  assert.ok(more < 80, `${more.toFixed(0)} MiB more for 192 MiB more (small: ${small.maxRssKiB} KiB)`)
})
