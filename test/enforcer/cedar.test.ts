// House rules as Cedar policies: what they can ask, how they narrow, and that no text and no question takes the peer down.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type CedarProgram, openCedar } from '../../src/adapters/cedar-engine.ts'
import {
  CEDAR_SCHEMA,
  type CedarAnswer,
  type CedarFacts,
  CHAIN_GRANT,
  cedarEnforcement,
  cedarQuestion,
  checkCedarText,
} from '../../src/enforcer/cedar.ts'
import { EmrmError } from '../../src/model/errors.ts'
import type { Identifier, RecordId } from '../../src/model/ids.ts'
import type { Grant } from '../../src/model/operations.ts'
import type { Log } from '../../src/ports.ts'

const id = (digit: string): Identifier => digit.repeat(32) as Identifier
const grant = {
  requester: id('a'),
  institution: id('b'),
  role: 'attending',
  purpose: 'COC',
  right: 'read',
  variant: 'original',
  basis: 'ff'.repeat(32),
} as Grant
const facts: CedarFacts = {
  record: 'cc'.repeat(16) as RecordId,
  owner: id('d'),
  custodian: id('e'),
  kind: 'fhir',
  confidentiality: 'R',
  labels: ['HIV'],
  attributes: ['department=cardiology'],
  minuteOfDay: 600,
  weekday: 3,
}

const events: string[] = []
const note = (event: string): void => void events.push(event)
const log: Log = { debug: note, info: note, warn: note, error: note }
const open = (text: string, more: object = {}): Promise<CedarProgram> =>
  openCedar({ text, schema: CEDAR_SCHEMA, permitName: CHAIN_GRANT }, { log, ...more })

const opened: CedarProgram[] = []
after(() => Promise.all(opened.map(program => program.stop())))
async function program(text: string, more: object = {}): Promise<CedarProgram> {
  checkCedarText(text)
  const made = await open(text, more)
  opened.push(made)
  return made
}

async function answer(
  made: CedarProgram,
  changes: Partial<Grant> = {},
  changedFacts: Partial<CedarFacts> = {},
): Promise<string> {
  const question = cedarQuestion({ ...grant, ...changes }, { ...facts, ...changedFacts })
  const result = cedarEnforcement((await made.ask(question)) as CedarAnswer | null)
  return result.type === 'withhold' ? result.rule : 'release'
}

const forbid = (name: string, when: string): string =>
  `@id("${name}") forbid (principal, action, resource) when { ${when} };`

test('a policy withholds exactly when its condition holds, and is named', async () => {
  const rows: [string, Partial<Grant>, Partial<CedarFacts>][] = [
    ['context.purpose == Purpose::"COC"', {}, {}],
    ['context.purpose in Purpose::"TREAT"', {}, {}],
    ['principal in Role::"attending"', {}, {}],
    [`principal in Institution::"${id('b')}"`, {}, {}],
    [`principal == User::"${id('a')}"`, {}, {}],
    [`resource in Institution::"${id('e')}"`, {}, {}],
    [`resource.owner == Patient::"${id('d')}"`, {}, {}],
    ['resource.kind == "fhir"', {}, {}],
    ['resource.rank > 3', {}, {}],
    ['resource.labels.contains("HIV")', {}, {}],
    ['principal.attributes.contains("department=cardiology")', {}, {}],
    ['context.basis == "emergency"', { basis: 'emergency' }, {}],
    ['context.basis == "policy"', {}, {}],
    ['context.variant == "original"', {}, {}],
    ['context.minuteOfDay >= 600 && context.minuteOfDay < 601', {}, {}],
    ['context.weekday > 5', {}, { weekday: 6 }],
    ['action == Action::"read"', {}, {}],
  ]
  const all = (write: (when: string) => string): string =>
    rows.map(([when], i) => forbid(`rule-${i}`, write(when))).join('\n')
  const made = await program(all(when => when))
  const other = await program(all(when => `!(${when})`))
  assert.equal(made.rules, rows.length)
  for (const [i, [when, changes, changed]] of rows.entries()) {
    const question = cedarQuestion({ ...grant, ...changes }, { ...facts, ...changed })
    const named = async (asked: CedarProgram): Promise<boolean> =>
      ((await asked.ask(question)) as CedarAnswer).reasons.includes(`rule-${i}`)
    assert.deepEqual([await named(made), await named(other)], [true, false], when)
  }
})

test('without policies everything that the chain granted is released, and the first name is told of several', async () => {
  assert.equal(await answer(await program('')), 'release')
  const both = await program(forbid('b', 'true') + forbid('a', 'true'))
  for (let i = 0; i < 20; i++) assert.equal(await answer(both), 'a')
})

