// Waiting with an end, on the injected clock: for a block that is on its way, and for a peer that may never answer.

import type { Clock } from '../ports.ts'

/** Resolves to `found`'s first answer that is not null, asked again after each block; null when `ms` have passed. */
export async function waitFor<T>(options: {
  readonly found: () => T | null
  readonly nextBlock: () => Promise<void>
  readonly clock: Clock
  readonly ms: number
}): Promise<T | null> {
  const { found, nextBlock, clock, ms } = options
  let value = found()
  if (value !== null) return value
  let isOver = false
  let cancel = (): void => undefined
  const timeout = new Promise<void>(resolve => {
    cancel = clock.after(ms, () => {
      isOver = true
      resolve()
    })
  })
  while (value === null && !isOver) {
    await Promise.race([nextBlock(), timeout])
    value = found()
  }
  cancel()
  return value
}

/** A signal that aborts after `ms` without `touch`, or with `outer`. `pause` stops the count until the next `touch`; `end` releases all. */
export function idleSignal(
  clock: Clock,
  ms: number,
  outer: AbortSignal,
): { readonly signal: AbortSignal; touch(): void; pause(): void; end(): void } {
  const controller = new AbortController()
  const onOuter = (): void => controller.abort(outer.reason)
  if (outer.aborted) onOuter()
  else outer.addEventListener('abort', onOuter, { once: true })
  const arm = (): (() => void) => clock.after(ms, () => controller.abort(new Error('the peer does not move')))
  let cancel = arm()
  return {
    signal: controller.signal,
    touch: () => {
      cancel()
      cancel = arm()
    },
    pause: () => cancel(),
    end: () => {
      cancel()
      outer.removeEventListener('abort', onOuter)
    },
  }
}
