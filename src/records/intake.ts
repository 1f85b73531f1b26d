// The custodian's first step with a record (P-33, P-39): find its kind, encrypt it into the vault under a fresh key, deal the key to the
// committee, forget the key. What comes out is the operation for the chain; nothing was sent yet. A record that is then not registered
// is discarded. Not here: registering (the peer), delivering the boxes (deposit.ts).

import { randomBytes } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import { fromHex, identifierOf, toHex } from '../model/hash.ts'
import {
  asRecordId,
  type Digest,
  type Height,
  type Identifier,
  nextHeight,
  type RecordId,
  type Timestamp,
} from '../model/ids.ts'
import type { Confidentiality, Encounter, RecordRegister } from '../model/operations.ts'
import { SALT_BYTES, sealStream } from './envelope.ts'
import { encodeDeal } from './frames.ts'
import { peekKind } from './kind.ts'
import { type InstitutionFacts, institutionOf, type LedgerView } from './ledger-view.ts'
import { CONTENT_KEY_BYTES, dealShares } from './shares.ts'
import type { Vault } from './vault.ts'

export type IntakeOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  /** The record's bytes; read once, never held whole. */
  readonly source: AsyncIterable<Uint8Array>
  readonly owner: Identifier
  readonly custodian: Identifier
  /** Null to have it detected. */
  readonly kind: string | null
  readonly confidentiality: Confidentiality
  readonly labels: readonly string[]
  readonly twinOf: RecordId | null
  readonly encounter: Encounter
  readonly lastVisit: Timestamp
  /** Bytes of the record that were encrypted so far. */
  readonly onProgress?: (bytes: number) => void
  readonly signal?: AbortSignal
}

export type Intake = {
  readonly operation: RecordRegister
  /** Of the record itself; for the custodian's own log, never for the chain. */
  readonly plainSha256: Digest
  readonly plainSize: number
}

/** Throws EmrmError `record-empty`, `record-malformed`, `kind-unknown`, `record-too-large`, `vault-write-failed`, `seal-key-invalid`, `validator-unknown`. */
export async function prepareRecord(options: IntakeOptions): Promise<Intake> {
  const { vault, ledger, owner, custodian } = options
  const record = asRecordId(toHex(randomBytes(16)))
  const contentKey = new Uint8Array(randomBytes(CONTENT_KEY_BYTES))
  try {
    const threshold = ledger.parameters().shareThreshold
    const { kind, source } = await peekKind(watched(options), options.kind)
    const salt32 = new Uint8Array(randomBytes(SALT_BYTES))
    const sealing = sealStream({ contentKey, record, salt32, source })
    const { cipherRoot, cipherSize } = await vault.put(record, sealing.ciphertext)
    const { commitment, plainSha256, plainSize } = sealing.result()
    const validators = validatorsOf(ledger)
    const deal = await dealShares({
      contentKey,
      record,
      owner,
      threshold,
      sealKeys: validators.map(({ sealKey }) => fromHex(sealKey)),
    })
    await vault.putItem(
      record,
      'deal',
      encodeDeal(deal.boxes.map((box, i) => ({ ...box, validator: validators[i]!.id }))),
    )
    await vault.putItem(record, 'copies', new Uint8Array(0))
    const operation: RecordRegister = {
      type: 'record.register',
      record,
      owner,
      custodian,
      kind,
      confidentiality: options.confidentiality,
      labels: [...new Set(options.labels)].sort(),
      commitment,
      cipherRoot,
      cipherSize,
      shareRoot: deal.claim.shareRoot,
      shareCount: deal.claim.shareCount,
      threshold,
      keyCommit: deal.claim.keyCommit,
      twinOf: options.twinOf,
      encounter: options.encounter,
      lastVisit: options.lastVisit,
    }
    return { operation, plainSha256, plainSize }
  } catch (error) {
    await vault.remove(record)
    throw error
  } finally {
    contentKey.fill(0)
  }
}

/** In committee order, of the committee that will see the registration. */
function validatorsOf(ledger: LedgerView): readonly InstitutionFacts[] {
  const { height } = ledger.head()
  const at = (h: Height) => ledger.committeeAt(h)?.validators
  const validators = at(nextHeight(height)) ?? at(height)
  if (validators === undefined) throw new Error(`invariant broken: no committee at ${height}`)
  return validators.map(({ publicKey, name }) => {
    const institution = institutionOf(ledger, identifierOf(publicKey))
    if (institution !== null) return institution
    throw new EmrmError('validator-unknown', `validator ${name} is not registered; wait for the next block`, { name })
  })
}

async function* watched({ source, onProgress, signal }: IntakeOptions): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of source) {
    signal?.throwIfAborted()
    yield chunk
    bytes += chunk.length
    onProgress?.(bytes)
  }
}
