// The header of a record's container: made and read by the age library, with one stanza of our own kind that wraps the file key under
// the record's content key, the key that the committee holds in shares. Not here: the payload (age-payload.ts).

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { Decrypter, Encrypter, Stanza } from 'age-encryption'
import { EmrmError } from '../model/errors.ts'
import { fromHex } from '../model/hash.ts'
import type { RecordId } from '../model/ids.ts'
import type { ByteReader } from './bytes.ts'

const STANZA_TYPE = 'emrm/committee-1'
const TAG_BYTES = 16
const NONCE_BYTES = 12
const FILE_KEY_BYTES = 16
/** What the library puts behind the header of an empty file: a nonce and an empty chunk's tag. */
const EMPTY_PAYLOAD_BYTES = 32
/** Ours have about 200 bytes; a stranger's header with more than this is not looked at. */
const HEADER_BYTES_MAX = 4096

/** The library makes the header; our recipient sees the file key that it drew. The 32 bytes behind are an empty payload's. */
export async function makeHeader(
  contentKey: Uint8Array,
  record: RecordId,
): Promise<{ readonly header: Uint8Array; readonly fileKey: Uint8Array }> {
  let fileKey: Uint8Array | null = null
  const encrypter = new Encrypter()
  encrypter.addRecipient({
    wrapFileKey: drawn => {
      fileKey = new Uint8Array(drawn)
      return [new Stanza([STANZA_TYPE, record], wrapFileKey(contentKey, record, drawn))]
    },
  })
  const whole = await encrypter.encrypt(new Uint8Array(0))
  if (fileKey === null) throw new Error('invariant broken: the age library asked for no stanza')
  return { header: whole.subarray(0, whole.length - EMPTY_PAYLOAD_BYTES), fileKey }
}

export async function openHeader(header: Uint8Array, contentKey: Uint8Array, record: RecordId): Promise<Uint8Array> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(committeeIdentity(contentKey, record))
  try {
    return await decrypter.decryptHeader(header)
  } catch {
    throw recordCorrupt(record, 'its header does not open with this key')
  }
}

/** For the age library: opens the header of one record; null for all others. */
export const committeeIdentity = (
  contentKey: Uint8Array,
  record: RecordId,
): { unwrapFileKey(stanzas: Stanza[]): Uint8Array | null } => ({
  unwrapFileKey: stanzas => {
    const [stanza] = stanzas
    if (stanzas.length !== 1 || stanza === undefined) return null
    if (stanza.args.length !== 2 || stanza.args[0] !== STANZA_TYPE || stanza.args[1] !== record) return null
    return unwrapFileKey(contentKey, record, stanza.body)
  },
})

const wrappingKey = (contentKey: Uint8Array, record: RecordId): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', contentKey, fromHex(record), STANZA_TYPE, 32))

/** Nonce ‖ sealed file key. The nonce is random, so that sealing twice under one key would still be safe. */
function wrapFileKey(contentKey: Uint8Array, record: RecordId, fileKey: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const key = wrappingKey(contentKey, record)
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  return new Uint8Array(Buffer.concat([nonce, cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]))
}

function unwrapFileKey(contentKey: Uint8Array, record: RecordId, body: Uint8Array): Uint8Array | null {
  if (body.length !== NONCE_BYTES + FILE_KEY_BYTES + TAG_BYTES) return null
  const key = wrappingKey(contentKey, record)
  const nonce = body.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(body.subarray(NONCE_BYTES + FILE_KEY_BYTES))
  const fileKey = decipher.update(body.subarray(NONCE_BYTES, NONCE_BYTES + FILE_KEY_BYTES))
  try {
    decipher.final()
  } catch {
    return null
  }
  return new Uint8Array(fileKey)
}

/** Reads up to the end of the line of the MAC, which begins with `---`. Throws EmrmError `record-corrupt`. */
export async function readHeader(reader: ByteReader, record: RecordId): Promise<Uint8Array> {
  for (;;) {
    const held = reader.held()
    const mac = held.indexOf('\n--- ')
    const end = mac < 0 ? -1 : held.indexOf('\n', mac + 1)
    if (end >= 0 && end < HEADER_BYTES_MAX) return (await reader.take(end + 1))!
    if (held.length > HEADER_BYTES_MAX) throw recordCorrupt(record, 'it has no header of ours')
    if (!(await reader.more())) throw recordCorrupt(record, 'it ends inside its header')
  }
}

export const recordCorrupt = (record: RecordId, why: string): EmrmError =>
  new EmrmError(
    'record-corrupt',
    `the container of record ${record} is refused: ${why}; fetch it from another holder`,
    {
      record,
    },
  )
