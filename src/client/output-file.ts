// The file that a record is opened into. It grows under a hidden, temporary name, a step behind whoever makes its bytes (small chunks go out
// together, and while one write is under way the next bytes are made), and gets its own name when it is durable. The disk gets its bytes on the
// way too: a file of a gigabyte that is synced only when it is whole waits for the disk for seconds. Not here: whether its bytes are right (open.ts).

import { randomBytes } from 'node:crypto'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { EmrmError } from '../model/errors.ts'
import { giveBack } from '../short-lived.ts'

const BATCH_BYTES = 524_288
const SYNC_EVERY_BYTES = 128 * BATCH_BYTES

/** Every method throws EmrmError `output-failed`, which names the path. */
export class OutputFile {
  /** Where it grows. */
  readonly temporary: string
  readonly #path: string
  readonly #target: string
  readonly #prefix: string
  #handle: FileHandle | null = null
  #chunks: Uint8Array[] = []
  #bytes = 0
  #pending: Promise<void> = Promise.resolve()
  #unsynced = 0
  #syncing: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.#path = path
    this.#target = resolve(path)
    this.#prefix = `.${basename(this.#target)}.opening-`
    this.temporary = join(dirname(this.#target), `${this.#prefix}${randomBytes(6).toString('hex')}`)
  }

  /** `takeOver` is given what a killed run left, plaintext under a temporary name; it must not lie about and goes then. */
  async create(takeOver: (left: string) => Promise<void> | undefined = async () => {}): Promise<void> {
    await onOutput(this.#path, async () => {
      const folder = dirname(this.#target)
      for (const name of await readdir(folder))
        if (name.startsWith(this.#prefix)) {
          await takeOver(join(folder, name))
          await rm(join(folder, name), { force: true })
        }
      this.#handle = await open(this.temporary, 'wx', 0o600)
    })
  }

  /** Takes the chunk, and gives its memory back when it is written. Throws what the write before it met, too. */
  async add(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes >= BATCH_BYTES) await onOutput(this.#path, () => this.#flush())
  }

  /** Resolves when all of it was handed to the file. */
  async end(): Promise<void> {
    await onOutput(this.#path, async () => {
      await this.#flush()
      await this.#pending
      await this.#syncing
    })
  }

  /** As `end`, for a file that will not be finished: what cannot be written is not. */
  async settle(): Promise<void> {
    await this.end().catch(() => undefined)
    await Promise.allSettled([this.#pending, this.#syncing])
  }

  /** Durable before it has its name, and its name durable before we say so. */
  async finish(): Promise<void> {
    const handle = this.#handle as FileHandle
    await onOutput(this.#path, async () => {
      await handle.sync()
      await handle.close()
      this.#handle = null
      await rename(this.temporary, this.#target).catch(async error => {
        await rm(this.temporary, { force: true })
        throw error
      })
    })
    const folder = await open(dirname(this.#target), 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }

  /** Closes and removes it, unless it was finished or never created. */
  async discard(): Promise<void> {
    const handle = this.#handle
    if (handle === null) return
    this.#handle = null
    await handle.close()
    await rm(this.temporary, { force: true })
  }

  async #flush(): Promise<void> {
    await this.#pending
    const chunks = this.#chunks
    const bytes = this.#bytes
    this.#chunks = []
    this.#bytes = 0
    const handle = this.#handle as FileHandle
    this.#pending = writeAll(handle, chunks, bytes)
    // It is awaited by the next call; until then it is nobody's.
    this.#pending.catch(() => undefined)
    this.#unsynced += bytes
    if (this.#unsynced < SYNC_EVERY_BYTES) return
    this.#unsynced = 0
    await this.#syncing
    this.#syncing = handle.datasync()
    this.#syncing.catch(() => undefined)
  }
}

async function writeAll(handle: FileHandle, chunks: readonly Uint8Array[], bytes: number): Promise<void> {
  if (bytes === 0) return
  const { bytesWritten } = await handle.writev([...chunks])
  if (bytesWritten < bytes) await handle.writeFile(Buffer.concat(chunks).subarray(bytesWritten))
  for (const chunk of chunks) giveBack(chunk)
}

/** Throws EmrmError `output-failed` for whatever goes wrong in `write`. */
export async function onOutput<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (cause) {
    if (cause instanceof EmrmError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError(
      'output-failed',
      `${path} cannot be written (${code}); check the folder and free space`,
      { cause: code },
      cause,
    )
  }
}
