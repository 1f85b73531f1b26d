// The custodian's side of a record's deposit: after `record.register` stands on the chain, each validator gets its box, and further holders
// get the ciphertext. The record is *available* when 2f+1 validators have signed for their shares; who was away gets its box on the next
// connection. Not here: making the boxes (intake.ts), the other side (deposit-receiver.ts).

import { EmrmError } from '../model/errors.ts'
import { asHeight, type Digest, type Identifier, type PublicKey, type RecordId } from '../model/ids.ts'
import { type Clock, type Log, type Network, PROTOCOLS } from '../ports.ts'
import { idleSignal } from './deadline.ts'
import { ackSignedBytes, type DepositReceiver } from './deposit-receiver.ts'
import {
  type Acknowledgement,
  type DealtBox,
  type DepositAnswer,
  decodeAcks,
  decodeDeal,
  decodeDepositAnswer,
  encodeAcks,
  encodeDepositRequest,
} from './frames.ts'
import { replicaHolders, standIns } from './holders.ts'
import { type InstitutionFacts, institutionOf, type LedgerView, type RecordFacts } from './ledger-view.ts'
import { packLeaves, readAhead } from './pieces.ts'
import type { ItemName, Vault, VaultEntry } from './vault.ts'

/** Boxes under way at a time. */
const PARALLEL_MAX = 16
/** Ciphertext under way: each takes a few MiB of memory. */
const COPIES_AT_A_TIME = 2
/** A validator may wait for the block first (deposit-receiver.ts). */
const ANSWER_IDLE_MS = 20_000

export type DepositorOptions = {
  readonly vault: Vault
  readonly ledger: LedgerView
  readonly network: Pick<Network, 'self' | 'request'>
  /** This peer's own receiving side: nobody dials himself. */
  readonly local: DepositReceiver
  /** wire/verify's; the only verifier. */
  readonly verifySignature: (publicKey: PublicKey, bytes: Uint8Array, signature: Uint8Array) => boolean
  readonly chainId: Digest
  /** This institution. */
  readonly self: Identifier
  readonly clock: Clock
  readonly log: Log
}

export type Delivery = {
  readonly acknowledged: number
  /** 2f+1. */
  readonly needed: number
  readonly isAvailable: boolean
  readonly missing: readonly Identifier[]
}

export class Depositor {
  readonly #options: DepositorOptions
  readonly #busy = new Map<RecordId, Promise<Delivery>>()
  #unfinished: Set<RecordId> | null = null
  #continuing: Promise<void> | null = null

  constructor(options: DepositorOptions) {
    this.#options = options
  }

  /** Sends every box that was not signed for yet. A second call for the same record joins the first. Throws EmrmError `deal-missing`. */
  deliver(record: RecordId, signal: AbortSignal): Promise<Delivery> {
    const running = this.#busy.get(record)
    if (running !== undefined) return running
    const started = this.#deliver(record, signal).finally(() => this.#busy.delete(record))
    this.#busy.set(record, started)
    return started
  }

