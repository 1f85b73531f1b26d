// A chain as it stands on disk, made live again: the last checkpoint (or the snapshot with which the home began), then the blocks after it executed once more. A state that does
// not give the digest that the next header carries is noticed here, before the peer says a word. Not here: keeping up (catch-up.ts).

import type { Ledger } from './ledger/ledger.ts'
import { type Chain, makeLedger } from './make-ledger.ts'
import { EmrmError } from './model/errors.ts'
import { asHeight, type Height } from './model/ids.ts'
import type { DecideCertificate } from './model/messages.ts'
import type { Log, Storage, StoredBlock } from './ports.ts'

export type OpenedChain = { readonly ledger: Ledger; readonly headCertificate: DecideCertificate | null }

/** Throws EmrmError `block-corrupt`, `block-missing`, `state-diverged`, each with the height. */
export async function openChain(storage: Storage, chain: Chain, log: Log): Promise<OpenedChain> {
  const ledger = makeLedger(chain)
  const head = await storage.head()
  const checkpoint = await storage.loadCheckpoint()
  if (checkpoint.root !== null && checkpoint.height > 0) {
    const base = storage.base()?.at
    const isBase = base?.header.height === checkpoint.height
    const block = isBase ? base : (await storedBlock(storage, checkpoint.height)).block
    ledger.restore(checkpoint.entries, checkpoint.height, checkpoint.root, block)
  }
  let headCertificate: DecideCertificate | null = null
  for (let height = ledger.head().height + 1; height <= head; height++) {
    const { block, certificate } = await storedBlock(storage, asHeight(height))
    const fault = ledger.checkBlock(block, false, block.header.timestamp)
    if (fault !== null)
      throw new EmrmError(
        'state-diverged',
        `the stored block ${height} does not follow from the state before it (${fault.reason}); run "emrm verify", then restore this home from a backup or another peer`,
        { height, reason: fault.reason },
      )
    ledger.execute(block)
    headCertificate = certificate
    if (height % 5000 === 0) log.info('replaying', { height, head })
  }
  if (headCertificate === null && head > 0) headCertificate = await certificateAt(storage, head)
  return { ledger, headCertificate }
}

async function certificateAt(storage: Storage, height: Height): Promise<DecideCertificate> {
  const base = storage.base()?.at
  return base?.header.height === height ? base.certificate : (await storedBlock(storage, height)).certificate
}

export async function storedBlock(storage: Storage, height: Height): Promise<StoredBlock> {
  const stored = await storage.blockAt(height)
  if (stored === null)
    throw new EmrmError(
      'block-missing',
      `block ${height} is missing from this home's store; run "emrm verify", then restore the home from a backup or another peer`,
      { height },
    )
  return stored
}
