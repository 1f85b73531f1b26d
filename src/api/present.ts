// Chain data as JSON: bytes become hexadecimal, exact encodings are left out because whoever needs them asks the chain, not the API.

import type { Block, Request } from '../model/block.ts'
import { toHex } from '../model/hash.ts'
import type { DecideCertificate, Signed } from '../model/messages.ts'
import type { StoredBlock } from '../ports.ts'

/** Any plain value of ours with its byte arrays as hexadecimal and its maps as objects. */
export function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value)
  if (Array.isArray(value)) return value.map(toJson)
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), toJson(item)]))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item)]))
  return value
}

export function requestJson(request: Request): Record<string, unknown> {
  const { bytes: _, type: __, leaf: ___, ...fields } = request
  return toJson(fields) as Record<string, unknown>
}

export function blockJson({ block, certificate, outcomes }: StoredBlock): Record<string, unknown> {
  return {
    height: block.header.height,
    id: block.id,
    header: block.header,
    requests: block.requests.map((request, index) => ({ ...requestJson(request), outcome: toJson(outcomes[index]) })),
    certificate: certificateJson(certificate),
    size: sizeOf(block),
  }
}

const sizeOf = (block: Block): number => block.bytes.length

function certificateJson({ votes, ...rest }: DecideCertificate): Record<string, unknown> {
  const vote = (signed: Signed): unknown => ({ sender: signed.sender, signature: toHex(signed.signature) })
  return { ...rest, votes: votes.map(vote) }
}
