// Many blocks from several peers at once: each is given the next range that nobody has been asked for, what comes is taken in order of
// height, and nobody is asked for more than a window above our head, so that memory stays flat however far behind we are. A peer that
// fails, or sends what is not accepted, is asked no more, and what it owed is asked of another. A peer that stalls holds nobody up: the range
// for which all others wait is asked of one of them as well, and who answers first is taken.
// Not here: how a range travels and what makes a block acceptable (catch-up.ts).

import type { Block } from './model/block.ts'
import type { Height, PeerId } from './model/ids.ts'
import type { DecideCertificate } from './model/messages.ts'

/** Blocks of one question. */
const COUNT = 128
/** Blocks above our head that are asked for: with 4 MiB for an answer, at most 32 MiB wait to be executed. */
const AHEAD_MAX = 8 * COUNT

export type CertifiedBlock = { readonly block: Block; readonly certificate: DecideCertificate }

type Options = {
  readonly peers: readonly PeerId[]
  readonly head: () => Height
  /** The peer's head as it says. */
  readonly claim: (peer: PeerId) => Promise<number>
  /** Null: no proper answer. */
  readonly fetchRange: (peer: PeerId, from: number, count: number) => Promise<readonly CertifiedBlock[] | null>
  /** False: not the block that stands at its height. */
  readonly accept: (block: CertifiedBlock, peer: PeerId) => Promise<boolean>
  readonly isStopped: () => boolean
}

type Owed = { readonly from: number; readonly count: number }
type Answer = { readonly peer: PeerId; readonly from: number; readonly blocks: readonly CertifiedBlock[] }

/** Until our head is where the best of them claimed to be, or nobody is left to ask. Resolves with the peers that served well. */
export async function fetchInParallel(options: Options): Promise<readonly PeerId[]> {
  const { head, isStopped } = options
  const claims = new Map(await Promise.all(options.peers.map(async peer => [peer, await options.claim(peer)] as const)))
  const target = Math.max(...claims.values())
  const answers = new Map<number, Answer>()
  const bad = new Set<PeerId>()
  /** Ranges under way, and who is asked for each. */
  const asked = new Map<Owed, Set<PeerId>>()
  let owed: Owed[] = []
  let cursor = head() + 1
  let busy = 0
  let taking = false
  let ended = false
  let changed = Promise.withResolvers<void>()

  const wake = (): void => {
    changed.resolve()
    changed = Promise.withResolvers<void>()
  }
  const isDone = (): boolean => ended || isStopped() || head() >= target

  function nextFor(peer: PeerId): Owed | null {
    const claim = claims.get(peer) ?? 0
    // What was brought twice, or decided here meanwhile, is owed no more.
    owed = owed.filter(({ from, count }) => from + count > head() + 1)
    const again = owed.find(({ from }) => from <= claim)
    if (again !== undefined) {
      owed = owed.filter(other => other !== again)
      return again
    }
    if (cursor > claim || cursor > head() + AHEAD_MAX) return stalledFor(peer, claim)
    const from = cursor
    const count = Math.min(COUNT, target - from + 1)
    cursor += count
    return { from, count }
  }

  /** The range that everybody waits for, when another is asked for it and this peer was not. */
  function stalledFor(peer: PeerId, claim: number): Owed | null {
    const next = head() + 1
    const range = [...asked.keys()].find(({ from, count }) => from <= next && next < from + count)
    if (range === undefined || range.from > claim || asked.get(range)?.has(peer) === true) return null
    return range
  }

  /** The one that holds the block after our head, which may have moved by itself. */
  function nextAnswer(): Answer | undefined {
    for (const answer of answers.values()) if (answer.from <= head() + 1) return answer
    return undefined
  }

  /** In order of height; one at a time. */
  async function take(): Promise<void> {
    if (taking) return
    taking = true
    for (let next = nextAnswer(); next !== undefined; next = nextAnswer()) {
      answers.delete(next.from)
      for (const [i, block] of next.blocks.entries()) {
        if (ended || isStopped()) break
        if (await options.accept(block, next.peer)) continue
        bad.add(next.peer)
        owed.push({ from: next.from + i, count: next.blocks.length - i })
        break
      }
      wake()
    }
    taking = false
  }

  async function ask(peer: PeerId): Promise<void> {
    while (!isDone() && !bad.has(peer)) {
      const range = nextFor(peer)
      if (range === null) {
        // Nothing for this peer now; there may be when another fails or our head moves, and if nothing is under way, never.
        if (busy === 0 && !taking) return
        await changed.promise
        continue
      }
      busy++
      const askers = asked.get(range) ?? new Set()
      asked.set(range, askers.add(peer))
      const blocks = await options.fetchRange(peer, range.from, range.count)
      busy--
      askers.delete(peer)
      if (ended) return
      const isFirst = asked.get(range) === askers
      const got = blocks?.length ?? 0
      if (got === 0) bad.add(peer)
      else if (isFirst) answers.set(range.from, { peer, from: range.from, blocks: blocks as readonly CertifiedBlock[] })
      // Owed again only when nobody else is asked for it still.
      if (got > 0 || askers.size === 0) asked.delete(range)
      if (isFirst && got < range.count && !asked.has(range))
        owed.push({ from: range.from + got, count: range.count - got })
      await take()
      wake()
    }
    wake()
  }

  // Who still stalls when all is here is not waited for.
  const finished = (async () => {
    while (!isDone()) await changed.promise
  })()
  await Promise.race([Promise.all(options.peers.map(ask)), finished])
  ended = true
  wake()
  return options.peers.filter(peer => !bad.has(peer))
}
