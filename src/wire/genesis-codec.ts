// Genesis (model/genesis.ts) as a JSON file that people read and as the canonical bytes whose SHA-256 is the chain id: whoever
// starts from another genesis is on another network. JSON may hold sets in any order; the bytes may not.
// Not here: writing the file (network-setup), what the ledger makes of it.

import { type Committee, committeeHashOf, makeCommittee, VALIDATORS_MAX } from '../model/committee.ts'
import { EmrmError } from '../model/errors.ts'
import type { Genesis, GenesisInstitution } from '../model/genesis.ts'
import { digestOf } from '../model/hash.ts'
import type { Digest, ValidatorIndex } from '../model/ids.ts'
import { makeQuorum } from '../model/quorum.ts'
import { AUTHORITY_KEYS_MAX, GENESIS_BYTES_MAX, INSTITUTIONS_MAX } from './limits.ts'
import { caInstitutions, ed25519Key, name, parameters, parsed, peerId, relations, sealKey } from './operations-codec.ts'
import { readAll } from './reader.ts'
import { type Json, list, type Shape, sorted, tuple, uint } from './shape.ts'
import { encode } from './writer.ts'

const institution: Shape<GenesisInstitution> = tuple({
  name,
  publicKey: ed25519Key,
  peerId,
  sealKey,
  region: name,
  score: uint(),
})

const genesis: Shape<Genesis> = tuple<Genesis>({
  version: uint(1, 1),
  network: name,
  timestamp: uint(),
  f: uint(VALIDATORS_MAX),
  p: uint(VALIDATORS_MAX),
  institutions: list(institution, INSTITUTIONS_MAX),
  validatorCount: uint(VALIDATORS_MAX, 1),
  authority: tuple<Genesis['authority']>({
    threshold: uint(AUTHORITY_KEYS_MAX, 1),
    keys: sorted(ed25519Key, AUTHORITY_KEYS_MAX, key => key),
  }),
  cas: sorted(
    tuple<Genesis['cas'][number]>({ publicKey: ed25519Key, institutions: caInstitutions }),
    INSTITUTIONS_MAX,
    ca => ca.publicKey,
  ),
  relations,
  parameters,
})

/** Strict: an unknown field is refused. Throws EmrmError `genesis-invalid`, `quorum-invalid`. */
export function parseGenesis(json: unknown): Genesis {
  const value = parsed(() => genesis.fromJson(json, ''), 'genesis-invalid', 'the genesis file')
  const { f, p, institutions, validatorCount, authority } = value
  makeQuorum(validatorCount, f, p)
  mustHold(validatorCount <= institutions.length, 'validatorCount', 'must not be above the number of institutions')
  mustHold(distinct(institutions.map(each => each.publicKey)), 'institutions', 'must have different public keys')
  mustHold(distinct(institutions.map(each => each.peerId)), 'institutions', 'must have different peer ids')
  mustHold(authority.threshold <= authority.keys.length, 'authority.threshold', 'must not be above the number of keys')
  const { shareThreshold, viewTimeoutMs, viewTimeoutMaxMs } = value.parameters
  const fits = shareThreshold >= f + 1 && shareThreshold <= validatorCount - f
  mustHold(fits, 'parameters.shareThreshold', `must be from f+1 = ${f + 1} to n-f = ${validatorCount - f}`)
  mustHold(viewTimeoutMs <= viewTimeoutMaxMs, 'parameters.viewTimeoutMs', 'must not be above viewTimeoutMaxMs')
  return value
}

export const genesisToJson = (value: Genesis): Json => genesis.toJson(value)

/** Canonical bytes; sets are put in order first. */
export const encodeGenesis = (value: Genesis): Uint8Array =>
  encode(genesis.write(parsed(() => genesis.fromJson(genesis.toJson(value), ''), 'genesis-invalid', 'the genesis')))

/** Throws WireFault. */
export const decodeGenesis = (bytes: Uint8Array): Genesis => readAll(bytes, GENESIS_BYTES_MAX, genesis.read)

/** SHA-256 of the canonical bytes. */
export const chainIdOf = (value: Genesis): Digest => digestOf(encodeGenesis(value))

/** The first `validatorCount` institutions in ranking order (P-30, P-31). */
export function genesisCommittee(value: Genesis): Committee {
  const validators = value.institutions.slice(0, value.validatorCount).map((each, index) => ({
    index: index as ValidatorIndex,
    publicKey: each.publicKey,
    peerId: each.peerId,
    name: each.name,
  }))
  const keys = validators.map(validator => validator.publicKey)
  return makeCommittee(validators, value.f, value.p, committeeHashOf(keys, value.f, value.p))
}

const distinct = (texts: readonly string[]): boolean => new Set(texts).size === texts.length

function mustHold(condition: boolean, field: string, expected: string): void {
  if (!condition) throw new EmrmError('genesis-invalid', `the genesis file is refused: ${field} ${expected}`, { field })
}
