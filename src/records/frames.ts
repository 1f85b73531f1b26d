// The frames of /emrm/deposit/1, /emrm/share/1 and /emrm/pieces/1: DAG-CBOR tuples, [version, tag, fields …], of fixed arity, read with
// limits and the re-encode check. Pieces and lists of leaf hashes travel as frames of their own, bare. A frame that cannot be read is a
// peer's fault, hence null and not an error. Not here: streams (adapters), what the messages make a peer do.

import { decode, encode } from '@ipld/dag-cbor'
import { fromHex, toHex } from '../model/hash.ts'
import type { Digest, Identifier, RecordId, RequestId } from '../model/ids.ts'
import type { DenialReason, ShareSignature } from '../model/operations.ts'
import { equalBytes } from './bytes.ts'
import { SEAL_KEY_BYTES } from './seal.ts'
import type { ReleasedShare, ShareBox } from './shares.ts'

const VERSION = 1
/** Of a tuple; pieces have their own limit. */
const TUPLE_BYTES_MAX = 64 * 1024
const BOX_BYTES_MAX = 8 * 1024
const PROOF_LENGTH_MAX = 16
const TEXT_LENGTH_MAX = 256
const VALIDATORS_MAX = 200
const DEAL_BYTES_MAX = 1024 * 1024

export type DepositRequest =
  | ({ readonly type: 'share' } & ShareBox)
  /** A frame with the leaf hashes and the pieces follow. */
  | { readonly type: 'cipher'; readonly record: RecordId }
  /** A validator has lost its share and asks the custodian for the box again; it signs that, in case the box is there no more. */
  | { readonly type: 'want'; readonly record: RecordId; readonly loss: ShareSignature }
  | ({ readonly type: 'next' } & NextShare)

/** A validator's box of a key that is dealt anew, with what the chain will say of that deal when it counts. */
export type NextShare = ShareBox & {
  readonly intent: RequestId
  readonly shareRoot: Digest
  readonly shareCount: number
}

/** What a custodian keeps of a deal that does not count yet. */
export type PendingDeal = Pick<NextShare, 'intent' | 'shareRoot' | 'shareCount'> & {
  readonly threshold: number
  readonly boxes: readonly DealtBox[]
}

export type DepositAnswer =
  | { readonly type: 'ack'; readonly signature: Uint8Array }
  | { readonly type: 'stored' }
  | ({ readonly type: 'box' } & ShareBox)
  | { readonly type: 'refused'; readonly reason: string }

export type ShareRequest = {
  /** With `redeal`, that announcement's id in place of a grant's. */
  readonly grant: RequestId
  readonly recipient: Uint8Array
  /** Asked by its custodian, to deal the key of this record anew. */
  readonly redeal?: RecordId
}

/** `not-available` says nothing: the grant, the record or the share may not exist, or the asker may have no right to know. */
export type ShareRefusal =
  | 'not-available'
  | 'no-share'
  | 'record-withdrawn'
  | 'grant-expired'
  | 'policy-stale'
  | 'policy-revoked'
  | 'withheld'
const SHARE_REFUSALS: readonly ShareRefusal[] = [
  'not-available',
  'no-share',
  'record-withdrawn',
  'grant-expired',
  'policy-stale',
  'policy-revoked',
  'withheld',
]

export type ShareAnswer =
  | ({ readonly type: 'released' } & ReleasedShare)
  /** `detail`: the house rule that withholds, or the ladder's reason; else empty. */
  | { readonly type: 'refused'; readonly reason: ShareRefusal; readonly detail: string | DenialReason }

/** Pieces `from` … `to`-1. Without a grant only another holder is served. A stream carries any number of them, answered in order. */
export type PiecesRequest = {
  readonly record: RecordId
  readonly grant: RequestId | null
  readonly from: number
  readonly to: number
  /** The list of leaf hashes too. */
  readonly leaves: boolean
}

/** Behind `pieces` come the frame of leaf hashes, when it was asked for, and one frame for each piece. */
export type PiecesAnswer = { readonly type: 'pieces' } | { readonly type: 'refused'; readonly reason: 'not-available' }

/** A validator's box with the validator's name: what a custodian keeps until it is delivered. */
export type DealtBox = ShareBox & { readonly validator: Identifier }
export type Acknowledgement = { readonly index: number; readonly validator: Identifier; readonly signature: Uint8Array }

// ---- writing ----

export function encodeDepositRequest(request: DepositRequest): Uint8Array {
  switch (request.type) {
    case 'share':
      return tuple('share', ...boxFields(request))
    case 'next':
      return encodeNextShare(request)
    case 'cipher':
      return tuple('cipher', fromHex(request.record))
    case 'want':
      return tuple('want', fromHex(request.record), request.loss.index, request.loss.signature)
  }
}

export function encodeDepositAnswer(answer: DepositAnswer): Uint8Array {
  switch (answer.type) {
    case 'ack':
      return tuple('ack', answer.signature)
    case 'stored':
      return tuple('stored')
    case 'box':
      return tuple('again', ...boxFields(answer))
    case 'refused':
      return tuple('refused', answer.reason)
  }
}

