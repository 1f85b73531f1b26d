// Backup, restore and doctor on a home that never ran: what is changed in a backup is named, and what was restored may not sign.

import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

import { openFileVault } from '../../src/adapters/file-vault.ts'
import { loadConfig, unlockKeys } from '../../src/config.ts'
import { chunked, fill, newRecordId } from '../records/support.ts'
import { errorCode, type Run, run } from './run.ts'

const PASSWORD = 'correct horse'
let dir: string
let home: string
let backup: string

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emrm-ops-'))
  home = join(dir, 'net', 'hospital-1')
  backup = join(dir, 'backup')
  const create = ['network', 'create', '--dir', join(dir, 'net'), '--name', 'n', '--hospitals', '4']
  assert.equal((await run([...create, '--base-port', '18000'], { EMRM_PASSWORD: PASSWORD })).code, 0)
  assert.equal((await run(['backup', '--home', home, '--out', backup, '--json'])).code, 0)
})
after(() => rm(dir, { recursive: true, force: true }))

let serial = 0
const restore = (): Promise<Run> =>
  run(['restore', '--from', backup, '--home', join(dir, `restored-${++serial}`), '--json'])

/** Runs with one file of the backup changed, and puts it back. */
async function withChanged(
  name: string,
  change: (text: string) => string | null,
  look: () => Promise<void>,
): Promise<void> {
  const file = join(backup, name)
  const before = await readFile(file, 'utf8').catch(() => null)
  const after = change(before ?? '')
  await (after === null ? rm(file) : writeFile(file, after))
  try {
    await look()
  } finally {
    await (before === null ? rm(file) : writeFile(file, before, { mode: 0o600 }))
  }
}

async function refused(code: string, file?: string): Promise<void> {
  const ran = await restore()
  assert.equal(errorCode(ran), code, ran.stderr)
  if (file !== undefined) assert.equal((ran.json()['error'] as { file: string }).file, file)
  const left = (await readdir(dir)).filter(name => name.includes(`restored-${serial}`))
  assert.deepEqual(left, [], 'a half-made home is left')
}

test('a file of a backup that was changed, lost or added is named, and no home is made', async () => {
  await withChanged(
    'peers.json',
    text => `${text} `,
    () => refused('backup-corrupt', 'peers.json'),
  )
  await withChanged(
    'swarm.key',
    () => null,
    () => refused('backup-corrupt', 'swarm.key'),
  )
  await withChanged(
    'keys/extra.key',
    () => 'x',
    () => refused('backup-corrupt', 'keys/extra.key'),
  )
  const elsewhere = (text: string): string => text.replace('"path": "peers.json"', '"path": "../peers.json"')
  await withChanged('manifest.json', elsewhere, () => refused('config-invalid'))
  await withChanged(
    'manifest.json',
    () => null,
    () => refused('file-missing'),
  )
})

test('a backup holds what the home holds, keys still encrypted, and not what belongs to one run', async () => {
  const names = (await readdir(backup, { recursive: true })).filter(name => !name.startsWith('data'))
  for (const name of ['config.json', 'genesis.json', 'swarm.key', 'peers.json', 'keys/institution.key', 'keys/ca.key'])
    assert.ok(names.includes(name), name)
  for (const name of ['api.token', 'api.address', 'guard.json']) assert.ok(!names.includes(name), name)
  assert.equal(errorCode(await run(['backup', '--home', home, '--out', backup, '--json'])), 'directory-not-empty')
})

test('a restored home loads with its keys and may sign nothing until the others have spoken', async () => {
  assert.equal((await restore()).code, 0)
  const config = await loadConfig(join(dir, `restored-${serial}`))
  const { institution } = await unlockKeys(config.paths, PASSWORD)
  assert.equal(institution.publicKey, config.genesis.institutions[0]?.publicKey)
  const guard = JSON.parse(await readFile(join(config.paths.home, 'guard.json'), 'utf8'))
  assert.deepEqual(guard, { version: 1, signFrom: null })
})

