// The walls of src/README.md as a test: who may import whom, which packages live where, banned calls in the pure core,
// a head comment in each file. A new arrow is a change to this table, made knowingly.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const SRC = join(ROOT, 'src')

type Wall = { readonly rooms: readonly string[]; readonly packages: readonly string[] }

/** Room → rooms it may import (besides itself) and packages it may name. `*` opens all; node:… counts as a package. */
const WALLS: Readonly<Record<string, Wall>> = {
  model: { rooms: [], packages: ['node:crypto'] },
  'ports.ts': { rooms: ['model'], packages: [] },
  consensus: { rooms: ['model'], packages: [] },
  wire: {
    rooms: ['model', 'ports.ts'],
    packages: ['@ipld/dag-cbor', 'sodium-native', 'secp256k1/bindings.js', 'node:crypto'],
  },
  'mempool.ts': { rooms: ['model'], packages: [] },
  access: { rooms: ['model'], packages: [] },
  ledger: { rooms: ['model', 'access', 'ports.ts'], packages: ['@ipld/dag-cbor'] },
  enforcer: { rooms: ['model', 'access'], packages: [] },
  records: {
    // The tables of HL7's labels: the rules that derive some must know what the contract takes.
    rooms: ['model', 'ports.ts', 'access/sets.ts', 'short-lived.ts'],
    packages: [
      'age-encryption',
      'hpke',
      'shamir-secret-sharing',
      'sodium-native',
      'node:crypto',
      'node:stream',
      '@ipld/dag-cbor',
    ],
  },
  identity: { rooms: ['model', 'access'], packages: ['*'] },
  interop: { rooms: ['model', 'access'], packages: [] },
  client: { rooms: ['model', 'wire', 'records', 'identity', 'short-lived.ts'], packages: ['*'] },
  adapters: {
    rooms: [
      'model',
      'ports.ts',
      'records/vault.ts',
      'records/vault-rules.ts',
      'records/pieces.ts',
      'wire/codec.ts',
      'vault-place.ts',
      // The thread in which signatures are checked.
      'wire/signature.ts',
      // The thread in which a twin is made.
      'records/twin.ts',
      'records/deidentify/dicom.ts',
      'records/deidentify/fhir.ts',
      'records/deidentify/rules.ts',
      'short-lived.ts',
    ],
    packages: ['*'],
  },
  'outbox.ts': { rooms: ['model', 'ports.ts'], packages: [] },
  'roads.ts': { rooms: ['model', 'ports.ts'], packages: [] },
  'intake.ts': { rooms: ['model', 'ports.ts', 'wire', 'mempool.ts', 'roads.ts'], packages: [] },
  'block-server.ts': { rooms: ['model', 'ports.ts', 'wire'], packages: [] },
  snapshot: { rooms: ['model', 'ports.ts', 'wire', 'ledger'], packages: ['node:timers/promises'] },
  'ranges.ts': { rooms: ['model'], packages: [] },
  'catch-up.ts': { rooms: ['model', 'ports.ts', 'wire', 'block-server.ts', 'ranges.ts'], packages: [] },
  'heartbeat.ts': { rooms: ['model', 'ports.ts', 'catch-up.ts'], packages: [] },
  // The judge of evidence judges a proposal as a replica does.
  'evidence.ts': { rooms: ['model', 'wire', 'consensus/view-change.ts'], packages: [] },
  'accuser.ts': { rooms: ['model', 'ports.ts', 'wire', 'evidence.ts'], packages: [] },
  'make-ledger.ts': { rooms: ['model', 'wire', 'ledger', 'evidence.ts'], packages: [] },
  'driver.ts': {
    rooms: [
      'model',
      'ports.ts',
      'wire',
      'consensus',
      'ledger',
      'access',
      'mempool.ts',
      'outbox.ts',
      'roads.ts',
      'block-server.ts',
      'catch-up.ts',
      'intake.ts',
      'heartbeat.ts',
      'accuser.ts',
      'snapshot',
    ],
    packages: [],
  },
}

/** Calls that would make a replica, an execution or a decision differ between two peers. */
const BANNED_IN_THE_CORE: readonly [RegExp, string][] = [
  [/\bDate\b/, 'Date'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b|\bqueueMicrotask\b/, 'a timer'],
  [/\bawait\b|\basync\b|\bPromise\b/, 'await'],
  [/\bconsole\b/, 'console'],
  [/\bprocess\b\./, 'process'],
  [/\btoLocale|\blocaleCompare\b|\bIntl\b/, 'the locale'],
]
const CORE = ['consensus', 'access', 'model']

type Source = { readonly path: string; readonly room: string; readonly text: string; readonly code: string }

