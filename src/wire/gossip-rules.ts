// What a peer answers to gossip: pass it on (accept), drop it (ignore) or blame whoever forwarded it (reject). Gossip's `ignore` is
// final (libp2p.md §4): the same bytes from anyone else are then a duplicate and never seen again, so what cannot be judged yet is
// accepted and buffered by its handler, never ignored. Only faults are rejected, and only those that the forwarder could have seen.
// Not here: disconnecting a peer (driver), what the replica makes of the message.

import type { Height } from '../model/ids.ts'
import type { ConsensusMessage } from '../model/messages.ts'
import { type GossipVerdict, TOPICS, type Topic } from '../ports.ts'
import { FUTURE_HEIGHTS_MAX } from './limits.ts'
import type { Checked } from './verify.ts'

/** Which message may travel on which topic. */
const TOPIC_OF: Readonly<Record<ConsensusMessage['type'], Topic>> = {
  'PRE-PREPARE': TOPICS.prePrepare,
  COMMIT: TOPICS.commit,
  'BLOCK-ID': TOPICS.blockId,
  DECIDED: TOPICS.blockId,
  FETCH: TOPICS.blockId,
  BODY: TOPICS.blockId,
  'VIEW-CHANGE': TOPICS.viewChange,
  STATUS: TOPICS.viewChange,
}

/** `head`: the last height that this peer executed. Without `at` topic and height are not looked at (direct links). */
export function verdictOf(
  checked: Checked<ConsensusMessage>,
  at?: { readonly topic: Topic; readonly head: Height },
): GossipVerdict {
  switch (checked.type) {
    case 'fault':
      // "Every message is signed": bytes that do not decode or verify were never sent by a correct peer.
      return 'reject'
    case 'unknown-height':
      // "For future height / missing parent return Accept and buffer": nothing was checked, so only while the height is thinkable.
      return at !== undefined && checked.height > at.head + FUTURE_HEIGHTS_MAX ? 'ignore' : 'accept'
    case 'ok': {
      if (at === undefined) return 'accept'
      // "Distinct type tags": a message on another's topic is a way around that topic's limits.
      if (TOPIC_OF[checked.value.type] !== at.topic) return 'reject'
      // A decided height: its own handler answers the laggard with DECIDED; nobody else needs to hear it.
      return heightOf(checked.value) < at.head ? 'ignore' : 'accept'
    }
  }
}

const heightOf = (message: ConsensusMessage): Height =>
  'height' in message ? message.height : message.block.header.height
