// Durable before sent (consensus.md §1.3), with group commit. What a replica asks to persist and to send waits here in order:
// a send leaves only after every change queued before it is on disk. While one fsync runs, what queues behind it is collected,
// and the next fsync covers all of it: one fsync for many votes. Not here: what the messages mean, and who gets them (roads.ts).

import type { StoredChange } from './ports.ts'

type Item =
  | { readonly type: 'change'; readonly change: StoredChange }
  | { readonly type: 'action'; readonly run: () => void }

export type Outbox = {
  /** Queued to be durable before any later action runs. */
  persist(change: StoredChange): void
  /** Runs at once when nothing before it waits for the disk. */
  after(run: () => void): void
  /** Resolves when everything queued so far is durable and has run. */
  drained(): Promise<void>
}

/** `fail` is told when the disk refuses: the peer must stop, since nothing it says after that would be durable. */
export function makeOutbox(
  write: (changes: readonly StoredChange[]) => Promise<void>,
  fail: (error: unknown) => void,
): Outbox {
  let queue: Item[] = []
  let writing = false
  let failed = false

  const flush = async (): Promise<void> => {
    writing = true
    while (queue.length > 0 && !failed) {
      const items = queue
      queue = []
      const changes = items.flatMap(item => (item.type === 'change' ? [item.change] : []))
      try {
        if (changes.length > 0) await write(changes)
      } catch (error) {
        failed = true
        fail(error)
        break
      }
      for (const item of items) if (item.type === 'action') item.run()
    }
    writing = false
  }

  return {
    persist(change) {
      if (failed) return
      queue.push({ type: 'change', change })
      // The fsync starts after the current turn, so that everything this turn decides shares it.
      if (!writing) {
        writing = true
        queueMicrotask(() => void flush())
      }
    },
    after(run) {
      if (failed) return
      if (!writing && queue.length === 0) run()
      else queue.push({ type: 'action', run })
    },
    async drained() {
      if (failed || (!writing && queue.length === 0)) return
      await new Promise<void>(resolve => queue.push({ type: 'action', run: resolve }))
    },
  }
}
