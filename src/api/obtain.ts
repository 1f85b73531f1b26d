// The whole of an access (P-47), from the user's side: a signed request, the decision on the chain, sealed shares, ciphertext pieces, a
// verified plaintext in a file or a stream, and the receipt on the chain. The peer carries bytes; only this side, with the recipient key, can open them.
// Not here: each step's insides (client/, the peer), flags (cli/access.ts).

import type { AccessAttempt, Agent } from '../client/agent.ts'
import { type OpenOptions, openRecord, openRecordInto, type RecordClaim } from '../client/open.ts'
import { openPartial, type Partial } from '../client/partial.ts'
import type { SigningKey } from '../identity/signing-key.ts'
import { EmrmError } from '../model/errors.ts'
import { fromHex } from '../model/hash.ts'
import type { Digest, RequestId } from '../model/ids.ts'
import type { Grant, Outcome } from '../model/operations.ts'
import { PIECE_BYTES, unpackLeaves } from '../records/pieces.ts'
import type { ReleasedShare } from '../records/shares.ts'
import type { Api } from './client.ts'
import { refusedError } from './operations.ts'

/** Fetched again whole when it is cut off. */
const RESUMABLE_BYTES = 4 * PIECE_BYTES
/** What arrived cannot be opened, and will not be with more of it. */
const HOPELESS: readonly string[] = ['record-corrupt', 'commitment-mismatch']

export type Obtained =
  | {
      readonly decision: 'grant'
      readonly grant: RequestId
      readonly height: number
      readonly record: string
      readonly variant: Grant['variant']
      /** Of a de-identified twin: digest of the rules that made it, as its registration has it; null for an original. */
      readonly rules: Digest | null
      readonly basis: string
      readonly bytes: number
      readonly sha256: Digest
      /** Bytes of the ciphertext that were here from an access that was cut off. */
      readonly resumed: number
      /** Height of the receipt; null when it was not taken. */
      readonly receipt: number | null
      /** Hospitals that gave no share although the chain granted; enough others did. */
      readonly refusals: readonly Refusal[]
    }
  | { readonly decision: 'deny'; readonly reason: string; readonly request: RequestId; readonly height: number }

/** `detail`: the name of the hospital's own rule when the reason is `withheld`. */
export type Refusal = { readonly institution: string; readonly reason: string; readonly detail?: string }

export type ObtainOptions = {
  readonly api: Api
  readonly agent: Agent
  readonly key: SigningKey
  readonly chainId: Digest
  readonly attempt: AccessAttempt
  /** Where the record goes: a file, or whoever takes its chunks one by one. */
  readonly output: string | ((chunk: Uint8Array) => Promise<void>)
  /** Asked for when a file begins: from then on what arrived is kept when it aborts, and the plaintext is not left lying. */
  readonly stopSignal?: () => AbortSignal
  /** `total`: what `bytes` will come to, nearly; null where there is nothing to count. */
  readonly onProgress: (stage: string, bytes: number, total: number | null) => void
}

/** Throws EmrmError for what is no decision: a refusal by the chain, too few shares, bytes that do not verify. */
export async function obtainRecord(options: ObtainOptions): Promise<Obtained> {
  const { api, agent, attempt, onProgress } = options
  onProgress('deciding', 0, null)
  const { outcome, height } = await submit(api, attempt.request.bytes)
  const request = attempt.request.id
  if (outcome.type === 'denied') return { decision: 'deny', reason: outcome.reason, request, height }
  if (outcome.type !== 'granted') throw refused(outcome, attempt, height)
  const { grant } = outcome
  onProgress('collecting shares', 0, null)
  const { claim, opened, refusals } = await open(options, grant)
  const receipt = await giveReceipt(api, agent, grant, claim)
  return {
    decision: 'grant',
    grant: grant.grant,
    height,
    record: grant.record,
    variant: grant.variant,
    rules: claim.twinRules,
    basis: grant.basis,
    bytes: opened.bytes,
    sha256: opened.sha256,
    resumed: opened.resumed,
    receipt,
    refusals,
  }
}

type Claimed = RecordClaim & { readonly record: string; readonly twinRules: Digest | null }

async function open(
  { api, key, chainId, attempt, output, stopSignal, onProgress }: ObtainOptions,
  grant: Grant,
): Promise<{
  readonly claim: Claimed
  readonly opened: Opened
  readonly refusals: readonly Refusal[]
}> {
  const { shares, refusals } = (await api.call('POST', `/v1/grants/${grant.grant}/release`, {
    body: { recipientKey: attempt.recipient.publicKey },
    timeoutMs: 120_000,
  })) as { shares: readonly ShareJson[]; refusals: readonly Refusal[] }
  // After the shares: a key that was dealt anew has another root, and it is that of the shares that came.
  const claim = (await api.call('GET', `/v1/records/${grant.record}`, { as: { signer: key, chainId } })) as Claimed
  if (shares.length < claim.threshold)
    throw new EmrmError(
      'shares-insufficient',
      `granted, but only ${shares.length} of ${claim.threshold} hospitals released a share${refusals.length === 0 ? '' : ` (${refusals.map(told).join(', ')})`}; try again while the grant runs`,
      { grant: grant.grant, have: shares.length, need: claim.threshold, refusals: refusals.map(told).join(', ') },
    )
  const wanted = {
    claim,
    grant: grant.grant,
    shares: shares.map(shareOf),
    recipient: attempt.recipient,
    onProgress: (bytes: number) => onProgress('opening', bytes, claim.cipherSize),
    onKept: (bytes: number) => onProgress('keeping what arrived', bytes, claim.cipherSize),
  }
  const opened =
    typeof output === 'string'
      ? await openToFile(api, grant, { ...wanted, path: output, ...(stopSignal && { signal: stopSignal() }) })
      : await openStreamed(api, grant, wanted, output)
  return { claim, opened, refusals }
}

