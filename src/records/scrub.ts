// Reads what a vault holds of a record again and compares it with the chain: damaged pieces and shares, ciphertext that is not the registered
// one, what was never registered, and what should be here and is not (P-12: comparing with the digest on the chain proves authenticity).
// Repairs nothing by itself: that is caretaker.ts.

import { identifierOf } from '../model/hash.ts'
import { asHeight, type Identifier, type RecordId } from '../model/ids.ts'
import { decodeNextShare, decodeShareBox } from './frames.ts'
import { isHolder } from './holders.ts'
import type { LedgerView, RecordFacts } from './ledger-view.ts'
import { isCommitted } from './shares.ts'
import type { ItemName, Vault, VaultFault } from './vault.ts'

/** A record that is younger is still being handed round: what is not here yet may be on its way. */
const SETTLED_AFTER_MS = 60_000

export type RecordProblem =
  | VaultFault
  /** Not on the chain: an upload that was cut off, or a vault of another network. */
  | { readonly type: 'unregistered'; readonly record: RecordId }
  | { readonly type: 'not-the-registered-one'; readonly record: RecordId }
  /** This institution should hold the ciphertext, and does not. */
  | { readonly type: 'missing'; readonly record: RecordId }
  /** This validator was dealt a share, and has none. */
  | { readonly type: 'share-missing'; readonly record: RecordId }
  /** Erased on the chain, and something of it is still, or again, here. */
  | { readonly type: 'erased'; readonly record: RecordId }
  /** Another holder answered a challenge wrongly. */
  | { readonly type: 'copy-missing'; readonly record: RecordId; readonly holder: string }

export type ScrubOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  /** This institution. */
  readonly self: Identifier
  /** By this machine's clock. */
  readonly nowMs: number
  /** Awaited after each piece. */
  readonly pace?: () => Promise<void>
}

/** One answer for each record of which the vault holds or should hold anything, in order of their ids. */
export async function* scrubVault(
  options: ScrubOptions,
): AsyncGenerator<{ readonly record: RecordId; readonly problems: readonly RecordProblem[] }> {
  for (const record of await concernedRecords(options)) yield { record, problems: await examineRecord(options, record) }
}

/** What this vault holds, and what it should hold. */
export async function concernedRecords({
  vault,
  ledger,
  self,
}: Pick<ScrubOptions, 'vault' | 'ledger' | 'self'>): Promise<readonly RecordId[]> {
  const found = new Set(await vault.list())
  for (const record of ledger.recordIds()) {
    const entry = ledger.record(record)
    if (entry !== null && !entry.withdrawn && (isHolder(entry, self, ledger) || wasDealtTo(entry, self, ledger)))
      found.add(record)
  }
  return [...found].sort()
}

export async function examineRecord(options: ScrubOptions, record: RecordId): Promise<readonly RecordProblem[]> {
  const { vault, ledger, self, nowMs, pace } = options
  // Nothing of it is worth reading: it only has to go.
  if (ledger.isErased(record)) return (await vault.list()).includes(record) ? [{ type: 'erased', record }] : []
  const problems: RecordProblem[] = [...(await vault.verify(record, pace))]
  const registered = ledger.record(record)
  if (registered === null) return [...problems, { type: 'unregistered', record }]
  const hasLost = (what: 'leaves' | 'share'): boolean =>
    problems.some(problem => problem.type === what || (problem.type === 'item' && problem.item === what))
  const held = hasLost('leaves') ? null : await vault.entry(record)
  const isSame = held?.cipherRoot === registered.cipherRoot && held.cipherSize === registered.cipherSize
  if (held !== null && !isSame) problems.push({ type: 'not-the-registered-one', record })
  if (registered.withdrawn || nowMs - registered.time < SETTLED_AFTER_MS) return problems
  if (held === null && !hasLost('leaves') && isHolder(registered, self, ledger))
    problems.push({ type: 'missing', record })
  const isDealt = wasDealtTo(registered, self, ledger)
  if (isDealt && !hasLost('share') && !(await holdsShare(vault, registered, problems)))
    problems.push({ type: 'share-missing', record })
  return problems
}

/** Under the root on the chain: one of a former deal is none, and one of a new deal that has come to count is one. */
async function holdsShare(vault: Vault, entry: RecordFacts, problems: readonly RecordProblem[]): Promise<boolean> {
  const { record } = entry
  const damaged = problems.flatMap(problem => (problem.type === 'item' ? [problem.item] : []))
  const read = async (item: ItemName): Promise<Uint8Array> =>
    (damaged.includes(item) ? null : await vault.item(record, item)) ?? new Uint8Array(0)
  const boxes = [decodeShareBox(await read('share')), decodeNextShare(await read('next'))]
  return boxes.some(box => box !== null && isCommitted(box, entry))
}

/** Whether this institution was among the validators that the key was dealt to. */
const wasDealtTo = (entry: RecordFacts, self: Identifier, ledger: LedgerView): boolean =>
  ledger
    .committeeAt(asHeight(entry.dealtAt))
    ?.validators.slice(0, entry.shareCount)
    .some(({ publicKey }) => identifierOf(publicKey) === self) ?? false
