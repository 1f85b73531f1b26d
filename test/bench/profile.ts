// Where the time of a peer goes: reads the CPU profiles that `--profile DIR` of a benchmark left and prints self time by room of the
// source and by package, and the functions that cost most. A benchmark may have noted the phase that counts (window.json): then only that.
//   node test/bench/profile.ts DIR

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

type ProfileNode = {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}
type Profile = {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
  /** µs on the monotonic clock. */
  readonly startTime: number
}
/** µs on the monotonic clock. */
type Window = { readonly fromUs: number; readonly toUs: number }

const TOP = 40
const ALWAYS: Window = { fromUs: 0, toUs: Number.POSITIVE_INFINITY }

/** `src/wire`, `node_modules/@libp2p/gossipsub`, `node:crypto`, `(garbage collector)`. */
function placeOf(node: ProfileNode): string {
  const { url, functionName } = node.callFrame
  if (url === '') return functionName.startsWith('(') ? functionName : `native ${functionName}`
  if (url.startsWith('node:')) return `node:${url.slice(5).split('/').slice(0, 2).join('/')}`
  const packaged = /node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*node_modules)/.exec(url)
  if (packaged !== null) return packaged[1] as string
  const own = /\/(src|bin)\/(.+)$/.exec(url)
  return own === null ? url : `src/${(own[2] as string).split('/')[0]}`
}

const windowFile = (directory: string): string => join(directory, 'window.json')

export async function noteWindow(directory: string, window: Window): Promise<void> {
  await mkdir(directory, { recursive: true })
  await writeFile(windowFile(directory), JSON.stringify(window))
}

const windowOf = (directory: string): Window =>
  existsSync(windowFile(directory)) ? (JSON.parse(readFileSync(windowFile(directory), 'utf8')) as Window) : ALWAYS

export type Costs = {
  readonly busyUs: number
  readonly places: ReadonlyMap<string, number>
  readonly functions: ReadonlyMap<string, number>
}

export function costsOf(files: readonly string[], window: Window = ALWAYS): Costs {
  const places = new Map<string, number>()
  const functions = new Map<string, number>()
  let busyUs = 0
  for (const file of files) {
    const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
    const nodes = new Map(profile.nodes.map(node => [node.id, node]))
    let atUs = profile.startTime
    profile.samples.forEach((id, i) => {
      const node = nodes.get(id)
      const us = profile.timeDeltas[i] ?? 0
      atUs += us
      if (node === undefined || node.callFrame.functionName === '(idle)') return
      if (atUs < window.fromUs || atUs > window.toUs) return
      busyUs += us
      const place = placeOf(node)
      places.set(place, (places.get(place) ?? 0) + us)
      const name = `${node.callFrame.functionName || '(anonymous)'}  ${place}:${node.callFrame.lineNumber + 1}`
      functions.set(name, (functions.get(name) ?? 0) + us)
    })
  }
  return { busyUs, places, functions }
}

export function costLines(costs: ReadonlyMap<string, number>, busyUs: number, top: number): string[] {
  const sorted = [...costs].sort((a, b) => b[1] - a[1]).slice(0, top)
  return sorted.map(
    ([name, us]) =>
      `${((us / busyUs) * 100).toFixed(1).padStart(6)} %  ${(us / 1000).toFixed(0).padStart(8)} ms  ${name}`,
  )
}

export const profilesIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter(name => name.endsWith('.cpuprofile'))
    .map(name => join(directory, name))

if (process.argv[1] === import.meta.filename) {
  const directory = process.argv[2]
  if (directory === undefined) throw new Error('name the folder with the profiles')
  const files = profilesIn(directory)
  const { busyUs, places, functions } = costsOf(files, windowOf(directory))
  const print = (title: string, lines: readonly string[]): void =>
    void process.stdout.write(`\n${title}\n${lines.join('\n')}\n`)
  process.stdout.write(`${files.length} processes, ${(busyUs / 1e6).toFixed(1)} s busy\n`)
  print('by place', costLines(places, busyUs, TOP))
  print('by function (self time)', costLines(functions, busyUs, TOP))
}
