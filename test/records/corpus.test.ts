// Every bundle, every DICOM object and every document of the test data, the malformed ones too: added, released under a grant and opened again,
// byte for byte, with the kind that its bytes say.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { openRecord } from '../../src/client/open.ts'
import { collectShares } from '../../src/records/collect.ts'
import { fetchPieces } from '../../src/records/piece-source.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { coded } from './support.ts'
import { type Hospital, makeWorld, never, type World } from './world.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')
const folder = await mkdtemp(join(tmpdir(), 'emrm-corpus-'))
after(() => rm(folder, { recursive: true, force: true }))

/** Path under `../shared/data`, and the kinds that its files may be found to be. */
const corpora: readonly (readonly [path: string, kinds: readonly string[]])[] = [
  ['synthea-r4/bundles', ['fhir']],
  ['dicom/files', ['dicom', 'other']],
  ['documents/files', ['pdf', 'text', 'fhir', 'other', 'dicom']],
]

for (const [path, kinds] of corpora) {
  const root = join(DATA, path)
  const skip = existsSync(root) ? false : `../shared/data/${path} is absent`
  test(`all of ${path} comes back byte for byte`, { skip }, async () => {
    const world = await makeWorld(4)
    const [custodian, reader] = world.hospitals as [Hospital, Hospital]
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    assert.ok(files.length > 0)
    for (const file of files) {
      const stored = readFileSync(join(file.parentPath, file.name))
      const bytes = file.name.endsWith('.gz') ? gunzipSync(stored) : stored
      if (bytes.length === 0) await assert.rejects(world.add(custodian, bytes), coded('record-empty'), file.name)
      else assert.ok(kinds.includes(await thereAndBack(world, custodian, reader, bytes)), file.name)
    }
  })
}

/** The record's kind. */
async function thereAndBack(world: World, custodian: Hospital, reader: Hospital, bytes: Buffer): Promise<string> {
  const entry = await world.add(custodian, bytes)
  await custodian.depositor.deliver(entry.record, never)
  const recipient = createSealKey()
  const { grant } = world.grant(entry, reader, recipient)
  const { ledger, clock } = world
  const { network, vault, shares: local } = reader
  const asked = { entry, grant, recipient: recipient.publicBytes, signal: never }
  const { shares } = await collectShares({ ledger, network, local, clock }, asked)
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const source = { vault, ledger, network, clock, log, onDamage: () => undefined }
  const ciphertext = fetchPieces(source, { entry, grant, from: 0, signal: never })
  const path = join(folder, 'record')
  await openRecord({ claim: entry, grant, shares, recipient, ciphertext, path })
  assert.equal((await readFile(path)).equals(bytes), true)
  return entry.kind
}
