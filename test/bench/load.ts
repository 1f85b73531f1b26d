// A load generator for the benchmark: requests signed beforehand, one open connection to each peer's API (the one a hospital's gateway
// keeps), open loop (Poisson, latency from the intended send time) or closed loop (a fixed number in flight).

import type { Api, Line } from '../../src/api/client.ts'
import { encodeFrame } from '../../src/api/frames.ts'

export type Latencies = { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number }

export type LoadResult = {
  readonly sent: number
  readonly done: number
  readonly refused: ReadonlyMap<string, number>
  readonly seconds: number
  readonly latencyMs: Latencies
}

export type Signed = { readonly id: string; readonly bytes: Uint8Array }

type Lane = { push(bytes: Uint8Array): void; end(): void; body: AsyncIterable<Uint8Array> }

function makeLane(): Lane {
  const queue: Uint8Array[] = []
  let wake: (() => void) | null = null
  let ended = false
  const poke = (): void => {
    wake?.()
    wake = null
  }
  return {
    push(bytes) {
      queue.push(bytes)
      poke()
    },
    end() {
      ended = true
      poke()
    },
    body: (async function* () {
      for (;;) {
        if (queue.length > 0) yield Buffer.concat(queue.splice(0))
        else if (ended) return
        else await new Promise<void>(resolve => (wake = resolve))
      }
    })(),
  }
}

export type Load = {
  /** Sends at `perSecond` with exponential gaps for `seconds`. */
  open(perSecond: number, seconds: number): Promise<LoadResult>
  /** Keeps `inFlight` requests under way in all for `seconds`. */
  closed(inFlight: number, seconds: number): Promise<LoadResult>
  close(): Promise<void>
}

/** `next` gives a request that was never sent before, for the hospital at `lane`; it is told when the result is there. */
export type Source = { next(lane: number): Signed; settled(id: string): void }

export function makeLoad(apis: readonly Api[], source: Source, random: () => number): Load {
  const sentAt = new Map<string, number>()
  const latencies: number[] = []
  const refused = new Map<string, number>()
  let done = 0
  let onDone: (lane: number) => void = () => {}

  const onLine = (line: Line, lane: number): void => {
    const id = String(line['request'] ?? (line['error'] as Line | undefined)?.['request'] ?? '')
    const at = sentAt.get(id)
    if (at === undefined)
      throw new Error(`a result for a request that was not sent: ${JSON.stringify(line).slice(0, 300)}`)
    sentAt.delete(id)
    source.settled(id)
    const outcome = (line['outcome'] as Line | undefined)?.['type']
    if (outcome === 'done') {
      latencies.push(performance.now() - at)
      done++
    } else {
      const reason = JSON.stringify(line['error'] ?? line['outcome'])
      refused.set(reason, (refused.get(reason) ?? 0) + 1)
    }
    onDone(lane)
  }

  const lanes = apis.map(() => makeLane())
  const reading = apis.map(async (api, i) => {
    for await (const line of api.exchange('/v1/requests', {}, (lanes[i] as Lane).body)) onLine(line, i)
  })
  for (const lane of reading) lane.catch(error => process.stderr.write(`${String(error)}\n`))

  const send = (lane: number, intendedMs: number): void => {
    const request = source.next(lane)
    sentAt.set(request.id, intendedMs)
    ;(lanes[lane] as Lane).push(encodeFrame(request.bytes))
  }

  const measure = async (seconds: number, run: () => Promise<number>): Promise<LoadResult> => {
    latencies.length = 0
    refused.clear()
    done = 0
    const start = performance.now()
    const sent = await run()
    const elapsed = (performance.now() - start) / 1000
    const doneInTime = done
    const until = performance.now() + 20_000
    while (sentAt.size > 0 && performance.now() < until) await pause(20)
    return {
      sent,
      done: doneInTime,
      refused: new Map(refused),
      seconds: Math.max(seconds, elapsed),
      latencyMs: summary(latencies),
    }
  }

  return {
    open: (perSecond, seconds) =>
      measure(seconds, async () => {
        const start = performance.now()
        let at = start
        let sent = 0
        for (;;) {
          at += (-Math.log(1 - random()) / perSecond) * 1000
          if (at > start + seconds * 1000) return sent
          const wait = at - performance.now()
          if (wait > 1) await pause(wait)
          send(sent % lanes.length, at)
          sent++
        }
      }),
    closed: (inFlight, seconds) =>
      measure(seconds, async () => {
        const until = performance.now() + seconds * 1000
        let sent = 0
        let resolveDone: () => void = () => {}
        const finished = new Promise<void>(resolve => (resolveDone = resolve))
        onDone = lane => {
          if (performance.now() >= until) return resolveDone()
          send(lane, performance.now())
          sent++
        }
        for (let i = 0; i < inFlight; i++) {
          send(i % lanes.length, performance.now())
          sent++
        }
        await Promise.race([finished, pause(seconds * 1000 + 10_000)])
        onDone = () => {}
        return sent
      }),
    async close() {
      for (const lane of lanes) lane.end()
      await Promise.allSettled(reading)
    },
  }
}

function summary(values: readonly number[]): Latencies {
  const sorted = Float64Array.from(values).sort()
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Mulberry32: a small seeded generator, so that a run's arrivals repeat. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
