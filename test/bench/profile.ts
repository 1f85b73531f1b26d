// Where the time of a peer goes: reads the CPU profiles that `--profile DIR` of a benchmark left and prints self time by room of the
// source and by package, and the functions that cost most.
//   node test/bench/profile.ts DIR

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

type ProfileNode = {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}
type Profile = {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const TOP = 25

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

export type Costs = {
  readonly busyUs: number
  readonly places: ReadonlyMap<string, number>
  readonly functions: ReadonlyMap<string, number>
}

export function costsOf(files: readonly string[]): Costs {
  const places = new Map<string, number>()
  const functions = new Map<string, number>()
  let busyUs = 0
  for (const file of files) {
    const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
    const nodes = new Map(profile.nodes.map(node => [node.id, node]))
    profile.samples.forEach((id, i) => {
      const node = nodes.get(id)
      const us = profile.timeDeltas[i] ?? 0
      if (node === undefined || node.callFrame.functionName === '(idle)') return
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
  const { busyUs, places, functions } = costsOf(files)
  const print = (title: string, lines: readonly string[]): void =>
    void process.stdout.write(`\n${title}\n${lines.join('\n')}\n`)
  process.stdout.write(`${files.length} processes, ${(busyUs / 1e6).toFixed(1)} s busy\n`)
  print('by place', costLines(places, busyUs, TOP))
  print('by function (self time)', costLines(functions, busyUs, TOP))
}
