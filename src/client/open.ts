// The last step of an access (P-47): the user's own machine opens the released shares, makes the content key, decrypts the ciphertext as it
// streams in and checks it twice, against `cipherRoot` and against the commitment on the chain (P-12). In a file the plaintext grows under a
// temporary name and gets its own only when all of it was checked: nothing partial and nothing unproved is ever found there. Into a stream it
// goes as it is authenticated, piece by piece, and only the end says whether it was the record that its custodian registered.
// Not here: asking for access (agent.ts), fetching (the hospital's API).

import { randomBytes } from 'node:crypto'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { EmrmError } from '../model/errors.ts'
import type { Digest, RecordId, RequestId } from '../model/ids.ts'
import type { RecordRegister } from '../model/operations.ts'
import { openStream } from '../records/envelope.ts'
import { type CipherClaim, cipherRootOf, cutPieces, isPiece, pieceLeaf } from '../records/pieces.ts'
import type { SealKey } from '../records/seal.ts'
import {
  combineShares,
  type OpenedShare,
  openReleasedShare,
  type ReleasedShare,
  type ShareClaim,
} from '../records/shares.ts'
import { WriteBehind } from './write-behind.ts'

/** What the chain says of the record that was granted; of a twin, when the grant is for one. */
export type RecordClaim = ShareClaim & CipherClaim & Pick<RecordRegister, 'commitment' | 'threshold'>

export type OpenOptions = {
  readonly claim: RecordClaim
  readonly grant: RequestId
  readonly shares: readonly ReleasedShare[]
  /** The key whose digest stands in the grant. */
  readonly recipient: SealKey
  /** All bytes from the first on, cut anywhere. */
  readonly ciphertext: AsyncIterable<Uint8Array>
  /** The list that gives the claim's root, when it is known: then each piece is checked before it is used, not all of them at the end. */
  readonly leaves?: readonly Uint8Array[]
  /** Each piece, checked. */
  readonly onPiece?: (index: number, piece: Uint8Array) => Promise<void>
  /** Bytes of the record written so far. */
  readonly onProgress?: (bytes: number) => void
  readonly signal?: AbortSignal
}

export type OpenedRecord = {
  readonly bytes: number
  /** Of the record. */
  readonly sha256: Digest
  /** Indexes of shares that did not open, or were not the committed ones: those validators erred or lied. */
  readonly badShares: readonly number[]
}

/**
 * `path`: replaced when it exists and everything was checked.
 * Throws EmrmError `shares-insufficient`, `ciphertext-wrong`, `record-corrupt`, `commitment-mismatch`, `output-failed`.
 */
export async function openRecord(options: OpenOptions & { readonly path: string }): Promise<OpenedRecord> {
  const { path } = options
  const target = resolve(path)
  const temporary = join(dirname(target), `${temporaryPrefix(target)}${randomBytes(6).toString('hex')}`)
  let handle: FileHandle | null = null
  try {
    const opened = await openInto(options, async chunks => {
      await onOutput(path, () => removeLeftovers(target))
      handle = await onOutput(path, () => open(temporary, 'wx', 0o600))
      const file = new WriteBehind(handle)
      for await (const chunk of chunks) await onOutput(path, () => file.add(chunk))
      await onOutput(path, () => file.end())
    })
    const written = handle as FileHandle | null
    handle = null
    if (written !== null) await finish(path, written, temporary, target)
    return opened
  } finally {
    if (handle !== null) {
      await (handle as FileHandle).close()
      await rm(temporary, { force: true })
    }
  }
}

/**
 * `write` resolves when the chunk was taken. Every byte that it gets was authenticated under the record's key, in a piece of the registered
 * ciphertext; `commitment-mismatch`, at the end, says that they are not what the custodian registered all the same. Throws as `openRecord`.
 */
