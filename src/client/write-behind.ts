// Writes a file a step behind whoever makes its bytes: small chunks go out together, and while one write is under way the next bytes are made.
// The disk gets them on the way too: a file of a gigabyte that is synced only when it is whole waits for the disk for seconds.
// Not here: when the file is complete and what it is called (open.ts).

import type { FileHandle } from 'node:fs/promises'

const BATCH_BYTES = 1_048_576
const SYNC_EVERY_BYTES = 64 * BATCH_BYTES

export class WriteBehind {
  readonly #handle: FileHandle
  #chunks: Uint8Array[] = []
  #bytes = 0
  #pending: Promise<void> = Promise.resolve()
  #unsynced = 0
  #syncing: Promise<void> = Promise.resolve()

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Throws what the write before it met. The chunk must not change afterwards. */
  async add(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes >= BATCH_BYTES) await this.#flush()
  }

  /** Resolves when all of it was handed to the file. */
  async end(): Promise<void> {
    await this.#flush()
    await this.#pending
    await this.#syncing
  }

  async #flush(): Promise<void> {
    await this.#pending
    const chunks = this.#chunks
    const bytes = this.#bytes
    this.#chunks = []
    this.#bytes = 0
    this.#pending = writeAll(this.#handle, chunks, bytes)
    // It is awaited by the next call; until then it is nobody's.
    this.#pending.catch(() => undefined)
    this.#unsynced += bytes
    if (this.#unsynced < SYNC_EVERY_BYTES) return
    this.#unsynced = 0
    await this.#syncing
    this.#syncing = this.#handle.datasync()
    this.#syncing.catch(() => undefined)
  }
}

async function writeAll(handle: FileHandle, chunks: readonly Uint8Array[], bytes: number): Promise<void> {
  if (bytes === 0) return
  const { bytesWritten } = await handle.writev([...chunks])
  if (bytesWritten < bytes) await handle.writeFile(Buffer.concat(chunks).subarray(bytesWritten))
}
