// The suite of every vault, for a bucket of S3-compatible storage: a real server. Then what a bucket alone can suffer: rotten, cut and lost
// objects, crashes between two objects, a refusing server. Building the server takes minutes the first time, so this is a long test.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import type { BucketPlace } from '../../src/adapters/s3-objects.ts'
import { openS3Vault, type S3Vault } from '../../src/adapters/s3-vault.ts'
import type { RecordId } from '../../src/model/ids.ts'
import { PIECE_BYTES } from '../../src/records/pieces.ts'
import { type S3Server, s3Program, startS3 } from '../contract/s3-server.ts'
import { mountSmallDisk } from '../contract/small-disk.ts'
import { chunked, coded, fill, newRecordId } from './support.ts'
import { bytes, fillsUp, pieceOf, vaultSuite } from './vault-suite.ts'

const found = await s3Program()
if ('absent' in found) test('bucket', t => t.skip(found.absent))
else {
  const server = await startS3(found.program)
  const vaults: S3Vault[] = []
  const open = async (place: BucketPlace): Promise<S3Vault> => {
    const vault = await openS3Vault(place)
    vaults.push(vault)
    return vault
  }
  after(async () => {
    for (const vault of vaults) await vault.close()
    await server.stop()
  })
  vaultSuite('bucket', async () => open(await server.newPlace()))
  bucketsAlone(server, open)

  test('bucket: full storage is said to be full, and nothing of what did not fit stays', async t => {
    const disk = await mountSmallDisk(4)
    if (disk === null) return t.skip('only root can mount a small disk')
    t.after(() => disk.stop())
    const small = await startS3(found.program, disk.folder)
    t.after(() => small.stop())
    const place = await small.newPlace()
    const vault = await open(place)
    await fillsUp(vault)
    assert.equal((await small.keysIn(place)).length, 2)
  })
}

