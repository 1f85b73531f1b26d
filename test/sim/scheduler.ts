// Virtual time: a heap of events, ordered by time and then by the order in which they were put in. Nothing else moves the simulation.

type Event = { readonly atMs: number; readonly order: number; readonly run: () => void }

export class Scheduler {
  nowMs = 0
  events = 0
  readonly #heap: Event[] = []
  #order = 0

  at(atMs: number, run: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, run }
    const heap = this.#heap
    let i = heap.length
    heap.push(event)
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, heap[parent] as Event)) break
      heap[i] = heap[parent] as Event
      i = parent
    }
    heap[i] = event
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs + ms, run)
  }

  /** Runs until `done` says so or nothing is left or `untilMs` has passed. */
  run(untilMs: number, done: () => boolean): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs && !done(); next = this.#heap[0]) {
      this.#drop()
      this.nowMs = next.atMs
      this.events++
      next.run()
    }
  }

  #drop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++
      if (!before(heap[child] as Event, last)) break
      heap[i] = heap[child] as Event
      i = child
    }
    heap[i] = last
  }
}

const before = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
