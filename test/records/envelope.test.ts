// The container: what we seal the age library opens, what it seals we open, and nothing that was changed passes.

import assert from 'node:assert/strict'
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import { Decrypter } from 'age-encryption'
import fc from 'fast-check'
import { committeeIdentity } from '../../src/records/age-header.ts'
import { openPayload, payloadKey } from '../../src/records/age-payload.ts'
import { commitmentOf, openStream, type SealResult, sealAgain, sealStream } from '../../src/records/envelope.ts'
import { chunked, coded, collected, fill, newRecordId } from './support.ts'

const CHUNK = 64 * 1024
const contentKey = fill(32, 7)
const salt32 = fill(32, 8)
const record = newRecordId()

async function sealed(plain: Uint8Array, cut = 10_000): Promise<{ cipher: Buffer; result: SealResult }> {
  const sealing = sealStream({ contentKey, record, salt32, source: chunked(plain, cut) })
  const cipher = await collected(sealing.ciphertext)
  return { cipher, result: sealing.result() }
}

async function opened(cipher: Uint8Array, cut = 70_001, key = contentKey, name = record): Promise<Buffer> {
  return collected(openStream({ contentKey: key, record: name, source: chunked(cipher, cut) }).plaintext)
}

test('a record of any size comes back byte for byte, with its digest and its commitment', async () => {
  for (const size of [1, 31, 32, 100, CHUNK - 33, CHUNK - 32, CHUNK - 31, 2 * CHUNK - 32, 3 * CHUNK, 1_000_000]) {
    const plain = fill(size)
    const { cipher, result } = await sealed(plain)
    const digest = createHash('sha256').update(plain).digest()
    assert.equal(result.plainSize, size)
    assert.equal(result.cipherSize, cipher.length)
    assert.equal(result.plainSha256, digest.toString('hex'))
    assert.equal(result.commitment, commitmentOf(salt32, digest))
    const opening = openStream({ contentKey, record, source: chunked(cipher, 70_001) })
    assert.equal((await collected(opening.plaintext)).equals(plain), true, `size ${size}`)
    assert.deepEqual(opening.result(), {
      commitment: result.commitment,
      plainSha256: result.plainSha256,
      plainSize: size,
    })
  }
})

test('the commitment is the one the chain’s rule gives, and says nothing without the salt', () => {
  const digest = createHash('sha256').update('x').digest()
  const expected = createHash('sha256').update('emrm/commitment/1').update(salt32).update(digest).digest('hex')
  assert.equal(commitmentOf(salt32, digest), expected)
  assert.notEqual(commitmentOf(fill(32, 9), digest), expected)
})

test('an empty record is refused', async () => {
  await assert.rejects(sealed(new Uint8Array(0)), coded('record-empty'))
})

test('the age library alone opens what we sealed: the salt, then the record', async () => {
  for (const size of [1, CHUNK - 32, CHUNK, 200_000]) {
    const plain = fill(size)
    const { cipher } = await sealed(plain)
    const decrypter = new Decrypter()
    decrypter.addIdentity(committeeIdentity(contentKey, record))
    const inside = Buffer.from(await decrypter.decrypt(new Uint8Array(cipher)))
    assert.equal(inside.subarray(0, 32).equals(salt32), true)
    assert.equal(inside.subarray(32).equals(plain), true)
  }
})

test('a container opens under its own key and its own record’s name alone', async () => {
  const { cipher } = await sealed(fill(1000))
  await assert.rejects(opened(cipher, 1000, fill(32, 99)), coded('record-corrupt'))
  await assert.rejects(opened(cipher, 1000, contentKey, newRecordId()), coded('record-corrupt'))
})

test('sealing one record twice gives different bytes throughout', async () => {
  const [one, two] = [await sealed(fill(1000)), await sealed(fill(1000))]
  assert.notDeepEqual(one.cipher.subarray(60, 200), two.cipher.subarray(60, 200))
  assert.notDeepEqual(one.cipher.subarray(-100), two.cipher.subarray(-100))
  assert.equal(one.result.commitment, two.result.commitment)
})

test('whatever single bit is flipped, nothing opens', async () => {
  const { cipher } = await sealed(fill(300))
  await fc.assert(
    fc.asyncProperty(fc.nat(cipher.length - 1), fc.nat(7), async (at, bit) => {
      const changed = Buffer.from(cipher)
      changed[at]! ^= 1 << bit
      await assert.rejects(opened(changed), coded('record-corrupt'))
    }),
    { numRuns: 300 },
  )
})

