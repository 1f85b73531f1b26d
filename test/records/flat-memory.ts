// A process of its own: takes a record of argv[2] MiB in through the vault and out again through the reader's checks, into the folder
// argv[3], and prints what it needed at most. The vault is there too, or at the place that argv[4] holds as JSON. Run by memory.test.ts and
// bucket-vault.long.ts.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { openVault } from '../../src/adapters/open-vault.ts'
import { openRecord } from '../../src/client/open.ts'
import { toHex } from '../../src/model/hash.ts'
import type { RequestId } from '../../src/model/ids.ts'
import { sealStream } from '../../src/records/envelope.ts'
import { peekKind } from '../../src/records/kind.ts'
import { createSealKey } from '../../src/records/seal.ts'
import { dealShares, openShareBox, resealShare } from '../../src/records/shares.ts'
import { fill, newIdentifier, newRecordId } from './support.ts'

const MEBIBYTES = Number(process.argv[2])
const folder = process.argv[3]!

async function* source(): AsyncGenerator<Uint8Array> {
  const chunk = fill(1024 * 1024)
  for (let i = 0; i < MEBIBYTES; i++) {
    const own = new Uint8Array(chunk)
    own[0] = i
    yield own
  }
}

const record = newRecordId()
const owner = newIdentifier()
const grant = toHex(fill(32)) as RequestId
const contentKey = fill(32, 2)
const place = process.argv[4]
const { vault, close } = await openVault(
  place === undefined ? { type: 'folder', path: join(folder, 'vault') } : JSON.parse(place),
)
const peeked = await peekKind(source(), null)
const sealing = sealStream({ contentKey, record, salt32: fill(32, 3), source: peeked.source })
const entry = await vault.put(record, sealing.ciphertext)
const { commitment, plainSha256 } = sealing.result()

const keys = [createSealKey(), createSealKey()]
const recipient = createSealKey()
const deal = await dealShares({ contentKey, record, owner, threshold: 2, sealKeys: keys.map(key => key.publicBytes) })
const shares = await Promise.all(
  deal.boxes.map(async (stored, i) => {
    const opened = (await openShareBox(stored, keys[i]!, deal.claim, owner))!
    return resealShare({ opened, stored, grant, recipient: recipient.publicBytes })
  }),
)

async function* ciphertext(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < entry.leaves.length; i++) yield await vault.piece(record, i)
}

const path = join(folder, 'record')
const claim = { ...deal.claim, ...entry, commitment, threshold: 2 }
const opened = await openRecord({ claim, grant, shares, recipient, ciphertext: ciphertext(), path })
const written = createHash('sha256')
for await (const chunk of createReadStream(path)) written.update(chunk as Uint8Array)
const isSame = opened.sha256 === plainSha256 && written.digest('hex') === plainSha256
console.log(JSON.stringify({ isSame, bytes: opened.bytes, maxRssKiB: process.resourceUsage().maxRSS }))
await close()
