// Files that hold a secret: read with a bound, written atomically and for their owner's eyes alone.
// Not here: what stands in them (keystore.ts, web3-keystore.ts).

import { randomBytes } from 'node:crypto'
import { link, open, readFile, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EmrmError } from '../model/errors.ts'
import { toHex } from '../model/hash.ts'

const FILE_BYTES_MAX = 16 * 1024

export const invalidKeyFile = (path: string, why: string): EmrmError =>
  new EmrmError('key-file-invalid', `${basename(path)} is no key file of ours: ${why}; restore it from a backup`, {
    file: basename(path),
  })

/** Throws EmrmError `key-file-missing`, `key-file-invalid`. */
export async function readSecretFile(path: string): Promise<string> {
  try {
    const bytes = await readFile(path)
    if (bytes.length > FILE_BYTES_MAX) throw invalidKeyFile(path, `larger than ${FILE_BYTES_MAX} bytes`)
    return bytes.toString('utf8')
  } catch (cause) {
    if (cause instanceof EmrmError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError(
      'key-file-missing',
      `${path} cannot be read (${code}); check the path and its permissions`,
      { file: basename(path), cause: code },
      cause,
    )
  }
}

/**
 * Throws EmrmError `key-file-exists`, `key-file-write-failed`.
 * Temporary file, fsync, then one atomic step: `link` fails when the name is taken, `rename` replaces.
 */
export async function writeSecretFile(path: string, text: string, replace: boolean): Promise<void> {
  const directory = dirname(path)
  const temporary = join(directory, `.${basename(path)}.${toHex(randomBytes(6))}`)
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    if (replace) await rename(temporary, path)
    else {
      await link(temporary, path)
      await unlink(temporary)
    }
    const parent = await open(directory, 'r')
    try {
      await parent.sync()
    } finally {
      await parent.close()
    }
  } catch (cause) {
    await unlink(temporary).catch(() => undefined)
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    if (code === 'EEXIST')
      throw new EmrmError('key-file-exists', `${path} exists and a key is never overwritten; choose another name`, {
        file: basename(path),
      })
    throw new EmrmError(
      'key-file-write-failed',
      `${path} cannot be written (${code}); check the folder and free space`,
      { file: basename(path), cause: code },
      cause,
    )
  }
}
