// What every peer of a network starts from: parameters, institutions in ranking order, CAs, authority, relations.
// The chain id is SHA-256 of its canonical bytes (wire/codec `encodeGenesis`), so two different genesis files are two networks.

import type { Identifier, PeerId, PublicKey, Timestamp } from './ids.ts'
import type { ChainParameters, Relations } from './operations.ts'

export type GenesisInstitution = {
  readonly name: string
  readonly publicKey: PublicKey
  readonly peerId: PeerId
  /** HPKE (X-Wing) public key, 1216 bytes as hexadecimal. */
  readonly sealKey: string
  readonly region: string
  readonly score: number
}

export type Genesis = {
  readonly version: 1
  readonly network: string
  readonly timestamp: Timestamp
  readonly f: number
  readonly p: number
  /** In ranking order; the first n validate. All of them are registered institutions. */
  readonly institutions: readonly GenesisInstitution[]
  readonly validatorCount: number
  readonly authority: {
    readonly threshold: number
    readonly keys: readonly PublicKey[]
  }
  readonly cas: readonly {
    readonly publicKey: PublicKey
    readonly institutions: readonly Identifier[]
  }[]
  readonly relations: Relations
  readonly parameters: ChainParameters
}
