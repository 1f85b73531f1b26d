// Blocks to store: a chain of any length with requests of its own in each block, and what a store has to keep beside them.

import type { Block, Request } from '../../src/model/block.ts'
import type { Height, Timestamp, ValidatorIndex, View } from '../../src/model/ids.ts'
import type { DecideCertificate } from '../../src/model/messages.ts'
import type { Outcome } from '../../src/model/operations.ts'
import type { StoredChange } from '../../src/ports.ts'
import { encodeStatement, sealRequest } from '../../src/wire/codec.ts'
import { blockOf, chainId, operations, requestOf, requests, TIME } from '../wire/samples.ts'

export type Link = { readonly block: Block; readonly change: Extract<StoredChange, { readonly type: 'block' }> }

/** `requestsEach`: how many requests stand in each block. Certificates are well-formed; the store does not judge them. */
export function chainOf(
  length: number,
  requestsEach = 1,
  from = 1,
  parentId: Block['id'] = chainId as Block['id'],
): Link[] {
  const links: Link[] = []
  let parent = parentId
  for (let height = from; height < from + length; height++) {
    const block = blockAt(height, parent, requestsEach)
    links.push({ block, change: changeOf(block) })
    parent = block.id
  }
  return links
}

export function blockAt(height: number, parentId: Block['id'], requestsEach: number): Block {
  const held = Array.from({ length: requestsEach }, (_, i) =>
    requestOf(operations['access.request'], undefined, TIME + height * 100_000 + i),
  )
  return blockOf({ height: height as Height, parentId, timestamp: (TIME + height) as Timestamp }, held)
}

/** A block full of requests that nobody signed, made fast: the store does not judge them. */
export function bulkBlock(height: number, parentId: Block['id'], requestsEach: number): Block {
  const [sample] = requests
  const held = Array.from({ length: requestsEach }, (_, i) => {
    const timestamp = (TIME + height * 100_000 + i) as Timestamp
    return sealRequest(encodeStatement({ ...(sample as Request), timestamp }), new Uint8Array(64))
  })
  return blockOf({ height: height as Height, parentId }, held)
}

export function changeOf(block: Block): Link['change'] {
  const outcomes: Outcome[] = block.requests.map(() => ({ type: 'denied', reason: 'no-policy' }))
  return { type: 'block', block, certificate: certificateFor(block), outcomes }
}

export const certificateFor = (block: Block): DecideCertificate => ({
  path: 'FAST',
  height: block.header.height,
  view: 0 as View,
  id: block.id,
  votes: [0, 1, 2, 3].map(sender => ({ sender: sender as ValidatorIndex, signature: new Uint8Array(64).fill(sender) })),
})
