// The one die of the simulation: sfc32, seeded, so that a run is its seed. Not for keys.

export type Random = {
  /** In [0, 1). */
  next(): number
  /** Integer in [low, high]. */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** Each item with this probability. */
  some<T>(items: readonly T[], probability: number): T[]
  shuffle<T>(items: readonly T[]): T[]
}

export function makeRandom(seed: number): Random {
  let a = seed | 0
  let b = Math.floor(seed / 2 ** 32) | 0
  let c = 0x9e3779b9 | 0
  let d = 1
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return (t >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 12; i++) next()
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1))
  const shuffle = <T>(items: readonly T[]): T[] => {
    const mixed = [...items]
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = between(0, i)
      const kept = mixed[i] as T
      mixed[i] = mixed[j] as T
      mixed[j] = kept
    }
    return mixed
  }
  return {
    next,
    between,
    chance: probability => next() < probability,
    pick: items => items[between(0, items.length - 1)] as (typeof items)[number],
    some: (items, probability) => items.filter(() => next() < probability),
    shuffle,
  }
}
