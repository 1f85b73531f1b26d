// Message mutation: one field of a message changed, as a broken or malicious encoder would. With its own pen a liar signs what it changed;
// what it cannot sign again keeps a signature that no longer fits. Not here: bytes that are no message (test/wire/hostile.test.ts).

import type { BlockId, Height, ValidatorIndex, View } from '../../src/model/ids.ts'
import type {
  CommitCertificate,
  ConsensusMessage,
  DecideCertificate,
  Signed,
  Unsigned,
} from '../../src/model/messages.ts'
import type { Pen } from './oracle.ts'
import type { Random } from './random.ts'

export function mutate(message: ConsensusMessage, random: Random, self: ValidatorIndex, pen: Pen): ConsensusMessage {
  const changed = change(message, random)
  if (!('signature' in changed) || changed.sender !== self || random.chance(0.3)) return changed
  const { signature: _, ...unsigned } = changed
  return pen(unsigned as Unsigned)
}

function change(message: ConsensusMessage, random: Random): ConsensusMessage {
  switch (message.type) {
    case 'FETCH':
      return { ...message, id: otherId(message.id) }
    case 'BODY':
      return { ...message, block: { ...message.block, id: otherId(message.block.id) } }
    case 'DECIDED':
      return random.chance(0.3)
        ? { ...message, block: { ...message.block, id: otherId(message.block.id) } }
        : { ...message, certificate: changeDecision(message.certificate, random) }
    case 'STATUS':
      return { ...message, ...place(message, random) }
    case 'COMMIT':
    case 'BLOCK-ID': {
      const type = message.type === 'COMMIT' ? 'BLOCK-ID' : 'COMMIT'
      return random.pick([
        { ...message, ...place(message, random) },
        { ...message, id: otherId(message.id) },
        { ...message, type },
        forged(message, random),
      ])
    }
    case 'VIEW-CHANGE': {
      const { highCertificate: certificate, lastVote } = message
      return random.pick([
        { ...message, ...place(message, random) },
        {
          ...message,
          lastVote: lastVote === null ? null : { ...lastVote, view: moved(lastVote.view, random) as View },
        },
        { ...message, highCertificate: certificate === null ? null : changeCommits(certificate, random) },
        forged(message, random),
      ])
    }
    case 'PRE-PREPARE': {
      const { justification, parentCertificate } = message
      return random.pick([
        { ...message, ...place(message, random) },
        { ...message, id: otherId(message.id) },
        { ...message, block: { ...message.block, id: otherId(message.block.id) } },
        { ...message, justification: changeList(justification, random) },
        {
          ...message,
          parentCertificate: parentCertificate === null ? null : changeDecision(parentCertificate, random),
        },
        forged(message, random),
      ])
    }
  }
}

const otherId = (id: BlockId): BlockId => `${id.startsWith('0') ? '1' : '0'}${id.slice(1)}` as BlockId
const moved = (at: number, random: Random): number => Math.max(0, at + random.pick([-1, 1, 2, 1_000]))

function place({ height, view }: { height: Height; view: View }, random: Random): { height: Height; view: View } {
  return random.chance(0.5)
    ? { height: Math.max(1, moved(height, random)) as Height, view }
    : { height, view: moved(view, random) as View }
}

/** Another's name, or a signature with a flipped byte. */
function forged<M extends Signed>(message: M, random: Random): M {
  if (random.chance(0.5)) return { ...message, sender: (message.sender + 1) as ValidatorIndex }
  const signature = Uint8Array.from(message.signature)
  signature[random.between(0, signature.length - 1)]! ^= 1
  return { ...message, signature }
}

/** One left out, one twice, two in the other's place. */
function changeList<T>(list: readonly T[], random: Random): readonly T[] {
  const first = list[0]
  if (first === undefined) return list
  const at = random.between(0, list.length - 1)
  const without = list.filter((_, i) => i !== at)
  return random.pick([without, [...without, first], [...list, first], list.toReversed()])
}

function changeCommits(certificate: CommitCertificate, random: Random): CommitCertificate {
  return random.pick([
    { ...certificate, commits: changeList(certificate.commits, random) },
    { ...certificate, view: moved(certificate.view, random) as View },
    { ...certificate, id: otherId(certificate.id) },
    { ...certificate, height: moved(certificate.height, random) as Height },
  ])
}

function changeDecision(certificate: DecideCertificate, random: Random): DecideCertificate {
  return random.pick([
    { ...certificate, votes: changeList(certificate.votes, random) },
    { ...certificate, view: moved(certificate.view, random) as View },
    { ...certificate, id: otherId(certificate.id) },
    { ...certificate, height: moved(certificate.height, random) as Height },
    { ...certificate, path: certificate.path === 'FAST' ? ('SLOW' as const) : ('FAST' as const) },
  ])
}
