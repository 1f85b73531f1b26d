// COMPOSITION ROOT: one peer built once, complete, in order: store → ledger → guard → network → driver → records; then started. It holds no
// rule; it knows every adapter, and nobody else does. Not here: settings (config.ts), HTTP (api), the loop (driver.ts).

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openCedar } from './adapters/cedar-engine.ts'
import { openLevelStorage } from './adapters/level-storage.ts'
import { makeLibp2pNetwork } from './adapters/libp2p-network.ts'
import { makeLog, systemClock } from './adapters/node-system.ts'
import { openVault } from './adapters/open-vault.ts'
import { openSignGuard, saveSignGuard } from './adapters/sign-guard.ts'
import { makeSignatureChecker } from './adapters/signature-checker.ts'
import { twinMaker } from './adapters/twin-maker.ts'
import type { PeerHandle, PeerStatus, TransactionView } from './api/peer-handle.ts'
import type { PeerConfig, PeerKeys } from './config.ts'
import { type Driver, makeDriver } from './driver.ts'
import { tellEmergencies } from './emergency-notice.ts'
import { makeLedger } from './make-ledger.ts'
import { admittedPeers, watchMembership } from './membership.ts'
import { Mempool } from './mempool.ts'
import { EmrmError } from './model/errors.ts'
import { identifierOf, toHex } from './model/hash.ts'
import { asHeight, asTimestamp, type BlockId, type Height, type RequestId } from './model/ids.ts'
import { inclusionProof } from './model/merkle.ts'
import type { Operation, RequestResult } from './model/operations.ts'
import { openChain } from './open-chain.ts'
import type { Log, Storage, StoredBlock } from './ports.ts'
import { openRecordDesk } from './record-desk.ts'
import { examineVault } from './records/vault-check.ts'
import { type LimitedVault, limitVault } from './records/vault-limit.ts'
import { baseHeight, beforeSnapshot, standOnBase } from './snapshot/base.ts'
import { verifyHome } from './verify-home.ts'
import { VERSION } from './version.ts'
import { genesisCommittee } from './wire/codec.ts'
import { makeRequest, makeVerifier } from './wire/verify.ts'

/** How long a client waits for a decision. */
const SUBMIT_TIMEOUT_MS = 60_000
/** rho <= D0/4 (consensus.md §1.6). */
const RESENDS_PER_TIMEOUT = 4

export type RunningPeer = {
  readonly peer: PeerHandle
  readonly log: Log
  /** Rejects when the peer cannot go on: the disk failed, or its state diverged. Never resolves. */
  readonly failed: Promise<never>
}

