// Scenarios that a broken replica fails although random runs forgive it, because something else makes up for the fault in time.
// The full forms are tests (test/consensus); here they are questions that can be put to any replica (mutants.ts).

import { Violation } from './checkers.ts'
import type { MakeReplica } from './sim-peer.ts'
import { Stage } from './stage.ts'

const TIMEOUT_MS = 100

export const DIRECTED: readonly { readonly name: string; readonly holds: (makeReplica: MakeReplica) => boolean }[] = [
  {
    name: 'L3, it joins the view that f+1 others ask for',
    holds(makeReplica) {
      const stage = new Stage({ liars: [3], makeReplica })
      stage.request(1, [0])
      stage.lose()
      for (const sender of [0, 2]) stage.say(stage.viewChange(sender, 4), [1])
      return stage.viewOf(1) === 4
    },
  },
  {
    name: 'L4, one liar alone moves nobody',
    holds(makeReplica) {
      const stage = new Stage({ liars: [3], makeReplica })
      stage.say(stage.viewChange(3, 1_000_000), [0, 1, 2])
      return [0, 1, 2].every(index => stage.viewOf(index) === 0)
    },
  },
  {
    name: 'L1, who decided alone answers a VIEW-CHANGE',
    holds(makeReplica) {
      const stage = new Stage({ liars: [3], makeReplica })
      stage.request(1)
      stage.deliver({ type: 'PRE-PREPARE' })
      const id = stage.last(0, 'PRE-PREPARE')?.id
      if (id === undefined) return false
      stage.say(stage.vote('COMMIT', 3, id), [0])
      stage.deliver({ type: 'COMMIT', to: 0 })
      stage.lose()
      stage.pass(TIMEOUT_MS)
      stage.lose({ type: 'STATUS' })
      stage.deliver({ type: 'VIEW-CHANGE', to: 0 })
      stage.deliver({ type: 'DECIDED', from: 0 })
      return [0, 1, 2].every(index => stage.decisionOf(index) === id)
    },
  },
  {
    name: 'L6, a primary asks for the body that it must propose',
    holds(makeReplica) {
      const stage = new Stage({ liars: [0], makeReplica })
      stage.request(9)
      const forced = stage.block(0, 1)
      stage.say(stage.prePrepare(0, 0, forced), [2])
      stage.lose({ type: 'COMMIT' })
      stage.pass(TIMEOUT_MS)
      stage.say(stage.viewChange(0, 1, [0, forced.id]), [1])
      stage.deliver({ type: 'VIEW-CHANGE', from: 2, to: 1 })
      stage.deliver({ type: 'BODY' })
      return stage.last(1, 'PRE-PREPARE')?.id === forced.id
    },
  },
  {
    name: 'F3, votes of the certificate’s own view count for nothing against it',
    holds(makeReplica) {
      const stage = new Stage({ liars: [0], makeReplica })
      stage.request(9)
      const confirmed = stage.block(0, 1)
      const other = stage.block(0, 2)
      stage.say(stage.prePrepare(0, 0, confirmed), [1, 2])
      stage.say(stage.prePrepare(0, 0, other), [3])
      stage.say(stage.vote('COMMIT', 0, confirmed.id), [2, 3])
      stage.deliver({ type: 'COMMIT', to: [2, 3] })
      stage.lose()
      stage.pass(TIMEOUT_MS)
      try {
        stage.say(stage.viewChange(0, 1, [0, other.id]), [1])
        stage.deliver({ type: 'VIEW-CHANGE', from: 3, to: 1 })
      } catch (error) {
        if (error instanceof Violation) return false
        throw error
      }
      return stage.last(1, 'PRE-PREPARE')?.id === confirmed.id
    },
  },
]
