// A real file system of a few MiB, in memory, so that a disk can be full: mounted for one test. Only root may mount; elsewhere there is none.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export type SmallDisk = { readonly folder: string; stop(): Promise<void> }

const run = promisify(execFile)

/** Null where mounting is not allowed. */
export async function mountSmallDisk(mebibytes: number): Promise<SmallDisk | null> {
  const folder = await mkdtemp(join(tmpdir(), 'emrm-disk-'))
  const stop = async (): Promise<void> => {
    await run('umount', ['--lazy', folder]).catch(() => undefined)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=755`, 'tmpfs', folder])
    return { folder, stop }
  } catch {
    await rm(folder, { recursive: true, force: true })
    return null
  }
}
