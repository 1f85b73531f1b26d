// `emrm verify`: the whole local chain again, from genesis (or from the snapshot with which the home began), trusting nothing on disk: hash pointers (P-11), Merkle roots (P-10),
// certificates, state digests; then everything in the vault. Not here: repair.

import type { Ledger } from './ledger/ledger.ts'
import { ledgerFacts } from './ledger-facts.ts'
import { makeLedger } from './make-ledger.ts'
import type { Committee } from './model/committee.ts'
import { EmrmError } from './model/errors.ts'
import type { Genesis } from './model/genesis.ts'
import { asHeight, type Digest, type Height, type Identifier } from './model/ids.ts'
import type { Storage } from './ports.ts'
import { concernedRecords, examineRecord, type RecordProblem } from './records/scrub.ts'
import type { Vault } from './records/vault.ts'
import { baseHeight, standOnBase } from './snapshot/base.ts'
import { makeVerifier } from './wire/verify.ts'

export type VerifyProblem = {
  readonly what: 'block' | 'certificate' | 'state' | 'record' | 'store' | 'snapshot'
  readonly height?: number
  readonly record?: string
  readonly reason: string
}

export type VerifyReport = {
  readonly ok: boolean
  /** The first height whose block is here: 1, or the one after the snapshot with which this home began, which is checked too. */
  readonly from: number
  /** The last height that holds. */
  readonly heights: number
  readonly records: number
  /** Lowest height first. */
  readonly problems: readonly VerifyProblem[]
  /** What this institution should hold and does not: not damage, the peer fetches it. Empty when it is not known who we are. */
  readonly missing: readonly VerifyProblem[]
}

export type VerifyProgress = (stage: 'blocks' | 'records', done: number, total: number) => void

const BLOCKS_A_TURN = 16

export async function verifyHome(options: {
  readonly storage: Storage
  readonly vault: Vault
  readonly genesis: Genesis
  readonly chainId: Digest
  readonly committee: Committee
  /** This institution; null when that is not known (a stopped home whose keys are locked). */
  readonly self: Identifier | null
  readonly nowMs: number
  readonly onProgress: VerifyProgress
}): Promise<VerifyReport> {
  const { storage, vault, self, nowMs, onProgress } = options
  const head = await storage.head()
  const problems: VerifyProblem[] = []
  const base = baseHeight(storage)
  const ledger = makeLedger(options)
  const firstBad =
    (base > 0 ? await verifyOlder(options, base) : null) ??
    (await verifyBase(ledger, options)) ??
    (await verifyChain(ledger, options, head, onProgress))
  if (firstBad !== null) problems.push(firstBad)
  // A chain that does not hold says nothing of what should be in the vault.
  const isKnown = firstBad === null && self !== null
  const view = ledgerFacts(ledger)
  const records = isKnown ? await concernedRecords({ vault, ledger: view, self }) : await vault.list()
  const missing: VerifyProblem[] = []
  for (const [i, record] of records.entries()) {
    const found = isKnown
      ? await examineRecord({ vault, ledger: view, self, nowMs }, record)
      : await vault.verify(record)
    for (const problem of found) {
      // An upload whose registration is under way, or came after the head that was read.
      if (problem.type === 'unregistered') continue
      const list = problem.type === 'missing' || problem.type === 'share-missing' ? missing : problems
      list.push({ what: 'record', record, reason: reasonOf(problem) })
    }
    onProgress('records', i + 1, records.length)
  }
  return {
    ok: problems.length === 0 && missing.length === 0,
    from: base + 1,
    heights: firstBad?.height === undefined ? head : firstBad.height - 1,
    records: records.length,
    problems,
    missing,
  }
}

type ChainOptions = {
  readonly storage: Storage
  readonly genesis: Genesis
  readonly chainId: Digest
  readonly committee: Committee
}

/** Blocks from before a home fell so far behind that it went on with a snapshot: as far as they go. */
async function verifyOlder(options: ChainOptions, base: Height): Promise<VerifyProblem | null> {
  let last = 0
  while (last < base && (await isStored(options.storage, last + 1))) last++
  return verifyChain(makeLedger(options), options, asHeight(last), () => {})
}

/** A damaged block is stored; it is named when it is verified. */
const isStored = (storage: Storage, height: number): Promise<boolean> =>
  storage.blockAt(asHeight(height)).then(
    stored => stored !== null,
    () => true,
  )

async function verifyBase(ledger: Ledger, options: ChainOptions): Promise<VerifyProblem | null> {
  try {
    await standOnBase(ledger, options.chainId, options.storage)
    return null
  } catch (error) {
    if (!(error instanceof EmrmError)) throw error
    return { what: 'snapshot', height: baseHeight(options.storage), reason: error.code }
  }
}

/** The first block that does not hold: what stands after it hangs in the air. */
async function verifyChain(
  ledger: Ledger,
  options: ChainOptions,
  head: Height,
  onProgress: VerifyProgress,
): Promise<VerifyProblem | null> {
  const verifier = makeVerifier({ chainId: options.chainId, committeeAt: height => ledger.committeeAt(height) })
  for (let height = ledger.head().height + 1; height <= head; height++) {
    try {
      const stored = await options.storage.blockAt(asHeight(height))
      if (stored === null) return { what: 'store', height, reason: 'block-missing' }
      const checked = verifier.decided(stored.block, stored.certificate)
      if (checked.type !== 'ok')
        return { what: 'certificate', height, reason: checked.type === 'fault' ? checked.reason : checked.type }
      const fault = ledger.checkBlock(stored.block, false, stored.block.header.timestamp)
      if (fault !== null) return { what: 'state', height, reason: fault.reason }
      ledger.execute(stored.block)
    } catch (error) {
      if (error instanceof EmrmError) return { what: 'block', height, reason: error.code }
      throw error
    }
    if (height % BLOCKS_A_TURN === 0) {
      onProgress('blocks', height, head)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return null
}

function reasonOf(fault: RecordProblem): string {
  switch (fault.type) {
    case 'piece':
      return `piece-corrupt: piece ${fault.piece}`
    case 'leaves':
      return 'piece-corrupt: the list of pieces'
    case 'item':
      return `share-corrupt: ${fault.item}`
    case 'missing':
      return 'ciphertext-missing: this hospital should hold a copy'
    case 'erased':
      return 'record-erased: something of an erased record is still here'
    case 'share-missing':
      return 'share-missing: this validator has lost its share of the key'
    default:
      return fault.type
  }
}
