// node test/sim/mutants.ts [--seeds N] [--only WORD]: breaks the replica on purpose, one rule at a time (consensus.md §4.3), and runs
// the campaign against each broken copy. Prints the seed that caught it. A mutant that survives is a hole in the checkers.
// The sources are copied into a temporary folder and changed there by text; a replacement that no longer fits is an error.
// What random runs survive without (§4.3: re-sends and heartbeats make up for it) is caught by a scenario of directed.ts.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Environment } from '../../src/consensus/environment.ts'
import { DIRECTED } from './directed.ts'
import type { Parts } from './parts.ts'
import { type MakeVerifier, makeRealParts } from './real-parts.ts'
import type { ReplicaLike } from './sim-peer.ts'
import { World } from './world.ts'

type Edit = readonly [file: string, from: string, to: string]
export type Mutant = {
  readonly name: string
  readonly edits: readonly Edit[]
  /** What is broken is the verifier (src/wire), so the runs are real ones. */
  readonly real?: boolean
}

/** Lowers a threshold wherever the replica looks at it. */
const lower = (...thresholds: string[]): Edit => [
  'state.ts',
  'committee: start.committee,',
  `committee: { ...start.committee, quorum: { ...start.committee.quorum, ${thresholds
    .map(name => `${name}: start.committee.quorum.${name} - 1`)
    .join(', ')} } },`,
]

export const MUTANTS: readonly Mutant[] = [
  { name: 'quorum one lower', edits: [lower('commitCertificate', 'blockId')] },
  { name: 'CC quorum one lower', edits: [lower('commitCertificate')] },
  { name: 'BLOCK-ID quorum one lower', edits: [lower('blockId')] },
  { name: 'fast quorum one lower', edits: [lower('fast')] },
  { name: 'recovery threshold one lower', edits: [lower('recovery')] },
  { name: 'view-change set n-f-1', edits: [lower('viewChange')] },
  {
    name: 'view > w* dropped',
    edits: [['view-change.ts', 'if (lastVote === null || lastVote.view <= highestView)', 'if (lastVote === null)']],
  },
  {
    name: 'view >= w*',
    edits: [['view-change.ts', 'lastVote.view <= highestView', 'lastVote.view < highestView']],
  },
  {
    name: 'highest certificate not re-proposed',
    edits: [
      [
        'view-change.ts',
        "return highest === null ? { type: 'free' } : { type: 'forced', id: highest.id }",
        "return { type: 'free' }",
      ],
    ],
  },
  {
    name: 'certificate preferred over votes',
    edits: [
      [
        'view-change.ts',
        'const counts = new Map<BlockId, number>()',
        "if (highest !== null) return { type: 'forced', id: highest.id }\n  const counts = new Map<BlockId, number>()",
      ],
    ],
  },
  {
    name: 'vote sent before persisted',
    edits: [
      [
        'durable.ts',
        "  persist(step, { type: 'last-vote', height, view, id: block.id })\n  broadcast(step, signVote(step, 'COMMIT', state.lastVote))",
        "  broadcast(step, signVote(step, 'COMMIT', state.lastVote))\n  persist(step, { type: 'last-vote', height, view, id: block.id })",
      ],
    ],
  },
  {
    name: 'certificate not persisted before BLOCK-ID',
    edits: [
      ['durable.ts', "  persist(step, { type: 'high-certificate', height: certificate.height, certificate })\n", ''],
    ],
  },
  {
    name: 'VIEW-CHANGE not persisted',
    edits: [['durable.ts', "  persist(step, { type: 'view-change', height, message })\n", '']],
  },
  {
    name: 'own proposal not persisted',
    edits: [['durable.ts', "  persist(step, { type: 'own-proposal', height, message })\n", '']],
  },
  { name: 'body not persisted', edits: [['durable.ts', "    persist(step, { type: 'body', height, block })\n", '']] },
  {
    name: 'vote log not read at restart',
    edits: [['restart.ts', 'if (own.length === 0) return', 'if (own.length >= 0) return']],
  },
  {
    name: 'double vote in a view',
    edits: [['normal-case.ts', 'if (state.lastVote !== null && state.lastVote.view >= view) return', '']],
  },
  {
    name: 'vote in a left view',
    edits: [
      [
        'normal-case.ts',
        'state.decision !== null || view < state.view) return\n  if (state.lastVote',
        'state.decision !== null) return\n  if (state.lastVote',
      ],
      ['normal-case.ts', '  if (view < state.view) return\n', ''],
    ],
  },
  {
    name: 'BLOCK-ID in a left view',
    edits: [
      ['decision.ts', 'if (certificate.view >= state.view) sendBlockId', 'if (certificate.view >= 0) sendBlockId'],
    ],
  },
  {
    name: 'VIEW-CHANGE omits the last vote',
    edits: [
      [
        'durable.ts',
        "type: 'VIEW-CHANGE',\n    height,\n    view,\n    lastVote,",
        "type: 'VIEW-CHANGE',\n    height,\n    view,\n    lastVote: null,",
      ],
    ],
  },
  {
    name: 'VIEW-CHANGE omits the certificate',
    edits: [
      [
        'durable.ts',
        '    lastVote,\n    highCertificate,\n    sender',
        '    lastVote,\n    highCertificate: null,\n    sender',
      ],
    ],
  },
  {
    name: 'thresholds of certificates unchecked',
    edits: [['certificates.ts', 'if (votes.length < needed) return false', 'return true']],
  },
  {
    name: 'signatures of certificates unchecked',
    edits: [
      ['../wire/verify.ts', "      if (!holds(committee, vote, signed, digest)) return 'certificate-signature'\n", ''],
    ],
    real: true,
  },
  {
    name: 'certificate with one vote many times',
    edits: [['certificates.ts', 'if (vote.sender <= previous) return false', '']],
  },
  {
    name: 'justification unchecked',
    edits: [['normal-case.ts', 'const fits = selection.type', 'const fits = view > 0 || selection.type']],
  },
  {
    name: 'VIEW-CHANGEs of other views in a justification',
    edits: [
      [
        'view-change.ts',
        'viewChange.height !== state.height || viewChange.view !== view) return null',
        'viewChange.height !== state.height) return null',
      ],
    ],
  },
  {
    name: 'fresh block of another author',
    edits: [
      [
        'normal-case.ts',
        'const fresh = block.header.author === sender && block.header.birthView === view',
        'const fresh = true',
      ],
    ],
  },
  {
    name: 'anyone may propose',
    edits: [['normal-case.ts', '  if (message.sender !== primaryAt(state, view)) return\n', '']],
  },
  {
    name: 'block not checked',
    edits: [
      [
        'normal-case.ts',
        'if (environment.checkBlock(block, selection.type ===',
        'if (null !== null && environment.checkBlock(block, selection.type ===',
      ],
    ],
  },
  {
    name: 'clock judges a forced block',
    edits: [['normal-case.ts', "selection.type === 'free', step.nowMs", 'true, step.nowMs']],
  },
  { name: 'no join', edits: [['view-change.ts', 'enter(step, step.state.joinView as View)', 'void step']] },
  { name: 'join on one wish', edits: [['pacemaker.ts', 'descending[oneCorrect - 1]', 'descending[0]']] },
  {
    name: 'laggards not answered',
    edits: [
      ['laggards.ts', "if (message.type !== 'VIEW-CHANGE' && message.type !== 'STATUS') return false", 'return false'],
    ],
  },
  {
    name: 'no fetch',
    edits: [
      ['state.ts', "  step.effects.push({ type: 'fetch', height: step.state.height, id })\n", ''],
      [
        'replica.ts',
        "for (const id of state.wanted) step.effects.push({ type: 'fetch', height: state.height, id })",
        '',
      ],
    ],
  },
  { name: 'no re-send', edits: [['replica.ts', '      sayAgain(step)\n', '']] },
  { name: 'votes without bound', edits: [['votes.ts', 'VOTES_PER_SENDER_MAX = 8', 'VOTES_PER_SENDER_MAX = 1e9']] },
]

