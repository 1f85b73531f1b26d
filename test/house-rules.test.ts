// The rules file while a peer runs: it is read again when it changes, and a broken one is refused and told of.

import assert from 'node:assert/strict'
import { mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCedar } from '../src/adapters/cedar-engine.ts'
import { type HouseRules, openHouseRules } from '../src/house-rules.ts'
import { EmrmError } from '../src/model/errors.ts'
import type { Grant } from '../src/model/operations.ts'
import type { Log } from '../src/ports.ts'
import type { RecordFacts } from '../src/records/ledger-view.ts'

const grant = {
  requester: 'a'.repeat(32),
  institution: 'b'.repeat(32),
  role: 'attending',
  purpose: 'TREAT',
  right: 'read',
  variant: 'original',
  basis: 'owner',
} as Grant
const record = {
  record: 'c'.repeat(32),
  owner: 'd'.repeat(32),
  custodian: 'e'.repeat(32),
  kind: 'fhir',
  confidentiality: 'N',
  labels: [] as readonly string[],
} as RecordFacts

const cedar = (name: string, purpose: string): string =>
  `@id("${name}") forbid (principal, action, resource) when { context.purpose in Purpose::"${purpose}" };`
const json = (name: string, purpose: string): string =>
  JSON.stringify({ version: 1, rules: [{ name, effect: 'withhold', when: { purpose: [purpose] } }] })

type Told = { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }
type Stage = {
  readonly rules: HouseRules
  readonly told: Told[]
  /** Null takes the file away. */
  change(text: string | null): Promise<void>
}

async function withRules(name: string, text: string, act: (stage: Stage) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'emrm-rules-'))
  const file = join(dir, name)
  const told: Told[] = []
  const waiting: (() => void)[] = []
  const tell = (event: string, fields = {}): void => {
    told.push({ event, fields })
    for (const wake of waiting.splice(0)) wake()
  }
  const log: Log = { debug: tell, info: tell, warn: tell, error: tell }
  let rules: HouseRules | null = null
  try {
    await writeFile(file, text)
    const clock = {
      nowMs: () => Date.UTC(2026, 0, 5, 12),
      after: (_ms: number, callback: () => void) => {
        const timer = setTimeout(callback, 10)
        return () => clearTimeout(timer)
      },
    }
    rules = await openHouseRules({ file, openProgram: source => openCedar(source, { log }), clock, log })
    const change = async (next: string | null): Promise<void> => {
      const heard = new Promise<void>(resolve => waiting.push(resolve))
      if (next === null) await unlink(file)
      else {
        // As editors do it: a new file takes the old one's name.
        await writeFile(`${file}.new`, next)
        await rename(`${file}.new`, file)
      }
      await heard
    }
    await act({ rules, told, change })
  } finally {
    await rules?.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

for (const [name, write] of [
  ['rules.cedar', cedar],
  ['rules.json', json],
] as const)
  test(`a changed ${name} counts without a restart, and a broken one leaves the old rules in force`, () =>
    withRules(name, write('no-treatment', 'TREAT'), async ({ rules, told, change }) => {
      const withheld = { type: 'withhold', rule: 'no-treatment' }
      assert.deepEqual(await rules.ask(grant, record, []), withheld)
      await change(write('no-treatment', 'TREAT').slice(0, -8))
      assert.deepEqual(told.at(-1)?.event, 'house-rules-refused')
      assert.equal(told.at(-1)?.fields['code'], 'rules-invalid')
      assert.deepEqual(await rules.ask(grant, record, []), withheld)
      await change(write('no-research', 'HRESCH'))
      assert.deepEqual(told.at(-1)?.event, 'house-rules-loaded')
      assert.deepEqual(await rules.ask(grant, record, []), { type: 'release' })
    }))

test('a peer does not start with rules that it cannot apply', async () => {
  for (const [name, text] of [
    ['rules.cedar', '@id("open") permit (principal, action, resource);'],
    ['rules.json', cedar('a', 'TREAT')],
  ] as const)
    await assert.rejects(
      () => withRules(name, text, async () => assert.fail('it started')),
      (error: unknown) => error instanceof EmrmError && error.code === 'rules-invalid',
    )
})

test('a file that is taken away is told of once, and its rules stay in force', () =>
  withRules('rules.json', json('no-treatment', 'TREAT'), async ({ rules, told, change }) => {
    await change(null)
    await new Promise(resolve => setTimeout(resolve, 100))
    assert.deepEqual(
      told.map(({ event }) => event),
      ['house-rules-loaded', 'house-rules-refused'],
    )
    assert.deepEqual(await rules.ask(grant, record, []), { type: 'withhold', rule: 'no-treatment' })
  }))
