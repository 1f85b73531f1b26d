// How many writes the store acknowledged, in a file beside it. LevelDB drops a damaged end of its log without a word, and with it votes
// that were sent: a replica that forgets a vote is as bad as one that lies (consensus.md §1.3). The mark is written after each fsync of
// the store and not synced itself, so it never says more than the store once held; a store that holds less has lost something.

import { closeSync, openSync, readSync, write } from 'node:fs'
import { crc32 } from 'node:zlib'

const MARK_BYTES = 12

export class WriteMark {
  readonly #file: number
  /** As the file says; 0 when there is none or it is damaged. */
  readonly before: number
  #latest = 0
  #writing = false
  readonly #idle: (() => void)[] = []

  constructor(path: string) {
    this.#file = openSync(path, 'a+', 0o600)
    closeSync(this.#file)
    this.#file = openSync(path, 'r+')
    this.before = this.#read()
  }

  /** Returns at once: a write to a file blocks while the disk syncs another, and the peer must not stand still for it. */
  save(writes: number): void {
    this.#latest = writes
    if (!this.#writing) this.#write(writes)
  }

  /** Resolves when what was saved last is in the file. */
  async close(): Promise<void> {
    while (this.#writing) await new Promise<void>(resolve => this.#idle.push(resolve))
    closeSync(this.#file)
  }

  #write(writes: number): void {
    const bytes = Buffer.alloc(MARK_BYTES)
    bytes.writeBigUInt64BE(BigInt(writes))
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 8)), 8)
    this.#writing = true
    // A mark that could not be written says less than it might, never more.
    write(this.#file, bytes, 0, MARK_BYTES, 0, () => {
      this.#writing = false
      if (this.#latest > writes) this.#write(this.#latest)
      else for (const resolve of this.#idle.splice(0)) resolve()
    })
  }

  #read(): number {
    const bytes = Buffer.alloc(MARK_BYTES)
    if (readSync(this.#file, bytes, 0, MARK_BYTES, 0) !== MARK_BYTES) return 0
    return crc32(bytes.subarray(0, 8)) === bytes.readUInt32BE(8) ? Number(bytes.readBigUInt64BE()) : 0
  }
}
