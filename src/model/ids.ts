// The names of things: branded identities, so that a Height is never taken for a View nor a block's id for a request's.
// Hashes and keys are lower-case hexadecimal strings in memory (Map keys, JSON), raw bytes on the wire (wire/codec).
// Not here: how an id is computed (model/hash.ts) or checked against its content (wire/verify.ts).

declare const brand: unique symbol
export type Brand<T, B extends string> = T & { readonly [brand]: { readonly [K in B]: true } }

/** Position of a block in the chain; the first block is 1, genesis stands at 0. Integer, at most 2^53-1. */
export type Height = Brand<number, 'Height'>
/** Attempt to agree on one height, from 0; each has its primary. */
export type View = Brand<number, 'View'>
/** Position in the ordered validator list (the ranking, P-31), 0 … n-1. */
export type ValidatorIndex = Brand<number, 'ValidatorIndex'>
/** Milliseconds since 1970, block time or a client's claim. */
export type Timestamp = Brand<number, 'Timestamp'>

/** SHA-256, 64 hexadecimal digits (P-10). */
export type Digest = Brand<string, 'Digest'>
/** SHA-256 of a block header's exact bytes: the block's unique identifier (P-36). */
export type BlockId = Brand<Digest, 'BlockId'>
/** SHA-256 of a request's signed bytes. */
export type RequestId = Brand<Digest, 'RequestId'>
/** First 16 bytes of SHA-256 of a public key, 32 hexadecimal digits (P-32). Users, institutions, CAs. */
export type Identifier = Brand<string, 'Identifier'>
/** A record's name: 16 random bytes, 32 hexadecimal digits. */
export type RecordId = Brand<string, 'RecordId'>
/** Ed25519 public key, 64 hexadecimal digits (or compressed secp256k1, 66). */
export type PublicKey = Brand<string, 'PublicKey'>
/** 1 = Ed25519 (strict, libsodium), 2 = secp256k1 recoverable (Ethereum-address accounts, P-21). */
export type SignatureScheme = 1 | 2
/** libp2p peer id, base58 text. */
export type PeerId = Brand<string, 'PeerId'>

/** Mark of a value whose signatures, hashes and limits were checked. Made only in wire/verify.ts. */
declare const verified: unique symbol
export type Verified<M> = M & { readonly [verified]: true }

export const asHeight = (value: number): Height => whole(value, 'height') as Height
export const asView = (value: number): View => whole(value, 'view') as View
export const asValidatorIndex = (value: number): ValidatorIndex => whole(value, 'validator index') as ValidatorIndex
export const asTimestamp = (value: number): Timestamp => whole(value, 'timestamp') as Timestamp
export const asDigest = (text: string): Digest => hexadecimal(text, 64, 'digest') as Digest
export const asBlockId = (text: string): BlockId => hexadecimal(text, 64, 'block id') as BlockId
export const asRequestId = (text: string): RequestId => hexadecimal(text, 64, 'request id') as RequestId
export const asIdentifier = (text: string): Identifier => hexadecimal(text, 32, 'identifier') as Identifier
export const asRecordId = (text: string): RecordId => hexadecimal(text, 32, 'record id') as RecordId
export const asPublicKey = (text: string): PublicKey => hexadecimal(text, 64, 'public key') as PublicKey

export const nextHeight = (height: Height): Height => (height + 1) as Height
export const previousHeight = (height: Height): Height => (height - 1) as Height
export const nextView = (view: View): View => (view + 1) as View

export const isHexadecimal = (text: string, digits: number): boolean => {
  if (text.length !== digits) return false
  for (let i = 0; i < digits; i++) {
    const c = text.charCodeAt(i)
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102))) return false
  }
  return true
}

function whole(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a ${what}: ${String(value)}`)
  return value
}

function hexadecimal(text: string, digits: number, what: string): string {
  if (!isHexadecimal(text, digits))
    throw new RangeError(`not a ${what}: ${digits} lower-case hexadecimal digits needed`)
  return text
}