test('a policy that cannot be evaluated withholds: unsure means deny', async () => {
  const made = await program(forbid('overflow', 'resource.rank * 9223372036854775807 > 0'))
  assert.equal(await answer(made), 'overflow')
  assert.equal(await answer(made, {}, { confidentiality: 'U' }), 'release')
  assert.deepEqual(cedarEnforcement(null), { type: 'withhold', rule: 'rules-unavailable' })
  assert.deepEqual(cedarEnforcement({ decision: 'deny', reasons: [], errors: [] }), {
    type: 'withhold',
    rule: 'rules-unavailable',
  })
})

test('a file that widens, misspells or hides its names is refused', async () => {
  const rows: [string, RegExp][] = [
    ['@id("open") permit (principal, action, resource);', /permit/],
    ['forbid (principal, action, resource);', /@id/],
    ['@id("Not A Name") forbid (principal, action, resource);', /@id/],
    [forbid('a', 'true') + forbid('a', 'true'), /two rules/],
    [forbid(CHAIN_GRANT, 'true'), /two rules/],
    [forbid('a', 'context.purpos == Purpose::"COC"'), /purpos/],
    [forbid('a', 'context.purpose == "COC"'), /./],
    [forbid('a', 'resource.rank > "N"'), /./],
    [forbid('a', 'context.purpose == Purpose::"COC" && false'), /./],
    ['@id("a") forbid (principal == ?principal, action, resource);', /template/],
    ['@id("a") forbid (principal, action, resource', /./],
    ['@id("a") forbid (principal is Patient, action, resource);', /./],
  ]
  for (const [text, why] of rows)
    await assert.rejects(
      () => program(text),
      (error: unknown) => error instanceof EmrmError && error.code === 'rules-invalid' && why.test(error.message),
      text,
    )
})

test('a text that would make the engine trap never reaches it', () => {
  const deep = [
    forbid('a', `${'('.repeat(200)}true${')'.repeat(200)}`),
    forbid('a', `${'['.repeat(200)}1${']'.repeat(200)} == 1`),
    forbid('a', `${'if true then true else '.repeat(1000)}true`),
    forbid('a', `${Array(1000).fill('1').join(' + ')} > 0`),
    forbid('a', `context${'.a'.repeat(2000)} == 1`),
    forbid('a', `true ${'&& true'.repeat(300)}`),
    forbid('a', `true == ${'!'.repeat(300)}true`),
    `${forbid('a', 'true')}\n`.repeat(201),
    `// ${'a'.repeat(70_000)}`,
    // A bracket in a comment or a string is none; an open string hides nothing.
    `// "\n${forbid('a', `${'('.repeat(200)}true${')'.repeat(200)}`)}`,
    `" ${'('.repeat(200)}`,
  ]
  for (const text of deep)
    assert.throws(
      () => checkCedarText(text),
      (error: unknown) => error instanceof EmrmError && error.code === 'rules-invalid',
      text.slice(0, 60),
    )
  checkCedarText(forbid('a', `resource.kind == "${'('.repeat(200)}" // ${'('.repeat(200)}\n`))
})

test('what the bounds let through, the engine takes', async () => {
  const widest = [
    forbid('a', `${'('.repeat(30)}true${')'.repeat(30)}`),
    forbid('a', `${'if true then true else '.repeat(150)}true`),
    forbid('a', `${Array(190).fill('1').join(' + ')} > 0`),
    forbid('a', `true ${'&& true'.repeat(190)}`),
    Array.from({ length: 200 }, (_, i) => forbid(`rule-${i}`, 'true')).join('\n'),
  ]
  for (const text of widest) {
    const made = await program(text)
    assert.notEqual(await answer(made), 'release')
    await made.stop()
  }
})

test('an engine that traps on a file refuses it, and the process lives', async () => {
  await assert.rejects(
    () => open(forbid('a', `${'('.repeat(200)}true${')'.repeat(200)}`)),
    (error: unknown) => error instanceof EmrmError && error.code === 'rules-invalid',
  )
})

test('an engine that hangs or dies of a question gives no answer, and the next question finds a new one', async () => {
  const threadFile = new URL('./cedar-thread-child.ts', import.meta.url)
  for (const fault of ['hang', 'throw', 'exit']) {
    events.length = 0
    const made = await open('', { threadFile, answerTimeoutMs: 300 })
    opened.push(made)
    assert.equal(await made.ask({ say: 'here' }), 'here')
    const [bad, beside] = await Promise.all([made.ask({ fault }), made.ask({ say: 'beside' })])
    assert.equal(bad, null, fault)
    assert.ok(beside === null || beside === 'beside')
    assert.equal(await made.ask({ say: 'again' }), 'again', fault)
    assert.ok(events.includes('house-rules-restarted'), fault)
  }
})
