// What a validator signs when it has lost its share of a key, or holds one of a key that is dealt anew, and when a new deal is due and counts. Records sign
// these bytes, the ledger checks them, and neither may import the other. Not here: dealing (records/redeal.ts), the rule (ledger/redeals.ts).

import type { Committee } from './committee.ts'
import { fromHex } from './hash.ts'
import type { Digest, RecordId, RequestId } from './ids.ts'

/** Domain ‖ 0 ‖ chain id ‖ record ‖ intent ‖ index (u32, big-endian) ‖ shareRoot. The intent makes it good for one deal and no other. */
export function redealAckBytes(signed: {
  readonly chainId: Digest
  readonly record: RecordId
  readonly intent: RequestId
  readonly index: number
  readonly shareRoot: Digest
}): Uint8Array {
  const { chainId, record, intent, index, shareRoot } = signed
  const parts = [fromHex(chainId), fromHex(record), fromHex(intent), u32(index), fromHex(shareRoot)]
  return Buffer.concat([Buffer.from('emrm/redeal-ack/1\0'), ...parts])
}

/** Domain ‖ 0 ‖ chain id ‖ record ‖ index (u32, big-endian) ‖ shareRoot: good until that deal is replaced. */
export function shareLossBytes(lost: {
  readonly chainId: Digest
  readonly record: RecordId
  readonly index: number
  readonly shareRoot: Digest
}): Uint8Array {
  const { chainId, record, index, shareRoot } = lost
  const parts = [fromHex(chainId), fromHex(record), u32(index), fromHex(shareRoot)]
  return Buffer.concat([Buffer.from('emrm/share-loss/1\0'), ...parts])
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** With 2f+1 shares at hand, f of them lost or withheld leave f+1. */
export const acksNeeded = ({ quorum: { f }, validators }: Committee): number => Math.min(2 * f + 1, validators.length)

/** The same hospitals under the same fault bound hold a key as well as before; their rank does not matter. */
export function dealStands(dealt: Committee, present: Committee): boolean {
  const members = new Set(present.validators.map(({ publicKey }) => publicKey))
  const { validators, quorum } = dealt
  return (
    quorum.f === present.quorum.f &&
    validators.length === members.size &&
    validators.every(({ publicKey }) => members.has(publicKey))
  )
}
