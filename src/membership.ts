// Who may connect (P-30): registered institutions, and those who still validate although they were removed: they do so until their epoch
// ends, and a committee that is cut off from its members in mid-epoch might be too few to end it. Not here: who validates
// (ledger/committee.ts), and how others are refused (adapters).

import type { Ledger } from './ledger/ledger.ts'
import type { Block } from './model/block.ts'
import { nextHeight, type PeerId } from './model/ids.ts'

export function admittedPeers(ledger: Ledger): ReadonlySet<PeerId> {
  const validators = ledger.committeeAt(nextHeight(ledger.head().height))?.validators ?? []
  const members = [...ledger.views.institutions(), ...validators]
  return new Set(members.map(({ peerId }) => peerId))
}

/** To be called after each executed block: calls `admit` after one that may have changed who may connect. */
export function watchMembership(ledger: Ledger, admit: (peers: ReadonlySet<PeerId>) => void): (block: Block) => void {
  let committee = ledger.committeeAt(nextHeight(ledger.head().height))
  return block => {
    const next = ledger.committeeAt(nextHeight(block.header.height))
    const isElected = next !== committee
    committee = next
    if (isElected || block.requests.some(({ operation }) => operation.type.startsWith('institution.')))
      admit(admittedPeers(ledger))
  }
}
