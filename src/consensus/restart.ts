// Restart (consensus.md §1.3): what was durable is reloaded, and what was said in the last view is said again, byte by byte the
// same; the timer starts afresh. A replica that lost its disk has nothing to reload: `signFrom` keeps it silent (state.ts).

import type { View } from '../model/ids.ts'
import type { VoteRecord } from '../model/vote-record.ts'
import { sayAgain } from './durable.ts'
import { raiseWish } from './pacemaker.ts'
import type { HeightState, Step } from './state.ts'

export function restore(step: Step, records: readonly VoteRecord[]): void {
  const { state } = step
  const own = records.filter(record => record.height === state.height)
  if (own.length === 0) return
  for (const record of own) reload(state, record)
  if (state.self !== null) raiseWish(state, state.self, state.view)
  state.heard = true
  sayAgain(step)
}

/** Each record implies that its view was reached; a later one of its kind replaces an earlier. */
function reload(state: HeightState, record: VoteRecord): void {
  switch (record.type) {
    case 'view':
      return reach(state, record.view)
    case 'last-vote':
      if (record.view >= (state.lastVote?.view ?? -1)) state.lastVote = { view: record.view, id: record.id }
      return reach(state, record.view)
    case 'high-certificate': {
      const { certificate } = record
      if (certificate.view >= (state.highCertificate?.view ?? -1)) state.highCertificate = certificate
      return reach(state, certificate.view)
    }
    case 'view-change':
      if (record.message.view >= (state.viewChange?.view ?? -1)) state.viewChange = record.message
      return reach(state, record.message.view)
    case 'own-proposal': {
      const { message } = record
      if (message.view >= (state.proposal?.view ?? -1)) state.proposal = message
      keepBody(state, message.block)
      return reach(state, message.view)
    }
    case 'body':
      return keepBody(state, record.block)
  }
}

function reach(state: HeightState, view: View): void {
  if (view > state.view) state.view = view
}

function keepBody(state: HeightState, block: Extract<VoteRecord, { type: 'body' }>['block']): void {
  state.bodies.set(block.id, block)
  state.durableBodies.add(block.id)
}