export const encodeShareRequest = ({ grant, recipient, redeal }: ShareRequest): Uint8Array =>
  redeal === undefined
    ? tuple('ask', fromHex(grant), recipient)
    : tuple('redeal', fromHex(redeal), fromHex(grant), recipient)

export const encodeShareAnswer = (answer: ShareAnswer): Uint8Array =>
  answer.type === 'released'
    ? tuple('released', answer.index, answer.box, answer.commit, [...answer.proof])
    : tuple('refused', answer.reason, answer.detail)

export const encodePiecesRequest = ({ record, grant, from, to, leaves }: PiecesRequest): Uint8Array =>
  tuple('pieces', fromHex(record), grant === null ? null : fromHex(grant), from, to, leaves)

export const encodePiecesAnswer = (answer: PiecesAnswer): Uint8Array =>
  answer.type === 'pieces' ? tuple('pieces') : tuple('none')

export const encodeShareBox = (box: ShareBox): Uint8Array => tuple('box', ...boxFields(box))

export const encodeDeal = (boxes: readonly DealtBox[]): Uint8Array =>
  tuple(
    'deal',
    boxes.map(box => [fromHex(box.validator), ...boxFields(box)]),
  )

export const encodeNextShare = (next: NextShare): Uint8Array =>
  tuple('next', fromHex(next.intent), fromHex(next.shareRoot), next.shareCount, ...boxFields(next))

export const encodePendingDeal = ({ intent, shareRoot, shareCount, threshold, boxes }: PendingDeal): Uint8Array =>
  tuple(
    ...['pending', fromHex(intent), fromHex(shareRoot), shareCount, threshold],
    boxes.map(box => [fromHex(box.validator), ...boxFields(box)]),
  )

export const encodeAcks = (acks: readonly Acknowledgement[]): Uint8Array =>
  tuple(
    'acks',
    acks.map(ack => [ack.index, fromHex(ack.validator), ack.signature]),
  )

// ---- reading: null for whatever is not exactly what we write ----

export function decodeDepositRequest(bytes: Uint8Array): DepositRequest | null {
  const share = fields(bytes, 'share', 5)
  const box = share && boxOf(share)
  if (box) return { type: 'share', ...box }
  const next = decodeNextShare(bytes)
  if (next) return { type: 'next', ...next }
  const record = hex(fields(bytes, 'cipher', 1)?.[0], 16)
  if (record !== null) return { type: 'cipher', record: record as RecordId }
  const want = fields(bytes, 'want', 3)
  const [wanted, index] = [hex(want?.[0], 16), whole(want?.[1], VALIDATORS_MAX - 1)]
  const signature = octets(want?.[2], 64, 64)
  if (wanted !== null && index !== null && signature)
    return { type: 'want', record: wanted as RecordId, loss: { index, signature } }
  return null
}

export function decodeDepositAnswer(bytes: Uint8Array): DepositAnswer | null {
  const signature = octets(fields(bytes, 'ack', 1)?.[0], 64, 64)
  if (signature) return { type: 'ack', signature }
  if (fields(bytes, 'stored', 0)) return { type: 'stored' }
  const again = fields(bytes, 'again', 5)
  const box = again && boxOf(again)
  if (box) return { type: 'box', ...box }
  const reason = text(fields(bytes, 'refused', 1)?.[0])
  return reason === null ? null : { type: 'refused', reason }
}

export function decodeShareRequest(bytes: Uint8Array): ShareRequest | null {
  const redealt = fields(bytes, 'redeal', 3)
  const [id, key] = redealt?.slice(1) ?? fields(bytes, 'ask', 2) ?? []
  const grant = hex(id, 32)
  const recipient = octets(key, SEAL_KEY_BYTES, SEAL_KEY_BYTES)
  if (grant === null || !recipient) return null
  const asked = { grant: grant as RequestId, recipient }
  if (!redealt) return asked
  const redeal = hex(redealt[0], 16)
  return redeal === null ? null : { ...asked, redeal: redeal as RecordId }
}

export function decodeShareAnswer(bytes: Uint8Array): ShareAnswer | null {
  const released = fields(bytes, 'released', 4)
  if (released) {
    const share = sealedOf(released)
    return share && { type: 'released', ...share }
  }
  const refused = fields(bytes, 'refused', 2)
  const reason = SHARE_REFUSALS.find(known => known === refused?.[0])
  const detail = text(refused?.[1])
  return reason !== undefined && detail !== null ? { type: 'refused', reason, detail } : null
}

export function decodePiecesRequest(bytes: Uint8Array): PiecesRequest | null {
  const found = fields(bytes, 'pieces', 5)
  if (!found) return null
  const leaves = found[4]
  const record = hex(found[0], 16)
  const grant = found[1] === null ? null : hex(found[1], 32)
  const [from, to] = [whole(found[2], 2 ** 32), whole(found[3], 2 ** 32)]
  if (record === null || (found[1] !== null && grant === null) || typeof leaves !== 'boolean') return null
  if (from === null || to === null || from > to) return null
  return { record: record as RecordId, grant: grant as RequestId | null, from, to, leaves }
}

