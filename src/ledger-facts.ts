// What the records see of a ledger, at its head: records may not import the ledger, so the two meet here. Not here: rules of either.

import type { Ledger } from './ledger/ledger.ts'
import { standing } from './ledger/standing.ts'
import type { LedgerView } from './records/ledger-view.ts'

export function ledgerFacts(ledger: Ledger): LedgerView {
  const { views } = ledger
  return {
    head: () => ledger.head(),
    parameters: () => views.parameters(),
    institutions: () => views.allInstitutions(),
    committeeAt: height => ledger.committeeAt(height),
    record: id => views.record(id),
    recordIds: () => views.recordIds(),
    redeal: record => views.redeal(record),
    recordIdsOf: custodian => views.recordsOfCustodian(custodian).map(({ record }) => record),
    isErased: record => views.isErased(record),
    erasedCount: () => views.erasedCount(),
    receiptsOwed: institution => views.receiptsOwed(institution),
    hasDestroyed: (record, institution) => views.hasDestroyed(record, institution),
    shareGrants: record => views.shareGrants(record),
    grant: id => views.grant(id),
    standing: grant => standing(views, grant),
  }
}