type Opened = Awaited<ReturnType<typeof openRecord>> & { readonly resumed: number }

type Wanted = Omit<OpenOptions, 'ciphertext'> & { readonly onKept: (bytes: number) => void }

/** What went into a stream is gone: there is nothing to go on with. */
async function openStreamed(
  api: Api,
  { grant, record }: Grant,
  wanted: Wanted,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<Opened> {
  const leaves = await leavesOf(api, wanted.claim, grant)
  const ciphertext = api.download(`/v1/records/${record}/ciphertext`, { grant, from: '0' })
  return { ...(await openRecordInto({ ...wanted, ciphertext, leaves }, write)), resumed: 0 }
}

/** A small record comes in one go; of a large one what has arrived is kept until it is whole. */
async function openToFile(
  api: Api,
  { grant, record }: Grant,
  wanted: Wanted & { readonly path: string },
): Promise<Opened> {
  const { claim, path, onKept, signal } = wanted
  const download = (from: number): AsyncIterable<Uint8Array> =>
    api.download(`/v1/records/${record}/ciphertext`, { grant, from: String(from) }, signal)
  const isSmall = claim.cipherSize <= RESUMABLE_BYTES
  try {
    if (isSmall) return { ...(await openRecord({ ...wanted, ciphertext: download(0) })), resumed: 0 }
    const leaves = await leavesOf(api, claim, grant)
    return await openResumable(await openPartial(path, claim, leaves, onKept), { ...wanted, leaves }, download)
  } catch (error) {
    throw signal?.aborted ? stopped(record, isSmall) : error
  }
}

async function openResumable(
  partial: Partial,
  wanted: Wanted & { readonly path: string },
  download: (from: number) => AsyncIterable<Uint8Array>,
): Promise<Opened> {
  try {
    const opened = await openRecord({ ...wanted, ciphertext: partial.pieces(download), partial })
    await partial.discard()
    return { ...opened, resumed: partial.resumed * PIECE_BYTES }
  } catch (error) {
    const isHopeless = error instanceof EmrmError && HOPELESS.includes(error.code)
    await (isHopeless ? partial.discard() : partial.close())
    throw error
  }
}

const stopped = (record: string, isSmall: boolean): EmrmError =>
  new EmrmError(
    'stopped',
    `stopped before record ${record} was whole; ask again${isSmall ? '' : ', it goes on where it stopped'}`,
    { record },
  )

async function leavesOf(api: Api, claim: RecordClaim, grant: RequestId): Promise<readonly Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for await (const chunk of api.download(`/v1/records/${claim.record}/leaves`, { grant })) chunks.push(chunk)
  const leaves = unpackLeaves(Buffer.concat(chunks), claim)
  if (leaves !== null) return leaves
  throw new EmrmError(
    'ciphertext-wrong',
    `the list of pieces of record ${claim.record} is not the registered one; this peer may be damaged or lie`,
    { record: claim.record },
  )
}

/** As a person reads it: who gave no share, and by which rule. */
export const told = ({ institution, reason, detail }: Refusal): string =>
  detail === undefined ? `${institution}: ${reason}` : `${institution}: ${reason} by ${detail}`

/** The record is open either way: a receipt that does not reach the chain is told, not thrown. */
async function giveReceipt(api: Api, agent: Agent, grant: Grant, claim: RecordClaim): Promise<number | null> {
  try {
    const { outcome, height } = await submit(api, agent.giveReceipt(grant.grant, claim.commitment).bytes)
    return outcome.type === 'done' ? height : null
  } catch (error) {
    if (error instanceof EmrmError) return null
    throw error
  }
}

type ShareJson = {
  readonly index: number
  readonly box: string
  readonly commit: string
  readonly proof: readonly string[]
}

const shareOf = ({ index, box, commit, proof }: ShareJson): ReleasedShare => ({
  index,
  box: fromHex(box),
  commit: fromHex(commit),
  proof: proof.map(fromHex),
})

async function submit(api: Api, bytes: Uint8Array): Promise<{ readonly outcome: Outcome; readonly height: number }> {
  return (await api.submit(bytes)) as unknown as { outcome: Outcome; height: number }
}

function refused(outcome: Outcome, { request }: AccessAttempt, height: number): EmrmError {
  if (outcome.type === 'refused') return refusedError(outcome.reason, request.operation.type, request.id, height)
  return new EmrmError(
    'outcome-unknown',
    `the network answered ${outcome.type} to an access request; update this program`,
  )
}