function bucketsAlone(server: S3Server, open: (place: BucketPlace) => Promise<S3Vault>): void {
  /** Twelve pieces: two chunks. */
  const large = fill(11 * PIECE_BYTES + 999, 3)
  const largePiece = (index: number): Uint8Array => large.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES)

  async function filled(): Promise<{
    place: BucketPlace
    record: RecordId
    vault: S3Vault
    chunk(n: number): Promise<string>
  }> {
    const place = await server.newPlace()
    const vault = await open(place)
    const record = newRecordId()
    await vault.put(record, chunked(large, 300_000))
    return {
      ...{ place, record, vault },
      async chunk(n) {
        const keys = (await server.keysIn(place)).filter(key => key.startsWith(`chunks/${record}/`))
        return server.fileOf(place, keys[n]!)
      },
    }
  }

  test('bucket: a record is few objects, all under the prefix, and another peer of the same bucket finds it whole', async () => {
    const { place, record, vault } = await filled()
    await vault.putItem(record, 'share', fill(100))
    const keys = (await server.keysIn(place)).map(key => key.replace(/[0-9a-f]{32}/g, '*'))
    assert.deepEqual(keys, ['chunks/*/*/00000', 'chunks/*/*/00001', 'records/*/index', 'records/*/share'])
    const again = await open(place)
    assert.deepEqual(await again.verify(record), [])
    for (const index of [0, 7, 8, 11])
      assert.equal(Buffer.compare(await again.piece(record, index), largePiece(index)), 0)
    await again.remove(record)
    assert.deepEqual(await server.keysIn(place), [])
  })

  test('bucket: what rots, is cut or is lost is named, is not given out, and is mended without its neighbours', async () => {
    const { record, vault, chunk } = await filled()
    const first = await chunk(0)
    const rotten = await readFile(first)
    rotten[3 * PIECE_BYTES + 77]! ^= 1
    await writeFile(first, rotten)
    await truncate(await chunk(1), 2 * PIECE_BYTES + 5)
    await assert.rejects(vault.piece(record, 3), coded('piece-corrupt'))
    await assert.rejects(vault.piece(record, 10), coded('piece-corrupt'))
    await assert.rejects(vault.piece(record, 11), coded('piece-corrupt'))
    const damaged = [3, 10, 11].map(piece => ({ type: 'piece', record, piece }))
    assert.deepEqual(await vault.verify(record), damaged)
    // Two of one chunk at once: neither undoes the other.
    await Promise.all([3, 11, 10].map(piece => vault.mendPiece(record, piece, largePiece(piece))))
    assert.deepEqual(await vault.verify(record), [])
    await rm(first)
    assert.equal((await vault.verify(record)).length, 8)
    for (let piece = 0; piece < 8; piece++) await vault.mendPiece(record, piece, largePiece(piece))
    assert.deepEqual(await vault.verify(record), [])
  })

  test('bucket: a rotten index or share is never believed', async () => {
    const { place, record, vault } = await filled()
    await vault.putItem(record, 'share', fill(100))
    await writeFile(server.fileOf(place, `records/${record}/share`), fill(40))
    await assert.rejects(vault.item(record, 'share'), coded('share-corrupt'))
    const index = server.fileOf(place, `records/${record}/index`)
    const whole = await readFile(index)
    for (const at of [3, 40, 90, whole.length - 1]) {
      const changed = Buffer.from(whole)
      changed[at]! ^= 0x80
      await writeFile(index, changed)
      assert.deepEqual((await vault.verify(record))[0], { type: 'leaves', record }, `byte ${at}`)
    }
    // The whole record is fetched again over it.
    await vault.removeCipher(record)
    assert.deepEqual(await vault.items(record), ['share'])
    assert.deepEqual(
      (await server.keysIn(place)).filter(key => !key.startsWith('records/')),
      [],
    )
    await vault.put(record, chunked(bytes, 70_000))
    assert.equal(Buffer.compare(await vault.piece(record, 1), pieceOf(1)), 0)
  })

  test('bucket: an upload that a crash cut off is never visible and goes with the next start; what is whole stays', async () => {
    const { place, record } = await filled()
    const [crashed, removed] = [newRecordId(), newRecordId()]
    const put = (key: string, content: Uint8Array): Promise<void> => putObject(place, key, content)
    // As the process leaves them that ends between two objects: in a put, after one, in a removal.
    await put(`pending/${crashed}`, new Uint8Array(0))
    await put(`chunks/${crashed}/${'a'.repeat(32)}/00000`, fill(1000))
    await put(`pending/${record}`, new Uint8Array(0))
    await put(`chunks/${record}/${'b'.repeat(32)}/00000`, fill(1000))
    await put(`pending/${removed}`, new Uint8Array(0))
    const again = await open(place)
    assert.deepEqual(await again.list(), [record])
    assert.equal(await again.entry(crashed), null)
    assert.deepEqual(await again.verify(record), [])
    const left = (await server.keysIn(place)).filter(key => !key.startsWith(`chunks/${record}/`))
    assert.deepEqual(left, [`records/${record}/index`])
    assert.equal((await server.keysIn(place)).length, 3)
  })

  test('bucket: a record passes in and out in the memory of a small one', async () => {
    const needed = async (mebibytes: number): Promise<number> => {
      const folder = await mkdtemp(join(tmpdir(), 'emrm-flat-'))
      try {
        const given = [String(mebibytes), folder, JSON.stringify(await server.newPlace())]
        const script = join(import.meta.dirname, 'flat-memory.ts')
        const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', script, ...given])
        const { isSame, maxRssKiB } = JSON.parse(stdout) as { readonly isSame: boolean; readonly maxRssKiB: number }
        assert.equal(isSame, true)
        return maxRssKiB / 1024
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }
    const [small, large] = [await needed(32), await needed(400)]
    assert.ok(large - small < 80, `${large.toFixed(0)} MiB for 400 MiB, ${small.toFixed(0)} for 32`)
  })

  test('bucket: one that is not there, and a wrong key, are said so, without the key', async () => {
    const place = await server.newPlace()
    await assert.rejects(openS3Vault({ ...place, bucket: 'nowhere' }), (error: unknown) => {
      assert.equal(coded('vault-unusable')(error), true)
      assert.match(String(error), /NoSuchBucket.*make the bucket/)
      return true
    })
    const secret = process.env['AWS_SECRET_ACCESS_KEY'] as string
    process.env['AWS_SECRET_ACCESS_KEY'] = 'not the key'
    try {
      await assert.rejects(openS3Vault(place), (error: unknown) => {
        assert.equal(coded('vault-unusable')(error), true)
        assert.match(String(error), /AWS_SECRET_ACCESS_KEY/)
        assert.doesNotMatch(String(error), /not the key/)
        return true
      })
      delete process.env['AWS_SECRET_ACCESS_KEY']
      await assert.rejects(openS3Vault(place), coded('vault-unusable'))
    } finally {
      process.env['AWS_SECRET_ACCESS_KEY'] = secret
    }
    await assert.rejects(openS3Vault({ ...place, endpoint: 'http://127.0.0.1:9' }), coded('vault-unusable'))
  })
}

async function putObject(place: BucketPlace, key: string, content: Uint8Array): Promise<void> {
  const { openObjects } = await import('../../src/adapters/s3-objects.ts')
  const objects = openObjects(place)
  await objects.put(key, content)
  objects.close()
}
