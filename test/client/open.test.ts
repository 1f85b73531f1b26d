// The user's last step: whatever is wrong on the way, nothing is ever found under the record's final name but the record.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openRecord, openRecordInto, type RecordClaim } from '../../src/client/open.ts'
import { digestOf, toHex } from '../../src/model/hash.ts'
import type { Digest, RequestId } from '../../src/model/ids.ts'
import { commitmentOf, sealStream } from '../../src/records/envelope.ts'
import { cipherRootOf, PIECE_BYTES, pieceLeaf } from '../../src/records/pieces.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { dealShares, openShareBox, type ReleasedShare, resealShare } from '../../src/records/shares.ts'
import { chunked, coded, collected, fill, newIdentifier, newRecordId } from '../records/support.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emrm-open-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const plain = fill(PIECE_BYTES + 70_000)
const grant = toHex(fill(32, 5)) as RequestId
const recipient = createSealKey()
const record = newRecordId()
const owner = newIdentifier()

type Granted = { readonly claim: RecordClaim; readonly shares: readonly ReleasedShare[]; readonly cipher: Buffer }

async function granted(bytes: Uint8Array = plain): Promise<Granted> {
  const contentKey = fill(32, 6)
  const sealing = sealStream({ contentKey, record, salt32: fill(32, 7), source: chunked(bytes, 9_999) })
  const cipher = await collected(sealing.ciphertext)
  const pieces = [cipher.subarray(0, PIECE_BYTES), cipher.subarray(PIECE_BYTES)]
  const keys = Array.from({ length: 4 }, createSealKey)
  const deal = await dealShares({ contentKey, record, owner, threshold: 2, sealKeys: keys.map(key => key.publicBytes) })
  const shares = await Promise.all(
    deal.boxes.map(async (stored, i) => {
      const opened = (await openShareBox(stored, keys[i]!, deal.claim, owner))!
      return resealShare({ opened, stored, grant, recipient: recipient.publicBytes })
    }),
  )
  const claim = {
    ...deal.claim,
    threshold: 2,
    commitment: sealing.result().commitment,
    cipherRoot: cipherRootOf(pieces.map(pieceLeaf)),
    cipherSize: cipher.length,
  }
  return { claim, shares, cipher }
}

const at = (name: string): string => join(folder, name)
const optionsOf = ({ claim, shares, cipher }: Granted, path: string) => ({
  claim,
  grant,
  shares,
  recipient,
  ciphertext: chunked(cipher, 33_333),
  path,
})

async function refused(name: string, options: Parameters<typeof openRecord>[0], code: string): Promise<void> {
  await assert.rejects(openRecord({ ...options, path: at(name) }), coded(code), `${name} → ${code}`)
  assert.deepEqual(
    (await readdir(folder)).filter(found => found.includes(name)),
    [],
    `${name} left something`,
  )
}

test('a granted record is written whole, private to its reader, with its size and digest', async () => {
  const here = await granted()
  const seen: number[] = []
  const opened = await openRecord({ ...optionsOf(here, at('record')), onProgress: bytes => void seen.push(bytes) })
  assert.deepEqual(opened, { bytes: plain.length, sha256: digestOf(plain), badShares: [] })
  assert.equal(Buffer.compare(await readFile(at('record')), plain), 0)
  assert.equal((await stat(at('record'))).mode & 0o777, 0o600)
  assert.equal(seen.at(-1), plain.length)
  assert.deepEqual(await readdir(folder), ['record'])
})

test('while it is written only a temporary name exists, and an old file stays until the new one is complete', async () => {
  const here = await granted()
  await writeFile(at('old'), 'old content')
  const during: string[] = []
  const ciphertext = (async function* () {
    for await (const chunk of chunked(here.cipher, 300_000)) {
      yield chunk
      during.push(await readFile(at('old'), 'utf8'))
    }
  })()
  await openRecord({ ...optionsOf(here, at('old')), ciphertext })
  assert.deepEqual(new Set(during), new Set(['old content']))
  assert.equal(Buffer.compare(await readFile(at('old')), plain), 0)
})

test('t good shares suffice, and the bad ones are named', async () => {
  const here = await granted()
  const [a, b, c, d] = here.shares
  const broken = { ...b!, box: fill(b!.box.length) }
  const swapped = { ...d!, box: a!.box }
  const opened = await openRecord({ ...optionsOf(here, at('some')), shares: [a!, broken, c!, swapped] })
  assert.deepEqual(opened.badShares, [1, 3])
  await refused('too-few', { ...optionsOf(here, ''), shares: [a!, broken, swapped] }, 'shares-insufficient')
  await refused('none', { ...optionsOf(here, ''), shares: [] }, 'shares-insufficient')
})

