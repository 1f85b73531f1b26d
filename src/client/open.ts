// The last step of an access (P-47): the user's own machine opens the released shares, makes the content key, decrypts the ciphertext as it
// streams in and checks all of it against the commitment on the chain (P-12). In a file the plaintext grows under a temporary name and gets
// its own only when all of it was checked: nothing partial and nothing unproved is ever found there. Into a stream it goes as it is
// authenticated, chunk by chunk, and only the end says whether it was the record that its custodian registered.
// Not here: asking for access (agent.ts), fetching (the hospital's API, which checks each piece), the files (output-file.ts, partial.ts).

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
import { giveBack } from '../short-lived.ts'
import { OutputFile } from './output-file.ts'
import type { Partial } from './partial.ts'

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
  /** The list that gives the claim's root. Without it the root is made from what came, at the end. */
  readonly leaves?: readonly Uint8Array[]
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

/** Pieces whose bytes may not have left as plaintext yet: one that is being cut, one and a bit in the cipher. */
const RECENT_PIECES = 4

type Source = { readonly contentKey: Uint8Array; readonly recent: ReadonlyMap<number, Uint8Array> }

/**
 * `path`: replaced when it exists and everything was checked. `partial`: where what arrived is kept when it was not everything.
 * Throws EmrmError `shares-insufficient`, `ciphertext-wrong`, `record-corrupt`, `commitment-mismatch`, `output-failed`.
 */
export async function openRecord(
  options: OpenOptions & { readonly path: string; readonly partial?: Partial },
): Promise<OpenedRecord> {
  const { path, partial } = options
  const file = new OutputFile(path)
  try {
    const opened = await openInto(options, async (chunks, { contentKey, recent }) => {
      await file.create(left => partial?.takeOver(contentKey, left))
      try {
        for await (const chunk of chunks) await file.add(chunk)
        await file.end()
      } catch (error) {
        await file.settle()
        // What cannot be kept is fetched again; what went wrong before is what is told.
        await partial?.takeOver(contentKey, file.temporary, recent).catch(() => undefined)
        throw error
      }
    })
    await file.finish()
    return opened
  } finally {
    await file.discard()
  }
}

/**
 * `write` resolves when the chunk was taken. Every byte that it gets was authenticated under the record's key; `commitment-mismatch`, at the
 * end, says that they are not what the custodian registered all the same. Throws as `openRecord`.
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
  options: OpenOptions & { readonly partial?: Partial },
  take: (chunks: AsyncIterable<Uint8Array>, source: Source) => Promise<void>,
): Promise<OpenedRecord> {
  const { claim, leaves, signal, onProgress } = options
  const { contentKey, badShares } = await openKey(options)
  const recent = new Map<number, Uint8Array>()
  try {
    const opening = openStream({ contentKey, record: claim.record, source: measuredCiphertext(options, recent) })
    let written = 0
    async function* watched(): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of opening.plaintext) {
          signal?.throwIfAborted()
          yield chunk
          written += chunk.length
          onProgress?.(written)
        }
      } catch (error) {
        throw leaves === undefined ? error : blamed(error, recent, leaves, claim)
      }
    }
    await take(watched(), { contentKey, recent })
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

/**
 * The hospital's API checked each piece, and the cipher checks each chunk: to hash them here too would cost as much as decrypting. Only when
 * a chunk does not open is it asked whose fault that is: of the bytes on their way, or of whoever sealed them.
 */
function blamed(
  error: unknown,
  recent: ReadonlyMap<number, Uint8Array>,
  leaves: readonly Uint8Array[],
  claim: CipherClaim,
): unknown {
  if (!(error instanceof EmrmError) || error.code !== 'record-corrupt') return error
  for (const [index, piece] of recent)
    if (!isPiece(piece, index, leaves, claim)) return wrong(claim.record, `piece ${index} is not the registered one`)
  return error
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

/** Hands on at most the registered number of bytes, and ends well only when there were as many. `recent`: takes the pieces that went last. */
async function* measuredCiphertext(
  { ciphertext, claim, leaves: known, partial }: OpenOptions & { readonly partial?: Partial },
  recent: Map<number, Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const leaves: Uint8Array[] = []
  let size = 0
  let index = 0
  for await (const piece of cutPieces(ciphertext)) {
    size += piece.length
    if (size > claim.cipherSize) throw wrong(claim.record, 'it is longer than registered')
    if (known === undefined) leaves.push(pieceLeaf(piece))
    recent.set(index, piece)
    dropOld(recent, index - RECENT_PIECES)
    if (index === 0) await partial?.keepHead(piece)
    yield piece
    index++
  }
  if (size < claim.cipherSize) throw wrong(claim.record, 'it ended early')
  if (known === undefined && cipherRootOf(leaves) !== claim.cipherRoot)
    throw wrong(claim.record, 'its bytes are not the registered ones')
}

/** The cipher has long done with it. */
function dropOld(recent: Map<number, Uint8Array>, index: number): void {
  const piece = recent.get(index)
  if (piece === undefined) return
  recent.delete(index)
  giveBack(piece)
}

const wrong = (record: RecordId, why: string): EmrmError =>
  new EmrmError('ciphertext-wrong', `the ciphertext of record ${record} is refused: ${why}; try again`, { record })
