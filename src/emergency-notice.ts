// The log line by which a hospital hears that the glass was broken: at the record's custodian, who tells the patient by whatever way the two
// have, and at the requester's hospital. A review is due at both. Not here: the list of them (api/emergencies.ts), the verdict (ledger).

import type { Views } from './ledger/views.ts'
import type { Identifier } from './model/ids.ts'
import type { RequestResult } from './model/operations.ts'
import type { Log } from './ports.ts'

/** After a block was executed here. No reason and no name stand in the line: the list has them, for who may see it. */
export function tellEmergencies(
  results: readonly RequestResult[],
  { views, self, log }: { readonly views: Views; readonly self: Identifier; readonly log: Log },
): void {
  for (const { outcome } of results) {
    if (outcome.type !== 'granted' || outcome.grant.basis !== 'emergency') continue
    const { grant, record, owner, requester, institution } = outcome.grant
    const isCustodian = views.record(record)?.custodian === self
    if (!isCustodian && institution !== self) continue
    const deadline = views.emergency(grant)?.deadline
    log.warn('emergency-access', {
      grant,
      record,
      requester,
      reviewBy: deadline,
      ...(isCustodian ? { tell: owner } : {}),
    })
  }
}