export function decodePiecesAnswer(bytes: Uint8Array): PiecesAnswer | null {
  if (fields(bytes, 'pieces', 0)) return { type: 'pieces' }
  return fields(bytes, 'none', 0) ? { type: 'refused', reason: 'not-available' } : null
}

export function decodeShareBox(bytes: Uint8Array): ShareBox | null {
  const found = fields(bytes, 'box', 5)
  return found && boxOf(found)
}

export function decodeNextShare(bytes: Uint8Array): NextShare | null {
  const found = fields(bytes, 'next', 8)
  const terms = found && dealTermsOf(found)
  const box = found && boxOf(found.slice(3))
  return terms && box ? { ...terms, ...box } : null
}

export function decodePendingDeal(bytes: Uint8Array): PendingDeal | null {
  const found = fields(bytes, 'pending', 5, DEAL_BYTES_MAX)
  const terms = found && dealTermsOf(found)
  const threshold = whole(found?.[3], VALIDATORS_MAX)
  const boxes = dealtBoxesOf(found?.[4])
  return terms && threshold !== null && boxes ? { ...terms, threshold, boxes } : null
}

function dealTermsOf([id, root, count]: readonly unknown[]): Omit<PendingDeal, 'threshold' | 'boxes'> | null {
  const [intent, shareRoot, shareCount] = [hex(id, 32), hex(root, 32), whole(count, VALIDATORS_MAX)]
  if (intent === null || shareRoot === null || shareCount === null) return null
  return { intent: intent as RequestId, shareRoot: shareRoot as Digest, shareCount }
}

export function decodeDeal(bytes: Uint8Array): readonly DealtBox[] | null {
  return dealtBoxesOf(fields(bytes, 'deal', 1, DEAL_BYTES_MAX)?.[0])
}

const dealtBoxesOf = (value: unknown): readonly DealtBox[] | null =>
  listOf(value, 6, ([validator, ...rest]) => {
    const name = hex(validator, 16)
    const box = boxOf(rest)
    return name !== null && box ? { ...box, validator: name as Identifier } : null
  })

export function decodeAcks(bytes: Uint8Array): readonly Acknowledgement[] | null {
  return listOf(fields(bytes, 'acks', 1)?.[0], 3, ([position, validator, signed]) => {
    const [index, name] = [whole(position, VALIDATORS_MAX - 1), hex(validator, 16)]
    const signature = octets(signed, 64, 64)
    return index !== null && name !== null && signature ? { index, validator: name as Identifier, signature } : null
  })
}

// ---- parts ----

const tuple = (...tagged: readonly unknown[]): Uint8Array => encode([VERSION, ...tagged])

const boxFields = (box: ShareBox): readonly unknown[] => [
  fromHex(box.record),
  box.index,
  box.box,
  box.commit,
  [...box.proof],
]

function fields(bytes: Uint8Array, tag: string, arity: number, bytesMax = TUPLE_BYTES_MAX): readonly unknown[] | null {
  if (bytes.length > bytesMax) return null
  let value: unknown
  try {
    value = decode(bytes)
    if (!Array.isArray(value) || !equalBytes(encode(value), bytes)) return null
  } catch {
    return null
  }
  const list = value as readonly unknown[]
  return list.length === arity + 2 && list[0] === VERSION && list[1] === tag ? list.slice(2) : null
}

function boxOf([record, ...rest]: readonly unknown[]): ShareBox | null {
  const name = hex(record, 16)
  const sealed = sealedOf(rest)
  return name !== null && sealed ? { record: name as RecordId, ...sealed } : null
}

function sealedOf([position, sealed, committed, path]: readonly unknown[]): ReleasedShare | null {
  const index = whole(position, VALIDATORS_MAX - 1)
  const box = octets(sealed, 1, BOX_BYTES_MAX)
  const commit = octets(committed, 32, 32)
  if (index === null || !box || !commit || !Array.isArray(path) || path.length > PROOF_LENGTH_MAX) return null
  const proof = path.map(step => octets(step, 32, 32))
  return proof.every(step => step !== null) ? { index, box, commit, proof } : null
}

function listOf<T>(value: unknown, arity: number, read: (item: readonly unknown[]) => T | null): readonly T[] | null {
  if (!Array.isArray(value) || value.length > VALIDATORS_MAX) return null
  const items = value.map(item => (Array.isArray(item) && item.length === arity ? read(item) : null))
  return items.every(item => item !== null) ? items : null
}

/** A copy, so that nothing keeps a whole frame alive. */
const octets = (value: unknown, min: number, max: number): Uint8Array | null =>
  value instanceof Uint8Array && value.length >= min && value.length <= max ? new Uint8Array(value) : null

const hex = (value: unknown, length: number): string | null => {
  const bytes = octets(value, length, length)
  return bytes && toHex(bytes)
}

const text = (value: unknown): string | null =>
  typeof value === 'string' && value.length <= TEXT_LENGTH_MAX ? value : null

const whole = (value: unknown, max: number): number | null =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : null
