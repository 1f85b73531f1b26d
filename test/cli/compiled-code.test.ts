// Code that waits for the next run is code that will be run: it lies where only its user writes, or nowhere.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { VERSION } from '../../src/version.ts'

const EXECUTABLE = join(import.meta.dirname, '../../bin/emrm.ts')
const folder = await mkdtemp(join(tmpdir(), 'emrm-compiled-'))
await mkdir(join(folder, 'home'))
after(() => rm(folder, { recursive: true, force: true }))

async function version(env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [EXECUTABLE, '--version'], { env })
  return stdout.trim()
}

test('compiled code is kept in the user’s own folder of caches, closed to others', async () => {
  assert.equal(await version({ XDG_CACHE_HOME: join(folder, 'xdg'), HOME: join(folder, 'home') }), VERSION)
  const kept = join(folder, 'xdg', 'emrm')
  assert.equal((await stat(kept)).mode & 0o777, 0o700)
  assert.equal((await readdir(kept)).length, 1)
  assert.equal(await version({ HOME: join(folder, 'home') }), VERSION)
  assert.equal((await readdir(join(folder, 'home', '.cache', 'emrm'))).length, 1)
})

test('it is neither kept nor read where others may write, and needs no home', async () => {
  const open = join(folder, 'open', 'emrm')
  await mkdir(open, { recursive: true })
  await chmod(open, 0o777)
  assert.equal(await version({ XDG_CACHE_HOME: join(folder, 'open') }), VERSION)
  assert.deepEqual(await readdir(open), [])
  assert.equal(await version({}), VERSION)
  assert.equal(await version({ HOME: join(folder, 'nowhere') }), VERSION)
})