export function openRecordInto(
  options: OpenOptions & { readonly leaves: readonly Uint8Array[] },
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<OpenedRecord> {
  return openInto(options, async chunks => {
    for await (const chunk of chunks) await write(chunk)
  })
}

async function openInto(
  options: OpenOptions,
  take: (chunks: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<OpenedRecord> {
  const { claim, signal, onProgress } = options
  const { contentKey, badShares } = await openKey(options)
  try {
    const opening = openStream({ contentKey, record: claim.record, source: checkedCiphertext(options) })
    let written = 0
    async function* watched(): AsyncGenerator<Uint8Array> {
      for await (const chunk of opening.plaintext) {
        signal?.throwIfAborted()
        yield chunk
        written += chunk.length
        onProgress?.(written)
      }
    }
    await take(watched())
    const { commitment, plainSha256, plainSize } = opening.result()
    if (commitment !== claim.commitment)
      throw new EmrmError(
        'commitment-mismatch',
        `record ${claim.record} opened, but is not what its custodian registered; do not use what came of it, report it`,
        { record: claim.record },
      )
    return { bytes: plainSize, sha256: plainSha256, badShares }
  } finally {
    contentKey.fill(0)
  }
}

const temporaryPrefix = (target: string): string => `.${basename(target)}.opening-`

/** Plaintext that a killed run left under a temporary name is nobody's: it must not lie about. */
async function removeLeftovers(target: string): Promise<void> {
  const folder = dirname(target)
  for (const name of await readdir(folder))
    if (name.startsWith(temporaryPrefix(target))) await rm(join(folder, name), { force: true })
}

async function openKey(
  options: OpenOptions,
): Promise<{ readonly contentKey: Uint8Array; readonly badShares: readonly number[] }> {
  const { claim, grant, shares, recipient } = options
  const opened: OpenedShare[] = []
  const bad: number[] = []
  for (const share of shares) {
    const result = await openReleasedShare(share, recipient, claim, grant)
    if (result === null) bad.push(share.index)
    else opened.push(result)
  }
  const combined = await combineShares(opened, claim, claim.threshold)
  for (const { share } of opened) share.fill(0)
  if (combined.type === 'insufficient')
    throw new EmrmError(
      'shares-insufficient',
      `${combined.have} of ${combined.need} shares of record ${claim.record} are good; ask again when more hospitals answer`,
      { record: claim.record, have: combined.have, need: combined.need, bad: bad.length },
    )
  return { contentKey: combined.contentKey, badShares: [...bad, ...combined.bad].sort((a, b) => a - b) }
}

/** Hands on at most the registered number of bytes, and ends well only when they were the registered ones. */
async function* checkedCiphertext({
  ciphertext,
  claim,
  leaves: known,
  onPiece,
}: OpenOptions): AsyncGenerator<Uint8Array> {
  const leaves: Uint8Array[] = []
  let size = 0
  let index = 0
  for await (const piece of cutPieces(ciphertext)) {
    size += piece.length
    if (size > claim.cipherSize) throw wrong(claim.record, 'it is longer than registered')
    if (known === undefined) leaves.push(pieceLeaf(piece))
    else if (!isPiece(piece, index, known, claim)) throw wrong(claim.record, `piece ${index} is not the registered one`)
    const kept = onPiece?.(index, piece)
    kept?.catch(() => undefined)
    yield piece
    // Kept while it is opened; but before the next, so that what is kept has no hole.
    await kept
    index++
  }
  if (size < claim.cipherSize) throw wrong(claim.record, 'it ended early')
  if (known === undefined && cipherRootOf(leaves) !== claim.cipherRoot)
    throw wrong(claim.record, 'its bytes are not the registered ones')
}

const wrong = (record: RecordId, why: string): EmrmError =>
  new EmrmError('ciphertext-wrong', `the ciphertext of record ${record} is refused: ${why}; try again`, { record })

/** Durable before it has its name, and its name durable before we say so. */
async function finish(path: string, handle: FileHandle, temporary: string, target: string): Promise<void> {
  try {
    await onOutput(path, async () => {
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, target)
    })
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  const folder = await open(dirname(target), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Throws EmrmError `output-failed` for whatever goes wrong in `write`. */
export async function onOutput<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError(
      'output-failed',
      `${path} cannot be written (${code}); check the folder and free space`,
      { cause: code },
      cause,
    )
  }
}
