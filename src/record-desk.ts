// Where records meet the rest of the peer: the parts of records/ put together with the ledger, the network and the hospital's rules.
// Composition for peer.ts, which starts and stops it. Not here: what each part does (records/, enforcer/).

import { randomBytes } from 'node:crypto'
import type { AddedRecord, AddRecordOptions, Release } from './api/peer-handle.ts'
import type { PeerConfig, PeerKeys } from './config.ts'
import { type OpenProgram, openHouseRules } from './house-rules.ts'
import type { Ledger } from './ledger/ledger.ts'
import { ledgerFacts } from './ledger-facts.ts'
import { EmrmError } from './model/errors.ts'
import { fromHex, identifierOf } from './model/hash.ts'
import type { Identifier, RecordId, RequestId } from './model/ids.ts'
import type { Grant, Operation, RequestResult } from './model/operations.ts'
import { type Clock, type Log, type Network, PROTOCOLS } from './ports.ts'
import { type Care, type CareReport, Caretaker } from './records/caretaker.ts'
import { type Collected, collectShares } from './records/collect.ts'
import { Depositor } from './records/deposit.ts'
import { DepositReceiver } from './records/deposit-receiver.ts'
import { Eraser } from './records/eraser.ts'
import { guardErased } from './records/erasure-guard.ts'
import { type Intake, type IntakeOptions, prepareRecord } from './records/intake.ts'
import { parseLabelRules, standardLabels } from './records/labels/rules.ts'
import type { RecordFacts } from './records/ledger-view.ts'
import { type LocalEntry, localIndexKey, readEntry } from './records/local-index.ts'
import { PieceServer } from './records/piece-server.ts'
import { fetchLeaves, fetchPieces } from './records/piece-source.ts'
import { PIECE_BYTES } from './records/pieces.ts'
import { Redealer, type RedealReport } from './records/redeal.ts'
import { ShareServer } from './records/share-server.ts'
import { ShareShelf } from './records/share-shelf.ts'
import { type MakeTwin, PlainCopy } from './records/twin.ts'
import type { LimitedVault } from './records/vault-limit.ts'
import { readJsonFile } from './shape.ts'
import { verifySignature } from './wire/verify.ts'

/** How long `record add` waits for 2f+1 validators to sign for their shares. */
const AVAILABLE_TIMEOUT_MS = 60_000
const DELIVER_AGAIN_MS = 1_000
/** Boxes and copies that others still lack are sent again so often, and when a peer connects. */
const DEPOSIT_AGAIN_MS = 30_000
const CONNECTED_SETTLE_MS = 2_000
const RELEASE_TIMEOUT_MS = 60_000

export type RecordDeskOptions = {
  readonly config: PeerConfig
  readonly keys: PeerKeys
  readonly ledger: Ledger
  readonly network: Network
  readonly vault: LimitedVault
  readonly openProgram: OpenProgram
  readonly makeTwin: MakeTwin
  readonly clock: Clock
  readonly log: Log
  readonly staleMs: () => number
  /** Resolves when the next block was executed. */
  readonly nextBlock: () => Promise<void>
  readonly submitAsInstitution: (operation: Operation) => Promise<RequestResult>
}

export type RecordDesk = {
  addRecord(source: AsyncIterable<Uint8Array>, options: AddRecordOptions): Promise<AddedRecord>
  release(grant: RequestId, recipient: Uint8Array): Promise<Release>
  ciphertext(
    record: RecordId,
    grant: RequestId,
    from: number,
  ): { readonly bytes: number; readonly pieces: AsyncIterable<Uint8Array> }
  leaves(record: RecordId, grant: RequestId): Promise<readonly Uint8Array[]>
  /** Looks at everything in the vault, mends what can be mended, yields the records with which something was wrong. */
  scrub(signal: AbortSignal): AsyncIterable<Care>
  careReport(): CareReport & { readonly redeal: RedealReport }
  /** What this hospital noted of a record when it took it in; null when it did not. */
  localEntry(record: RecordId): Promise<LocalEntry | null>
  stop(): Promise<void>
}

