// What every command does alike: exit codes, one JSON document, errors in one form, help with an example.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { errorCode, run } from './run.ts'

const COMMANDS = [
  'demo',
  'network create',
  'init',
  'start',
  'status',
  'peers',
  'block',
  'tx',
  'verify',
  'user register',
  'user revoke',
  'record add',
  'record list',
  'record show',
  'policy set',
  'policy preview',
  'policy list',
  'policy revoke',
  'delegate set',
  'delegate revoke',
  'access request',
  'access emergency',
  'access review',
  'explain',
  'audit',
  'replay',
  'backup',
  'restore',
  'doctor',
  'network admit',
  'record withdraw',
  'record adopt',
]

test('wrong usage is exit code 2, said on stderr in one line, and with --json in one document', async () => {
  const table: readonly (readonly string[])[] = [
    [],
    ['bogus'],
    ['status'],
    ['status', '--home'],
    ['status', '--home', 'h', '--bogus'],
    ['status', '--home', 'h', 'more'],
    ['record'],
    ['record', 'bogus'],
    ['record', 'show', '--home', 'h'],
    ['record', 'show', 'not-an-id', '--home', 'h'],
    ['record', 'add', 'f', '--home', 'h', '--patient', 'xyz'],
    ['network', 'create', '--dir', 'd', '--name', 'n', '--hospitals', 'four'],
    ['policy', 'set', '--home', 'h', '--key', 'k', '--grantee', 'anybody', '--purpose', 'TREAT'],
    ['policy', 'set', '--home', 'h', '--key', 'k', '--grantee', 'anyone', '--purpose', 'TREAT', '--from', 'soon'],
    ['policy', 'set', '--home', 'h', '--key', 'k', '--grantee', 'anyone', '--purpose', 'TREAT', '--right', 'write'],
    ['access', 'review', 'zz', '--home', 'h', '--key', 'k', '--verdict', 'justified'],
    ['demo', '--hospitals', '3'],
  ]
  for (const args of table) {
    const plain = await run(args)
    assert.equal(plain.code, 2, args.join(' '))
    assert.equal(plain.stdout, '')
    assert.match(plain.stderr, /^error usage: [^\n]+; [^\n]+\n$/, args.join(' '))
    const json = await run([...args, '--json'])
    assert.equal(json.code, 2)
    assert.equal(errorCode(json), 'usage')
  }
})

test('a failure is exit code 1 with its code, without a stack', async () => {
  const ran = await run(['status', '--home', '/nowhere/at/all'])
  assert.equal(ran.code, 1)
  assert.equal(ran.stdout, '')
  assert.match(ran.stderr, /^error home-missing: [^\n]+; [^\n]+\n$/)
  assert.doesNotMatch(ran.stderr, /\.ts:\d+/)
})

test('every command that works on a home says when there is none or nothing runs on it', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'emrm-cli-'))
  t.after(() => rm(dir, { recursive: true }))
  await writeFile(join(dir, 'config.json'), '{"name":"h","basePort":9700}')
  const id = 'a'.repeat(32)
  const table: readonly (readonly string[])[] = [
    ['status'],
    ['peers'],
    ['block', '1'],
    ['tx', 'a'.repeat(64)],
    ['record', 'list'],
    ['record', 'show', id],
    ['record', 'add', '-', '--patient', id],
    ['user', 'register', '--role', 'patient', '--name', 'n', '--out', join(dir, 'k')],
    ['policy', 'list', '--key', join(dir, 'k')],
    ['audit'],
    ['explain', id],
    ['replay'],
  ]
  for (const args of table) {
    assert.equal(errorCode(await run([...args, '--home', dir, '--json'])), 'peer-not-running', args.join(' '))
    assert.equal(errorCode(await run([...args, '--home', join(dir, 'x'), '--json'])), 'home-missing', args.join(' '))
  }
})

test('an unknown purpose is refused before anything is looked for or signed', async () => {
  const ran = await run([
    ...['access', 'request', 'a'.repeat(32), '--home', '/nowhere', '--key', '/nowhere/key', '--role', 'attending'],
    ...['--purpose', 'CURIOSITY', '--out', '/nowhere/out', '--json'],
  ])
  assert.equal(ran.code, 1)
  assert.deepEqual(
    [errorCode(ran), (ran.json()['error'] as { purpose: string }).purpose],
    ['purpose-unknown', 'CURIOSITY'],
  )
})

test('help and version are answers, and every command shows an example', async () => {
  assert.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/)
  for (const command of ['', ...COMMANDS]) {
    const ran = await run([...command.split(' ').filter(Boolean), '--help'])
    assert.equal(ran.code, 0, command)
    assert.match(ran.stdout, new RegExp(`Example:\\n {2}\\$ .*emrm ${command || 'demo'}`), command)
    assert.equal(ran.stderr, '')
  }
})
