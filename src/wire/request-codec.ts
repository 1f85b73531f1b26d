// ⟨REQUEST, o, t, c⟩ of P-34 as bytes: [1, statement, signature], where the statement is the byte string
// [1, network, client, timestamp, operation, scheme, public key] that was signed. Keeping the statement whole inside the request
// means that its id and what the signature covers are the bytes that came, never bytes that we made again.
// Signed: 'emrm/request/1' ‖ 0 ‖ network id ‖ statement; a signature is of no use elsewhere or on another network.
// Not here: whether the signature holds (verify.ts), whether the client may ask for it (ledger).

import type { Request } from '../model/block.ts'
import { digestOf, fromHex, requestIdOf } from '../model/hash.ts'
import type { Digest, Identifier, PublicKey, SignatureScheme, Timestamp } from '../model/ids.ts'
import { leafText } from '../model/merkle.ts'
import type { Operation } from '../model/operations.ts'
import { must } from './fault.ts'
import {
  BATCH_BYTES_MAX,
  BATCH_REQUESTS_MAX,
  DIGEST_BYTES,
  ED25519_KEY_BYTES,
  IDENTIFIER_BYTES,
  REQUEST_BYTES_MAX,
  SECP256K1_KEY_BYTES,
  SIGNATURE_BYTES,
} from './limits.ts'
import { canonicalOperation, operation } from './operations-codec.ts'
import { Reader, readAll } from './reader.ts'
import { hex, type Json } from './shape.ts'
import { encode } from './writer.ts'

const VERSION = 1
const DOMAIN = new TextEncoder().encode('emrm/request/1\0')

const network = hex<Digest>(DIGEST_BYTES)
const client = hex<Identifier>(IDENTIFIER_BYTES)

export type RequestStatement = Pick<Request, 'network' | 'client' | 'timestamp' | 'operation' | 'scheme' | 'publicKey'>

/** The statement's bytes; the request's id is their SHA-256. Throws WireFault for what `decodeRequest` would refuse. */
export function encodeStatement(fields: RequestStatement): Uint8Array {
  must(Number.isSafeInteger(fields.timestamp) && fields.timestamp >= 0, 'not-a-whole-number')
  return encode([
    VERSION,
    network.write(fields.network),
    client.write(fields.client),
    fields.timestamp,
    operation.write(fields.operation),
    fields.scheme,
    keyOf(fields.scheme).write(fields.publicKey),
  ])
}

/** What the client's key signs. */
export const requestSignedBytes = (fields: RequestStatement): Uint8Array =>
  signedBytesOf(fields.network, encodeStatement(fields))

/** `network`: the id that stands in the statement. */
export const signedBytesOf = (networkId: Digest, statement: Uint8Array): Uint8Array =>
  Buffer.concat([signedPrefix(networkId), statement])

/** What stands before the statement in the signed bytes. */
export const signedPrefix = (networkId: Digest): Uint8Array => Buffer.concat([DOMAIN, fromHex(networkId)])

/** Puts the signature to the statement. */
export function sealRequest(statement: Uint8Array, signature: Uint8Array): Request {
  return decodeRequest(encode([VERSION, statement, signature]))
}

/** Exact bytes as they came or were made. */
export const encodeRequest = (request: Request): Uint8Array => request.bytes

/** Well-formed, not yet checked: `verify.ts` makes it Verified. `leaf`: when the caller has hashed the bytes. Throws WireFault. */
export function decodeRequest(bytes: Uint8Array, leaf?: string): Request {
  return readAll(bytes, REQUEST_BYTES_MAX, reader => {
    reader.tuple(3)
    must(reader.uint() === VERSION, 'unknown-version')
    const statement = reader.view(REQUEST_BYTES_MAX)
    const signature = reader.fixed(SIGNATURE_BYTES)
    return readStatement(statement, signature, bytes, leaf ?? leafText(bytes))
  })
}

/** The statement inside a request's bytes: what was signed, after the domain and the network. */
export function statementOf(request: Request): Uint8Array {
  const reader = new Reader(request.bytes)
  reader.tuple(3)
  reader.uint()
  return reader.view(REQUEST_BYTES_MAX)
}

function readStatement(statement: Uint8Array, signature: Uint8Array, bytes: Uint8Array, leaf: string): Request {
  const reader = new Reader(statement)
  reader.tuple(7)
  must(reader.uint() === VERSION, 'unknown-version')
  const networkId = network.read(reader)
  const clientId = client.read(reader)
  const timestamp = reader.uint() as Timestamp
  const asked: Operation = operation.read(reader)
  const scheme = reader.uint(2) as SignatureScheme
  must(scheme === 1 || scheme === 2, 'unknown-scheme')
  const publicKey = keyOf(scheme).read(reader)
  reader.finish()
  return {
    type: 'REQUEST',
    version: VERSION,
    network: networkId,
    client: clientId,
    timestamp,
    operation: asked,
    scheme,
    publicKey,
    signature,
    id: requestIdOf(statement),
    bytes,
    leaf,
  }
}

const ed25519 = hex<PublicKey>(ED25519_KEY_BYTES)
const secp256k1 = hex<PublicKey>(SECP256K1_KEY_BYTES)
const keyOf = (scheme: SignatureScheme): typeof ed25519 => (scheme === 1 ? ed25519 : secp256k1)

/** Several requests in one gossip message. */
export const encodeRequestBatch = (requests: readonly Request[]): Uint8Array =>
  encode([VERSION, requests.map(request => request.bytes)])

/** Each request's bytes, a view into the batch: what is kept of it is copied by the verifier. Throws WireFault. */
export function decodeRequestBatch(bytes: Uint8Array): readonly Uint8Array[] {
  return readAll(bytes, BATCH_BYTES_MAX, reader => {
    reader.tuple(2)
    must(reader.uint() === VERSION, 'unknown-version')
    const count = reader.list(BATCH_REQUESTS_MAX)
    const requests: Uint8Array[] = []
    for (let i = 0; i < count; i++) requests.push(reader.view(REQUEST_BYTES_MAX))
    return requests
  })
}

/** For people and `--json`; bytes as hexadecimal digits. */
export const requestToJson = (request: Request): Json => ({
  type: request.type,
  id: request.id,
  network: request.network,
  client: request.client,
  timestamp: request.timestamp,
  operation: operation.toJson(request.operation),
  scheme: request.scheme,
  publicKey: request.publicKey,
  signature: Buffer.from(request.signature).toString('hex'),
  digest: digestOf(request.bytes),
})

/** Sets of the operation in wire order. */
export const canonicalStatement = (fields: RequestStatement): RequestStatement => ({
  ...fields,
  operation: canonicalOperation(fields.operation),
})
