// An access to a large record that is cut off goes on where it stopped: what arrived is not fetched again, what rotted meanwhile is, and
// nothing stands under the final name before all of it was checked.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openRecord, type RecordClaim } from '../../src/client/open.ts'
import { openPartial, type Partial } from '../../src/client/partial.ts'
import type { RequestId } from '../../src/model/ids.ts'
import { sealStream } from '../../src/records/envelope.ts'
import { cipherRootOf, PIECE_BYTES, pieceCount, pieceLeaf } from '../../src/records/pieces.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { dealShares, openShareBox, type ReleasedShare, resealShare } from '../../src/records/shares.ts'
import { chunked, coded, collected, fill, newIdentifier, newRecordId } from '../records/support.ts'

const folder = await mkdtemp(join(tmpdir(), 'emrm-partial-'))
after(() => rm(folder, { recursive: true, force: true }))

const plain = fill(4 * PIECE_BYTES + 5)
const record = newRecordId()
const owner = newIdentifier()
const grant = 'ab'.repeat(32) as RequestId
const recipient = createSealKey()
const contentKey = fill(32, 6)
const sealing = sealStream({ contentKey, record, salt32: fill(32, 7), source: chunked(plain, 99_999) })
const cipher = await collected(sealing.ciphertext)
const pieces = Array.from({ length: pieceCount(cipher.length) }, (_, i) =>
  cipher.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES),
)
const leaves = pieces.map(pieceLeaf)
const keys = [createSealKey(), createSealKey()]
const deal = await dealShares({ contentKey, record, owner, threshold: 2, sealKeys: keys.map(key => key.publicBytes) })
const shares: readonly ReleasedShare[] = await Promise.all(
  deal.boxes.map(async (stored, i) => {
    const opened = (await openShareBox(stored, keys[i]!, deal.claim, owner))!
    return resealShare({ opened, stored, grant, recipient: recipient.publicBytes })
  }),
)
const claim: RecordClaim = {
  ...deal.claim,
  threshold: 2,
  commitment: sealing.result().commitment,
  cipherRoot: cipherRootOf(leaves),
  cipherSize: cipher.length,
}

const asked: number[] = []
/** Serves from a piece on, in ragged chunks, and breaks before piece `until`. */
const serve = (until: number, change: (index: number, piece: Uint8Array) => Uint8Array = (_, piece) => piece) =>
  async function* (from: number): AsyncGenerator<Uint8Array> {
    asked.push(from)
    const rest = pieces.slice(from, until).map((piece, i) => change(from + i, piece))
    if (rest.length > 0) yield* chunked(Buffer.concat(rest), 300_001)
    if (until < pieces.length) throw new Error('the connection broke')
  }

async function attempt(path: string, fetch: (from: number) => AsyncIterable<Uint8Array>): Promise<Partial> {
  const partial = await openPartial(path, claim, leaves)
  const ciphertext = partial.pieces(fetch)
  try {
    await openRecord({ claim, grant, shares, recipient, ciphertext, leaves, partial, path })
    await partial.discard()
  } catch (error) {
    await partial.close()
    throw error
  }
  return partial
}

const partFile = (path: string): string => path.replace(/([^/]+)$/, `.$1.${record}.part`)
const namesOf = async (name: string): Promise<string[]> => (await readdir(folder)).filter(each => each.includes(name))

test('what arrived is not fetched again; the record appears when it is whole, and the hidden file goes', async () => {
  const path = join(folder, 'twice')
  await assert.rejects(attempt(path, serve(3)), /broke/)
  assert.deepEqual(await namesOf('twice'), [`.twice.${record}.part`])
  assert.equal((await stat(partFile(path))).size, 3 * PIECE_BYTES)
  assert.equal((await stat(partFile(path))).mode & 0o777, 0o600)
  await assert.rejects(attempt(path, serve(4)), /broke/)
  const { resumed } = await attempt(path, serve(pieces.length))
  assert.deepEqual([asked.splice(0), resumed], [[0, 3, 4], 4])
  assert.equal((await readFile(path)).equals(plain), true)
  assert.deepEqual(await namesOf('twice'), ['twice'])
})

test('what waits in the hidden file is ciphertext, and is not believed', async () => {
  const path = join(folder, 'rotten')
  await assert.rejects(attempt(path, serve(4)), /broke/)
  const kept = await readFile(partFile(path))
  assert.equal(kept.equals(cipher.subarray(0, 4 * PIECE_BYTES)), true)
  kept[2 * PIECE_BYTES + 9]! ^= 1
  await writeFile(partFile(path), kept)
  const { resumed } = await attempt(path, serve(pieces.length))
  assert.deepEqual([asked.splice(0), resumed], [[0, 2], 2])
  assert.equal((await readFile(path)).equals(plain), true)
})

