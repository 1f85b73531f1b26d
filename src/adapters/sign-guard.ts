// A small file in the home, beside the data folder, that remembers that this peer has signed before. When the data folder is gone or was
// restored from a backup, the replica has forgotten votes: it must sign nothing until n-f others told it where the chain stands, and then
// nothing up to two heights above (consensus.md §1.3, "Lost disk"). Not here: asking the others (catch-up.ts).

import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EmrmError } from '../model/errors.ts'
import { asHeight, type Height } from '../model/ids.ts'

export type SignGuard = {
  /** Null: the disk was lost, and the first height that may be signed is not known yet. */
  readonly signFrom: Height | null
}

/** `emptyStore`: the block store and the vote log hold nothing. Marks the home as one that signs. Throws EmrmError `guard-invalid`. */
export async function openSignGuard(file: string, emptyStore: boolean): Promise<SignGuard> {
  const before = await read(file)
  const guard: SignGuard = before === null ? { signFrom: asHeight(1) } : emptyStore ? { signFrom: null } : before
  await saveSignGuard(file, guard)
  return guard
}

/** On disk before the replica may rely on it. */
export async function saveSignGuard(file: string, guard: SignGuard): Promise<void> {
  const temporary = `${file}.new`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify({ version: 1, signFrom: guard.signFrom })}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  const folder = await open(dirname(file), 'r')
  await folder.sync()
  await folder.close()
}

async function read(file: string): Promise<SignGuard | null> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    const { version, signFrom } = JSON.parse(text) as { version?: unknown; signFrom?: unknown }
    if (version === 1 && signFrom === null) return { signFrom: null }
    if (version === 1 && typeof signFrom === 'number') return { signFrom: asHeight(signFrom) }
  } catch {
    // Falls through: what it does not say for sure, it does not say.
  }
  throw new EmrmError(
    'guard-invalid',
    `${file} is damaged; write {"version":1,"signFrom":null} into it, and the peer asks the others before it signs`,
    { file },
  )
}
