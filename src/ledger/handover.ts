// From one committee to the next (P-30, P-31), provable to who has no blocks: the header of an epoch's last block is signed by that epoch's
// committee, and its state digest covers who decides in the next epoch and until when (committee.ts chooses one block early for this). So
// from genesis, one header with two state proofs for each epoch leads to the committee of any height, and no step is believed: who could
// forge one holds a quorum of that epoch's keys, and could forge its blocks as well.
// Not here: signatures of the headers, and how proofs travel (snapshot/).

import type { Committee } from '../model/committee.ts'
import { fromHex } from '../model/hash.ts'
import { type Digest, type Height, nextHeight } from '../model/ids.ts'
import type { HandoverClaim, StateClaim } from '../model/snapshot.ts'
import { committeeFrom, committeeName, EPOCH } from './committee.ts'
import { verifyStateProof } from './proofs.ts'
import { Store } from './store.ts'

/** When `next`, the block that comes now, is its epoch's last; null for any other. */
export function claimHandover(store: Store, next: Height): HandoverClaim | null {
  const epoch = store.epochs.get(EPOCH)
  if (epoch === undefined || epoch.start !== next + 1) return null
  const claim = (key: string): StateClaim => ({ ...store.state.prove(key), value: store.state.get(key) ?? null })
  return {
    epoch: claim(store.epochs.keyOf(EPOCH)),
    committee: claim(store.committees.keyOf(committeeName(epoch.start))),
  }
}

/** `root`: the state digest in the header of the epoch's last block `end`. Null when this does not prove what follows `end`. */
export function readHandover(
  claim: HandoverClaim,
  { root, end }: { readonly root: Digest; readonly end: Height },
): { readonly end: Height; readonly committee: Committee | null } | null {
  const store = new Store()
  const keys = { epoch: store.epochs.keyOf(EPOCH), committee: store.committees.keyOf(committeeName(nextHeight(end))) }
  const holds = (key: string, { value, siblings, leaf }: StateClaim): boolean =>
    verifyStateProof({ root: fromHex(root), key, value, proof: { siblings, leaf } })
  if (claim.epoch.value === null || !holds(keys.epoch, claim.epoch) || !holds(keys.committee, claim.committee))
    return null
  // Proved, so these are bytes that a ledger wrote.
  store.state.put(keys.epoch, claim.epoch.value)
  if (claim.committee.value !== null) store.state.put(keys.committee, claim.committee.value)
  const epoch = store.epochs.get(EPOCH)
  if (epoch === undefined || epoch.start !== nextHeight(end)) return null
  const entry = store.committees.get(committeeName(nextHeight(end)))
  return { end: epoch.end as Height, committee: entry === undefined ? null : committeeFrom(entry) }
}
