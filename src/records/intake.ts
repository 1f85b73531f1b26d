// The custodian's first step with a record (P-33, P-39): find its kind and its labels, encrypt it into the vault under a fresh key, deal the key to the
// committee, forget the key. What comes out is the operation for the chain; nothing was sent yet. A record that is then not registered
// is discarded. Not here: registering (the peer), delivering the boxes (deposit.ts).

import { randomBytes } from 'node:crypto'
import { EmrmError } from '../model/errors.ts'
import { fromHex, toHex } from '../model/hash.ts'
import { asRecordId, type Digest, type Identifier, nextHeight, type RecordId, type Timestamp } from '../model/ids.ts'
import type { Confidentiality, Encounter, RecordKind, RecordRegister } from '../model/operations.ts'
import { SALT_BYTES, sealStream } from './envelope.ts'
import { encodeDeal } from './frames.ts'
import { peekKind } from './kind.ts'
import { deriveLabels, type Labels } from './labels/derive.ts'
import type { LabelRules } from './labels/rules.ts'
import { type LedgerView, presentCommittee, sealersOf } from './ledger-view.ts'
import { findingsOf, type Labelling, type RecordFindings, sealEntry } from './local-index.ts'
import { CONTENT_KEY_BYTES, dealShares } from './shares.ts'
import type { Vault } from './vault.ts'

/** As wire/limits.ts has it. */
const LABELS_MAX = 32

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
  /** Of a twin: digest of the rules that made it. */
  readonly twinRules: Digest | null
  readonly labelRules: LabelRules
  /** Seals what the custodian notes for itself (local-index.ts). */
  readonly indexKey: Uint8Array
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
  /** How it came to the labels in the operation. */
  readonly labelling: Labelling
}

/** Throws EmrmError `record-empty`, `record-malformed`, `kind-unknown`, `record-too-large`, `vault-write-failed`, `seal-key-invalid`, `validator-unknown`. */
export async function prepareRecord(options: IntakeOptions): Promise<Intake> {
  const { vault, ledger, owner, custodian } = options
  const record = asRecordId(toHex(randomBytes(16)))
  const contentKey = new Uint8Array(randomBytes(CONTENT_KEY_BYTES))
  try {
    const threshold = ledger.parameters().shareThreshold
    const { kind, labels, labelling, findings, source } = await read(options)
    const salt32 = new Uint8Array(randomBytes(SALT_BYTES))
    const sealing = sealStream({ contentKey, record, salt32, source })
    const { cipherRoot, cipherSize } = await vault.put(record, sealing.ciphertext)
    const { commitment, plainSha256, plainSize } = sealing.result()
    const dealtAt = nextHeight(ledger.head().height)
    const validators = sealersOf(ledger, presentCommittee(ledger))
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
    const entry = { ...findings, size: plainSize, labelling }
    await vault.putItem(record, 'facts', sealEntry(options.indexKey, record, entry))
    await vault.putItem(record, 'copies', new Uint8Array(0))
    const operation: RecordRegister = {
      type: 'record.register',
      record,
      owner,
      custodian,
      kind,
      confidentiality: labels.confidentiality,
      labels: labels.labels,
      commitment,
      cipherRoot,
      cipherSize,
      shareRoot: deal.claim.shareRoot,
      shareCount: deal.claim.shareCount,
      threshold,
      keyCommit: deal.claim.keyCommit,
      dealtAt,
      twinOf: options.twinOf,
      twinRules: options.twinRules,
      encounter: options.encounter,
      lastVisit: options.lastVisit,
    }
    return { operation, plainSha256, plainSize, labelling }
  } catch (error) {
    await vault.remove(record)
    throw error
  } finally {
    contentKey.fill(0)
  }
}

type Read = {
  readonly kind: RecordKind
  readonly labels: Labels
  readonly labelling: Labelling
  readonly findings: RecordFindings
  readonly source: AsyncIterable<Uint8Array>
}

/** What the record says of itself; the resource is let go before the record is sealed. */
async function read(options: IntakeOptions): Promise<Read> {
  const { labelRules, confidentiality } = options
  const { kind, resource, tooLarge, head, source } = await peekKind(watched(options), options.kind)
  const given: Labels = { confidentiality, labels: [...new Set(options.labels)].sort() }
  const { rules, ...labels } =
    resource === null ? { ...given, rules: [] } : await deriveLabels(labelRules, resource, given)
  if (labels.labels.length > LABELS_MAX)
    throw new EmrmError(
      'label-invalid',
      `a record has at most ${LABELS_MAX} labels; leave some of the given ones out`,
      {
        count: labels.labels.length,
      },
    )
  const { id, version, digest } = labelRules
  const unread = resource !== null ? null : tooLarge ? 'too-large' : 'not-fhir'
  const labelling: Labelling = { given, rules, ruleSet: { id, version, digest }, unread }
  return { kind, labels, labelling, findings: findingsOf(resource, head, kind), source }
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