  /**
   * For all records of this institution whose deposit is not complete; to be called when a peer connects. The vault is searched once,
   * later calls know what is left. A call while another runs joins it.
   */
  depositMissing(signal: AbortSignal): Promise<void> {
    this.#continuing ??= this.#continue(signal).finally(() => {
      this.#continuing = null
    })
    return this.#continuing
  }

  async #continue(signal: AbortSignal): Promise<void> {
    const { ledger, self, log } = this.#options
    this.#unfinished ??= await this.#findUnfinished()
    for (const record of [...this.#unfinished]) {
      if (signal.aborted) return
      const entry = ledger.record(record)
      if (entry === null || entry.withdrawn || entry.custodian !== self) continue
      const { missing } = await this.deliver(record, signal)
      const copies = await this.replicate(record, signal)
      log.debug('deposit-continued', { record, missing: missing.length, copies })
    }
  }

  async #findUnfinished(): Promise<Set<RecordId>> {
    const { vault } = this.#options
    const found = new Set<RecordId>()
    for (const record of await vault.list()) if (isUnfinished(await vault.items(record))) found.add(record)
    return found
  }

  /** Keeps the list right after each step. */
  async #note(record: RecordId): Promise<void> {
    if (isUnfinished(await this.#options.vault.items(record))) this.#unfinished?.add(record)
    else this.#unfinished?.delete(record)
  }

  /** Boxes of a deal that has come to count, some of which are not delivered. */
  continueLater(record: RecordId): void {
    this.#unfinished?.add(record)
  }

  /** How far the deposit has come, without sending anything. */
  async delivery(record: RecordId): Promise<Delivery> {
    const entry = this.#entry(record)
    const acks = (await this.#read(record, 'acks', decodeAcks)) ?? []
    const deal = (await this.#read(record, 'deal', decodeDeal)) ?? []
    return this.#deliveryOf(entry, acks, deal)
  }

  /** Sends the ciphertext to the holders that the record's id chooses; answers how many have it now. */
  async replicate(record: RecordId, signal: AbortSignal): Promise<number> {
    const { vault, ledger, log } = this.#options
    const entry = this.#entry(record)
    const held = await vault.entry(record)
    if (held === null) return 0
    const holders = replicaHolders(entry, ledger)
    const spare = [...standIns(entry, ledger)]
    let stored = 0
    const send = async (holder: InstitutionFacts): Promise<void> => {
      const answer = await this.#ask(holder.peerId, cipherFrames(vault, held), signal)
      if (answer?.type === 'stored') stored++
      else log.info('replica-missing', { record, holder: holder.id, reason: reasonOf(answer) })
      // Another one takes its place; one that is away comes back, and is asked again.
      const next = reasonOf(answer) === 'vault-full' ? spare.shift() : undefined
      if (next !== undefined) await send(next)
    }
    for (let at = 0; at < holders.length; at += COPIES_AT_A_TIME)
      await Promise.all(holders.slice(at, at + COPIES_AT_A_TIME).map(send))
    if (stored === holders.length) await vault.removeItem(record, 'copies')
    await this.#note(record)
    return stored
  }

  async #deliver(record: RecordId, signal: AbortSignal): Promise<Delivery> {
    const { vault } = this.#options
    const entry = this.#entry(record)
    const deal = await this.#read(record, 'deal', decodeDeal)
    const acks = new Map((await this.#read(record, 'acks', decodeAcks))?.map(ack => [ack.index, ack]))
    if (deal === null) {
      if (acks.size > 0) return this.#deliveryOf(entry, [...acks.values()], [])
      throw new EmrmError(
        'deal-missing',
        `the shares of record ${record} are not in this vault; add the record again`,
        {
          record,
        },
      )
    }
    const pending = deal.filter(({ index }) => !acks.has(index))
    const before = acks.size
    for (let at = 0; at < pending.length && !signal.aborted; at += PARALLEL_MAX) {
      const batch = pending.slice(at, at + PARALLEL_MAX)
      for (const ack of await Promise.all(batch.map(box => this.#send(box, entry, signal))))
        if (ack !== null) acks.set(ack.index, ack)
    }
    const all = [...acks.values()].sort((a, b) => a.index - b.index)
    if (all.length > before) await vault.putItem(record, 'acks', encodeAcks(all))
    // The boxes are of no more use here, and a custodian should not hold what it need not.
    if (all.length === deal.length) await vault.removeItem(record, 'deal')
    await this.#note(record)
    return this.#deliveryOf(entry, all, deal)
  }

  async #send(box: DealtBox, entry: RecordFacts, signal: AbortSignal): Promise<Acknowledgement | null> {
    const { ledger, network, local, verifySignature, chainId, log } = this.#options
    const { record, index, validator } = box
    const institution = institutionOf(ledger, validator)
    if (institution === null) return null
    const answer =
      institution.peerId === network.self
        ? await local.takeShare(box, network.self)
        : await this.#ask(institution.peerId, [encodeDepositRequest({ type: 'share', ...box })], signal)
    const fail = (reason: string): null => {
      log.info('deposit-missing', { record, index, validator, reason })
      return null
    }
    if (answer?.type !== 'ack') return fail(reasonOf(answer))
    const signed = ackSignedBytes(chainId, record, index, entry.shareRoot)
    if (!verifySignature(institution.publicKey, signed, answer.signature)) return fail('acknowledgement-invalid')
    return { index, validator, signature: answer.signature }
  }

  /** Null when the peer could not be reached or gave no answer that can be read: it will be asked again. */
  async #ask(
    to: Network['self'],
    frames: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    outer: AbortSignal,
  ): Promise<DepositAnswer | null> {
    const { network, clock } = this.#options
    const idle = idleSignal(clock, ANSWER_IDLE_MS, outer)
    try {
      const watched = touching(frames, idle.touch)
      for await (const frame of network.request(to, PROTOCOLS.deposit, watched, idle.signal))
        return decodeDepositAnswer(frame)
      return null
    } catch (error) {
      // Our own vault's failure is ours; everything else is a peer that is away or silent.
      if (error instanceof EmrmError && error.code.startsWith('peer')) return null
      if (error instanceof EmrmError && error.code === 'request-timeout') return null
      if (idle.signal.aborted) return null
      throw error
    } finally {
      idle.end()
    }
  }

  #entry(record: RecordId): RecordFacts {
    const entry = this.#options.ledger.record(record)
    if (entry === null)
      throw new EmrmError('record-unknown', `record ${record} is not on the chain yet; register it first`, { record })
    return entry
  }

  #deliveryOf(entry: RecordFacts, acks: readonly Acknowledgement[], deal: readonly DealtBox[]): Delivery {
    const f =
      this.#options.ledger.committeeAt(asHeight(entry.dealtAt))?.quorum.f ?? Math.floor((entry.shareCount - 1) / 3)
    const needed = Math.min(2 * f + 1, entry.shareCount)
    const done = new Set(acks.map(({ index }) => index))
    return {
      acknowledged: acks.length,
      needed,
      isAvailable: acks.length >= needed,
      missing: deal.filter(({ index }) => !done.has(index)).map(({ validator }) => validator),
    }
  }

  async #read<T>(record: RecordId, item: 'deal' | 'acks', decode: (bytes: Uint8Array) => T | null): Promise<T | null> {
    const bytes = await this.#options.vault.item(record, item)
    return bytes === null ? null : decode(bytes)
  }
}

const isUnfinished = (items: readonly ItemName[]): boolean => items.includes('deal') || items.includes('copies')

async function* cipherFrames(vault: Vault, held: VaultEntry): AsyncGenerator<Uint8Array> {
  yield encodeDepositRequest({ type: 'cipher', record: held.record })
  yield packLeaves(held.leaves)
  yield* readAhead(index => vault.piece(held.record, index), 0, held.leaves.length)
}

async function* touching(
  frames: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  touch: () => void,
): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) {
    touch()
    yield frame
  }
}

const reasonOf = (answer: DepositAnswer | null): string =>
  answer === null ? 'no-answer' : answer.type === 'refused' ? answer.reason : answer.type
