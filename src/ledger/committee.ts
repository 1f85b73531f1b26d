// Who validates (P-30, P-31): the best-rated institutions, by score, ties by id. The committee changes only when an epoch ends, never in the
// middle of a height, and only to one that IMPBFT can run with; otherwise the old one stays.
//
// It is chosen one block before its epoch begins. So the header of the epoch's last block, which the old committee signs, stands on a state
// that names the new one: whoever trusts one committee can follow to the next (handover.ts).

import { type Committee, committeeHashOf, makeCommittee, VALIDATORS_MAX } from '../model/committee.ts'
import { EmrmError } from '../model/errors.ts'
import { asHeight, type Height, type ValidatorIndex } from '../model/ids.ts'
import type { CommitteeEntry, Institution } from './entries.ts'
import type { Store } from './store.ts'

export const EPOCH = 'now'
export const committeeName = (from: number): string => String(from).padStart(16, '0')

/** Registered institutions, best first. */
export const ranking = (store: Store): readonly Institution[] =>
  store.institutions
    .under()
    .filter(institution => !institution.removed)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))

export class Committees {
  readonly #store: Store
  /** Ascending by `from`. */
  #known: { readonly from: number; readonly committee: Committee }[] = []

  constructor(store: Store) {
    this.#store = store
  }

  /** The committee of a height; null for heights beyond the present epoch, whose committee is not known yet. */
  at(height: Height): Committee | null {
    const epoch = this.#store.epochs.get(EPOCH)
    if (epoch === undefined || height < 1 || height > epoch.end) return null
    for (let i = this.#known.length - 1; i >= 0; i--)
      if (this.#known[i]!.from <= height) return this.#known[i]!.committee
    return null
  }

  begin(committee: Committee, epochBlocks: number): void {
    this.#store.epochs.put(EPOCH, { start: 1, end: epochBlocks })
    this.#add(1, committee)
    this.endBlock(0)
  }

  /** The last height whose committee is known. */
  end(): Height {
    return asHeight(this.#store.epochs.get(EPOCH)?.end ?? 0)
  }

  /** After the operations of block `height`: when only one block of its epoch is left, the committee of the next is chosen. */
  endBlock(height: number): void {
    const epoch = this.#store.epochs.get(EPOCH)
    if (epoch === undefined || height !== epoch.end - 1) return
    const { parameters, validatorCount, f, p } = this.#store.now()
    this.#store.epochs.put(EPOCH, { start: epoch.end + 1, end: epoch.end + parameters.epochBlocks })
    const next = chosen(ranking(this.#store), validatorCount, f, p)
    const present = this.#known.at(-1)?.committee
    if (next === null || next.hash === present?.hash || same(next, present)) return
    this.#add(epoch.end + 1, next)
  }

  /** Reads everything from the state again, after a restore. */
  reload(): void {
    this.#known = this.#store.committees.under().map(entry => ({ from: entry.from, committee: committeeFrom(entry) }))
  }

  #add(from: number, committee: Committee): void {
    const { f, p } = committee.quorum
    const validators = committee.validators.map(({ publicKey, peerId, name }) => ({ publicKey, peerId, name }))
    this.#store.committees.put(committeeName(from), { from, f, p, hash: committee.hash, validators })
    this.#known.push({ from, committee })
  }
}

/** null when these institutions cannot be a committee that tolerates f and p. */
function chosen(ranked: readonly Institution[], count: number, f: number, p: number): Committee | null {
  const members = ranked.slice(0, Math.min(count, VALIDATORS_MAX))
  const validators = members.map(({ publicKey, peerId, name }, i) => ({
    index: i as ValidatorIndex,
    publicKey,
    peerId,
    name,
  }))
  try {
    return makeCommittee(
      validators,
      f,
      p,
      committeeHashOf(
        members.map(({ publicKey }) => publicKey),
        f,
        p,
      ),
    )
  } catch (error) {
    if (error instanceof EmrmError && error.code === 'quorum-invalid') return null
    throw error
  }
}

/** The same keys in the same order with the same thresholds. The genesis committee's hash is wire's; its members decide. */
const same = (a: Committee, b: Committee | undefined): boolean =>
  b !== undefined &&
  a.quorum.f === b.quorum.f &&
  a.quorum.p === b.quorum.p &&
  a.validators.length === b.validators.length &&
  a.validators.every((validator, i) => validator.publicKey === b.validators[i]?.publicKey)

/** Of a height; null before the first. */
export const committeeEntryAt = (store: Store, height: number): CommitteeEntry | null =>
  store.committees.under().findLast(({ from }) => from <= height) ?? null

export const committeeFrom = (entry: CommitteeEntry): Committee =>
  makeCommittee(
    entry.validators.map((validator, i) => ({ ...validator, index: i as ValidatorIndex })),
    entry.f,
    entry.p,
    entry.hash,
  )