/** Throws EmrmError `home-in-use`, `listen-failed`, `state-diverged`, `block-corrupt`, `vote-log-corrupt`, `store-corrupt`, … */
export async function startPeer(config: PeerConfig, keys: PeerKeys): Promise<RunningPeer> {
  const log = makeLog({ level: config.logLevel })
  const clock = systemClock
  const { genesis, chainId } = config
  const self = identifierOf(keys.institution.publicKey)
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  const storage = await openLevelStorage(join(config.dataDir, 'chain'))
  // What was opened is closed again when a later step fails: the next start must not find the home locked by this one.
  const closing: (() => Promise<void>)[] = [() => storage.close()]
  const closeAll = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) await close()
  }
  try {
    for (const problem of storage.problems) log.error('store-problem', problem)
    const chain = { genesis, chainId, committee: genesisCommittee(genesis) }
    const { ledger, headCertificate } = await openChain(storage, chain, log)
    const { views } = ledger
    const restored = await storage.loadVotes()
    const guardFile = join(config.paths.home, 'guard.json')
    // Nothing there, or less than was acknowledged: votes were forgotten, and the peer acts as one that lost its disk.
    const isEmpty = ledger.head().height === 0 && restored.length === 0
    const hasForgotten = storage.problems.some(({ code }) => code === 'writes-lost')
    const guard = await openSignGuard(guardFile, isEmpty || hasForgotten)

    const network = await makeLibp2pNetwork({
      seed: keys.institution.seed(),
      swarmKey: config.swarmKey,
      listen: config.listen,
      announce: config.announce,
      bootstrap: config.peers,
      admitted: admittedPeers(ledger),
      mdns: config.mdns,
      peerStoreDir: join(config.dataDir, 'peers'),
      log,
    })
    closing.push(() => network.stop())
    const mempool = new Mempool()
    const verifier = makeVerifier({ chainId, committeeAt: height => ledger.committeeAt(height) })
    const { promise: failed, reject: fail } = Promise.withResolvers<never>()
    failed.catch(() => {})
    const nextBlocks: (() => void)[] = []
    const onBlock = watchMembership(ledger, peers => network.admit(peers))
    const { viewTimeoutMs, viewTimeoutMaxMs } = views.parameters()

    const signatures = makeSignatureChecker()
    closing.push(() => signatures.close())
    const driver = makeDriver({
      signatures,
      chainId,
      ledger,
      mempool,
      storage,
      network,
      verifier,
      signer: keys.institution,
      clock,
      log,
      headCertificate,
      restored,
      signFrom: guard.signFrom,
      onSignFrom: signFrom => saveSignGuard(guardFile, { signFrom }),
      pacemaker: { viewTimeoutMs, viewTimeoutMaxMs, resendMs: Math.floor(viewTimeoutMs / RESENDS_PER_TIMEOUT) },
      onExecuted: (block, results) => {
        onBlock(block)
        tellEmergencies(results, { views, self, log })
        for (const wake of nextBlocks.splice(0)) wake()
      },
      onAdopted: () => {
        network.admit(admittedPeers(ledger))
        for (const wake of nextBlocks.splice(0)) wake()
      },
      onFatal: error => {
        log.error('peer-failed', { code: error instanceof EmrmError ? error.code : 'bug', reason: String(error) })
        fail(error)
      },
    })

    const submit = async (bytes: Uint8Array): Promise<RequestResult> => {
      const checked = verifier.request(bytes)
      if (checked.type !== 'ok')
        throw new EmrmError(
          'request-invalid',
          `the request is refused (${checked.type === 'fault' ? checked.reason : checked.type}); sign it again for this network`,
          {
            reason: checked.type === 'fault' ? checked.reason : checked.type,
          },
        )
      return driver.submit(checked.value, SUBMIT_TIMEOUT_MS)
    }
    const submitAsInstitution = (operation: Operation): Promise<RequestResult> => {
      const { publicKey } = keys.institution
      const timestamp = asTimestamp(clock.nowMs())
      const sign = (bytes: Uint8Array): Uint8Array => keys.institution.sign(bytes)
      return submit(makeRequest({ network: chainId, operation, timestamp, scheme: 1, publicKey, sign }).bytes)
    }

    const { vault: unlimited, close: closeVault } = await openVault(config.vault)
    closing.push(closeVault)
    const vault = limitVault(unlimited, config.vaultQuotaBytes)
    const desk = await openRecordDesk({
      config,
      keys,
      ledger,
      network,
      vault,
      openProgram: source => openCedar(source, { log }),
      makeTwin: twinMaker(),
      clock,
      log,
      staleMs: () => driver.staleMs(),
      nextBlock: () => new Promise<void>(resolve => nextBlocks.push(resolve)),
      submitAsInstitution,
    })
    closing.push(() => desk.stop())

    await network.start()
    driver.start()
    closing.push(() => driver.stop())
    log.info('started', { peer: network.self, height: ledger.head().height, version: VERSION })

    const peer: PeerHandle = {
      genesis,
      chainId,
      views,
      committeeAt: height => ledger.committeeAt(height),
      status: () =>
        statusOf({
          config,
          driver,
          ledger,
          mempool,
          network,
          vault,
          institution: self,
        }),
      connections: () => network.connections(),
      beginning: async () => {
        const first = makeLedger(chain)
        await standOnBase(first, chainId, storage)
        return first
      },
      handover: async height => {
        await driver.stored()
        const [found] = await storage.handovers(height, 1)
        return found?.header.height === height ? found : null
      },
      block: ref => driver.stored().then(() => blockOf(storage, ref)),
      transaction: id => driver.stored().then(() => transactionOf(storage, id)),
      submit,
      submitAsInstitution,
      addRecord: (source, options) => desk.addRecord(source, options),
      localEntry: record => desk.localEntry(record),
      release: (grant, recipientKey) => desk.release(grant, recipientKey),
      leaves: (record, grant) => desk.leaves(record, grant),
      ciphertext: (record, grant, fromPiece) => desk.ciphertext(record, grant, fromPiece),
      verify: (onProgress = () => {}) => {
        return verifyHome({ storage, vault, ...chain, self, nowMs: clock.nowMs(), onProgress })
      },
      scrub: signal => desk.scrub(signal),
      careReport: () => desk.careReport(),
      examineVault: () => examineVault(vault),
      requireRoom: bytes => vault.requireRoom(bytes),
      stop: closeAll,
    }
    return { peer, log, failed }
  } catch (error) {
    await closeAll()
    throw error
  }
}