test('another recipient key, another grant or another record opens nothing', async () => {
  const here = await granted()
  const options = optionsOf(here, '')
  await refused('other-key', { ...options, recipient: createSealKey() }, 'shares-insufficient')
  await refused('other-grant', { ...options, grant: toHex(fill(32, 9)) as RequestId }, 'shares-insufficient')
  await refused('other-record', { ...options, claim: { ...here.claim, record: newRecordId() } }, 'shares-insufficient')
})

test('ciphertext that is changed, cut, extended or not the registered one is refused', async () => {
  const here = await granted()
  const { cipher, claim } = here
  const options = optionsOf(here, '')
  const flipped = (at: number): Buffer => {
    const bytes = Buffer.from(cipher)
    bytes[at]! ^= 1
    return bytes
  }
  const from = (bytes: Uint8Array) => ({ ...options, ciphertext: chunked(bytes, 50_000) })
  await refused('flipped', from(flipped(70_000)), 'record-corrupt')
  await refused('flipped-at-end', from(flipped(cipher.length - 5)), 'ciphertext-wrong')
  await refused('cut', from(cipher.subarray(0, -1)), 'ciphertext-wrong')
  await refused('cut-at-piece', from(cipher.subarray(0, PIECE_BYTES)), 'ciphertext-wrong')
  await refused('extended', from(Buffer.concat([cipher, fill(1)])), 'ciphertext-wrong')
  await refused('empty', from(new Uint8Array(0)), 'ciphertext-wrong')
  const other = { ...claim, cipherRoot: '0'.repeat(64) as Digest }
  await refused('other-root', { ...options, claim: other }, 'ciphertext-wrong')
})

test('a record that is not what its custodian registered is refused even when it decrypts', async () => {
  const here = await granted()
  const commitment = commitmentOf(fill(32, 7), fill(32))
  await refused('other', { ...optionsOf(here, ''), claim: { ...here.claim, commitment } }, 'commitment-mismatch')
})

test('into a stream goes the record, and nothing that was not checked: a bad piece ends it before a byte of it leaves', async () => {
  const here = await granted()
  const leaves = [here.cipher.subarray(0, PIECE_BYTES), here.cipher.subarray(PIECE_BYTES)].map(pieceLeaf)
  const into = async (change: object = {}): Promise<{ readonly out: Buffer; readonly error: unknown }> => {
    const out: Uint8Array[] = []
    const write = async (chunk: Uint8Array): Promise<void> => void out.push(chunk)
    const { path: _, ...options } = { ...optionsOf(here, ''), leaves, ...change }
    const error = await openRecordInto(options, write).then(
      () => null,
      (reason: unknown) => reason,
    )
    return { out: Buffer.concat(out), error }
  }
  const whole = await into()
  assert.deepEqual([whole.error, whole.out.equals(plain)], [null, true])
  const changed = Buffer.from(here.cipher)
  changed[PIECE_BYTES + 60_000]! ^= 1
  const cut = await into({ ciphertext: chunked(changed, 50_000) })
  assert.equal(coded('ciphertext-wrong')(cut.error), true)
  assert.ok(cut.out.length < PIECE_BYTES)
  assert.equal(cut.out.equals(plain.subarray(0, cut.out.length)), true)
  // The registered bytes themselves do not open: that is the custodian's fault, not the way's.
  const sealedSo = [changed.subarray(0, PIECE_BYTES), changed.subarray(PIECE_BYTES)].map(pieceLeaf)
  const registered = { ...here.claim, cipherRoot: cipherRootOf(sealedSo) }
  const bad = await into({ claim: registered, leaves: sealedSo, ciphertext: chunked(changed, 50_000) })
  assert.equal(coded('record-corrupt')(bad.error), true)
  const commitment = commitmentOf(fill(32, 7), fill(32))
  const other = await into({ claim: { ...here.claim, commitment } })
  assert.equal(coded('commitment-mismatch')(other.error), true)
})

test('a stream that fails and a reader who leaves leave nothing behind', async () => {
  const here = await granted()
  const ciphertext = (async function* () {
    yield here.cipher.subarray(0, 200_000)
    throw new Error('the line went dead')
  })()
  await assert.rejects(openRecord({ ...optionsOf(here, at('dead')), ciphertext }), /went dead/)
  const leaving = new AbortController()
  leaving.abort(new Error('enough'))
  await assert.rejects(openRecord({ ...optionsOf(here, at('left')), signal: leaving.signal }), /enough/)
  assert.deepEqual(
    (await readdir(folder)).filter(name => /dead|left/.test(name)),
    [],
  )
})

test('a place that cannot be written is said so', async () => {
  const here = await granted()
  await mkdir(at('directory'))
  await assert.rejects(openRecord(optionsOf(here, at('directory'))), coded('output-failed'))
  await assert.rejects(openRecord(optionsOf(here, at('no/such/folder'))), coded('output-failed'))
  assert.deepEqual(
    (await readdir(folder)).filter(name => name.endsWith('.part')),
    [],
  )
})
