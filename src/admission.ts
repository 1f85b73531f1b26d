// An admission request as a file: what `emrm init` prints and the authority signs (P-30). Read strictly, because it comes from outside;
// the score is the authority's to give and never the applicant's. Not here: signing, and what the contract checks.

import { EmrmError } from './model/errors.ts'
import { type Identifier, isHexadecimal, type PeerId, type PublicKey } from './model/ids.ts'
import type { CaAuthorize, InstitutionAdmit } from './model/operations.ts'
import { readJsonFile, readList, readObject, readOneOf, readText, refuse } from './shape.ts'

const ADMIT = ['type', 'name', 'publicKey', 'peerId', 'sealKey', 'region', 'score']
const AUTHORIZE = ['type', 'publicKey', 'institutions']

/** Takes the whole document of `emrm init --json` or its `admission` alone. Throws EmrmError `file-missing`, `config-invalid`, `admission-empty`. */
export async function readAdmission(file: string, score: number): Promise<readonly (InstitutionAdmit | CaAuthorize)[]> {
  const json = await readJsonFile(file)
  const list = Array.isArray(json) ? json : (json as { admission?: unknown } | null)?.admission
  const operations = readList(list, `${file}.admission`, 8, (item, where) => {
    const type = readOneOf((item as { type?: unknown } | null)?.type, `${where}.type`, [
      'institution.admit',
      'ca.authorize',
    ])
    return type === 'institution.admit' ? readAdmit(item, where, score) : readAuthorize(item, where)
  })
  if (operations.length === 0)
    throw new EmrmError('admission-empty', `${file} asks for nothing; give what "emrm init --json" printed`, { file })
  return operations
}

function readAdmit(item: unknown, where: string, score: number): InstitutionAdmit {
  const fields = readObject(item, where, ADMIT)
  return {
    type: 'institution.admit',
    name: readText(fields['name'], `${where}.name`, 128),
    publicKey: readHex(fields['publicKey'], `${where}.publicKey`, 64) as PublicKey,
    peerId: readText(fields['peerId'], `${where}.peerId`, 64) as PeerId,
    sealKey: readHex(fields['sealKey'], `${where}.sealKey`, 2432),
    region: readText(fields['region'], `${where}.region`, 64),
    score,
  }
}

function readAuthorize(item: unknown, where: string): CaAuthorize {
  const fields = readObject(item, where, AUTHORIZE)
  return {
    type: 'ca.authorize',
    publicKey: readHex(fields['publicKey'], `${where}.publicKey`, 64) as PublicKey,
    institutions: readList(
      fields['institutions'],
      `${where}.institutions`,
      16,
      (id, at) => readHex(id, at, 32) as Identifier,
    ),
  }
}

function readHex(value: unknown, where: string, digits: number): string {
  const text = readText(value, where, digits)
  if (!isHexadecimal(text, digits)) throw refuse(where, `must be ${digits} hexadecimal digits`)
  return text
}