/** Sets the handlers of the record protocols, so before the network starts. Throws EmrmError `rules-invalid`, `label-rules-invalid`. */
export async function openRecordDesk(options: RecordDeskOptions): Promise<RecordDesk> {
  const { config, keys, network, clock, log, nextBlock } = options
  const ledger = ledgerFacts(options.ledger)
  const vault = guardErased(options.vault, record => ledger.isErased(record))
  const self: Identifier = identifierOf(keys.institution.publicKey)
  const house = await openHouseRules({ file: config.rulesFile, openProgram: options.openProgram, clock, log })
  const { labelsFile } = config
  const labelRules =
    labelsFile === null ? standardLabels() : parseLabelRules(await readJsonFile(labelsFile), labelsFile)
  const seed = keys.institution.seed()
  const indexKey = localIndexKey(seed)
  seed.fill(0)
  log.info('label-rules-loaded', { id: labelRules.id, version: labelRules.version, digest: labelRules.digest })
  const sealKey = keys.seal
  const { chainId } = config
  const stopping = new AbortController()

  const shelf = new ShareShelf({ vault, log })
  const receiver = new DepositReceiver({
    ...{ vault, shelf, ledger, self, sealKey, chainId, nextBlock, clock, log, freshness: options.staleMs },
    sign: bytes => keys.institution.sign(bytes),
    onLoss: (record, loss, validator) => redealer.noteLoss(record, loss, validator),
  })
  const depositor = new Depositor({
    vault,
    ledger,
    network,
    local: receiver,
    verifySignature,
    chainId,
    self,
    clock,
    log,
  })
  const freshness = options.staleMs
  const submit = (operation: Operation): Promise<RequestResult> => options.submitAsInstitution(operation)
  const eraser = new Eraser({ vault, ledger, self, submit, clock, log })
  const caretaker = new Caretaker({ eraser, vault, ledger, network, self, receiver, shelf, freshness, clock, log })
  const onDamage = (record: RecordId): void => caretaker.later(record)
  const shareServer = new ShareServer({
    ...{ vault, shelf, ledger, sealKey, nextBlock, clock, log, freshness, onDamage },
    enforce: (grant, record) => house.ask(grant, record, options.ledger.views.attributesNow(grant.requester)),
  })
  const redealer = new Redealer({
    ...{ vault, ledger, network, shares: shareServer, receiver, verifySignature, chainId, self, clock, log },
    submit: options.submitAsInstitution,
    onDealt: record => depositor.continueLater(record),
  })
  const pieceServer = new PieceServer({ vault, ledger, onDamage, clock, log })
  network.onRequest(PROTOCOLS.deposit, (request, from) => receiver.handle(request, from))
  network.onRequest(PROTOCOLS.share, (request, from) => shareServer.handle(request, from))
  network.onRequest(PROTOCOLS.pieces, (request, from) => pieceServer.handle(request, from))

  let cancelDeposits: () => void = () => {}
  const depositLater = (afterMs: number): void => {
    cancelDeposits()
    cancelDeposits = clock.after(afterMs, () => {
      depositor
        .depositMissing(stopping.signal)
        .catch(error => log.warn('deposit-failed', { reason: error instanceof EmrmError ? error.code : String(error) }))
        .finally(() => {
          if (!stopping.signal.aborted) depositLater(DEPOSIT_AGAIN_MS)
        })
    })
  }
  network.onPeer((_peer, event) => {
    if (event === 'connected' && !stopping.signal.aborted) depositLater(CONNECTED_SETTLE_MS)
  })

  caretaker.start()
  redealer.start()

  const eraseOnEachBlock = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const next = nextBlock()
      await eraser.look()
      await next
    }
  }
  const cancelErasing = clock.after(CONNECTED_SETTLE_MS, () => {
    eraseOnEachBlock().catch(error => log.error('erasing-failed', { reason: String(error) }))
  })

  async function register(operation: Operation & { readonly record: RecordId }): Promise<RequestResult> {
    const result = await options.submitAsInstitution(operation)
    if (result.outcome.type === 'done') return result
    // Never registered: what was encrypted is of no use to anyone.
    await vault.remove(operation.record)
    const reason = 'reason' in result.outcome ? result.outcome.reason : result.outcome.type
    throw new EmrmError(reason, `the chain refused the record (${reason}); nothing was kept of it`, {
      record: operation.record,
    })
  }

  const pieceSource = { vault, ledger, network, onDamage, clock, log }
  function grantedRecord(record: RecordId, grant: RequestId): { readonly entry: RecordFacts; readonly found: Grant } {
    const entry = ledger.record(record)
    const found = ledger.grant(grant)
    if (entry === null || found === null || found.record !== record)
      throw new EmrmError('grant-unknown', 'there is no such grant for this record; ask for access first', { grant })
    return { entry, found }
  }

  async function deliver(record: RecordId): Promise<void> {
    const until = clock.steadyMs() + AVAILABLE_TIMEOUT_MS
    for (;;) {
      const { isAvailable, acknowledged, needed } = await depositor.deliver(record, stopping.signal)
      if (isAvailable) return
      if (clock.steadyMs() > until || stopping.signal.aborted)
        throw new EmrmError(
          'record-not-available',
          `the record is registered, but only ${acknowledged} of ${needed} validators have signed for their shares; this peer goes on trying: see "emrm record show"`,
          { record, acknowledged, needed },
        )
      await pause(clock, DELIVER_AGAIN_MS)
    }
  }

  type Wanted = Omit<IntakeOptions, 'vault' | 'ledger' | 'custodian' | 'labelRules' | 'indexKey' | 'onProgress'>
  async function add(wanted: Wanted, onProgress: AddRecordOptions['onProgress']): Promise<Intake & { height: number }> {
    const prepared = await prepareRecord({
      ...wanted,
      ...{ vault, ledger, custodian: self, labelRules, indexKey },
      onProgress: bytes => onProgress?.('encrypted', bytes),
    })
    const { record, twinOf } = prepared.operation
    const { height } = await register(prepared.operation)
    onProgress?.('registered', prepared.plainSize)
    await deliver(record)
    onProgress?.('available', prepared.plainSize)
    const copies = await depositor.replicate(record, stopping.signal)
    const what = { record, height, size: prepared.plainSize, copies }
    log.info('record-added', twinOf === null ? what : { ...what, twinOf })
    return { ...prepared, height }
  }

  /** The record stands by now: whatever the twin fails of is said beside it. */
  async function addTwin({ operation }: Intake, copy: PlainCopy): Promise<Partial<AddedRecord>> {
    const { record, owner, kind, confidentiality, labels, encounter, lastVisit } = operation
    try {
      const { bytes, ruleDigest } = await options.makeTwin({
        ...copy.take(kind),
        extractKey: new Uint8Array(randomBytes(32)),
        patientKey: fromHex(owner),
      })
      const wanted = {
        owner,
        kind,
        confidentiality,
        labels,
        encounter,
        lastVisit,
        twinOf: record,
        twinRules: ruleDigest,
      }
      const twin = await add({ ...wanted, source: once(bytes) }, undefined)
      return { twin: twin.operation.record, twinRules: ruleDigest }
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      log.warn('twin-refused', { record, reason: error.code })
      return { twin: null, twinRefused: { code: error.code, message: error.message } }
    }
  }

  return {
    async addRecord(source, { onProgress, signal, twin, ...wanted }) {
      const copy = twin ? new PlainCopy() : null
      const read = {
        source: copy?.watch(source) ?? source,
        twinOf: null,
        twinRules: null,
        ...(signal === undefined ? {} : { signal }),
      }
      try {
        const added = await add({ ...wanted, ...read }, onProgress)
        const { record } = added.operation
        const { kind, confidentiality, labels } = added.operation
        const { labelling } = added
        const entry = { record, height: added.height, size: added.plainSize, kind, confidentiality, labels, labelling }
        return copy === null ? entry : { ...entry, ...(await addTwin(added, copy)) }
      } finally {
        copy?.wipe()
      }
    },
    async release(grant, recipient) {
      const found = ledger.grant(grant)
      const entryNow = (): RecordFacts | null => (found === null ? null : ledger.record(found.record))
      const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(RELEASE_TIMEOUT_MS)])
      const collect = (entry: RecordFacts): Promise<Collected> =>
        collectShares({ ledger, network, local: shareServer, clock }, { entry, grant, recipient, signal })
      const entry = entryNow()
      if (entry === null)
        throw new EmrmError('grant-unknown', 'there is no such grant; ask for access first', { grant })
      const first = await collect(entry)
      // The key was dealt anew meanwhile: shares of the two deals do not fit together.
      const later = entryNow()
      const { shares, refusals } = later === null || later.shareRoot === entry.shareRoot ? first : await collect(later)
      return {
        shares,
        refusals: refusals.map(({ institution, reason, detail }) => ({
          institution,
          reason,
          ...(detail === '' ? {} : { detail }),
        })),
      }
    },
    leaves: async (record, grant) => {
      const { entry } = grantedRecord(record, grant)
      return fetchLeaves(pieceSource, { entry, grant, signal: stopping.signal })
    },
    ciphertext: (record, grant, from) => {
      const { entry, found } = grantedRecord(record, grant)
      async function* pieces(): AsyncGenerator<Uint8Array> {
        try {
          yield* fetchPieces(pieceSource, { entry, grant, from, signal: stopping.signal })
        } finally {
          // Whoever was granted to share keeps a copy of its own from now on.
          if (found.right === 'share' && found.institution === self) caretaker.later(record)
        }
      }
      return { bytes: Math.max(0, entry.cipherSize - from * PIECE_BYTES), pieces: pieces() }
    },
    scrub: signal => caretaker.round(signal),
    careReport: () => ({ ...caretaker.report(), redeal: redealer.report() }),
    localEntry: record => readEntry(vault, indexKey, record),
    async stop() {
      stopping.abort()
      caretaker.stop()
      redealer.stop()
      eraser.stop()
      cancelErasing()
      cancelDeposits()
      await house.stop()
    },
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const pause = (clock: Clock, ms: number): Promise<void> => new Promise(resolve => void clock.after(ms, resolve))