type StorageReader = Pick<Storage, 'blockAt' | 'heightOf' | 'requestAt' | 'base'>

async function blockOf(storage: StorageReader, ref: Height | BlockId): Promise<StoredBlock | null> {
  const height = typeof ref === 'number' ? ref : await storage.heightOf(ref)
  const stored = height === null ? null : await storage.blockAt(height)
  const base = baseHeight(storage)
  if (stored === null && base > 0 && (height === null || height <= base)) throw beforeSnapshot(storage)
  return stored
}

/** P-12: a request with the Merkle proof that it stands in its block. */
async function transactionOf(storage: StorageReader, id: RequestId): Promise<TransactionView | null> {
  const place = await storage.requestAt(id)
  if (place === null && storage.base() !== null) throw beforeSnapshot(storage)
  const stored = place === null ? null : await storage.blockAt(place.height)
  const request = place === null ? undefined : stored?.block.requests[place.index]
  const outcome = place === null ? undefined : stored?.outcomes[place.index]
  if (place === null || stored === null || request === undefined || outcome === undefined) return null
  const leaves = stored.block.requests.map(({ bytes }) => bytes)
  return {
    request,
    height: place.height,
    block: stored.block.id,
    index: place.index,
    outcome,
    proof: inclusionProof(leaves, place.index).map(toHex),
    requestCount: leaves.length,
    requestsRoot: stored.block.header.requestsRoot,
  }
}

function statusOf(parts: {
  readonly config: PeerConfig
  readonly driver: Driver
  readonly ledger: Parameters<typeof openRecordDesk>[0]['ledger']
  readonly mempool: Mempool
  readonly network: Parameters<typeof openRecordDesk>[0]['network']
  readonly vault: Pick<LimitedVault, 'lastUsage'>
  readonly institution: PeerStatus['institution']['id']
}): PeerStatus {
  const { config, driver, ledger, mempool, network, vault } = parts
  const head = ledger.head()
  const { view, primary, role } = driver.view()
  const leader = ledger.committeeAt(asHeight(head.height + 1))?.validators[primary]
  return {
    peerId: network.self,
    institution: { id: parts.institution, name: config.name },
    network: { name: config.genesis.network, chainId: config.chainId },
    height: head.height,
    head: head.id,
    view,
    primary: leader === undefined ? null : { index: primary, peerId: leader.peerId, name: leader.name },
    role,
    peers: network.connections(),
    mempool: { requests: mempool.size, bytes: mempool.bytes },
    vault: vault.lastUsage(),
    stateDigest: ledger.stateRoot(),
    version: VERSION,
  }
}
