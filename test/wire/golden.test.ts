// Bytes are for ever: what stands in golden.json is what every peer writes today. A difference here is a new version of the format, made
// knowingly, or a mistake. EMRM_UPDATE_GOLDEN=1 writes the file anew; read the difference before it is committed.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { toHex } from '../../src/model/hash.ts'
import {
  chainIdOf,
  encodeAnchor,
  encodeBlockBatch,
  encodeChunk,
  encodeGenesis,
  encodeHandover,
  encodeHeader,
  encodeManifest,
  encodeMessage,
  encodeOutcomes,
  encodeRequestBatch,
  encodeSnapshotQuestion,
  encodeStoredBlock,
  encodeVoteRecord,
  messageSignedBytes,
  requestSignedBytes,
} from '../../src/wire/codec.ts'
import { encodeStatement } from '../../src/wire/request-codec.ts'
import * as s from './samples.ts'

const FILE = join(import.meta.dirname, 'golden.json')

function made(): Record<string, string> {
  const golden: Record<string, string> = {
    genesis: toHex(encodeGenesis(s.genesis)),
    'chain id': chainIdOf(s.genesis),
    'committee hash': s.committee.hash,
    header: toHex(encodeHeader(s.block.header)),
    'block id': s.block.id,
    block: toHex(s.block.bytes),
    'request id': s.requests[0]!.id,
    'request, signed': toHex(requestSignedBytes(s.requests[0]!)),
    'batch of requests': toHex(encodeRequestBatch(s.requests)),
    'stored block': toHex(encodeStoredBlock(s.first, s.parentCertificate)),
    'batch of blocks': toHex(encodeBlockBatch([encodeStoredBlock(s.first, s.parentCertificate)])),
    anchor: toHex(encodeAnchor(s.anchor)),
    manifest: toHex(encodeManifest(s.manifest)),
    chunk: toHex(encodeChunk(s.chunk)),
    handover: toHex(encodeHandover(s.handover)),
    'question for offers': toHex(encodeSnapshotQuestion({ type: 'offers' })),
    'question for handovers': toHex(encodeSnapshotQuestion({ type: 'handovers', from: 1000 })),
    'question for a chunk': toHex(encodeSnapshotQuestion({ type: 'chunk', height: 10_000, depth: 3, index: 7 })),
    outcomes: toHex(encodeOutcomes([{ type: 'done' }, { type: 'denied', reason: 'no-policy' }])),
  }
  for (const [type, operation] of Object.entries(s.operations))
    golden[`operation ${type}`] = toHex(encodeStatement(s.requestOf(operation)))
  for (const [name, message] of Object.entries(s.messages)) {
    golden[`message ${name}`] = toHex(encodeMessage(message))
    if ('sender' in message)
      golden[`message ${name}, signed`] = toHex(messageSignedBytes(message, s.chainId, s.committee.hash))
  }
  for (const record of s.voteRecords) golden[`vote record ${record.type}`] = toHex(encodeVoteRecord(record))
  return golden
}

test('every kind of bytes is what it was when it was first written', () => {
  const golden = made()
  if (process.env['EMRM_UPDATE_GOLDEN'] === '1') writeFileSync(FILE, `${JSON.stringify(golden, null, 2)}\n`)
  const kept = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>
  assert.deepEqual(Object.keys(golden), Object.keys(kept))
  for (const [name, bytes] of Object.entries(golden)) assert.equal(bytes, kept[name], name)
})
