// The whole key space of <home>/data/chain. The first byte is the table; a number is never used again for something else. Numbers in
// keys are 8 bytes, big-endian, so that keys sort by height. Every value begins with a CRC-32 over its key and itself: LevelDB does
// not check its own on reads, and a flipped byte, or a value under another's key, must be noticed.
//
//   table  rest of the key           value
//   1      height                    certificate, outcomes and block, once (stored block)
//   2      block id (32)             height
//   3      bucket (2) run (8)        24 bytes for each request: 16 of its id, height (6), index (2)        (request-index.ts)
//   4      height slot (1) which     vote record (wire); `which` = view, block id or nothing
//   5      state key (UTF-8)         state value at the last checkpoint
//   6                                height and root of the last checkpoint
//   7                                highest height whose requests stand in table 3
//   8                                how many writes were acknowledged (write-mark.ts)
//   9                                version of this layout
//   10     height slot (1)           manifest of a snapshot; a mark that it is complete                    (level-snapshots.ts)
//   11     height chunk (4)          one chunk of it
//   12     height                    handover from one committee to the next, by the epoch's last height
//   13                               anchor of the snapshot with which this home began
//   14                               anchor of the snapshot that is being installed

import { crc32 } from 'node:zlib'

import { fromHex } from '../model/hash.ts'
import type { BlockId, Digest, Height } from '../model/ids.ts'
import type { VoteRecord } from '../model/vote-record.ts'

export const LAYOUT = 1

export const TABLE = {
  block: 1,
  heightOfBlock: 2,
  requests: 3,
  votes: 4,
  state: 5,
  checkpoint: 6,
  indexed: 7,
  writes: 8,
  layout: 9,
  snapshot: 10,
  chunk: 11,
  handover: 12,
  base: 13,
  installing: 14,
} as const

export const SNAPSHOT_SLOT = { manifest: 0, sealed: 1 } as const

/** Slots of one height's vote records; a number is never used again. */
const SLOT = {
  view: 1,
  'last-vote': 2,
  'high-certificate': 3,
  'view-change': 4,
  'own-proposal': 5,
  body: 6,
} as const satisfies Record<VoteRecord['type'], number>

const CRC_BYTES = 4

export const blockKey = (height: Height): Buffer => Buffer.concat([table('block'), u64(height)])
export const blockIdKey = (id: BlockId): Buffer => Buffer.concat([table('heightOfBlock'), fromHex(id)])
export const bucketKey = (bucket: number, run: Height): Buffer =>
  Buffer.concat([table('requests'), Buffer.from([bucket >> 8, bucket & 0xff]), u64(run)])
export const stateKey = (key: string): Buffer => Buffer.concat([table('state'), Buffer.from(key, 'utf8')])
export const stateKeyOf = (key: Uint8Array): string => Buffer.from(key).toString('utf8', 1)
export const snapshotKey = (height: Height, slot: keyof typeof SNAPSHOT_SLOT): Buffer =>
  Buffer.concat([table('snapshot'), u64(height), Buffer.from([SNAPSHOT_SLOT[slot]])])
export const chunkKey = (height: Height, index: number): Buffer => {
  const key = Buffer.concat([table('chunk'), u64(height), Buffer.alloc(4)])
  key.writeUInt32BE(index, 9)
  return key
}
export const indexOfChunkKey = (key: Uint8Array): number => Buffer.from(key).readUInt32BE(9)
export const handoverKey = (height: Height): Buffer => Buffer.concat([table('handover'), u64(height)])
export const checkpointValue = (height: Height, root: Digest): Buffer => Buffer.concat([u64(height), fromHex(root)])
export const table = (name: keyof typeof TABLE): Buffer => Buffer.from([TABLE[name]])

/** A later record of the same slot has the same key. */
export function voteKey(record: VoteRecord): Buffer {
  const head = [table('votes'), u64(record.height), Buffer.from([SLOT[record.type]])]
  switch (record.type) {
    case 'view':
    case 'last-vote':
    case 'high-certificate':
      return Buffer.concat(head)
    case 'own-proposal':
    case 'view-change':
      return Buffer.concat([...head, u64(record.message.view)])
    case 'body':
      return Buffer.concat([...head, fromHex(record.block.id)])
  }
}
export const heightOfVoteKey = (key: Uint8Array): Height => numberOf(Buffer.from(key).subarray(1, 9)) as Height

/** All keys of a table. */
export const within = (name: keyof typeof TABLE): { readonly gte: Buffer; readonly lt: Buffer } => ({
  gte: table(name),
  lt: Buffer.from([TABLE[name] + 1]),
})

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}
export const numberOf = (bytes: Uint8Array): number =>
  Number(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readBigUInt64BE())

/** With its checksum. */
export function seal(key: Uint8Array, value: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(CRC_BYTES + value.length)
  sealed.writeUInt32BE(crc32(value, crc32(key)))
  sealed.set(value, CRC_BYTES)
  return sealed
}

/** Null when key or value are not what was sealed. */
export function unseal(key: Uint8Array, sealed: Uint8Array): Uint8Array | null {
  if (sealed.length < CRC_BYTES) return null
  const value = new Uint8Array(sealed.buffer, sealed.byteOffset + CRC_BYTES, sealed.length - CRC_BYTES)
  const sum = Buffer.from(sealed.buffer, sealed.byteOffset, CRC_BYTES).readUInt32BE()
  return sum === crc32(value, crc32(key)) ? value : null
}