test('chunks that are cut off, moved, repeated or added are noticed', async () => {
  const { cipher } = await sealed(fill(3 * CHUNK))
  const payload = cipher.length - (3 * CHUNK + 32 + 4 * 16)
  const head = cipher.subarray(0, payload)
  const chunk = (i: number) => cipher.subarray(payload + i * (CHUNK + 16), payload + (i + 1) * (CHUNK + 16))
  const [a, b, c, last] = [chunk(0), chunk(1), chunk(2), chunk(3)]
  assert.equal((await opened(Buffer.concat([head, a, b, c, last]))).length, 3 * CHUNK)
  const wrong: readonly (readonly Uint8Array[])[] = [
    [head],
    [head, a],
    [head, a, b, c],
    [head, b, a, c, last],
    [head, a, b, b, last],
    [head, a, c, last],
    [head, a, b, c, last, last],
    [head, a, b, c, last, Uint8Array.of(0)],
    [head, a, b, c, last.subarray(0, 20)],
    [head, a, b, c, last.subarray(0, 16)],
    [head.subarray(0, 100)],
    [head.subarray(0, head.length - 4)],
    [],
    [fill(10_000)],
  ]
  for (const parts of wrong) await assert.rejects(opened(Buffer.concat(parts)), coded('record-corrupt'))
})

test('an empty last chunk behind a full one is refused: one record has one container', async () => {
  // STREAM would take it; age forbids it (C2SP age, "the final chunk must not be empty unless the whole payload is").
  const key = fill(32)
  const sealChunk = (plain: Uint8Array, counter: number, last: number): Buffer => {
    const nonce = Buffer.alloc(12)
    nonce[10] = counter
    nonce[11] = last
    const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }
  const open = (...chunks: Buffer[]) => collected(openPayload(key, chunked(Buffer.concat(chunks), 5_000), record))
  const full = fill(CHUNK)
  assert.equal((await open(sealChunk(full, 0, 1))).length, CHUNK)
  assert.equal((await open(sealChunk(new Uint8Array(0), 0, 1))).length, 0)
  await assert.rejects(open(sealChunk(full, 0, 0), sealChunk(new Uint8Array(0), 1, 1)), coded('record-corrupt'))
})

test('a container is made again from its head and the record, from any byte behind the first chunk', async () => {
  const plain = fill(5 * CHUNK + 77)
  const { cipher } = await sealed(plain)
  const head = cipher.subarray(0, 2 * CHUNK)
  const again = (from: number, bytes: Uint8Array = plain): Promise<Buffer> =>
    collected(
      sealAgain({ ...{ contentKey, record, head, from }, plaintext: start => chunked(bytes.subarray(start), 50_000) }),
    )
  for (const from of [2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 1, cipher.length - 100])
    assert.equal((await again(from)).equals(cipher.subarray(from)), true, `from ${from}`)
  const cut = await again(2 * CHUNK, plain.subarray(0, 4 * CHUNK))
  assert.equal(cut.subarray(0, CHUNK).equals(cipher.subarray(2 * CHUNK, 3 * CHUNK)), true)
  assert.notEqual(cut.compare(cipher.subarray(2 * CHUNK, 2 * CHUNK + cut.length)), 0)
  await assert.rejects(again(100), RangeError)
  const other = sealAgain({
    contentKey: fill(32, 9),
    record,
    head,
    from: 2 * CHUNK,
    plaintext: () => chunked(plain, 9),
  })
  await assert.rejects(collected(other), coded('record-corrupt'))
})

test('a result is not to be had before the stream has ended', async () => {
  const sealing = sealStream({ contentKey, record, salt32, source: chunked(randomBytes(10), 10) })
  assert.throws(() => sealing.result())
})

test('payloads of the age test vectors (C2SP CCTV) are opened or refused as their authors say', async t => {
  const folder = join(import.meta.dirname, '../../../shared/data/cctv/age')
  if (!existsSync(folder)) return t.skip('age test vectors are absent')
  let checked = 0
  for (const name of await readdir(folder)) {
    if (!/^(stream_|x25519$|empty$)/.test(name)) continue
    const { fields, file } = vector(await readFile(join(folder, name)))
    const fileKey = fields.get('file key')
    if (fileKey === undefined || fields.has('armored')) continue
    const mac = file.indexOf('\n--- ')
    const body = file.subarray(file.indexOf('\n', mac + 1) + 1)
    const open = async (): Promise<Buffer> => {
      const key = payloadKey(Buffer.from(fileKey, 'hex'), body.subarray(0, 16))
      return collected(openPayload(key, chunked(body.subarray(16), 1000), record))
    }
    if (fields.get('expect') === 'success') {
      const digest = createHash('sha256')
        .update(await open())
        .digest('hex')
      assert.equal(digest, fields.get('payload'), name)
    } else if (fields.get('expect') === 'payload failure') await assert.rejects(open(), coded('record-corrupt'), name)
    else continue
    checked++
  }
  assert.ok(checked >= 10, `${checked} vectors`)
})

/** Header lines `name: value`, a blank line, then the age file, compressed or not. */
function vector(bytes: Buffer): { fields: Map<string, string>; file: Buffer } {
  const end = bytes.indexOf('\n\n')
  const lines = bytes.subarray(0, end).toString().split('\n')
  const fields = new Map(lines.map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
  const file = bytes.subarray(end + 2)
  return { fields, file: fields.get('compressed') === 'zlib' ? inflateSync(file) : file }
}
