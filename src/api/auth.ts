// Who calls the local API. The bearer token says "a process of the account that runs the peer" (the hospital's HIS); a signature by a
// registered user's key over method, path and time says which user asks, and then only what that user may see is shown.
// Not here: what each may see (visibility.ts).

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'

import { EmrmError } from '../model/errors.ts'
import { fromHex, identifierOf, sha256, toHex } from '../model/hash.ts'
import { type Digest, type Identifier, isHexadecimal, type PublicKey } from '../model/ids.ts'
import { verifyUserSignature } from '../wire/verify.ts'

/** A signed query is worth this long before and after its time: no store of seen ones is needed to bound a replay on loopback. */
export const SIGNATURE_WINDOW_MS = 60_000

export const HEADERS = {
  key: 'x-emrm-key',
  user: 'x-emrm-user',
  time: 'x-emrm-time',
  signature: 'x-emrm-signature',
} as const

export type Caller =
  | { readonly type: 'hospital' }
  | { readonly type: 'user'; readonly user: Identifier; readonly publicKey: PublicKey }

/** A new token for each start of the peer, readable by its owner only; written beside and renamed, so that no reader sees half of it. */
export async function writeToken(path: string): Promise<string> {
  const token = toHex(randomBytes(32))
  await writePrivate(path, `${token}\n`)
  return token
}

export async function writePrivate(path: string, text: string): Promise<void> {
  const draft = `${path}.${process.pid}.new`
  await rm(draft, { force: true })
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' })
  await rename(draft, path)
}

/** Equal time for every wrong token: hashes are compared, so lengths do not show either. */
export function isToken(header: string | undefined, token: string): boolean {
  const [scheme, given] = (header ?? '').split(' ')
  const equal = timingSafeEqual(sha256(Buffer.from(given ?? '')), sha256(Buffer.from(token)))
  return equal && scheme?.toLowerCase() === 'bearer'
}

/** What a user signs for a query. `path` includes the query string. */
export function querySignedBytes(query: {
  readonly chainId: Digest
  readonly method: string
  readonly path: string
  readonly timeMs: number
}): Uint8Array {
  return Buffer.from(`emrm/api/1\n${query.chainId}\n${query.method}\n${query.path}\n${query.timeMs}`)
}

type Call = {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** The user's present key: null when nobody is registered under the identifier. */
export type KeyOfUser = (user: Identifier) => { readonly publicKey: PublicKey } | null

/** Throws EmrmError `signature-invalid` or `signature-expired`. Whether the user's credential holds is the ledger's to say. */
export function readCaller(call: Call, chainId: Digest, nowMs: number, keyOf: KeyOfUser): Caller {
  const publicKey = one(call.headers[HEADERS.key])
  if (publicKey === undefined) return { type: 'hospital' }
  const user = one(call.headers[HEADERS.user]) ?? ''
  const timeMs = Number(one(call.headers[HEADERS.time]))
  const signature = one(call.headers[HEADERS.signature]) ?? ''
  const scheme = publicKey.length === 66 ? 2 : 1
  const formed =
    isHexadecimal(publicKey, scheme === 1 ? 64 : 66) &&
    isHexadecimal(user, 32) &&
    isHexadecimal(signature, 128) &&
    Number.isSafeInteger(timeMs)
  if (!formed) throw invalid()
  if (Math.abs(nowMs - timeMs) > SIGNATURE_WINDOW_MS)
    throw new EmrmError('signature-expired', 'the signature of this query is over a minute off; check the clock', {})
  const signed = querySignedBytes({ chainId, method: call.method, path: call.path, timeMs })
  const key = publicKey as PublicKey
  if (!verifyUserSignature(scheme, key, signed, fromHex(signature))) throw invalid()
  // Nobody takes another's name. Who asks by a key of their own that was replaced is answered, and sees nothing (visibility.ts).
  if (identifierOf(key) !== user && keyOf(user as Identifier)?.publicKey !== key) throw invalid()
  return { type: 'user', user: user as Identifier, publicKey: key }
}

const one = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined

const invalid = (): EmrmError =>
  new EmrmError('signature-invalid', 'the signature of this query does not verify; sign method, path and time anew')