type Check = { check: string; ok: boolean; detail: string }
const checksOf = async (where: string): Promise<Check[]> => {
  const ran = await run(['doctor', '--home', where, '--json'])
  const checks = ran.json()['checks'] as Check[]
  const allGood = checks.every(({ ok }) => ok)
  assert.equal(ran.code, allGood ? 0 : 1)
  assert.equal(ran.json()['ok'], allGood)
  return checks
}
const doctor = async (where: string): Promise<Map<string, boolean>> =>
  new Map((await checksOf(where)).map(({ check, ok }) => [check, ok]))

test('the doctor names what is wrong: settings, open secrets, a taken port, a silent neighbour', async () => {
  const sick = join(dir, 'net', 'hospital-2')
  assert.equal((await doctor(join(dir, 'nowhere'))).get('settings'), false)
  const found = await doctor(sick)
  assert.deepEqual([found.get('settings'), found.get('secrets'), found.get('port')], [true, true, true])
  assert.equal(found.get('reach hospital-1'), false)
  const taken = createServer()
  await new Promise<void>(resolve => taken.listen(18_020, '127.0.0.1', resolve))
  await chmod(join(sick, 'keys', 'seal.key'), 0o644)
  const worse = await doctor(sick)
  taken.close()
  assert.deepEqual([worse.get('port'), worse.get('api port'), worse.get('secrets')], [false, true, false])
})

test('the doctor writes into the vault and reads back, counts it against its limit, and looks into some pieces', async () => {
  const sick = join(dir, 'net', 'hospital-3')
  const settings = JSON.parse(await readFile(join(sick, 'config.json'), 'utf8')) as object
  const withSettings = async (more: object): Promise<Check> => {
    await writeFile(join(sick, 'config.json'), JSON.stringify({ ...settings, ...more }))
    return (await checksOf(sick)).find(({ check }) => check === 'vault') as Check
  }
  const root = join(sick, 'vault')
  const record = newRecordId()
  await (await openFileVault(root)).put(record, chunked(fill(900_000), 100_000))

  const well = await withSettings({ vaultQuotaBytes: '1.5 MB' })
  assert.equal(well.ok, true, well.detail)
  assert.match(well.detail, /written and read back; 900\.\d kB used, limit 1\.5 MB, .* free .*; 1 of 1 records/)
  assert.deepEqual(await (await openFileVault(root)).list(), [record])
  const full = await withSettings({ vaultQuotaBytes: 940_000 })
  assert.equal(full.ok, false)
  assert.match(full.detail, /raise vaultQuotaBytes/)
  await writeFile(join(root, record.slice(0, 2), record, 'cipher'), 'rot')
  const rotten = await withSettings({})
  assert.equal(rotten.ok, false)
  assert.match(rotten.detail, new RegExp(`damaged: ${record}; "emrm scrub"`))
  const nowhere = await withSettings({ vault: join(sick, 'config.json', 'vault') })
  assert.match(nowhere.detail, /vault-unusable: .*check the folder/)
  const keyless = await withSettings({ vault: 's3://records/a?endpoint=http://127.0.0.1:9' })
  assert.match(keyless.detail, /^bucket records\/a\/ at http:\/\/127\.0\.0\.1:9: vault-unusable: .*AWS_ACCESS_KEY_ID/)
  const database = await withSettings({ vault: 'postgres://127.0.0.1:9/emrm' })
  assert.match(database.detail, /vault-unusable: .*\(ECONNREFUSED\)/)
  const settingsCheck = async (more: object): Promise<Check> => {
    await writeFile(join(sick, 'config.json'), JSON.stringify({ ...settings, ...more }))
    return (await checksOf(sick)).find(({ check }) => check === 'settings') as Check
  }
  for (const vaultQuotaBytes of ['many', '5 bytes', '-1', -1, 1.5, '1e3', '9999 PiB'])
    assert.match((await settingsCheck({ vaultQuotaBytes })).detail, /config-invalid: .*vaultQuotaBytes/)
})
