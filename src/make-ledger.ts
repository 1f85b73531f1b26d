// The ledger of a chain with the judge of evidence built in. Whoever executes blocks (a running peer, `emrm verify`, `emrm replay`, a
// test) makes its ledger here: two ledgers with different judges would part ways at the first evidence. Not here: storage (open-chain.ts).

import { provesFault } from './evidence.ts'
import { Ledger } from './ledger/ledger.ts'
import type { Committee } from './model/committee.ts'
import type { Genesis } from './model/genesis.ts'
import type { Digest, Height } from './model/ids.ts'
import { makeVerifier, verifySignature } from './wire/verify.ts'

export type Chain = { readonly genesis: Genesis; readonly chainId: Digest; readonly committee: Committee }

/** At genesis. Throws EmrmError `genesis-invalid`. */
export function makeLedger({ genesis, chainId, committee }: Chain): Ledger {
  const committeeAt = (height: Height): Committee | null => ledger.committeeAt(height)
  const court = { chainId, committeeAt, verifier: makeVerifier({ chainId, committeeAt }) }
  const ledger: Ledger = new Ledger({
    ...{ genesis, chainId, committee },
    verifyEvidence: operation => provesFault(operation, court),
    verifySignature,
  })
  return ledger
}