const BLOCKS = 3
const root = join(import.meta.dirname, '../..')

type Broken = {
  readonly make: (environment: Environment) => ReplicaLike
  /** Null: the cheap set, whose signatures nobody can break. */
  readonly makeParts: ((n: number) => Parts) | null
  readonly remove: () => void
}

/** The replica, and for a real mutant the verifier, of a broken copy; `remove` deletes the copy. */
export async function breed(mutant: Mutant): Promise<Broken> {
  const folder = mkdtempSync(join(tmpdir(), 'emrm-mutant-'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const part of ['consensus', 'model', 'wire', 'ports.ts'])
    cpSync(join(root, 'src', part), join(folder, 'src', part), { recursive: true })
  for (const [file, from, to] of mutant.edits) {
    const path = join(folder, 'src/consensus', file)
    const source = readFileSync(path, 'utf8')
    if (source.split(from).length !== 2) throw new Error(`mutant "${mutant.name}" no longer fits ${file}: ${from}`)
    writeFileSync(
      path,
      source.replace(from, () => to),
    )
  }
  const load = async (file: string): Promise<unknown> => import(pathToFileURL(join(folder, 'src', file)).href)
  const { Replica } = (await load('consensus/replica.ts')) as { Replica: new (environment: Environment) => ReplicaLike }
  const { makeVerifier } = (await load('wire/verify.ts')) as { makeVerifier: MakeVerifier }
  return {
    make: environment => new Replica(environment),
    makeParts: mutant.real === true ? n => makeRealParts(n, { make: makeVerifier }) : null,
    remove: () => rmSync(folder, { recursive: true }),
  }
}

/** The first seed that shows a violation, at n = 4 and n = 6 in turn; else the first scenario that fails. */
export function hunt({ make: makeReplica, makeParts }: Omit<Broken, 'remove'>, seeds: number): string | null {
  for (let seed = 1; seed <= seeds; seed++) {
    const n = seed % 4 === 0 ? 6 : 4
    const parts = makeParts === null ? {} : { parts: makeParts(n) }
    const { violation } = new World({ seed, n, blocks: BLOCKS, makeReplica, ...parts }).run()
    if (violation !== null) return `seed ${seed} n=${n}: ${violation}`
  }
  for (const { name, holds } of DIRECTED) if (!holds(makeReplica)) return `scenario ${name}`
  return null
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seeds: { type: 'string', default: '2000' }, only: { type: 'string', default: '' } },
  })
  let survivors = 0
  for (const mutant of MUTANTS) {
    if (!mutant.name.includes(values.only)) continue
    const broken = await breed(mutant)
    const startedMs = performance.now()
    const caught = hunt(broken, Number(values.seeds))
    broken.remove()
    if (caught === null) survivors++
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    const how = caught ?? 'SURVIVES'
    console.log(`${mutant.name.padEnd(48)} ${seconds.padStart(6)} s  ${how}`)
  }
  console.log(`${survivors} survive`)
  process.exitCode = survivors === 0 ? 0 : 1
}

if (import.meta.main) await main()