const sources: readonly Source[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map(name => {
    const text = readFileSync(join(SRC, name), 'utf8')
    const parts = name.split('/')
    return { path: name, room: parts[0] as string, text, code: withoutComments(text) }
  })

test('nobody reaches through a wall', () => {
  const broken: string[] = []
  for (const source of sources) {
    const wall = WALLS[source.room]
    if (wall === undefined) continue
    for (const target of importsOf(source)) {
      if (!target.startsWith('.')) {
        const allowed = wall.packages.includes('*') || wall.packages.includes(target)
        if (!allowed) broken.push(`${source.path} names the package ${target}`)
        continue
      }
      const path = relative(SRC, join(SRC, dirname(source.path), target))
      const room = path.split('/')[0] as string
      if (room !== source.room && !wall.rooms.includes(room) && !wall.rooms.includes(path))
        broken.push(`${source.path} imports ${path}`)
    }
  }
  assert.deepEqual(broken, [])
})

test('the skins are thin: the command line and the API reach neither the loop nor the protocol nor the adapters', () => {
  const forbidden = [
    'driver.ts',
    'consensus',
    'mempool.ts',
    'outbox.ts',
    'roads.ts',
    'intake.ts',
    'catch-up.ts',
    'adapters',
  ]
  const broken: string[] = []
  for (const source of sources.filter(({ room }) => room === 'cli' || room === 'api'))
    for (const target of importsOf(source)) {
      const room = relative(SRC, join(SRC, dirname(source.path), target)).split('/')[0] as string
      if (target.startsWith('.') && forbidden.includes(room)) broken.push(`${source.path} imports ${target}`)
      if (target.startsWith('.') && source.room === 'cli' && room === 'ledger')
        broken.push(`${source.path} imports ${target}`)
    }
  assert.deepEqual(broken, [])
})

test('only peer.ts and the setup of a network know the adapters', () => {
  const knowing = sources
    .filter(source => source.room !== 'adapters' && importsOf(source).some(target => target.includes('adapters/')))
    .map(source => source.path)
    .filter(path => !['peer.ts', 'network-setup.ts', 'offline.ts'].includes(path))
  assert.deepEqual(knowing, [])
})

test('the clients of databases and buckets are loaded only by a peer that has such a vault', () => {
  const clients = ['postgres-vault.ts', 's3-vault.ts', 's3-objects.ts']
  const broken: string[] = []
  for (const { path, code } of sources)
    for (const [, target = ''] of code.matchAll(/\bfrom\s+'([^'\n]+)'/g)) {
      const isClient =
        target === 'pg' || target.startsWith('@aws-sdk/') || clients.some(name => target.endsWith(`/${name}`))
      if (isClient && !clients.includes(path.split('/').at(-1) as string)) broken.push(`${path} always loads ${target}`)
    }
  assert.deepEqual(broken, [])
})

test('the core has no clock, no die, no locale and no waiting', () => {
  const broken: string[] = []
  for (const source of sources)
    if (CORE.includes(source.room))
      for (const [pattern, name] of BANNED_IN_THE_CORE)
        if (pattern.test(source.code)) broken.push(`${source.path} uses ${name}`)
  assert.deepEqual(broken, [])
})

test('each file says first what it is, and is one idea long', () => {
  const broken: string[] = []
  for (const source of sources) {
    if (!source.text.startsWith('// ')) broken.push(`${source.path} has no head comment`)
    const lines = source.text.split('\n').length
    if (lines > 440) broken.push(`${source.path} has ${lines} lines`)
    if (/\b(TODO|FIXME|XXX|HACK)\b/.test(source.text)) broken.push(`${source.path} holds a left-over marker`)
  }
  assert.deepEqual(broken, [])
})

test('no file imports itself in a circle through a barrel', () => {
  assert.deepEqual(
    sources.filter(source => source.path.endsWith('/index.ts')).map(source => source.path),
    [],
  )
})

test('no file leads back to itself, by however many imports, types too', () => {
  const targets = new Map(
    sources.map(source => [
      source.path,
      importsOf(source)
        .filter(target => target.startsWith('.'))
        .map(target => relative(SRC, join(SRC, dirname(source.path), target))),
    ]),
  )
  const done = new Set<string>()
  const circles: string[] = []
  const walk = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(' → '))
    if (way.includes(path) || done.has(path)) return
    for (const target of targets.get(path) ?? []) walk(target, [...way, path])
    done.add(path)
  }
  for (const path of targets.keys()) walk(path, [])
  assert.deepEqual(circles, [])
})

function importsOf(source: Source): string[] {
  return [...source.code.matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\s*\(\s*)'([^'\n]+)'/g)].map(
    match => match[1] as string,
  )
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1')
}
