// What one extract knows and no other does: pseudonyms of ids and UIDs, hashes, and the patient's date shift. All are HMAC-SHA256 under
// subkeys of the extract's key, so that nothing of one extract equals anything of another (NORELINK), while within an extract the same id
// gets the same pseudonym everywhere. P-42. Not here: who makes and forgets the extract key.

import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { EmrmError } from '../../model/errors.ts'

/** No shift is zero: a zero would release true dates. A year back at most, so that no date of the twin lies after its release. */
const SHIFT_DAYS_MAX = 365
const KEY_BYTES_MIN = 16

export type ExtractKeys = {
  /** A pseudonym in the form of a UUID (version 8), good as a FHIR id and after `urn:uuid:`. */
  pseudonym(id: string): string
  /** A DICOM UID under 2.25, for a UID of DICOM or of FHIR ImagingStudy. */
  uid(uid: string): string
  /** 64 hexadecimal digits. */
  hash(text: string): string
  /** A number in [0, 1) that depends on the text alone. */
  fraction(text: string): number
  /** Days, in [-365, -1], the same for all records of this patient in this extract. */
  readonly shiftDays: number
  /** What stands for the patient in a DICOM PatientID: 16 characters. */
  readonly patient: string
}

/** `extractKey`: 16 random bytes or more, one per extract. `patientKey`: names the patient within the network; secret or not. Throws EmrmError `deidentify-key-invalid`. */
export function makeExtractKeys(extractKey: Uint8Array, patientKey: Uint8Array): ExtractKeys {
  if (extractKey.length < KEY_BYTES_MIN || patientKey.length === 0)
    throw new EmrmError(
      'deidentify-key-invalid',
      `an extract key has at least ${KEY_BYTES_MIN} random bytes and a patient key at least one; make a new extract`,
    )
  const root = createSecretKey(extractKey)
  const subkey = (label: string): KeyObject => createSecretKey(hmac(root, `emrm/deidentify/1/${label}`))
  const idKey = subkey('id')
  const uidKey = subkey('uid')
  const textKey = subkey('text')
  const noiseKey = subkey('noise')
  const ids = new Map<string, string>()
  const uids = new Map<string, string>()
  return {
    pseudonym: id => remembered(ids, id, text => uuidOf(hmac(idKey, text))),
    uid: uid => remembered(uids, uid, text => `2.25.${BigInt(`0x${uuidBytes(hmac(uidKey, text)).toString('hex')}`)}`),
    hash: text => hmac(textKey, text).toString('hex'),
    fraction: text => hmac(noiseKey, text).readUIntBE(0, 6) / 2 ** 48,
    shiftDays: -1 - (hmac(subkey('shift'), patientKey).readUIntBE(0, 6) % SHIFT_DAYS_MAX),
    patient: `P${hmac(subkey('patient'), patientKey).toString('hex').slice(0, 15).toUpperCase()}`,
  }
}

function hmac(key: KeyObject, data: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

/** The first 16 bytes with RFC 9562's marks of version 8 (custom) and variant. */
function uuidBytes(digest: Buffer): Buffer {
  const bytes = digest.subarray(0, 16)
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  return bytes
}

function uuidOf(digest: Buffer): string {
  const hex = uuidBytes(digest).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function remembered(map: Map<string, string>, key: string, make: (key: string) => string): string {
  let value = map.get(key)
  if (value === undefined) {
    value = make(key)
    map.set(key, value)
  }
  return value
}