test('a piece that was cut by a crash is fetched again', async () => {
  const path = join(folder, 'cut')
  await assert.rejects(attempt(path, serve(3)), /broke/)
  await truncate(partFile(path), 2 * PIECE_BYTES + 1000)
  assert.equal((await attempt(path, serve(pieces.length))).resumed, 2)
  assert.deepEqual(asked.splice(0), [0, 2])
})

test('a whole hidden file needs nothing from anyone', async () => {
  const path = join(folder, 'whole')
  await writeFile(partFile(path), cipher)
  assert.equal((await attempt(path, serve(0))).resumed, pieces.length)
  assert.deepEqual(asked.splice(0), [])
  assert.equal((await readFile(path)).equals(plain), true)
})

test('a wrong piece is neither used nor kept, and is what is told', async () => {
  const path = join(folder, 'lied')
  const lie = serve(pieces.length, (index, piece) => (index === 2 ? fill(piece.length, 9) : piece))
  await assert.rejects(attempt(path, lie), coded('ciphertext-wrong'))
  assert.equal((await stat(partFile(path))).size, 2 * PIECE_BYTES)
  assert.deepEqual(await namesOf('lied'), [`.lied.${record}.part`])
  asked.length = 0
})

test('while all goes well the record is written once: the hidden ciphertext is the first piece', async () => {
  const path = join(folder, 'once')
  const sizes: number[][] = []
  async function* watched(from: number): AsyncGenerator<Uint8Array> {
    for await (const chunk of serve(pieces.length)(from)) {
      yield chunk
      const names = (await namesOf('once')).sort()
      sizes.push(await Promise.all(names.map(async name => (await stat(join(folder, name))).size)))
    }
  }
  await attempt(path, watched)
  const [part, opening] = sizes.at(-1)!
  assert.ok(opening! >= PIECE_BYTES && opening! < plain.length, `${opening} bytes are opened`)
  assert.equal(part, PIECE_BYTES)
  asked.length = 0
})

/** What `kill -9` leaves. */
async function killed(name: string, opened: Uint8Array): Promise<string> {
  await writeFile(join(folder, `.${name}.${record}.part`), pieces[0]!)
  await writeFile(join(folder, `.${name}.opening-0123456789ab`), opened)
  return join(folder, name)
}

test('what a killed run had opened is not fetched again', async () => {
  // A little less than three pieces of it: tags and head take room.
  const path = await killed('killed', plain.subarray(0, 3 * PIECE_BYTES - 70_000))
  assert.equal((await attempt(path, serve(pieces.length))).resumed, 2)
  assert.deepEqual(asked.splice(0), [2])
  assert.equal((await readFile(path)).equals(plain), true)
  assert.deepEqual(await namesOf('killed'), ['killed'])
})

test('a run killed at its last moment needs nothing from anyone', async () => {
  const path = await killed('last', plain)
  assert.equal((await attempt(path, serve(0))).resumed, pieces.length)
  assert.deepEqual(asked.splice(0), [])
})

test('what a killed run had opened is kept as ciphertext when the next is cut off too', async () => {
  const path = await killed('again', plain.subarray(0, 3 * PIECE_BYTES - 70_000))
  await assert.rejects(attempt(path, serve(2)), /broke/)
  assert.deepEqual(await namesOf('again'), [`.again.${record}.part`])
  assert.equal((await readFile(partFile(path))).equals(cipher.subarray(0, 2 * PIECE_BYTES)), true)
  assert.equal((await attempt(path, serve(pieces.length))).resumed, 2)
  assert.deepEqual(asked.splice(0), [2, 2])
})

test('what a killed run left is not believed either', async () => {
  const rotten = Buffer.from(plain)
  rotten[2 * PIECE_BYTES + 9]! ^= 1
  const path = await killed('bent', rotten)
  assert.equal((await attempt(path, serve(pieces.length))).resumed, 2)
  assert.equal((await readFile(path)).equals(plain), true)
  const strange = await killed('strange', fill(plain.length, 3))
  assert.equal((await attempt(strange, serve(pieces.length))).resumed, 1)
  assert.deepEqual(asked.splice(0), [2, 1])
})

test('plaintext that cannot be gone on with is removed', async () => {
  const path = join(folder, 'alone')
  await writeFile(join(folder, '.alone.opening-0123456789ab'), plain.subarray(0, 1000))
  await attempt(path, serve(pieces.length))
  assert.deepEqual(await namesOf('alone'), ['alone'])
  asked.length = 0
})
