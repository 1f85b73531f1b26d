// The hospital's own rules as a living file: read at the start, read again when it changes, asked at each release. JSON rules are applied
// here in the process, Cedar policies (`….cedar`) in the engine's thread. A new file that is broken is refused with a line in the log and
// the old rules stay: a typing error must not open the door, nor shut it. Not here: what rules mean (enforcer/), the engine (adapters/).

import { readFile } from 'node:fs/promises'
import type { CedarAnswer } from './enforcer/cedar.ts'
import { CEDAR_SCHEMA, CHAIN_GRANT, cedarEnforcement, cedarQuestion, checkCedarText } from './enforcer/cedar.ts'
import { enforce, localMinuteOfDay, localWeekday } from './enforcer/enforce.ts'
import { parseRules } from './enforcer/rules.ts'
import { EmrmError } from './model/errors.ts'
import { digestOf } from './model/hash.ts'
import type { AttributeRow, Grant } from './model/operations.ts'
import type { Clock, Log } from './ports.ts'
import type { RecordFacts } from './records/ledger-view.ts'
import type { HouseAnswer } from './records/share-server.ts'

/** How often the file is looked at. */
const LOOK_EVERY_MS = 1_000

/** A Cedar engine with one file loaded. */
export type RulesProgram = {
  readonly rules: number
  /** Null when there is no answer. */
  ask(question: object): Promise<unknown>
  stop(): Promise<void>
}
export type OpenProgram = (source: {
  readonly text: string
  readonly schema: string
  readonly permitName: string
}) => Promise<RulesProgram>

export type HouseRules = {
  /** `attributes`: Att_u of the requester, as the chain's credentials say now. */
  ask(grant: Grant, record: RecordFacts, attributes: readonly AttributeRow[]): Promise<HouseAnswer>
  stop(): Promise<void>
}

type Loaded = HouseRules & { readonly rules: number }

export type HouseRulesOptions = {
  /** Null: this hospital has no rules of its own. */
  readonly file: string | null
  readonly openProgram: OpenProgram
  readonly clock: Pick<Clock, 'nowMs' | 'after'>
  readonly log: Log
}

/** Throws EmrmError `rules-invalid` when the first file is no good: a peer does not start with rules that it cannot apply. */
export async function openHouseRules(options: HouseRulesOptions): Promise<HouseRules> {
  const { file, log, clock } = options
  if (file === null) return { ask: async () => ({ type: 'release' }), stop: async () => {} }
  let seen = await readText(file)
  let current = await load(file, seen, options)
  log.info('house-rules-loaded', { rules: current.rules, digest: digestOf(Buffer.from(seen)) })

  /** What was told last; a file that is gone is told of once, not each second. */
  let told = ''
  const reload = async (): Promise<void> => {
    try {
      const text = await readText(file)
      if (text === seen) return
      // Remembered even when refused: the same broken file is told of once.
      seen = text
      const next = await load(file, text, options)
      told = ''
      const old = current
      current = next
      log.info('house-rules-loaded', { rules: next.rules, digest: digestOf(Buffer.from(text)) })
      await old.stop()
    } catch (error) {
      if (!(error instanceof EmrmError)) throw error
      if (error.message === told) return
      told = error.message
      log.error('house-rules-refused', { code: error.code, reason: told, kept: current.rules })
    }
  }
  // By reading, not by events: editors replace files, and a watch would stay with the one that is gone, or miss what came before it began.
  let work: Promise<void> = Promise.resolve()
  let cancel = (): void => {}
  let stopped = false
  const lookLater = (): void => {
    if (stopped) return
    cancel = clock.after(LOOK_EVERY_MS, () => {
      work = reload().finally(lookLater)
    })
  }
  lookLater()
  return {
    ask: (grant, record, attributes) => current.ask(grant, record, attributes),
    async stop() {
      stopped = true
      cancel()
      await work
      await current.stop()
    },
  }
}

async function load(file: string, text: string, { openProgram, clock }: HouseRulesOptions): Promise<Loaded> {
  if (!file.endsWith('.cedar')) {
    const rules = parseRules(parseJson(text, file))
    return {
      rules: rules.length,
      ask: async (grant, { kind, confidentiality }) =>
        enforce(rules, grant, { kind, confidentiality, minuteOfDay: localMinuteOfDay(clock.nowMs()) }),
      stop: async () => {},
    }
  }
  checkCedarText(text)
  const program = await openProgram({ text, schema: CEDAR_SCHEMA, permitName: CHAIN_GRANT })
  return {
    rules: program.rules,
    async ask(grant, record, rows) {
      const now = clock.nowMs()
      const attributes = rows.flatMap(({ key, values }) => values.map(value => `${key}=${value}`))
      const facts = { ...record, attributes, minuteOfDay: localMinuteOfDay(now), weekday: localWeekday(now) }
      return cedarEnforcement((await program.ask(cedarQuestion(grant, facts))) as CedarAnswer | null)
    },
    stop: () => program.stop(),
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    throw new EmrmError(
      'rules-invalid',
      `${file} cannot be read (${code}); mend it, or take "rules" out of config.json`,
      { file, cause: code },
      cause,
    )
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new EmrmError(
      'rules-invalid',
      `${file} cannot be read as JSON; mend it, or take "rules" out of config.json (Cedar policies go into a .cedar file)`,
      { file },
    )
  }
}
