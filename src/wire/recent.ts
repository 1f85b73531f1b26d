// A map that remembers about the last `sizeMax` things in constant time: two generations, the older one dropped whole. What it forgets
// is only computed again, so the coarse rule is enough.

export class Recent<V> {
  readonly #sizeMax: number
  #young = new Map<string, V>()
  #old = new Map<string, V>()
  #size = 0

  /** Holds at least the last `sizeMax` units, at most twice as many. */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key)
  }

  /** `size`: how many units this entry takes. */
  set(key: string, value: V, size = 1): void {
    if (this.#size + size > this.#sizeMax) {
      this.#old = this.#young
      this.#young = new Map()
      this.#size = 0
    }
    this.#young.set(key, value)
    this.#size += size
  }
}
