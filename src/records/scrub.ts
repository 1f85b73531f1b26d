// Reads a whole vault again and compares it with the chain: damaged pieces and shares, ciphertext that is not the registered one, and what
// was never registered (P-12: comparing with the digest on the chain proves authenticity). Repairs nothing by itself.

import type { RecordId } from '../model/ids.ts'
import type { LedgerView } from './ledger-view.ts'
import type { Vault, VaultFault } from './vault.ts'

export type RecordProblem =
  | VaultFault
  /** Not on the chain: an upload that was cut off, or a vault of another network. */
  | { readonly type: 'unregistered'; readonly record: RecordId }
  | { readonly type: 'not-the-registered-one'; readonly record: RecordId }

/** One answer for each record that the vault holds, in order of their ids. */
export async function* scrubVault(
  vault: Vault,
  ledger: Pick<LedgerView, 'record'>,
): AsyncGenerator<{ readonly record: RecordId; readonly problems: readonly RecordProblem[] }> {
  for (const record of await vault.list()) {
    const problems: RecordProblem[] = [...(await vault.verify(record))]
    const registered = ledger.record(record)
    if (registered === null) problems.push({ type: 'unregistered', record })
    else if (!problems.some(({ type }) => type === 'leaves')) {
      const held = await vault.entry(record)
      const isSame = held?.cipherRoot === registered.cipherRoot && held.cipherSize === registered.cipherSize
      if (held !== null && !isSame) problems.push({ type: 'not-the-registered-one', record })
    }
    yield { record, problems }
  }
}
